"""Speed of ingestion and of search over generated Korean documents.

Run ``python -m benchmarks.retrieval``. It writes documents of our own making (seeded), takes them in, reopens
the index from its caches, and asks for single documents. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval import morphology
from retrieval.index import Index, SentenceEncoder

_PLACES = "도서관 수영장 체육관 주민센터 박물관 보건소 우체국 공원 미술관 주차장 식물원 강당".split()
_TOWNS = "한솔 가람 누리 다온 라온 마루 바름 새롬 아람 자람 차오름 하늘".split()
_TOPICS = "이용 시간|요금|예약 방법|휴관일|준비물|문의처|할인 대상|대여 절차|안전 수칙|환불 규정".split("|")
_SUBJECTS = "신청자는|방문하는 분은|어린이는|단체 손님은|회원은|처음 오는 분은".split("|")
_ACTIONS = (
    "신분증을 보여 주고|신청서를 작성하고|전화로 먼저 묻고|누리집에서 예약하고|창구에서 번호표를 뽑고".split(
        "|"
    )
)
_RULES = (
    "안내에 따라 입장합니다|담당자의 확인을 받습니다|이용료를 카드로 냅니다|정해진 자리에서 기다립니다".split(
        "|"
    )
)
_SECTION_SENTENCES = 8


class RandomProjection:
    """Stands in for the trained encoder: mean of random word vectors, as fast as a static embedding."""

    dimension = 256
    name = "random-projection"

    def __init__(self) -> None:
        """Draws a table of 4,096 word vectors."""
        drawn = np.random.default_rng(0).normal(size=(4096, self.dimension))
        self._table = drawn.astype(np.float32)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 ``[len(texts), 256]``, L2-normalised."""
        means = [
            self._table[[zlib.crc32(word.encode()) % 4096 for word in text.split() or [""]]].mean(0)
            for text in texts
        ]
        stacked = np.stack(means)
        return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def document(random_: random.Random, number: int) -> tuple[str, str]:
    """A document of ten sections in Markdown, and a question that its number answers."""
    town, place = random_.choice(_TOWNS), random_.choice(_PLACES)
    parts = [f"# {town} {place} {number}호 안내"]
    for topic in _TOPICS:
        sentences = [
            f"{random_.choice(_SUBJECTS)} {random_.choice(_ACTIONS)} "
            f"{random_.randint(1, 999)}번 {town} 창구에서 {random_.choice(_RULES)}."
            for _ in range(_SECTION_SENTENCES)
        ]
        parts += [f"## {topic}", " ".join(sentences)]
    return "\n\n".join(parts), f"{town} {place} {number}호 {random_.choice(_TOPICS)} 알려 주세요"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), options.passages, options.queries), ensure_ascii=False))


def measure(folder: Path, passages: int, queries: int) -> dict[str, object]:
    """Ingests about ``passages`` passages under ``folder`` and searches them."""
    questions = _write_documents(folder / "documents", passages)
    encoder: SentenceEncoder = RandomProjection()
    morphology.warm_up()
    with Index.open(folder / "home", encoder) as index:
        start = time.perf_counter()
        index.ingest([folder / "documents"])
        ingest_s = time.perf_counter() - start
        count = sum(document.passages for document in index.documents())
    print(f"{count} passages in {ingest_s:.1f} s")
    start = time.perf_counter()
    with Index.open(folder / "home", encoder) as index:
        open_s = time.perf_counter() - start
        asked = questions[:: max(len(questions) // queries, 1)]
        milliseconds, right = zip(*(_timed(index, *question) for question in asked), strict=True)
    p50, p95 = np.percentile(milliseconds, [50, 95])
    print(f"opened in {open_s:.2f} s; search p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    return {
        "benchmark": "retrieval",
        "machine": f"{platform.machine()} {platform.system()}",
        "passages": count,
        "ingest_passages_per_s": round(count / ingest_s, 1),
        "open_s": round(open_s, 3),
        "query_p50_ms": round(float(p50), 2),
        "query_p95_ms": round(float(p95), 2),
        "right_document_first": round(sum(right) / len(right), 3),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _write_documents(folder: Path, passages: int) -> list[tuple[str, str]]:
    """Writes the documents; pairs of a question and the name of the document that answers it."""
    folder.mkdir()
    random_ = random.Random(0)  # noqa: S311
    questions = []
    # A section of eight sentences becomes two passages.
    for number in range(max(passages // (2 * len(_TOPICS)), 1)):
        text, question = document(random_, number)
        (folder / f"{number:05}.md").write_text(text, encoding="utf-8")
        questions.append((question, f"{number:05}.md"))
    return questions


def _timed(index: Index, question: str, name: str) -> tuple[float, bool]:
    start = time.perf_counter()
    hits = index.search(question)
    return (time.perf_counter() - start) * 1e3, bool(hits) and hits[0].passage.document == name


if __name__ == "__main__":
    main()
