"""`damso eval kodoc2dial`: document-grounded dialogues in Doc2Dial's schema, for the assistant and simpler ones."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from assistant.errors import SettingsError
from assistant.settings import Settings


class System(StrEnum):
    """The systems of `assistant.evaluation.systems.SYSTEMS`, or all of them."""

    damso = "damso"
    bm25 = "bm25"
    dense = "dense"
    none = "none"
    all = "all"


class DialogueSplit(StrEnum):
    """Splits of damso-dialogues."""

    train = "train"
    dev = "dev"
    test = "test"


def kodoc2dial(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="문서 파일과 대화 파일, 또는 둘이 든 폴더.", metavar="경로…")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="보고서와 중간 결과를 둘 폴더. 다시 실행하면 멈춘 데서 이어서 해요.", metavar="폴더"
        ),
    ] = Path("runs/kodoc2dial"),
    dialogues: Annotated[
        DialogueSplit | None, typer.Option(help="파일 대신 담소-대화(damso-dialogues)의 이 부분을 써요.")
    ] = None,
    system: Annotated[System, typer.Option(help="잴 시스템. all은 네 가지를 모두 재요.")] = System.damso,
    limit: Annotated[int | None, typer.Option(min=1, help="대화를 이만큼만 써요.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="나누어 돌릴 프로세스 수.")] = 1,
    ray: Annotated[bool, typer.Option("--ray", help="프로세스를 Ray에서 돌려요.")] = False,
    given_document: Annotated[
        bool, typer.Option("--given-document", help="대화의 문서만 검색해요(Doc2Dial의 첫 과제).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="표 없이 JSON 하나로 출력해요.")] = False,
) -> None:
    """Doc2Dial 형식의 문서 기반 대화를 물어보고, 검색·근거·답·기권·시간을 재서 보고서를 써요."""
    from assistant.evaluation import report
    from assistant.evaluation.kodoc2dial import export_doc2dial, read
    from assistant.evaluation.runs import Options, prepare, run
    from assistant.evaluation.systems import SYSTEMS

    if (dialogues is None) == (not paths):
        raise SettingsError(
            "무엇을 잴지 하나만 알려 주세요.",
            "Doc2Dial 형식의 경로를 적거나 --dialogues dev처럼 적어 주세요.",
        )
    _require_tools()
    if dialogues is not None:
        paths = list(export_doc2dial(dialogues.value, out / "set"))
    dataset = read(paths or [])
    settings, options = Settings.load(), Options(workers, ray, limit, given_document)
    gold = prepare(dataset, settings, out)
    names = list(SYSTEMS) if system is System.all else [system.value]
    results = {name: run(dataset, gold, name, settings, out, options) for name in names}
    about = {
        "자료": f"damso-dialogues {dialogues.value}"
        if dialogues
        else ", ".join(path.name for path in paths or []),
        "문서": len(dataset.documents),
        "대화": len(next(iter(results.values()))),
        "되찾지 못한 구간": gold.lost,
        "검색 범위": "대화의 문서" if given_document else "모든 문서",
        "BLEU": "sacreBLEU, Kiwi 형태소, tokenize=none",
    }
    summary = report.summarised(results)
    page = report.write(out, about, summary, results, _threshold(settings))
    overall = {name: values["all"] for name, values in summary.items()}
    if not as_json:
        _print_table(overall)
        typer.echo(f"보고서: {page}")
    typer.echo(json.dumps(overall, ensure_ascii=False))


def _require_tools() -> None:
    """Fails before the long run when what measures and draws is missing."""
    from importlib.util import find_spec

    for name in ("sacrebleu", "matplotlib"):
        if find_spec(name) is None:
            raise SettingsError(
                f"평가에 필요한 꾸러미 {name}이(가) 없어요.",
                "pip install 'damso[train]'으로 설치하거나 make setup을 실행해 주세요.",
            )


def _threshold(settings: Settings) -> float:
    from assistant.grounding import Gate
    from compression.artefacts import model_folder

    if settings.answer_threshold is not None:
        return settings.answer_threshold
    return Gate.load(model_folder("gate")).threshold


def _print_table(overall: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from assistant.evaluation.figures import ROWS
    from assistant.evaluation.systems import SYSTEMS

    table = Table("", *(SYSTEMS[name] for name in overall), title="문서 기반 대화")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in ROWS:
        values = (figures[row.key] for figures in overall.values())
        table.add_row(row.label, *("–" if value is None else row.form.format(value) for value in values))
    Console().print(table)
