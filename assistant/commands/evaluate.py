"""`damso eval …`: how well the whole assistant answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.commands.comparison import compression
from assistant.commands.kodoc2dial import kodoc2dial
from assistant.commands.retrieval import retrieval
from assistant.commands.routing import routing
from assistant.settings import Settings

if TYPE_CHECKING:
    from assistant.evaluation.samples import Verdict

app = typer.Typer(help="담소가 얼마나 잘 답하는지 재요.", no_args_is_help=True)

# Every row of the table: a figure's name, its Korean label, and how its value is written.
_ROWS = (
    ("answerable", "답이 있는 질문", "{:d}"),
    ("correct_and_cited", "  맞게 답하고 근거도 맞음", "{:.1%}"),
    ("correct", "  맞게 답함", "{:.1%}"),
    ("cited", "  근거가 맞음", "{:.1%}"),
    ("wrongly_abstained", "  답이 있는데 없다고 함", "{:.1%}"),
    ("unanswerable", "답이 없는 질문", "{:d}"),
    ("abstained", "  없다고 말함", "{:.1%}"),
    ("first_token_ms", "첫 글자까지(중앙값)", "{:.0f} ms"),
    ("total_ms", "답 전체(중앙값)", "{:.0f} ms"),
)


class Split(StrEnum):
    """Which part of the sample questions."""

    dev = "dev"
    test = "test"
    all = "all"


@app.callback()
def group() -> None:
    """Keeps `samples` a command of its own while it is the only one."""


app.command()(compression)
app.command()(kodoc2dial)
app.command()(retrieval)
app.command()(routing)


@app.command()
def samples(
    split: Annotated[Split, typer.Option(help="쓸 질문: dev, test 또는 all.")] = Split.all,
    as_json: Annotated[bool, typer.Option("--json", help="표 없이 JSON 하나로 출력해요.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="틀린 질문을 모두 보여 줘요.")] = False,
) -> None:
    """예시 문서에 대한 질문 묶음을 모두 물어보고 표로 보여 줘요."""
    from assistant.evaluation.samples import ask_all, read_questions, sample_assistant, summary

    questions = [q for q in read_questions() if split in (q.split, Split.all)]
    with sample_assistant(Settings.load()) as assistant, _progress(len(questions)) as bar:
        verdicts = ask_all(assistant, questions, bar.update)
    figures = summary(verdicts)
    if verbose:
        _echo_failures(verdicts)
    if not as_json:
        _print_table(figures)
    typer.echo(json.dumps({"split": split.value, **figures}, ensure_ascii=False))


def _progress(total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="질문", leave=False)


def _print_table(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "값", title="예시 질문")
    table.columns[1].justify = "right"
    for name, label, form in _ROWS:
        table.add_row(label, form.format(figures[name]))
    Console().print(table)


def _echo_failures(verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        if _failed(verdict):
            question, done = verdict.question, verdict.done
            expected = [list(group) for group in question.keys] if question.answerable else "문서에 없음"
            cited = ", ".join(f"{s.document}: {' '.join(s.text.split())}" for s in done.sources)
            typer.echo(f"✗ {question.id} {question.question}\n  기대: {expected}\n  답: {done.answer}")
            typer.echo(f"  근거: {cited or '없음'}\n")


def _failed(verdict: Verdict) -> bool:
    if not verdict.question.answerable:
        return not verdict.done.abstained
    return not (verdict.correct and verdict.cited)
