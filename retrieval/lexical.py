"""BM25 over NumPy postings, with additions and removals that cost no rebuild.

Postings live in two parts: a compact base (`retrieval.postings`, which may be memory-mapped) and a small delta of
recent additions. Removed passages are marked and skipped. `compact` folds everything into a fresh base; it runs by
itself when the delta or the dead outgrow half of the base, and in a large index whenever the delta is large.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.postings import Postings, Vocabulary

_COMPACT_FROM = 2000
_LARGEST_DELTA = 20_000
# Queries that touch fewer postings are scored in full: pruning costs more than it saves.
_PRUNED_FROM = 200_000
_ALIGNMENT = 64

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Listed = tuple[NDArray[np.int32], Floats]


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
        self._base = Postings.empty()
        self._delta: dict[str, tuple[array[int], array[float]]] = {}
        self._ids = array("q")
        self._lengths = array("f")
        self._alive = bytearray()
        self._living = 0
        self._base_size = 0
        # Rows of the base by ascending id, and rows of the delta by id.
        self._base_order: Integers = np.zeros(0, np.int64)
        self._base_ids: Integers = np.zeros(0, np.int64)
        self._recent: dict[int, int] = {}
        self._norms: Floats | None = None

    def __len__(self) -> int:
        return self._living

    def __contains__(self, chunk_id: int) -> bool:
        return self._row(chunk_id) >= 0

    @property
    def ids(self) -> set[int]:
        """Ids of the passages in the index."""
        return set(self.id_array.tolist())

    @property
    def id_array(self) -> Integers:
        """The same as int64 [n], in no order."""
        ids: Integers = np.frombuffer(self._ids, np.int64)[self._alive_rows()]
        return ids

    def add(self, chunk_id: int, terms: Iterable[str], fields: Mapping[str, float] | None = None) -> None:
        """Adds a passage.

        Args:
            chunk_id: an id that is not in the index.
            terms: terms of the passage's text, as often as they occur.
            fields: weights of terms from the passage's heading and title, added to the term frequencies.

        Raises:
            ValueError: the id is in the index already.
        """
        if chunk_id in self:
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
        self._recent[chunk_id] = row
        self._living += 1
        self._changed()

    def remove(self, chunk_id: int) -> None:
        """Removes a passage; an id that is not there is no error."""
        row = self._row(chunk_id)
        if row >= 0:
            self._alive[row] = 0
            self._recent.pop(chunk_id, None)
            self._living -= 1
            self._changed()

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
        mask = None if allowed is None else self._mask(allowed)
        weighed = self._weighed(terms)
        touched = sum(len(rows) for _, (rows, _) in weighed)
        scores = self._scores(weighed) if touched < _PRUNED_FROM else self._pruned(weighed, top_k, mask)
        if mask is not None:
            scores[~mask] = 0.0
        ids = np.frombuffer(self._ids, np.int64)
        rows = _largest(scores, ids, top_k)
        return [(int(ids[row]), float(scores[row])) for row in rows]

    def scores(self, terms: Sequence[str] | Mapping[str, float], ids: Sequence[int]) -> Floats:
        """Scores of given passages, float32 ``[len(ids)]``; 0 for ids that are not in the index."""
        wanted = np.array([self._row(chunk_id) for chunk_id in ids], np.int32)
        scores = np.zeros(len(wanted), np.float32)
        for weight, (rows, frequencies) in self._weighed(terms):
            at, found = _found(rows, wanted)
            scores[found] += self._part(weight, len(rows), wanted[found], frequencies[at[found]])
        return scores

    def idf(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """Inverse document frequencies, float64 ``[len(terms)]``; the largest for terms that never occur."""
        return np.array([self._idf(len(self._postings(term)[0])) for term in terms], np.float64)

    def compact(self) -> None:
        """Folds additions and removals into one base. What is found does not change."""
        if not self._delta and self._living == self._base_size == len(self._ids):
            return
        alive = self._alive_rows()
        self._base = self._base.merged(self._delta, alive)
        self._set_passages(np.frombuffer(self._ids, np.int64)[alive], self._length_array()[alive])

    def to_parts(self) -> list[memoryview]:
        """The whole index, compacted, as buffers to write one after the other: a directory, then arrays."""
        self.compact()
        arrays: dict[str, NDArray[Any]] = {
            "letters": self._base.vocabulary.letters,
            "ends": self._base.vocabulary.ends,
            "starts": self._base.starts,
            "rows": self._base.rows,
            "frequencies": self._base.frequencies,
            "ids": np.frombuffer(self._ids, np.int64),
            "lengths": self._length_array(),
        }
        directory = json.dumps({name: [a.dtype.str, a.size] for name, a in arrays.items()}).encode() + b"\n"
        parts: list[memoryview] = [memoryview(_padded(directory))]
        for values in arrays.values():
            parts.append(np.ascontiguousarray(values).view(np.uint8).data)
            parts.append(memoryview(b"\0" * (-values.nbytes % _ALIGNMENT)))
        return parts

    def to_bytes(self) -> bytes:
        """`to_parts` in one."""
        return b"".join(self.to_parts())

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, k1: float = 0.9, b: float = 0.4) -> BM25:
        """The index that `to_parts` wrote; its postings stay where ``data`` lies."""
        index = cls(k1, b)
        head = bytes(data[: 1 << 12]).split(b"\n", 1)[0]
        at, arrays = len(_padded(head + b"\n")), dict[str, NDArray[Any]]()
        for name, (kind, size) in json.loads(head).items():
            arrays[name] = np.frombuffer(data, kind, size, at)
            at += arrays[name].nbytes + -arrays[name].nbytes % _ALIGNMENT
        vocabulary = Vocabulary(arrays["letters"], arrays["ends"])
        index._base = Postings(vocabulary, arrays["starts"], arrays["rows"], arrays["frequencies"])
        index._set_passages(arrays["ids"], arrays["lengths"])
        return index

    def _set_passages(self, ids: Integers, lengths: Floats) -> None:
        self._delta, self._recent = {}, {}
        self._ids, self._lengths = array("q", ids.tobytes()), array("f", lengths.tobytes())
        self._alive = bytearray(b"\1" * len(ids))
        self._living = self._base_size = len(ids)
        self._base_order = np.argsort(ids, kind="stable")
        self._base_ids = np.array(ids[self._base_order], np.int64)
        self._norms = None

    def _row(self, chunk_id: int) -> int:
        """Row of a living passage, -1 for an id that is not in the index."""
        row = self._recent.get(chunk_id, -1)
        if row >= 0:
            return row
        place = int(np.searchsorted(self._base_ids, chunk_id))
        if place == len(self._base_ids) or self._base_ids[place] != chunk_id:
            return -1
        row = int(self._base_order[place])
        return row if self._alive[row] else -1

    def _changed(self) -> None:
        """After every addition and removal: lengths have a new mean, and it may be time to compact."""
        self._norms = None
        recent = len(self._ids) - self._base_size
        dead = len(self._ids) - self._living
        half = self._base_size // 2
        if recent > max(_COMPACT_FROM, min(half, _LARGEST_DELTA)) or dead > max(_COMPACT_FROM, half):
            self.compact()

    def _length_array(self) -> Floats:
        return np.frombuffer(self._lengths, np.float32)

    def _alive_rows(self) -> NDArray[np.bool_]:
        return np.frombuffer(self._alive, np.bool_)

    def _weighed(self, terms: Sequence[str] | Mapping[str, float]) -> list[tuple[float, Listed]]:
        weights: Mapping[str, float] = terms if isinstance(terms, Mapping) else Counter(terms)
        return [(weight, self._postings(term)) for term, weight in weights.items()]

    def _scores(self, weighed: Iterable[tuple[float, Listed]]) -> Floats:
        """Scores of all rows, float32 [rows]."""
        scores = np.zeros(len(self._ids), np.float32)
        for weight, (rows, frequencies) in weighed:
            scores[rows] += self._part(weight, len(rows), rows, frequencies)
        return scores

    def _pruned(
        self, weighed: Sequence[tuple[float, Listed]], top_k: int, mask: NDArray[np.bool_] | None
    ) -> Floats:
        """`_scores`, in which only the ``top_k`` best are sure to be right.

        Terms go from the weightiest to the lightest, which have the long postings. Once what is left cannot lift an
        unseen passage among the best, only those that can still get there are scored (MaxScore; Turtle and Flood,
        "Query Evaluation: Strategies and Optimizations", 1995).
        """
        bounds = [weight * self._idf(len(rows)) for weight, (rows, _) in weighed]
        order = sorted(range(len(weighed)), key=lambda i: -bounds[i])
        scores = np.zeros(len(self._ids), np.float32)
        contenders: NDArray[np.int32] | None = None
        for position, i in enumerate(order):
            weight, (rows, frequencies) = weighed[i]
            left = sum(bounds[j] for j in order[position:])
            if len(rows) * 50 > len(self._ids):
                contenders = self._contenders(scores, contenders, left, top_k, mask)
            if contenders is None:
                scores[rows] += self._part(weight, len(rows), rows, frequencies)
            else:
                at, found = _found(rows, contenders)
                chosen = contenders[found]
                scores[chosen] += self._part(weight, len(rows), chosen, frequencies[at[found]])
        if contenders is None:
            return scores
        best = np.zeros_like(scores)
        best[contenders] = scores[contenders]
        return best

    def _contenders(
        self,
        scores: Floats,
        before: NDArray[np.int32] | None,
        left: float,
        top_k: int,
        mask: NDArray[np.bool_] | None,
    ) -> NDArray[np.int32] | None:
        """Rows that can still be among the best when at most ``left`` is to come; None while any row can."""
        rows = np.flatnonzero(scores).astype(np.int32) if before is None else before
        if mask is not None:
            rows = rows[mask[rows]]
        if len(rows) <= top_k or top_k <= 0:
            return before
        reached = scores[rows]
        threshold = np.partition(reached, len(rows) - top_k)[len(rows) - top_k]
        # A hair of slack: float32 sums depend on their order.
        if before is None and left >= threshold * (1 - 1e-4):
            return None
        contenders: NDArray[np.int32] = rows[reached + left >= threshold * (1 - 1e-4)]
        return contenders

    def _part(
        self, weight: float, frequency: int, rows: NDArray[np.int32], frequencies: NDArray[np.floating]
    ) -> Floats:
        """What a term of a document frequency adds to the scores of some rows."""
        if self._norms is None:
            lengths = self._length_array()
            mean = float(lengths @ np.frombuffer(self._alive, np.uint8)) / max(self._living, 1)
            self._norms = self.k1 * (1 - self.b + self.b * lengths / max(mean, 1e-9))
        counted = frequencies.astype(np.float32, copy=False)
        part: Floats = weight * self._idf(frequency) * counted / (counted + self._norms[rows])
        return part

    def _idf(self, document_frequency: int) -> float:
        return float(np.log1p((len(self) - document_frequency + 0.5) / (document_frequency + 0.5)))

    def _postings(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
        """Rows of the living passages that hold the term, ascending, and the term's frequencies there."""
        rows, frequencies = self._base.of(term)
        if term in self._delta:
            recent_rows, recent_frequencies = self._delta[term]
            rows = np.concatenate([rows, np.frombuffer(recent_rows, np.int32)])
            frequencies = np.concatenate([frequencies, np.frombuffer(recent_frequencies, np.float32)])
        if self._living == len(self._ids):
            return rows, frequencies
        alive = self._alive_rows()[rows]
        return rows[alive], frequencies[alive]

    def _mask(self, allowed: Collection[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self._ids), np.bool_)
        mask[[row for row in map(self._row, allowed) if row >= 0]] = True
        return mask


def _padded(directory: bytes) -> bytes:
    return directory + b"\0" * (-len(directory) % _ALIGNMENT)


def _found(rows: NDArray[np.int32], wanted: NDArray[np.int32]) -> tuple[Integers, NDArray[np.bool_]]:
    """Where wanted rows stand in ascending rows, and which of them do."""
    at = np.searchsorted(rows, wanted)
    at[at == len(rows)] = 0
    return at, rows[at] == wanted if len(rows) else np.zeros(len(wanted), np.bool_)


def _largest(scores: Floats, ids: Integers, top_k: int) -> Integers:
    """Rows of the ``top_k`` largest positive scores, best first, ties by id."""
    rows = np.flatnonzero(scores)
    if len(rows) > top_k > 0:
        threshold = np.partition(scores[rows], len(rows) - top_k)[len(rows) - top_k]
        rows = rows[scores[rows] >= threshold]
    order = np.lexsort((ids[rows], -scores[rows]))
    return rows[order][: max(top_k, 0)]
