"""Retrieval on MIRACL-style questions: which of four searches ranks the judged documents first.

Rows: BM25 over eojeols (what white space separates), BM25 over morphemes, dense, and both fused as `Index.search` does.
Passages go into an `Index` in batches, so that memory does not grow with the corpus beyond the index itself, and an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from agents.corpus import questions as trained_questions
from assistant.errors import TrainingDataError
from assistant.evaluation.metrics import ndcg, recall
from compression.language.corpus import is_held_out, read_jsonl
from retrieval import cache
from retrieval.index import Index
from retrieval.lexical import BM25
from retrieval.store import Passage

ROWS = {"eojeol": "BM25(어절)", "morpheme": "BM25(형태소)", "dense": "임베딩", "fused": "둘을 합침"}
"""Names of the searches with their Korean labels."""

_DEPTH = 1000
_BATCH = 10_000
# What a killed run has to analyse again is at most this.
_DOCUMENTS_AT_ONCE = 2500
_SHARDS = 4
_WORD = re.compile(r"\w+")
_HINT = "MIRACL 형식의 파일인지 확인해 주세요."


@dataclass(frozen=True)
class Judged:
    """Questions by id, and for each the gain of its judged documents by id."""

    questions: Mapping[str, str]
    gains: Mapping[str, Mapping[str, float]]

    @property
    def documents(self) -> set[str]:
        """Ids of all judged documents."""
        return {document for gains in self.gains.values() for document in gains}


@dataclass(frozen=True)
class Text:
    """A document of the corpus: an article, or a passage of one (``12#3``)."""

    id: str
    title: str
    text: str


def read_judged(questions: Path, qrels: Path) -> Judged:
    """Reads topics and judgements.

    Args:
        questions: ``.tsv`` of id and question, or ``.jsonl`` with ``query_id``/``_id``/``qid`` and
            ``query``/``text``/``question``; may end in ``.xz`` or ``.gz``.
        qrels: TREC's four columns (id, Q0, document, gain), or three with or without a header.

    Raises:
        TrainingDataError: a file is missing or malformed; the message names the line.
    """
    asked: dict[str, str] = {}
    if ".jsonl" in questions.suffixes:
        for item in _objects(questions):
            identifier, text = (
                _first(item, "query_id", "_id", "qid"),
                _first(item, "query", "text", "question"),
            )
            asked[identifier] = text
    else:
        asked = {row[0]: row[1] for row in _rows(questions, 2)}
    gains: dict[str, dict[str, float]] = {}
    for row in _rows(qrels, 3):
        question, document, gain = (row[0], row[2], row[3]) if len(row) > 3 else (row[0], row[1], row[2])
        if not re.fullmatch(r"-?\d+(\.\d+)?", gain):
            if not gains:  # a header
                continue
            raise TrainingDataError(f"{qrels.name}: '{gain}'은(는) 관련도 점수가 아니에요.", _HINT)
        gains.setdefault(question, {})[document] = float(gain)
    return Judged({key: text for key, text in asked.items() if key in gains}, gains)


def read_corpus(path: Path) -> Iterator[Text]:
    """Documents of a ``.jsonl`` file: ``docid``/``_id``/``id``, ``title`` and ``text``.

    Raises:
        TrainingDataError: the file is missing, or a line is malformed.
    """
    for item in _objects(path):
        yield Text(_first(item, "docid", "_id", "id"), str(item.get("title", "")), _first(item, "text"))


def kowiki_judged(data: Path) -> Judged:
    """The 868 training questions of MIRACL-ko, judged by article; all gains are 1 or 0."""
    questions, gains = {}, {}
    for item in read_jsonl(data / "qa" / "miracl_ko_train.jsonl.xz"):
        questions[item["qid"]] = item["question"]
        gains[item["qid"]] = dict.fromkeys(item["neg_doc_ids"], 0.0) | dict.fromkeys(item["pos_doc_ids"], 1.0)
    return Judged(questions, gains)


def kowiki(data: Path, judged: Judged, articles: int) -> Iterator[Text]:
    """Articles of Korean Wikipedia: the relevant ones, then the other judged ones, then others; ``articles`` in all."""
    relevant = {document for gains in judged.gains.values() for document, gain in gains.items() if gain > 0}
    tiers = (relevant, judged.documents - relevant)

    def tier(number: int) -> Iterator[dict[str, Any]]:
        for shard in range(_SHARDS):
            for item in read_jsonl(data / "text" / f"kowiki-{shard}.jsonl.xz"):
                if next((n for n, ids in enumerate(tiers) if item["id"] in ids), len(tiers)) == number:
                    yield item

    for item in islice(chain.from_iterable(map(tier, range(len(tiers) + 1))), articles):
        yield Text(item["id"], item["title"], item["text"])


def half_of(judged: Judged, half: str) -> Judged:
    """One half of the questions, by a hash of their ids: ``tuning``, ``held-out`` or ``all``.

    Figures of the dense rows mean something only on questions that the encoder was not trained on.
    """
    if half == "all":
        return judged
    kept = {key: q for key, q in judged.questions.items() if is_held_out(key, 50) == (half == "held-out")}
    return Judged(kept, {key: judged.gains[key] for key in kept})


def unseen(judged: Judged, data: Path) -> Judged:
    """The questions that the embedded encoder was not trained on.

    It learns from MIRACL's questions and articles, except for those that stand among the held-out questions of TyDi QA,
    so on all others the dense and the fused row are flattered.
    """
    held_out = {question.text for question in trained_questions(data) if question.held_out}
    kept = {key: text for key, text in judged.questions.items() if text in held_out}
    return Judged(kept, {key: judged.gains[key] for key in kept})


def fill(index: Index, corpus: Iterable[Text], progress: Callable[[int], None] = lambda _: None) -> int:
    """Adds documents that are not in the index yet.

    Args:
        index: calls a document by its id in the corpus; its caches are written every few thousand documents.
        corpus: read as a stream.
        progress: called with 1 for each document.

    Returns:
        How many could not be read, such as those without text.
    """
    known = {document.name for document in index.documents()}
    stream = ((_name(text.id), text) for text in _counted(corpus, progress))
    fresh = ((name, _markdown(text)) for name, text in stream if name not in known)
    failed = 0
    while results := index.ingest_texts(islice(fresh, _DOCUMENTS_AT_ONCE)):
        failed += sum(result.error is not None for result in results)
    return failed


def _counted(corpus: Iterable[Text], progress: Callable[[int], None]) -> Iterator[Text]:
    for text in corpus:
        yield text
        progress(1)


def eojeol_index(index: Index, path: Path, progress: Callable[[int], None] = lambda _: None) -> BM25:
    """BM25 over eojeols of the index's passages, kept in a file beside it."""
    ids = index.passage_ids()
    stamp = f"eojeol {len(ids)} {int(ids.sum())}"
    stored = cache.read(path, stamp)
    if stored is not None:
        return BM25.from_bytes(stored)
    made = BM25()
    for start in range(0, len(ids), _BATCH):
        for passage in index.passages(ids[start : start + _BATCH].tolist()):
            made.add(passage.id, eojeols(f"{passage.heading} {passage.text}"))
        progress(min(_BATCH, len(ids) - start))
    cache.write(path, stamp, made.to_parts())
    return made


def eojeols(text: str) -> list[str]:
    """What white space and punctuation separate, in lower case."""
    return [word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", text))]


def evaluate(
    index: Index,
    eojeol: BM25,
    judged: Judged,
    article_level: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Asks every question of the four searches.

    Args:
        index: from `fill`.
        eojeol: from `eojeol_index`.
        judged: questions and gains.
        article_level: counts a passage (``12#3``) for its article (``12``), in rankings and in judgements.
        progress: called with 1 after each question.

    Returns:
        ``rows``: for each search ``ndcg@10`` and ``recall@100``; ``query_p50_ms`` and ``query_p99_ms`` of
        `Index.search` for the best eight passages, and sizes.
    """
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    times = []
    for key, question in judged.questions.items():
        gains = _merged(judged.gains[key]) if article_level else judged.gains[key]
        began = time.perf_counter()
        index.search(question)
        times.append((time.perf_counter() - began) * 1000)
        found = index.rankings(question, _DEPTH)
        by_words = [chunk_id for chunk_id, _ in eojeol.search(eojeols(question), _DEPTH)]
        rankings = (by_words, found.lexical, found.dense, found.fused)
        names = _documents(index.passages(dict.fromkeys(chain(*rankings))), article_level)
        relevant = {document for document, gain in gains.items() if gain > 0}
        for name, ids in zip(ROWS, rankings, strict=True):
            ranking = list(dict.fromkeys(names[chunk_id] for chunk_id in ids))
            scores[name].append((ndcg(ranking, gains), recall(ranking, relevant)))
        progress(1)
    rows = {name: _means(values) for name, values in scores.items()}
    p50, p99 = np.percentile(times, [50, 99]) if times else (0.0, 0.0)
    return {
        "questions": len(judged.questions),
        "documents": len(index.documents()),
        "passages": len(index.passage_ids()),
        "rows": rows,
        "query_p50_ms": round(float(p50), 2),
        "query_p99_ms": round(float(p99), 2),
        "peak_rss_mb": round(peak_memory_mb()),
    }


def peak_memory_mb() -> float:
    """Most memory the process has had at once, in MiB; 0 on Windows."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _means(values: Sequence[tuple[float, float]]) -> dict[str, float]:
    gain, found = np.array(values, np.float64).reshape(-1, 2).mean(axis=0) if values else (0.0, 0.0)
    return {"ndcg@10": round(float(gain), 4), "recall@100": round(float(found), 4)}


def _documents(passages: Sequence[Passage], article_level: bool) -> dict[int, str]:
    """The corpus's id of each passage's document."""
    names = {passage.id: passage.document.removesuffix(".md") for passage in passages}
    return {key: name.partition("#")[0] for key, name in names.items()} if article_level else names


def _merged(gains: Mapping[str, float]) -> dict[str, float]:
    merged: dict[str, float] = {}
    for document, gain in gains.items():
        article = document.partition("#")[0]
        merged[article] = max(merged.get(article, 0.0), gain)
    return merged


def _name(identifier: str) -> str:
    return f"{identifier}.md"


def _markdown(text: Text) -> str:
    """The document with its title as heading; encyclopaedia text holds no markup."""
    body = re.sub(r"(?m)^\s*([#>*+=|~`-])", r"\\\1", text.text)
    return f"# {' '.join(text.title.split())}\n\n" + body.replace("\n", "\n\n") if text.title else body


def _open(path: Path) -> TextIO:
    try:
        if path.suffix == ".xz":
            return lzma.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8")
        return path.open(encoding="utf-8")
    except OSError as error:
        raise TrainingDataError(
            f"{path.name}을(를) 열 수 없어요.", "경로와 읽기 권한을 확인해 주세요."
        ) from error


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                item = json.loads(line)
            except ValueError as error:
                raise TrainingDataError(f"{path.name}의 {number}번째 줄이 JSON이 아니에요.", _HINT) from error
            if not isinstance(item, dict):
                raise TrainingDataError(f"{path.name}의 {number}번째 줄이 객체가 아니에요.", _HINT)
            yield item


def _rows(path: Path, columns: int) -> Iterator[list[str]]:
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            row = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
            if len(row) < columns:
                raise TrainingDataError(f"{path.name}의 {number}번째 줄에 칸이 모자라요.", _HINT)
            yield row


def _first(item: Mapping[str, Any], *keys: str) -> str:
    for key in keys:
        if key in item:
            return str(item[key])
    raise TrainingDataError(f"'{keys[0]}'이(가) 없는 줄이 있어요.", _HINT)
