from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agents.corpus import Question
from assistant import cli
from assistant.errors import TrainingDataError
from assistant.evaluation import retrieval
from assistant.evaluation.retrieval import (
    Judged,
    Text,
    eojeol_index,
    eojeols,
    evaluate,
    fill,
    half_of,
    kowiki,
    read_corpus,
    read_judged,
    unseen,
)
from retrieval.index import Index
from tests.retrieval.hashing_encoder import HashingEncoder

CORPUS = [
    Text("1#0", "가람 도서관", "가람 도서관은 아홉 시에 엽니다.\n월요일에는 쉽니다."),
    Text("1#1", "가람 도서관", "책은 다섯 권까지 빌립니다."),
    Text("../2#0", "다온 체육관", "# 체육관 이용료는 한 달에 삼만 원입니다."),
    Text("3#0", "", "감자는 서늘한 곳에 둡니다."),
]
JUDGED = Judged(
    {"q1": "도서관은 몇 시에 열어요?", "q2": "체육관 이용료는 얼마예요?"},
    {"q1": {"1#0": 1.0, "1#1": 0.0}, "q2": {"../2#0": 1.0}},
)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    questions, qrels, corpus = tmp_path / "topics.tsv", tmp_path / "qrels.tsv", tmp_path / "corpus.jsonl.gz"
    questions.write_text("".join(f"{key}\t{text}\n" for key, text in JUDGED.questions.items()), "utf-8")
    rows = [(q, "Q0", d, int(gain)) for q, gains in JUDGED.gains.items() for d, gain in gains.items()]
    qrels.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")
    with gzip.open(corpus, "wt", encoding="utf-8") as file:
        for text in CORPUS:
            file.write(json.dumps({"docid": text.id, "title": text.title, "text": text.text}) + "\n")
    return questions, qrels, corpus


def test_both_kinds_of_files_are_read(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    questions, qrels, corpus = files
    assert read_judged(questions, qrels) == JUDGED
    assert list(read_corpus(corpus)) == CORPUS
    lines = [json.dumps({"_id": key, "text": text}) for key, text in JUDGED.questions.items()]
    (tmp_path / "q.jsonl").write_text("\n".join(lines), "utf-8")
    (tmp_path / "q.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\t1#0\t1\nq1\t1#1\t0\nq2\t../2#0\t1\n", "utf-8"
    )
    assert read_judged(tmp_path / "q.jsonl", tmp_path / "q.tsv") == JUDGED


def test_broken_files_are_named_with_their_line(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    questions, qrels, _ = files
    (tmp_path / "bad.jsonl").write_text('{"text": "가"}\n', "utf-8")
    (tmp_path / "bad.tsv").write_text("q1\t1\t1\nq1\t2\t많음\n", "utf-8")
    for broken, match in (
        (lambda: read_judged(questions, tmp_path / "없음.tsv"), "열 수 없"),
        (lambda: read_judged(tmp_path / "bad.jsonl", qrels), "query_id"),
        (lambda: read_judged(questions, tmp_path / "bad.tsv"), "많음"),
        (lambda: read_judged(questions, questions), "칸이 모자라요"),
        (lambda: list(read_corpus(questions)), "1번째 줄이 JSON"),
    ):
        with pytest.raises(TrainingDataError, match=match):
            broken()


def test_the_searches_rank_the_judged_documents_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "_BATCH", 2)
    with Index.open(tmp_path / "index", HashingEncoder()) as index:
        fill(index, CORPUS[:2])
        fill(index, iter(CORPUS))  # goes on where it stopped
        assert [document.name for document in index.documents()] == [
            "../2#0.md",
            "1#0.md",
            "1#1.md",
            "3#0.md",
        ]
        eojeol = eojeol_index(index, tmp_path / "eojeol.cache")
        again = eojeol_index(index, tmp_path / "eojeol.cache")
        assert again.ids == eojeol.ids and len(eojeol) == len(index.passage_ids())
        by_passage = evaluate(index, eojeol, JUDGED, article_level=False)
        by_article = evaluate(index, eojeol, JUDGED, article_level=True)
    assert by_passage["rows"]["morpheme"] == {"ndcg@10": 1.0, "recall@100": 1.0}
    assert by_passage["documents"] == 4 and by_passage["questions"] == 2
    # '도서관은' is not the '도서관' of the second question's passage, but of the first's.
    assert by_article["rows"]["eojeol"]["ndcg@10"] <= by_article["rows"]["fused"]["ndcg@10"] == 1
    assert by_article["query_p50_ms"] > 0


def test_eojeols_are_what_stands_between_spaces() -> None:
    assert eojeols("서울의 1,000 ABC시(市)") == ["서울의", "1", "000", "abc시", "市"]


def test_halves_are_disjoint_and_whole() -> None:
    many = Judged({str(i): "질문" for i in range(200)}, {str(i): {"1": 1.0} for i in range(200)})
    halves = [set(half_of(many, half).questions) for half in ("tuning", "held-out")]
    assert not halves[0] & halves[1] and len(halves[0] | halves[1]) == 200 and 70 < len(halves[0]) < 130
    assert half_of(many, "all") == many


def test_unseen_questions_are_those_held_out_from_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [Question(JUDGED.questions["q1"], "", 0, True), Question(JUDGED.questions["q2"], "", 0, False)]
    monkeypatch.setattr(retrieval, "trained_questions", lambda data: asked)
    assert set(unseen(JUDGED, Path()).questions) == {"q1"}


def test_relevant_articles_come_first_and_judged_ones_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def shard(path: Path) -> Any:
        number = int(path.name.split("-")[1][0])
        return iter([{"id": f"{number}{i}", "title": "제목", "text": "글"} for i in range(3)])

    monkeypatch.setattr(retrieval, "read_jsonl", shard)
    judged = Judged({"q": "질문"}, {"q": {"12": 0.0, "31": 1.0, "02": 1.0}})
    assert [text.id for text in kowiki(tmp_path, judged, 5)] == ["02", "31", "12", "00", "01"]
    assert len(list(kowiki(tmp_path, judged, 99))) == 12


def test_the_command_prints_a_table_and_writes_json(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, qrels, corpus = files
    arguments = ["eval", "retrieval", questions, qrels, "--corpus", corpus, "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    assert not exited.value.code
    output = capsys.readouterr().out
    figures = json.loads(output.splitlines()[-1])
    assert figures["rows"].keys() == retrieval.ROWS.keys() and "BM25(형태소)" in output
    assert json.loads((tmp_path / "out" / "retrieval.json").read_text("utf-8")) == figures


@pytest.mark.parametrize("arguments", [[], ["q.tsv", "r.tsv"], ["q.tsv", "--data", "."]])
def test_what_to_measure_must_be_said_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["eval", "retrieval", *arguments])
    assert "무엇을 잴지" in capsys.readouterr().err
