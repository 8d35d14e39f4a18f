"""`damso eval compression`: the compressed models beside the original one. Needs the extra ``train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from assistant.commands.train import Data, existing, training_tools
from assistant.errors import SettingsError


def compression(
    out: Annotated[
        Path,
        typer.Option(help="모델과 결과를 둘 폴더. 다시 실행하면 멈춘 데서 이어서 해요.", metavar="폴더"),
    ] = Path("runs/compression"),
    data: Data = None,
    model: Annotated[
        str, typer.Option(help="내장 모델 이름, 체크포인트 폴더, 또는 허브 이름.", metavar="모델")
    ] = "generator",
    keep: Annotated[
        list[float] | None, typer.Option(help="남길 비율. 여러 번 쓸 수 있어요.", metavar="비율")
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="svd, whitened에 +full이나 +lora를 붙인 것. 여러 번 쓸 수 있어요.", metavar="방법"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="회복 학습의 걸음 수.")] = 600,
    turns: Annotated[int, typer.Option(min=1, help="답하게 할 질문 수.")] = 200,
    compile_model: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch.compile로 빠르게 학습해요.")
    ] = True,
) -> None:
    """압축 방법과 남긴 비율, 비트 수마다 크기·혼란도·F1·ROUGE-L·속도를 재어 표와 그림으로 보여 줘요."""
    with training_tools():
        from assistant.comparison import RECIPES, Plan, compare
        from compression.language.source import checkpoint_folder

        keeps, recipes = tuple(keep or Plan.keeps), tuple(recipe or RECIPES)
        if not all(0 < share <= 1 for share in keeps):
            raise SettingsError("--keep은 0보다 크고 1 이하여야 해요.", "--keep 0.5처럼 적어 주세요.")
        if unknown := set(recipes) - set(RECIPES):
            raise SettingsError(
                f"모르는 방법이에요: {', '.join(sorted(unknown))}",
                f"이 가운데 골라 주세요: {', '.join(RECIPES)}",
            )
        plan = Plan(keeps, recipes, steps=steps, turns=turns, compile_model=compile_model)
        rows = compare(checkpoint_folder(model), existing(data), out, plan)
    typer.echo(f"보고서: {out / 'comparison.md'}")
    typer.echo(json.dumps(rows, ensure_ascii=False))
