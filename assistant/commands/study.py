"""`damso study …`: experiments that show what a method costs and saves. Needs the extra ``train``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assistant.commands.train import Data, existing, training_tools

app = typer.Typer(help="압축과 학습 방법을 견주어 봐요.", no_args_is_help=True)


class Size(StrEnum):
    """``checkpoint``: the model as it is; the others are random models of the trainer's presets."""

    checkpoint = "checkpoint"
    nano = "nano"
    mini = "mini"
    base = "base"


@app.callback()
def group() -> None:
    """Keeps `peft` a command of its own while it is the only one."""


@app.command()
def peft(
    out: Annotated[
        Path,
        typer.Option(help="결과와 보고서를 둘 폴더. 다시 실행하면 끝난 방식은 건너뛰어요.", metavar="폴더"),
    ] = Path("runs/study"),
    data: Data = None,
    model: Annotated[
        str, typer.Option(help="내장 모델 이름, 체크포인트 폴더, 또는 허브 이름.", metavar="모델")
    ] = "generator",
    size: Annotated[
        Size, typer.Option(help="checkpoint는 모델 그대로, 나머지는 그 크기의 무작위 모델(메모리 비교용).")
    ] = Size.checkpoint,
    steps: Annotated[int, typer.Option(min=1, help="방식마다 학습할 걸음 수.")] = 300,
    batch_tokens: Annotated[int, typer.Option(min=384, help="한 걸음의 토큰 수.")] = 1024,
    recompute: Annotated[
        bool, typer.Option("--recompute/--no-recompute", help="중간값을 두지 않고 다시 계산해요.")
    ] = True,
) -> None:
    """LoRA와 양자화가 학습 메모리를 얼마나 아끼고 손실이 얼마나 느는지 전체 학습과 견주어요."""
    with training_tools():
        from compression.language.source import checkpoint_folder
        from compression.study import Budget, random_checkpoint, study

        folder = checkpoint_folder(model)
        if size is not Size.checkpoint:
            folder = random_checkpoint(out / f"random-{size}", folder / "tokenizer.json", size)
        budget = Budget(steps=steps, batch_tokens=batch_tokens, recompute=recompute)
        results = study(folder, existing(data), out, budget)
    typer.echo((out / "study.md").read_text(encoding="utf-8"))
    typer.echo(
        json.dumps(
            {name: {k: v for k, v in found.items() if k != "curve"} for name, found in results.items()}
        )
    )
