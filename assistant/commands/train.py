"""`damso train …` and `damso export`: from training data to embedded models. Needs the extra ``train``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from assistant.errors import SettingsError, TrainingDataError

Data = Annotated[
    Path | None, typer.Option(envvar="DAMSO_DATA", help="학습 자료 폴더.", metavar="폴더", show_envvar=True)
]
Out = Annotated[
    Path | None, typer.Option(help="모델을 쓸 폴더. 없으면 내장 모델 자리에 써요.", metavar="폴더")
]

Steps = Annotated[
    int | None,
    typer.Option(min=1, help="학습 걸음 수. 없으면 모델 크기마다 정해진 만큼이에요.", metavar="수"),
]

app = typer.Typer(help="모델을 학습해요.", no_args_is_help=True)


class PresetName(StrEnum):
    """Sizes of the generator; `compression.language.pretraining.PRESETS` says what they mean."""

    nano = "nano"
    mini = "mini"
    base = "base"


class TeacherPreset(StrEnum):
    """Sizes of the teacher; `agents.train_teacher.PRESETS` says what they mean."""

    tiny = "tiny"
    mini = "mini"
    base = "base"
    large = "large"


class StudentPreset(StrEnum):
    """Sizes of a student; `agents.train_student.PRESETS` says what they mean."""

    tiny = "tiny"
    static = "static"
    small = "small"
    medium = "medium"


class Tuning(StrEnum):
    """What recovery tunes; `compression.language.recovery.Tuning` says what they mean."""

    full = "full"
    lora = "lora"


class Bits(StrEnum):
    """Precision of the generator's linear layers."""

    four = "4"
    eight = "8"
    full = "32"


@app.command()
def generator(
    run: Annotated[
        Path, typer.Option(help="체크포인트와 기록을 둘 폴더. 있으면 이어서 학습해요.", metavar="폴더")
    ],
    data: Data = None,
    preset: Annotated[PresetName, typer.Option(help="모델 크기.")] = PresetName.mini,
    minutes: Annotated[float | None, typer.Option(min=0, help="이만큼 학습하고 멈춰요(분).")] = None,
    compile_model: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch.compile로 빠르게 학습해요.")
    ] = True,
) -> None:
    """답을 쓰는 언어 모델을 학습해요."""
    with training_tools():
        from compression.language.pretraining import PRESETS, train

        _echo(train(existing(data), run, PRESETS[preset], minutes, compile_model=compile_model))


@app.command()
def encoder(data: Data = None, out: Out = None) -> None:
    """문장 인코더를 학습해요."""
    with training_tools():
        from agents.train_encoder import train

        folder = out or _embedded("encoder")
        _echo(train(existing(data), folder))
        _record(folder)


@app.command()
def teacher(
    run: Annotated[
        Path, typer.Option(help="체크포인트를 둘 폴더. 있으면 이어서 학습해요.", metavar="폴더")
    ] = Path("runs/teacher"),
    data: Data = None,
    preset: Annotated[TeacherPreset, typer.Option(help="모델 크기.")] = TeacherPreset.mini,
    steps: Steps = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="이만큼 학습하고 멈춰요(분).")] = None,
) -> None:
    """작은 문장 인코더를 가르칠 큰 인코더를 학습해요."""
    with training_tools():
        from agents.encoder import Encoder
        from agents.train_teacher import PRESETS, train

        recipe = PRESETS[preset]
        recipe = replace(recipe, steps=steps or recipe.steps)
        _echo(train(existing(data), run, Encoder.load(), recipe, minutes))


@app.command()
def student(
    teacher: Annotated[
        str,
        typer.Option(
            help="damso train teacher의 폴더, 또는 sentence-transformers 모델의 폴더나 이름.", metavar="모델"
        ),
    ] = "runs/teacher",
    run: Annotated[
        Path, typer.Option(help="체크포인트와 모델을 둘 폴더. 있으면 이어서 학습해요.", metavar="폴더")
    ] = Path("runs/student"),
    data: Data = None,
    preset: Annotated[StudentPreset, typer.Option(help="모델 크기.")] = StudentPreset.small,
    steps: Steps = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="이만큼 학습하고 멈춰요(분).")] = None,
) -> None:
    """큰 문장 인코더의 벡터를 작은 인코더에 옮겨요(지식 증류)."""
    with training_tools():
        from agents.encoder import Encoder
        from agents.train_student import PRESETS, teacher_of, train

        start, recipe = Encoder.load(), PRESETS[preset]
        recipe = replace(recipe, steps=steps or recipe.steps)
        _echo(train(existing(data), run, start, teacher_of(teacher, start), recipe, minutes))


@app.command()
def router(data: Data = None, out: Out = None) -> None:
    """말을 도우미에게 나누어 주는 어댑터를 학습해요. 자료가 없으면 예문만으로 학습해요."""
    with training_tools():
        from agents.encoder import Encoder
        from agents.train_router import train

        folder = out or _embedded("router")
        _echo(train(folder, Encoder.load(), None if data is None else existing(data)))
        _record(folder)


@app.command()
def thesaurus() -> None:
    """바꿔 말하는 낱말 모음(data/thesaurus)을 검색이 쓰는 꼴로 만들어요. 사전을 고친 뒤에 쓰세요."""
    from compression.language.collections import OWN
    from retrieval.thesaurus import compile_groups

    _echo({"groups": compile_groups(OWN / "thesaurus")})


@app.command()
def gate(data: Data = None, out: Out = None) -> None:
    """문서에 답이 있는지 가리는 문턱을 맞춰요."""
    with training_tools():
        from assistant.evaluation.gate import fit

        folder = out or _embedded("gate")
        _echo(fit(existing(data), folder))
        _record(folder)


@app.command()
def iot(data: Data = None, out: Out = None) -> None:
    """네트워크 이상 탐지를 공개 자료로 학습하고, 다른 방법과 견준 표와 예시 프로필을 써요."""
    with training_tools():
        from compression.iot.evaluate import run

        folder = out or _embedded("iot-anomaly")
        root = existing(data)
        for figures in run(root / "iot" if (root / "iot").is_dir() else root, folder):
            _echo(figures)
        _record(folder)


@app.command()
def recover(
    checkpoint: Annotated[
        Path, typer.Argument(help="압축한 체크포인트 폴더(damso compress의 결과).", metavar="체크포인트")
    ],
    out: Annotated[
        Path, typer.Option(help="결과를 쓸 폴더. 멈췄다가 다시 실행하면 이어서 해요.", metavar="폴더")
    ],
    data: Data = None,
    method: Annotated[
        Tuning, typer.Option(help="full은 모든 인수를, lora는 어댑터만 학습해요.")
    ] = Tuning.lora,
    steps: Annotated[int, typer.Option(min=1, help="학습할 걸음 수.")] = 1000,
    learning_rate: Annotated[float, typer.Option(min=0, help="가장 클 때의 학습률.")] = 5e-4,
    compile_model: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch.compile로 빠르게 학습해요.")
    ] = True,
) -> None:
    """압축으로 잃은 것을 근거 있는 답으로 다시 학습해 되찾아요. 전후의 혼란도, F1, ROUGE-L을 재요."""
    with training_tools():
        from assistant.evaluation.metrics import f1, rouge_l
        from compression.language import recovery

        budget = recovery.Recovery(recovery.Tuning(method), steps, learning_rate)
        measures = {"grounded_f1": f1, "grounded_rouge_l": rouge_l}
        _echo(recovery.recover(checkpoint, existing(data), out, budget, measures, compile_model))


def export(
    checkpoint: Annotated[Path, typer.Argument(help="학습한 체크포인트 폴더.", metavar="체크포인트")],
    out: Annotated[Path, typer.Option(help="모델을 쓸 폴더.", metavar="폴더")],
    bits: Annotated[Bits, typer.Option(help="선형층의 비트 수.")] = Bits.eight,
) -> None:
    """체크포인트를 실행할 수 있는 ONNX 모델로 내보내요."""
    from compression.language.export import export as write

    folder = write(checkpoint, out, int(bits))
    _record(folder)
    typer.echo(f"{folder}에 {bits}비트 모델을 썼어요.")


@contextmanager
def training_tools() -> Iterator[None]:
    """Says what to install when a library of the extra ``train`` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"학습에 필요한 꾸러미 {error.name}이(가) 없어요.",
            "pip install 'damso[train]'으로 설치하거나 make setup을 실행해 주세요.",
        ) from error


def existing(data: Path | None) -> Path:
    """The data folder.

    Raises:
        TrainingDataError: none is given, or it is not there.
    """
    if data is None or not data.is_dir():
        missing = "학습 자료 폴더가 필요해요." if data is None else f"학습 자료 폴더가 없어요: {data}"
        raise TrainingDataError(missing, "--data나 DAMSO_DATA로 알려 주세요.")
    return data


def _embedded(name: str) -> Path:
    from compression.artefacts import models_folder

    return models_folder() / name


def _record(folder: Path) -> None:
    """Keeps the manifest true when the model is an embedded one."""
    from compression.artefacts import models_folder, write_manifest

    if folder.resolve().parent == models_folder().resolve():
        write_manifest(folder.resolve().parent)


def _echo(figures: dict[str, Any]) -> None:
    typer.echo(json.dumps(figures, ensure_ascii=False))
