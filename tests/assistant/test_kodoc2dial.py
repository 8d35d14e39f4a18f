from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from assistant import cli
from assistant.errors import SettingsError, TrainingDataError
from assistant.evaluation import report, runs
from assistant.evaluation.figures import ROWS, figures
from assistant.evaluation.gold import ingest, markdown
from assistant.evaluation.kodoc2dial import export_doc2dial, read
from assistant.evaluation.runs import Finished, Options, Worker, history, prepare, run
from assistant.settings import Settings
from compression.artefacts import write_manifest
from retrieval.index import Index
from tests.assistant.doc2dial import SCRIPT, contents, write_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


@pytest.fixture
def settings(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAMSO_MODELS", str(models))
    return Settings(home=tmp_path / "home", threads=1)


def untimed(finished: list[Finished]) -> list[Finished]:
    return [
        replace(item, outcomes=tuple(replace(o, first_token_ms=0.0, total_ms=0.0) for o in item.outcomes))
        for item in finished
    ]


def test_a_set_is_read_from_a_folder_or_from_its_files(folder: Path) -> None:
    dataset = read([folder])
    assert dataset == read([folder / "dial.json", folder / "doc.json"])
    assert [dialogue.id for dialogue in dataset.dialogues] == ["d1", "d2", "d3"]
    assert [list(dialogue.asked()) for dialogue in dataset.dialogues] == [[0, 2], [0], [0, 2]]
    assert dataset.dialogues[2].turns[3].says_no_answer
    library = dataset.documents["도서관"]
    assert [span.level for span in library.spans] == [1, 2, 0, 0, 2, 0]


def test_dialogues_over_several_documents(tmp_path: Path) -> None:
    documents, dialogues = contents()
    first = dialogues["dial_data"]["공공"]["도서관"][0]
    first["turns"][1]["references"] = [{"doc_id": "../체육관", "id_sp": "3", "label": "solution"}]
    first["turns"][3]["references"] = [{"doc_id": "도서관", "id_sp": 4, "label": "solution"}]
    dataset = read([write_set(tmp_path / "set", documents, {"dial_data": {"공공": [first]}})])
    assert dataset.dialogues[0].document is None
    assert dataset.dialogues[0].turns[1].references == (("../체육관", "3"),)


def broken(change: Callable[[dict[str, Any], dict[str, Any]], Any], match: str) -> Any:
    return pytest.param(change, match, id=match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        broken(lambda d, t: d["도서관"].pop("doc_text"), r"도서관: 'doc_text'가 없어요"),
        broken(lambda d, t: d["도서관"].pop("spans"), r"'spans'가 없어요"),
        broken(lambda d, t: d["도서관"]["spans"]["1"].pop("start_sp"), r"spans › 1: 'start_sp'가 없어요"),
        broken(lambda d, t: d["도서관"]["spans"]["1"].update(end_sp=9999), r"밖이에요"),
        broken(lambda d, t: d["도서관"]["spans"]["1"].update(start_sp="0"), r"'start_sp'의 값이 알맞지"),
        broken(lambda d, t: d.update(도서관=[]), r"객체\({ }\)여야"),
        broken(lambda d, t: t["도서관"][0].pop("turns"), r"d1: 'turns'가 없어요"),
        broken(lambda d, t: t["도서관"][0].pop("dial_id"), r"1: 'dial_id'가 없어요"),
        broken(lambda d, t: t["도서관"][1].update(dial_id="d1"), r"두 번"),
        broken(lambda d, t: t["도서관"][0]["turns"][0].update(role="bot"), r"1번째 턴: role은"),
        broken(lambda d, t: t["도서관"][0]["turns"][0].pop("utterance"), r"'utterance'가 없어요"),
        broken(
            lambda d, t: t["도서관"][0]["turns"][1]["references"][0].update(sp_id="77"), r"구간 '77'이 없어요"
        ),
        broken(lambda d, t: t["도서관"][0]["turns"][1]["references"][0].update(doc_id="x"), r"문서 'x'가"),
        broken(lambda d, t: t.update(없음=t["도서관"]), r"문서 '없음'가"),
    ],
)
def test_what_breaks_the_schema_is_named_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any], match: str
) -> None:
    documents, dialogues = contents()
    change(documents["doc_data"]["공공"], dialogues["dial_data"]["공공"])
    with pytest.raises(TrainingDataError, match=match):
        read([write_set(tmp_path / "set", documents, dialogues)])


def test_files_that_are_no_set(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    for name, match in (
        ("bad", "JSON이 아니에요"),
        ("other", "doc_data도"),
        ("list", "객체"),
        ("no", "열 수 없"),
    ):
        with pytest.raises(TrainingDataError, match=match):
            read([tmp_path / f"{name}.json"])
    with pytest.raises(TrainingDataError, match="대화 파일"):
        read([folder / "doc.json"])
    shutil.copy(folder / "dial.json", folder / "dial2.json")
    with pytest.raises(TrainingDataError, match=r"dial\.json, dial2\.json"):
        read([folder])


def test_every_span_is_found_again_in_what_the_index_reads(folder: Path, tmp_path: Path) -> None:
    dataset = read([folder])
    with Index.open(tmp_path / "index", None) as index:
        gold = ingest(dataset, index)
        sections = {hit.passage.section for hit in index.search("책 빌리기 이용료", 9)}
    assert gold.lost == 0
    for document in dataset.documents.values():
        for span in document.spans:
            place = gold.spans[document.id, span.id]
            assert gold.texts[place.document][place.start : place.end] == span.text
    assert sections == {"책 빌리기", "이용료"}
    heading, below = gold.reach["도서관", "2"], gold.spans["도서관", "3"]
    assert heading.end == below.end and gold.spans["도서관", "2"].end < below.start


def test_names_of_documents_never_become_paths(folder: Path, tmp_path: Path) -> None:
    dataset = read([folder])
    with Index.open(tmp_path / "index", None) as index:
        ingest(dataset, index)
        assert [document.name for document in index.documents()] == ["00000.md", "00001.md"]
    assert "../체육관" not in markdown(dataset.documents["../체육관"])


def test_the_history_is_the_sets_own_with_its_citations(folder: Path, tmp_path: Path) -> None:
    dataset = read([folder])
    with Index.open(tmp_path / "index", None) as index:
        gold = ingest(dataset, index)
    asked, replied = history(dataset.dialogues[0], 2, gold)
    place = gold.spans["도서관", "6"]
    assert (asked.role, asked.text, asked.outcome) == ("user", "책은 한 번에 몇 권까지 빌릴 수 있나요?", None)
    assert replied.role == "assistant" and replied.text == "5권까지 14일 동안 빌릴 수 있어요."
    assert replied.outcome == {"sources": [{"document_id": place.document, "start": place.start}]}


@pytest.mark.parametrize("system", ["damso", "bm25", "dense", "none"])
def test_a_run_can_be_interrupted_and_goes_on(
    folder: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    dataset, out = read([folder]), tmp_path / "out"
    gold = prepare(dataset, settings, out)
    finish, calls = Worker.finish, []

    def dying(self: Worker, dialogue: Any) -> Finished:
        if dialogue.id == "d2" and not calls:
            calls.append("")
            raise KeyboardInterrupt
        calls.append(dialogue.id)
        return finish(self, dialogue)

    monkeypatch.setattr(Worker, "finish", dying)
    with pytest.raises(KeyboardInterrupt):
        calls.clear()
        run(dataset, gold, system, settings, out, Options(limit=1))
        calls.clear()
        run(dataset, gold, system, settings, out, Options())
    lines = out / f"{system}.jsonl"
    lines.write_bytes(lines.read_bytes() + b'{"dialogue": "d2", "domai')  # killed in the middle of a write
    calls.clear()
    calls.append("")
    finished = run(dataset, gold, system, settings, out, Options())
    assert calls == ["", "d2", "d3"]
    assert [item.dialogue for item in finished] == ["d1", "d2", "d3"]
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 3
    assert run(dataset, gold, system, settings, out, Options()) == finished
    outcomes = [outcome for item in finished for outcome in item.outcomes]
    assert [outcome.answerable for outcome in outcomes] == [True, True, True, True, False]
    if system in ("damso", "bm25"):
        assert outcomes[0].best_is_right and outcomes[0].passage_rank == 1
        assert outcomes[0].common_characters == outcomes[0].gold_characters > 0
    if system == "none":
        assert all(outcome.passage_rank is None and not outcome.cited for outcome in outcomes)


def test_two_workers_find_what_one_finds(folder: Path, tmp_path: Path, settings: Settings) -> None:
    dataset = read([folder])
    results = []
    for workers in (1, 2):
        gold = prepare(dataset, settings, tmp_path / str(workers))
        finished = run(dataset, gold, "damso", settings, tmp_path / str(workers), Options(workers=workers))
        results.append(untimed(finished))
    assert results[0] == results[1] and len(results[0]) == 3


def test_only_the_dialogues_document_is_searched_when_it_is_given(
    folder: Path, tmp_path: Path, settings: Settings
) -> None:
    dataset = read([folder])
    gold = prepare(dataset, settings, tmp_path / "out")
    finished = run(dataset, gold, "bm25", settings, tmp_path / "out", Options(given_document=True))
    ranks = [outcome.document_rank for item in finished for outcome in item.outcomes if outcome.answerable]
    assert set(ranks) == {1}


def test_results_of_another_set_are_not_mixed_in(folder: Path, tmp_path: Path, settings: Settings) -> None:
    prepare(read([folder]), settings, tmp_path / "out")
    documents, dialogues = contents()
    dialogues["dial_data"]["공공"].pop("도서관")
    other = read([write_set(tmp_path / "other", documents, dialogues)])
    with pytest.raises(SettingsError, match="다른 자료"):
        prepare(other, settings, tmp_path / "out")


def test_without_ray_it_says_what_to_install(
    folder: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    dataset = read([folder])
    gold = prepare(dataset, settings, tmp_path / "out")
    with pytest.raises(SettingsError, match=r"damso\[ray\]"):
        run(dataset, gold, "bm25", settings, tmp_path / "out", Options(ray=True))


def test_dialogues_are_taken_from_the_domains_in_turn() -> None:
    class Named:
        def __init__(self, domain: str, number: int) -> None:
            self.domain, self.number = domain, number

    dialogues: Any = [Named("가", 1), Named("가", 2), Named("가", 3), Named("나", 4)]
    assert [item.number for item in runs._chosen(dialogues, 2)] == [1, 4]
    assert [item.number for item in runs._chosen(dialogues, None)] == [1, 2, 3, 4]


def outcome(**values: Any) -> runs.Outcome:
    base = runs.Outcome(
        "1", "질문", "책은 5권까지 빌려요.", "respond_solution", True, ["책은 5권까지 빌려요."],
        "책은 5권까지 빌려요.", False, 0.9, ["책은 5권까지 빌려요."], 1, 1, 8, 8, 8, True, 1.0, 2.0,
    )  # fmt: skip
    return replace(base, **values)


def test_a_perfect_answer_scores_one_and_silence_nothing() -> None:
    silent = {"abstained": True, "cited": [], "cited_characters": 0, "common_characters": 0}
    unanswerable = outcome(
        answerable=False, gold_spans=[], gold_characters=0, confidence=0.1, best_is_right=False, **silent
    )
    perfect = figures([outcome(), unanswerable])
    ones = {row.key for row in ROWS if row.group in ("검색", "근거", "답", "기권")}
    ones -= {"risk_coverage_area", "uncited"}
    assert {key: perfect[key] for key in ones} == dict.fromkeys(ones, 1.0)
    assert perfect["risk_coverage_area"] == 0.25 and perfect["uncited"] == 0
    assert figures([outcome(answer="", **silent)])["span_f1"] == 0
    empty = figures([])
    assert empty["questions"] == 0 and empty["sacrebleu"] is None and empty["total_p99_ms"] is None
    assert all(row.key in perfect for row in ROWS)


class Tags(HTMLParser):
    """Opening tags of a page, and that all are closed in order."""

    VOID = frozenset({"meta", "br", "line", "polyline", "circle"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open += [] if tag in self.VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_escapes_every_text_and_needs_nothing_but_itself() -> None:
    evil = f'"><img src=x onerror=alert(1)>{SCRIPT}'
    bad = outcome(turn=evil, question=evil, gold=evil, act=evil, gold_spans=[evil], answer=evil, cited=[evil])
    results = {"damso": [Finished(evil, evil, (bad,))], evil: [Finished(evil, evil, (bad,))]}
    page = report.html({evil: evil}, report.summarised(results), results, 0.4)
    tags = Tags(page)
    assert tags.open == []
    assert not {"script", "img", "link"} & set(tags.tags) and "svg" in tags.tags and "details" in tags.tags
    assert not re.search(r"(src|href)=", page.replace("src=x", "")) and "위험" in page


def test_the_command_writes_the_reports(
    models: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DAMSO_MODELS", str(models))
    write_manifest(models)
    out = tmp_path / "out"
    arguments = ["eval", "kodoc2dial", str(folder), "--out", str(out), "--system", "all", "--limit", "2"]
    with pytest.raises(SystemExit) as exited:
        cli.main(arguments)
    assert not exited.value.code
    written = json.loads((out / "report.json").read_text(encoding="utf-8"))
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: values["all"] for name, values in written["systems"].items()} == printed
    assert set(printed) == {"damso", "bm25", "dense", "none"} and printed["bm25"]["questions"] == 3
    assert (out / "risk_coverage.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert SCRIPT not in page and "&lt;script&gt;" in page and "d2" in page


@pytest.mark.parametrize("arguments", [[], ["x", "--dialogues", "dev"]])
def test_one_thing_to_measure_must_be_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["eval", "kodoc2dial", *arguments])
    assert "하나만" in capsys.readouterr().err


def test_our_dialogues_in_the_schema(tmp_path: Path) -> None:
    dataset = read(list(export_doc2dial("dev", tmp_path)))
    assert (
        len(dataset.documents) == 8 and len({document.domain for document in dataset.documents.values()}) == 4
    )
    with Index.open(tmp_path / "index", None) as index:
        assert ingest(dataset, index).lost == 0
    for document in dataset.documents.values():
        assert all(document.text[span.start : span.end] == span.text for span in document.spans)
