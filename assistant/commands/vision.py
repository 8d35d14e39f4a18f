"""`damso upscale` enlarges a picture file; `damso train super-resolution` trains what does it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assistant.commands import train
from assistant.errors import SettingsError


class Factor(StrEnum):
    """How many times as many pixels on each side."""

    two = "2"
    three = "3"
    four = "4"


class Quality(StrEnum):
    """`compression.vision.super_resolution.infer.Speed` says what they mean."""

    quality = "quality"
    fast = "fast"


class SizeName(StrEnum):
    """Sizes of a training; `compression.vision.super_resolution.recipe.PRESETS` says what they mean."""

    tiny = "tiny"
    cpu = "cpu"
    gpu = "gpu"


def upscale(
    image: Annotated[Path, typer.Argument(help="키울 사진.", metavar="사진")],
    scale: Annotated[Factor, typer.Option(help="가로와 세로를 몇 배로 키울지.")] = Factor.two,
    speed: Annotated[
        Quality, typer.Option(help="quality는 더 선명하게, fast는 더 빠르게.")
    ] = Quality.quality,
    out: Annotated[
        Path | None,
        typer.Option(help="결과 파일(.png, .jpg). 없으면 사진 옆에 써요.", metavar="파일"),
    ] = None,
) -> None:
    """사진을 선명하게 키워요."""
    from assistant.tools.vision import enlarge, read, suffix, write

    factor = int(scale.value)
    picture = read(image, factor)
    with typer.progressbar(length=1000, label="키우기", file=typer.get_text_stream("stderr")) as bar:
        large = enlarge(picture, factor, speed.value, lambda share: bar.update(round(1000 * share) - bar.pos))
    target = out or image.with_name(f"{image.stem}-{factor}x{suffix(picture, large)}")
    if out is None and target.exists():
        raise SettingsError(f"이미 있는 파일이에요: {target.name}", "--out으로 다른 이름을 알려 주세요.")
    write(picture, large, factor, target)
    for note in picture.notes:
        typer.echo(note)
    typer.echo(f"{large.shape[1]:,}×{large.shape[0]:,} 사진을 썼어요: {target}")


def super_resolution(
    data: train.Data = None,
    preset: Annotated[SizeName, typer.Option(help="모델과 학습의 크기.")] = SizeName.cpu,
    run: Annotated[
        Path, typer.Option(help="체크포인트와 기록을 둘 폴더. 있으면 이어서 학습해요.", metavar="폴더")
    ] = Path("runs/super-resolution"),
    out: train.Out = None,
    longer: Annotated[float, typer.Option(min=0.01, help="걸음 수를 이만큼 곱해요.", metavar="배수")] = 1.0,
    minutes: Annotated[float | None, typer.Option(min=0, help="이만큼 학습하고 멈춰요(분).")] = None,
) -> None:
    """사진을 키우는 모델을 학습하고, 작게 만들고, 견준 표를 써요."""
    with train.training_tools():
        from compression.artefacts import models_folder, write_manifest
        from compression.vision.super_resolution.publish import publish
        from compression.vision.super_resolution.recipe import PRESETS
        from compression.vision.super_resolution.study import OutOfTime

        folder = out or models_folder() / "super-resolution"
        root = train.existing(data)
        pictures = root / "images" if (root / "images").is_dir() else root
        try:
            publish(pictures, run, folder, PRESETS[preset.value].longer(longer), minutes, typer.echo)
        except OutOfTime:
            typer.echo("시간이 다 되어 멈췄어요. 같은 명령을 다시 실행하면 이어서 해요.")
            return
        if folder.resolve().parent == models_folder().resolve():
            write_manifest(models_folder())
