"""`damso compress`: makes a language model's linear layers small by SVD. Needs the extra ``train``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assistant.commands.train import training_tools
from assistant.errors import SettingsError


class MethodName(StrEnum):
    """The methods of `compression.language.compress.Method`."""

    svd = "svd"
    whitened = "whitened"


class RanksName(StrEnum):
    """The ways of `compression.language.compress.Allocation`."""

    pooled = "pooled"
    uniform = "uniform"


def compress(
    model: Annotated[
        str,
        typer.Argument(
            help="내장 모델 이름(generator), 체크포인트 폴더, 또는 EleutherAI/polyglot-ko-1.3b 같은 허브 이름.",
            metavar="모델",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="결과를 쓸 폴더. 멈췄다가 다시 실행하면 이어서 해요.", metavar="폴더"),
    ],
    keep: Annotated[
        float, typer.Option(help="선형층의 매개변수를 이만큼 남겨요: 0보다 크고 1 이하.", metavar="비율")
    ] = 0.5,
    method: Annotated[
        MethodName, typer.Option(help="svd는 가중치만, whitened는 글에서의 출력까지 보고 줄여요.")
    ] = MethodName.whitened,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="whitened에 쓸 한국어 글: UTF-8 글 파일이나 .jsonl.xz.", metavar="파일"),
    ] = None,
    tokens: Annotated[int, typer.Option(min=256, help="whitened에 쓸 글의 토큰 수.")] = 32_768,
    ranks: Annotated[
        RanksName, typer.Option(help="pooled는 모든 층을 견주어, uniform은 똑같이 나누어 계수를 정해요.")
    ] = RanksName.pooled,
) -> None:
    """언어 모델을 SVD로 줄여요. 결과는 체크포인트라서 train recover로 회복하고 export로 내보내요."""
    if not 0 < keep <= 1:
        raise SettingsError(f"--keep {keep:g}은(는) 쓸 수 없어요.", "0보다 크고 1 이하인 수를 적어 주세요.")
    with training_tools():
        from compression.language.compress import Allocation, Method
        from compression.language.compress import compress as run
        from compression.language.source import checkpoint_folder

        source, allocation = checkpoint_folder(model), Allocation(ranks)
        report = run(source, out, keep, Method(method), calibrate, allocation, model, tokens=tokens)
    share = report.parameters / report.dense_parameters
    typer.echo(f"선형층 매개변수 {report.dense_parameters:,} → {report.parameters:,} ({share:.1%})")
    typer.echo(f"파일 {report.bytes_before:,} → {report.bytes_after:,}바이트")
    typer.echo(f"보고서: {out / 'compression.md'}")
