"""`damso eval retrieval`: how well four searches rank the documents that were judged for questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.errors import SettingsError, TrainingDataError

if TYPE_CHECKING:
    from assistant.evaluation.retrieval import Judged, Text


class Half(StrEnum):
    """Halves of the questions by a hash of their ids, or those the encoder was not trained on."""

    all = "all"
    tuning = "tuning"
    held_out = "held-out"
    unseen = "unseen"


class Fusing(StrEnum):
    """How both parts of the search are made one: `retrieval.fusion`."""

    ranks = "ranks"
    scores = "scores"


def retrieval(
    questions: Annotated[
        Path | None, typer.Argument(help="질문 파일(topics tsv 또는 jsonl).", metavar="[질문]")
    ] = None,
    qrels: Annotated[Path | None, typer.Argument(help="관련도 파일(qrels tsv).", metavar="[관련도]")] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="문서 파일(jsonl, .xz나 .gz여도 돼요).", metavar="파일")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="학습 자료 폴더. 파일 대신 한국어 위키백과와 MIRACL 질문을 써요.", metavar="폴더"),
    ] = None,
    articles: Annotated[
        int, typer.Option(min=1, help="--data에서 쓸 문서 수. 정답 문서, 판정된 문서, 나머지 순서예요.")
    ] = 2000,
    out: Annotated[
        Path, typer.Option(help="색인과 결과를 둘 폴더. 다시 실행하면 멈춘 데서 이어서 해요.", metavar="폴더")
    ] = Path("runs/retrieval"),
    article_level: Annotated[
        bool,
        typer.Option("--article-level", help="구절(12#3)을 그 문서(12)로 쳐서 재요. --data에서는 늘 그래요."),
    ] = False,
    half: Annotated[
        Half, typer.Option(help="질문의 절반만, 또는 인코더가 배우지 않은 질문만(unseen) 써요.")
    ] = Half.all,
    fusion: Annotated[
        Fusing | None,
        typer.Option(help="합치는 방법: 순위(ranks)나 점수(scores). 없으면 담소가 쓰는 방법이에요."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="표 없이 JSON 하나로 출력해요.")] = False,
) -> None:
    """MIRACL 형식의 질문과 관련도로 네 가지 검색의 nDCG@10과 R@100을 재요."""
    from agents.encoder import Encoder
    from assistant.evaluation.retrieval import eojeol_index, evaluate, fill, half_of, unseen
    from assistant.evaluation.runs import claim
    from retrieval.fusion import DEFAULT, Ranks, Scores
    from retrieval.index import Index

    chosen = DEFAULT if fusion is None else Ranks() if fusion is Fusing.ranks else Scores()
    judged, texts, name = _chosen(questions, qrels, corpus, data, articles, half)
    claim(out / "run.json", {"corpus": name})
    judged = unseen(judged, data) if half is Half.unseen and data else half_of(judged, half.value)
    with Index.open(out / "index", Encoder.load(), chosen) as index:
        with _bar("문서", articles if data else None) as step:
            unreadable = fill(index, texts, step)
        with _bar("어절 색인(구절)", len(index.passage_ids())) as step:
            eojeol = eojeol_index(index, out / "eojeol.cache", step)
        with _bar("질문", len(judged.questions)) as step:
            figures = evaluate(index, eojeol, judged, article_level or data is not None, step)
    figures = {
        "corpus": name,
        "half": half.value,
        "fusion": repr(chosen),
        "unreadable": unreadable,
        **figures,
    }
    (out / "retrieval.json").write_text(
        json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    if not as_json:
        _print_table(figures)
    typer.echo(json.dumps(figures, ensure_ascii=False))


def _chosen(
    questions: Path | None,
    qrels: Path | None,
    corpus: Path | None,
    data: Path | None,
    articles: int,
    half: Half,
) -> tuple[Judged, Iterable[Text], str]:
    """Questions, documents and a name for them, from files or from the training data."""
    from assistant.evaluation.retrieval import kowiki, kowiki_judged, read_corpus, read_judged

    if half is Half.unseen and data is None:
        raise SettingsError(
            "--half unseen은 --data와 함께만 쓸 수 있어요.", "--data로 학습 자료 폴더를 알려 주세요."
        )
    files = [path for path in (questions, qrels, corpus) if path is not None]
    if (data is None) == (not files) or (files and len(files) < 3):
        raise SettingsError(
            "무엇을 잴지 알려 주세요.", "질문, 관련도, --corpus를 모두 적거나 --data만 적어 주세요."
        )
    if data is None:
        assert questions is not None and qrels is not None and corpus is not None
        return read_judged(questions, qrels), read_corpus(corpus), corpus.name
    if not data.is_dir():
        raise TrainingDataError(f"학습 자료 폴더가 없어요: {data}", "--data로 알려 주세요.")
    judged = kowiki_judged(data)
    return judged, kowiki(data, judged, articles), "kowiki"


@contextmanager
def _bar(unit: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, leave=False) as bar:
        yield bar.update


def _print_table(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from assistant.evaluation.retrieval import ROWS

    title = f"검색: 구절 {figures['passages']:,}개, 질문 {figures['questions']:,}개"
    table = Table("", "nDCG@10", "R@100", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in figures["rows"].items():
        table.add_row(ROWS[name], *(f"{value:.3f}" for value in values.values()))
    Console().print(table)
    typer.echo(
        f"질의 p50 {figures['query_p50_ms']:.1f} ms, p99 {figures['query_p99_ms']:.1f} ms, "
        f"메모리 최대 {figures['peak_rss_mb']:,} MB"
    )
