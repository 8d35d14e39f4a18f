"""`damso eval routing`: agents on our own held-out lines, adapters on public sets, latency, bytes, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from assistant.commands.train import existing, training_tools

_COLUMNS = ("lines", "accuracy", "macro_f1", "calibration_error", "out_of_scope_auroc", "out_of_scope_fpr95")
_HEADERS = ("자료", "줄", "정확도", "macro F1", "보정 오차", "범위 밖 AUROC", "FPR@95")


def routing(
    data: Annotated[
        Path | None,
        typer.Option(envvar="DAMSO_DATA", help="공개 자료 폴더. 없으면 우리 발화로만 재요.", metavar="폴더"),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="문장 인코더 폴더. 없으면 내장 인코더예요. 여러 번 쓰면 첫째를 선생님 삼아 나란히 견줘요.",
            metavar="폴더",
        ),
    ] = None,
    lines_each: Annotated[
        int | None,
        typer.Option(
            "--lines", min=10, help="견줄 때 자료마다 학습과 평가에 쓸 줄 수. 없으면 전부예요.", metavar="수"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="그림과 보고서를 쓸 폴더.", metavar="폴더")] = Path(
        "runs/routing"
    ),
) -> None:
    """말을 도우미에게 얼마나 잘 나누는지 재고, 그림과 JSON 보고서를 써요."""
    from tqdm import tqdm

    from agents.contextual import open_encoder
    from agents.labelled import labelled_sets
    from assistant.evaluation import routing as measure
    from compression.artefacts import model_folder

    if encoder and len(encoder) > 1:
        _compare(encoder, existing(data), out, lines_each)
        return
    folder = Path(encoder[0]) if encoder else model_folder("encoder")
    chosen = open_encoder(folder)
    router = measure.router_of(chosen, data, embedded=not encoder)
    lines, asked = measure.held_out_lines(), measure.document_questions()
    sets = labelled_sets(data) if data else []
    with tqdm(total=len(lines) + len(asked) + len(sets), unit="줄", leave=False) as bar:

        def tick(_: str) -> None:
            bar.update()

        outcomes = {"agents": measure.judge_router(router, lines, tick)}
        if asked:
            outcomes["document_questions"] = measure.judge_router(router, asked, tick)
        for each in sets:
            bar.set_description(each.name)
            outcomes[each.name] = measure.judge_set(each, chosen)
            bar.update()
    out.mkdir(parents=True, exist_ok=True)
    for name, outcome in outcomes.items():
        measure.confusion_matrix(outcome, out / f"{name}-confusion.png")
        measure.reliability_diagram(outcome, out / f"{name}-reliability.png")
    report = {
        "encoder": chosen.name,
        "encoder_bytes": measure.size_of(folder),
        **measure.latency(router, lines),
        "sets": {name: measure.figures(outcome) for name, outcome in outcomes.items()},
    }
    (out / "report.json").write_text(
        json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )
    _print(report)
    typer.echo(json.dumps(report, ensure_ascii=False))


def _compare(places: Sequence[str], data: Path, out: Path, lines: int | None) -> None:
    """Teacher first, then its students: encoders alone, side by side."""
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    from agents.labelled import labelled_sets
    from assistant.evaluation import routing as measure

    sets = [each.sample(lines) if lines else each for each in labelled_sets(data)]
    with training_tools(), tqdm(total=len(places) * len(sets), leave=False) as bar:
        rows = [
            measure.judge_encoder(*measure.encoder_of(place), data, sets, lambda _: _advance(bar))
            for place in places
        ]
    report = {"encoders": [{**row, "retained": measure.retained(rows[0], row)} for row in rows]}
    table = Table(
        "인코더", "바이트", "p50 ms", "p99 ms", "KorSTS dev", *(each.name for each in sets), "범위 밖 AUROC"
    )
    for row in rows:
        accuracies = [_cell(row["sets"][each.name]["accuracy"]) for each in sets]
        strange = [figures.get("out_of_scope_auroc") for figures in row["sets"].values()]
        speed = (f"{row['p50_ms']}", f"{row['p99_ms']}", _cell(row["korsts_dev_spearman"]))
        outside = _cell(next((value for value in strange if value is not None), None))
        table.add_row(row["name"], f"{row['bytes']:,}", *speed, *accuracies, outside)
    Console().print(table)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, ensure_ascii=False, indent=2)
    (out / "encoders.json").write_text(f"{text}\n", encoding="utf-8")
    typer.echo(json.dumps(report, ensure_ascii=False))


def _advance(bar: Any) -> None:
    bar.update()


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    speed = f"p50 {report['p50_ms']} ms · p99 {report['p99_ms']} ms"
    head = f"{report['encoder']} · {report['encoder_bytes']:,} B · {speed}"
    table = Table(*_HEADERS, title=head)
    for name, figures in report["sets"].items():
        table.add_row(name, *(_cell(figures.get(column)) for column in _COLUMNS))
    for name, accuracy in report["sets"]["agents"]["classes"].items():
        table.add_row(f"  {name}", "", _cell(accuracy))
    Console().print(table)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
