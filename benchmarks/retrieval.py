"""Speed of ingestion and of search.

``python -m benchmarks.retrieval`` writes documents of our own making (seeded), takes them in, opens the index anew from
its caches in another process, and asks for single documents. With ``--corpus DIR``, a folder of training data, it takes
in Korean Wikipedia and asks MIRACL's questions; ``--out DIR`` keeps the index there, and the same command goes on from
where an earlier one stopped::

    python -m benchmarks.retrieval --passages 1000000 --corpus DIR --out DIR

The last line is one JSON object. Machines are shared, so times are given by the clock and in processor time (reading
the corpus left out). ``two_cores`` is what two idle cores would take: the first thread's time and half of that of
Kiwi's threads.
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
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from tqdm import tqdm

from agents.encoder import Encoder
from assistant.evaluation.retrieval import Text, fill, kowiki, kowiki_judged
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
        directions: np.ndarray = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
        return directions


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


Question = tuple[str, frozenset[str]]
"""A question and the names of the documents that answer it."""


@dataclass
class Spent:
    """What ingestion has cost so far, over all runs of the command.

    Attributes:
        passages: passages added.
        clock_s: by the clock.
        cpu_s: of all threads.
        main_s: of the first thread.
    """

    passages: int = 0
    clock_s: float = 0.0
    cpu_s: float = 0.0
    main_s: float = 0.0

    def figures(self) -> dict[str, float]:
        """Passages a second: by the clock, by processor time, and on two idle cores."""
        two_cores = self.main_s + (self.cpu_s - self.main_s) / 2
        times = {"s": self.clock_s, "cpu_s": self.cpu_s, "s_two_cores": two_cores}
        return {
            f"ingest_passages_per_{name}": round(self.passages / max(seconds, 1e-9), 1)
            for name, seconds in times.items()
        }


class Clock:
    """Times from its making on, without those spent on reading a corpus."""

    def __init__(self) -> None:
        """Starts."""
        self._began = self._now()
        self._reading: NDArray[np.float64] = np.zeros(3)

    def unread(self, texts: Iterable[Text]) -> Iterator[Text]:
        """The texts; the time that making them takes does not count."""
        source = iter(texts)
        while True:
            began = self._now()
            text = next(source, None)
            self._reading += self._now() - began
            if text is None:
                return
            yield text

    def spent(self, passages: int) -> Spent:
        """What the passages have cost."""
        return Spent(passages, *(self._now() - self._began - self._reading).tolist())

    def _now(self) -> NDArray[np.float64]:
        return np.array([time.perf_counter(), time.process_time(), time.thread_time()])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--corpus", type=Path, help="folder of training data")
    parser.add_argument("--out", type=Path, help="keeps the index here; a second run goes on")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.out or Path(name)
        print(
            json.dumps(measure(folder, options.passages, options.queries, options.corpus), ensure_ascii=False)
        )


def measure(folder: Path, passages: int, queries: int, corpus: Path | None = None) -> dict[str, object]:
    """Brings an index under ``folder`` to about ``passages`` passages and searches it."""
    folder.mkdir(parents=True, exist_ok=True)
    texts, questions = _kowiki(corpus) if corpus else _generated(passages)
    spent = _ingest(folder, texts, passages, corpus is None)
    # In another process, whose memory is the index's alone.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        chosen = questions[:: max(len(questions) // queries, 1)][:queries]
        searched = pool.submit(search, folder, chosen, corpus is None).result()
    return {
        "benchmark": "retrieval",
        "machine": f"{platform.machine()} {platform.system()}",
        "corpus": "kowiki" if corpus else "generated",
        **spent.figures(),
        "ingest_peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **searched,
    }


def search(folder: Path, questions: Sequence[Question], generated: bool) -> dict[str, object]:
    """Opens the index of ``folder`` and asks it."""
    morphology.warm_up()
    began = time.perf_counter()
    with Index.open(folder / "home", _encoder(generated)) as index:
        open_s = time.perf_counter() - began
        index.search(questions[0][0])
        clock, cpu, right = np.array([_timed(index, *question) for question in questions]).T
        size = sum(path.stat().st_size for path in (folder / "home").iterdir())
        return {
            "passages": len(index.passage_ids()),
            "open_s": round(open_s, 3),
            **_percentiles("query", clock),
            **_percentiles("query_cpu", cpu),
            "right_document_first": round(float(right.mean()), 3),
            "rss_mb": round(psutil.Process().memory_info().rss / 2**20),
            "disk_mb": round(size / 2**20),
        }


def _ingest(folder: Path, texts: Iterable[Text], passages: int, generated: bool) -> Spent:
    record = folder / "ingest.json"
    before = Spent(**json.loads(record.read_text())) if record.exists() else Spent()
    morphology.warm_up()
    with Index.open(folder / "home", _encoder(generated)) as index, tqdm(unit="documents") as bar:
        had, clock = len(index.passage_ids()), Clock()
        try:
            unread = clock.unread(_until(index, texts, passages))
            if generated:
                index.ingest_texts((f"{text.id}.md", text.text) for text in unread)
            else:
                fill(index, unread, bar.update)
        finally:
            new = clock.spent(len(index.passage_ids()) - had)
            sums = {name: value + asdict(new)[name] for name, value in asdict(before).items()}
            record.write_text(json.dumps(sums))
    return Spent(**sums)


def _until(index: Index, texts: Iterable[Text], passages: int) -> Iterator[Text]:
    """The texts until the index holds so many passages."""
    every = max(20, passages // 2000)
    for number, text in enumerate(texts):
        if number % every == 0 and len(index.passage_ids()) >= passages:
            return
        yield text


def _encoder(generated: bool) -> SentenceEncoder:
    return RandomProjection() if generated else Encoder.load()


def _kowiki(corpus: Path) -> tuple[Iterable[Text], list[Question]]:
    judged = kowiki_judged(corpus)
    questions = [
        (question, frozenset(f"{document}.md" for document, gain in judged.gains[key].items() if gain > 0))
        for key, question in judged.questions.items()
    ]
    return kowiki(corpus, judged, 10**9), questions


def _generated(passages: int) -> tuple[list[Text], list[Question]]:
    random_ = random.Random(0)  # noqa: S311
    texts: list[Text] = []
    questions: list[Question] = []
    # A section of eight sentences becomes two passages.
    for number in range(max(passages // (2 * len(_TOPICS)), 1)):
        text, question = document(random_, number)
        texts.append(Text(f"{number:05}", "", text))
        questions.append((question, frozenset([f"{number:05}.md"])))
    return texts, questions


def _timed(index: Index, question: str, names: frozenset[str]) -> tuple[float, float, bool]:
    clock, cpu = time.perf_counter(), time.process_time()
    hits = index.search(question)
    return (
        (time.perf_counter() - clock) * 1e3,
        (time.process_time() - cpu) * 1e3,
        bool(hits) and hits[0].passage.document in names,
    )


def _percentiles(name: str, milliseconds: np.ndarray) -> dict[str, float]:
    return {f"{name}_p{p}_ms": round(float(np.percentile(milliseconds, p)), 2) for p in (50, 95)}


if __name__ == "__main__":
    main()
