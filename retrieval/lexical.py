"""BM25 over NumPy postings, with additions and removals that cost no rebuild.

Postings live in two parts: a compact base (one array for all terms, as compressed sparse rows) and a small
delta of recent additions. Removed passages are marked and skipped. `compact` folds everything into a fresh
base; it runs by itself when the delta or the dead outgrow half of the base.
"""

from __future__ import annotations

import io
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_COMPACT_FROM = 2000
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class BM25:
    """Okapi BM25 with Lucene's idf.

    ``ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 (1 - b + b len / avglen))``

    Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; the variant
    without the constant factor ``k1 + 1``, as in Kamphuis et al., "Which BM25 Do You Mean?", ECIR 2020. Not
    thread-safe.
    """

    def __init__(self, k1: float = 0.9, b: float = 0.4) -> None:
        """Makes an empty index.

        Args:
            k1: saturation of term frequency.
            b: weight of length. Passages are of one size, so it matters less than for whole documents: 0.9
                and 0.4 (Anserini's defaults) found more on Korean questions than Lucene's 1.2 and 0.75.
        """
        self.k1, self.b = k1, b
        self._terms: dict[str, int] = {}
        self._starts: Integers = np.zeros(1, np.int64)
        self._base_rows: NDArray[np.int32] = np.zeros(0, np.int32)
        self._base_frequencies: Floats = np.zeros(0, np.float32)
        self._delta: dict[str, tuple[array[int], array[float]]] = {}
        self._ids = array("q")
        self._lengths = array("f")
        self._alive = bytearray()
        self._row_of: dict[int, int] = {}
        self._base_size = 0

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def ids(self) -> set[int]:
        """Ids of the passages in the index."""
        return set(self._row_of)

    def add(self, chunk_id: int, terms: Iterable[str], fields: Mapping[str, float] | None = None) -> None:
        """Adds a passage.

        Args:
            chunk_id: an id that is not in the index.
            terms: terms of the passage's text, as often as they occur.
            fields: weights of terms from the passage's heading and title, added to the term frequencies.

        Raises:
            ValueError: the id is in the index already.
        """
        if chunk_id in self._row_of:
            raise ValueError(f"passage {chunk_id} is in the index already")
        row = len(self._ids)
        frequencies: dict[str, float] = Counter(terms)  # type: ignore[assignment]
        for term, weight in (fields or {}).items():
            frequencies[term] = frequencies.get(term, 0.0) + weight
        for term, frequency in frequencies.items():
            rows, weights = self._delta.setdefault(term, (array("i"), array("f")))
            rows.append(row)
            weights.append(frequency)
        self._ids.append(chunk_id)
        self._lengths.append(sum(frequencies.values()))
        self._alive.append(1)
        self._row_of[chunk_id] = row
        self._compact_if_worthwhile()

    def remove(self, chunk_id: int) -> None:
        """Removes a passage; an id that is not there is no error."""
        row = self._row_of.pop(chunk_id, None)
        if row is not None:
            self._alive[row] = 0
            self._compact_if_worthwhile()

    def search(
        self, terms: Sequence[str] | Mapping[str, float], top_k: int, allowed: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """Finds the best passages.

        Args:
            terms: query terms, or their weights.
            top_k: how many at most.
            allowed: ids to choose from; None for all.

        Returns:
            ``(id, score)``, best first, scores above zero; equal scores by ascending id.
        """
        scores = self._scores(terms)
        scores[np.frombuffer(self._alive, np.uint8) == 0] = 0.0
        if allowed is not None:
            scores[~self._mask(allowed)] = 0.0
        ids = np.frombuffer(self._ids, np.int64)
        rows = _largest(scores, ids, top_k)
        return [(int(ids[row]), float(scores[row])) for row in rows]

    def scores(self, terms: Sequence[str] | Mapping[str, float], ids: Sequence[int]) -> Floats:
        """Scores of given passages, float32 ``[len(ids)]``; 0 for ids that are not in the index."""
        found = np.array([self._row_of.get(chunk_id, -1) for chunk_id in ids], np.int64)
        return np.where(found < 0, np.float32(0), np.append(self._scores(terms), np.float32(0))[found])

    def idf(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """Inverse document frequencies, float64 ``[len(terms)]``; the largest for terms that never occur."""
        return np.array([self._idf(len(self._postings(term)[0])) for term in terms], np.float64)

    def compact(self) -> None:
        """Folds additions and removals into one base. What is found does not change."""
        alive = np.frombuffer(self._alive, np.uint8).astype(bool)
        terms, rows, frequencies = self._all_postings()
        kept = alive[rows]
        # Rows ascend within a term already: the base holds older rows than the delta.
        order = np.argsort(terms[kept], kind="stable")
        counts = np.bincount(terms[kept], minlength=len(self._terms) + len(self._delta))
        names = [*self._terms, *(term for term in self._delta if term not in self._terms)]
        self._terms = {names[number]: i for i, number in enumerate(np.flatnonzero(counts))}
        self._starts = np.cumsum([0, *counts[counts > 0]], dtype=np.int64)
        self._base_rows = (np.cumsum(alive, dtype=np.int32) - 1)[rows[kept][order]].astype(np.int32)
        self._base_frequencies = frequencies[kept][order]
        self._set_passages(np.frombuffer(self._ids, np.int64)[alive], self._length_array()[alive])

    def to_bytes(self) -> bytes:
        """The whole index, compacted, as an ``npz`` archive without pickles."""
        self.compact()
        buffer = io.BytesIO()
        np.savez(
            buffer,
            terms=np.frombuffer("\n".join(self._terms).encode("utf-8", "surrogatepass"), np.uint8),
            starts=self._starts,
            rows=self._base_rows,
            frequencies=self._base_frequencies,
            ids=np.frombuffer(self._ids, np.int64),
            lengths=self._length_array(),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, k1: float = 0.9, b: float = 0.4) -> BM25:
        """The index that `to_bytes` wrote."""
        index = cls(k1, b)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            terms = arrays["terms"].tobytes().decode("utf-8", "surrogatepass")
            index._terms = {term: i for i, term in enumerate(terms.split("\n") if terms else [])}
            index._starts = arrays["starts"]
            index._base_rows, index._base_frequencies = arrays["rows"], arrays["frequencies"]
            index._set_passages(arrays["ids"], arrays["lengths"])
        return index

    def _set_passages(self, ids: Integers, lengths: Floats) -> None:
        self._delta = {}
        self._ids, self._lengths = array("q", ids.tobytes()), array("f", lengths.tobytes())
        self._alive = bytearray(b"\1" * len(ids))
        self._row_of = {int(chunk_id): row for row, chunk_id in enumerate(ids)}
        self._base_size = len(ids)

    def _compact_if_worthwhile(self) -> None:
        recent = len(self._ids) - self._base_size
        dead = len(self._ids) - len(self._row_of)
        if max(recent, dead) > max(_COMPACT_FROM, self._base_size // 2):
            self.compact()

    def _length_array(self) -> Floats:
        return np.frombuffer(self._lengths, np.float32)

    def _scores(self, terms: Sequence[str] | Mapping[str, float]) -> Floats:
        weights: Mapping[str, float] = terms if isinstance(terms, Mapping) else Counter(terms)
        scores = np.zeros(len(self._ids), np.float32)
        if not self._row_of:
            return scores
        lengths = self._length_array()
        mean = float(lengths @ np.frombuffer(self._alive, np.uint8)) / len(self._row_of)
        for term, weight in weights.items():
            rows, frequencies = self._postings(term)
            norm = self.k1 * (1 - self.b + self.b * lengths[rows] / max(mean, 1e-9))
            scores[rows] += weight * self._idf(len(rows)) * frequencies / (frequencies + norm)
        return scores

    def _idf(self, document_frequency: int) -> float:
        return float(np.log1p((len(self) - document_frequency + 0.5) / (document_frequency + 0.5)))

    def _postings(self, term: str) -> tuple[NDArray[np.int32], Floats]:
        """Rows of the living passages that hold the term, ascending, and the term's frequencies there."""
        number = self._terms.get(term)
        span = slice(0, 0) if number is None else slice(self._starts[number], self._starts[number + 1])
        recent_rows, recent_frequencies = self._delta.get(term, (array("i"), array("f")))
        rows = np.concatenate([self._base_rows[span], np.frombuffer(recent_rows, np.int32)])
        frequencies = np.concatenate(
            [self._base_frequencies[span], np.frombuffer(recent_frequencies, np.float32)]
        )
        alive = np.frombuffer(self._alive, np.uint8)[rows] > 0
        return rows[alive], frequencies[alive]

    def _all_postings(self) -> tuple[Integers, NDArray[np.int32], Floats]:
        """Every posting as (term number, row, frequency); new terms are numbered after the base's."""
        new = (term for term in self._delta if term not in self._terms)
        numbers = self._terms | {term: len(self._terms) + i for i, term in enumerate(new)}
        terms = [np.repeat(np.arange(len(self._terms)), np.diff(self._starts))]
        terms += [np.full(len(rows), numbers[term]) for term, (rows, _) in self._delta.items()]
        rows = [self._base_rows, *(np.frombuffer(rows, np.int32) for rows, _ in self._delta.values())]
        frequencies = [np.frombuffer(weights, np.float32) for _, weights in self._delta.values()]
        return (
            np.concatenate(terms),
            np.concatenate(rows),
            np.concatenate([self._base_frequencies, *frequencies]),
        )

    def _mask(self, allowed: Collection[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self._ids), np.bool_)
        mask[[self._row_of[chunk_id] for chunk_id in allowed if chunk_id in self._row_of]] = True
        return mask


def _largest(scores: Floats, ids: Integers, top_k: int) -> Integers:
    """Rows of the ``top_k`` largest positive scores, best first, ties by id."""
    rows = np.flatnonzero(scores)
    if len(rows) > top_k > 0:
        threshold = np.partition(scores[rows], len(rows) - top_k)[len(rows) - top_k]
        rows = rows[scores[rows] >= threshold]
    order = np.lexsort((ids[rows], -scores[rows]))
    return rows[order][: max(top_k, 0)]
