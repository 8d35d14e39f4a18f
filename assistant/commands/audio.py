"""`damso train audio` and `damso eval audio`: emotion in recorded voices, trained and measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.commands.train import Data, Out, existing, training_tools

if TYPE_CHECKING:
    from compression.audio.evaluate import Fold, Prepared
    from compression.audio.train import Recipe

Run = Annotated[
    Path, typer.Option(help="특징과 끝난 묶음을 둘 폴더. 멈췄다가 다시 실행하면 이어서 해요.", metavar="폴더")
]


class ProtocolName(StrEnum):
    """How clips are divided; ``all`` also embeds the model."""

    all = "all"
    random = "random"
    speaker = "speaker"


class NetworkName(StrEnum):
    """Which networks; `compression.audio.train.Variant` says what they are."""

    all = "all"
    routing = "routing"
    routing_coefficients = "routing-coefficients"
    compact = "compact"


class CollectionName(StrEnum):
    """Which recordings."""

    ravdess = "RAVDESS"
    emodb = "EMO-DB"


class Preset(StrEnum):
    """``tiny`` is for trying the command: two folds of one epoch."""

    full = "full"
    tiny = "tiny"


def train(
    data: Data = None,
    out: Out = None,
    run: Run = Path("runs/audio"),
    protocol: Annotated[
        ProtocolName,
        typer.Option(
            help="random은 녹음을 무작위로, speaker는 말하는 사람을 겹치지 않게 나눠요. all은 둘 다 하고 모델을 써요."
        ),
    ] = ProtocolName.all,
    network: Annotated[NetworkName, typer.Option(help="학습할 신경망.")] = NetworkName.all,
    collection: Annotated[CollectionName, typer.Option(help="쓸 녹음 모음.")] = CollectionName.ravdess,
    most: Annotated[int | None, typer.Option(min=1, help="묶음을 이만큼만 해요.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="학습 횟수. 없으면 신경망마다 정해 둔 만큼 해요.")
    ] = None,
    preset: Annotated[Preset, typer.Option(help="tiny는 명령을 시험해 볼 때 써요.")] = Preset.full,
) -> None:
    """목소리 감정 모델을 학습하고, 나누는 방법마다 정확도를 재요."""
    with training_tools():
        from compression.audio import evaluate
        from compression.audio.train import COMPACT, Variant

        prepared = _prepared(existing(data), run, collection)
        tiny = preset is Preset.tiny
        ways = list(evaluate.Protocol) if protocol is ProtocolName.all else [evaluate.Protocol(protocol)]
        rows, held_out = [], []
        for variant in list(Variant) if network is NetworkName.all else [Variant(network)]:
            recipe = evaluate.recipe_of(variant)
            recipe = replace(recipe, epochs=1 if tiny else epochs or recipe.epochs)
            for way in ways:
                count = 2 if tiny else evaluate.FOLDS[way]
                with _bar(recipe.epochs * min(count, most or count), f"{variant} {way}") as advance:
                    folds = evaluate.cross_validate(prepared, variant, way, run, count, recipe, most, advance)
                rows.append(evaluate.figures(prepared, variant, way, folds, count))
                typer.echo(json.dumps(rows[-1], ensure_ascii=False))
                if variant is Variant.compact and way is evaluate.Protocol.speaker:
                    held_out = folds
        typer.echo(evaluate.table(rows))
        if protocol is ProtocolName.all and collection is CollectionName.ravdess and held_out:
            _embed(prepared, held_out, replace(COMPACT, epochs=len(held_out[0].curve)), out)


def measure(
    data: Data = None, as_json: Annotated[bool, typer.Option("--json", help="JSON만 출력해요.")] = False
) -> None:
    """내장된 목소리 감정 모델의 크기와 속도를 재요. 자료를 주면 다른 모음(EMO-DB)에서의 정확도도 재요."""
    from compression.audio.measure import abroad, speed

    figures: dict[str, Any] = speed()
    if data is not None:
        figures |= abroad(existing(data))
    if not as_json:
        for name, value in figures.items():
            typer.echo(f"{name:>22}  {value}")
    typer.echo(json.dumps(figures, ensure_ascii=False))


def _prepared(data: Path, run: Path, collection: CollectionName) -> Prepared:
    from compression.audio.evaluate import prepare

    with _bar(None, "특징") as advance:
        return prepare(data, run, collection.value, advance)


def _embed(prepared: Prepared, folds: list[Fold], recipe: Recipe, out: Path | None) -> None:
    from compression.artefacts import models_folder, write_manifest
    from compression.audio.embed import embed
    from compression.audio.infer import NAME

    folder = out or models_folder() / NAME
    with _bar(recipe.epochs, "모델") as advance:
        typer.echo(json.dumps(embed(prepared, folds, recipe, folder, advance), ensure_ascii=False))
    if folder.resolve().parent == models_folder().resolve():
        write_manifest(folder.resolve().parent)


@contextmanager
def _bar(total: int | None, title: str) -> Iterator[Any]:
    from tqdm import tqdm

    with tqdm(total=total, desc=title, leave=False) as bar:
        yield bar.update
