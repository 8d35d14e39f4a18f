"""Postings of an inverted index as a few flat arrays, which may lie in a memory-mapped file.

Terms are one sorted run of UTF-8 bytes, found by bisection: a Python dictionary of the millions of terms of a million
passages would take more memory than their postings.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Frequencies = NDArray[np.float16]
Offsets = NDArray[np.int64]
Recent = Mapping[str, tuple["array[int]", "array[float]"]]
"""Rows, ascending, and frequencies of terms that were added since."""

# Postings that are moved at a time when bases are merged.
_BLOCK = 1 << 22
_TERMS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Vocabulary:
    """Sorted terms.

    Attributes:
        letters: UTF-8 of all terms, uint8 [bytes].
        ends: where each term begins, and the end of the last, int64 [terms + 1].
    """

    letters: NDArray[np.uint8]
    ends: Offsets

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return self.letters[self.ends[number] : self.ends[number + 1]].tobytes()

    def number(self, term: str) -> int:
        """How many terms come before this one, -1 when it is not there."""
        wanted = encoded(term)
        place = bisect_left(self, wanted)
        return place if place < len(self) and self[place] == wanted else -1

    def places(self, terms: Sequence[bytes]) -> tuple[Offsets, NDArray[np.bool_]]:
        """How many terms come before each of some ascending ones, and which of those are not there.

        Terms are cut out a block at a time: as Python objects, all of them would take more room than postings do.
        """
        places: list[int] = []
        new: list[bool] = []
        for first in range(0, len(self), _TERMS_AT_ONCE):
            ends = self.ends[first : first + _TERMS_AT_ONCE + 1]
            letters = self.letters[ends[0] : ends[-1]].tobytes()
            cuts = (ends - ends[0]).tolist()
            block = [letters[a:b] for a, b in pairwise(cuts)]
            for term in terms[len(places) : bisect_right(terms, block[-1])]:
                place = bisect_left(block, term)
                places.append(first + place)
                new.append(block[place] != term)
        beyond = len(terms) - len(places)
        places += [len(self)] * beyond
        return np.array(places, np.int64), np.array(new + [True] * beyond, np.bool_)

    def chosen(self, kept: NDArray[np.bool_]) -> Vocabulary:
        """The terms that are marked, bool [terms]."""
        lengths = np.diff(self.ends)
        return Vocabulary(self.letters[np.repeat(kept, lengths)], _starts(lengths[kept]))

    def with_terms(self, places: Sequence[int], terms: Sequence[bytes]) -> Vocabulary:
        """With new terms, ascending; ``places`` are how many of the present ones come before each."""
        pieces, at = [], 0
        for place, term in zip(places, terms, strict=True):
            pieces += [self.letters[self.ends[at] : self.ends[place]].tobytes(), term]
            at = place
        pieces.append(self.letters[self.ends[at] :].tobytes())
        added = np.array([len(term) for term in terms], np.int64)
        lengths = np.insert(np.diff(self.ends), np.array(places, np.int64), added)
        return Vocabulary(np.frombuffer(b"".join(pieces), np.uint8), _starts(lengths))


@dataclass(frozen=True)
class Postings:
    """For every term the rows of the passages that hold it, ascending, and its frequency in each.

    Attributes:
        starts: where each term's postings begin, int64 [terms + 1].
        rows: int32 [postings].
        frequencies: float16 [postings]; whole numbers up to 2,048 are exact.
    """

    vocabulary: Vocabulary
    starts: Offsets
    rows: Rows
    frequencies: Frequencies

    @classmethod
    def empty(cls) -> Postings:
        """No postings."""
        none = np.zeros(1, np.int64)
        return cls(
            Vocabulary(np.zeros(0, np.uint8), none), none, np.zeros(0, np.int32), np.zeros(0, np.float16)
        )

    def of(self, term: str) -> tuple[Rows, Frequencies]:
        """Rows and frequencies of a term, as views."""
        number = self.vocabulary.number(term)
        span = slice(0, 0) if number < 0 else slice(self.starts[number], self.starts[number + 1])
        return self.rows[span], self.frequencies[span]

    def merged(self, recent: Recent, alive: NDArray[np.bool_]) -> Postings:
        """With recent additions, without the dead, and with rows counted among the living only.

        Works through blocks, so that it needs little more memory than the result.

        Args:
            recent: additions, in rows above those of the base.
            alive: bool [rows].
        """
        fresh = _frequencies_of_the_living(recent, alive)
        terms = sorted(fresh)
        numbers, new = self.vocabulary.places(terms)
        inserted = numbers[new]
        added = [term for term, is_new in zip(terms, new.tolist(), strict=True) if is_new]
        vocabulary = self.vocabulary.with_terms(inserted.tolist(), added)
        numbers[~new] += np.searchsorted(inserted, numbers[~new], side="right")
        numbers[new] += np.arange(len(inserted))
        old = np.arange(len(self.vocabulary))
        old += np.searchsorted(inserted, old, side="right")
        living = self._living(alive)
        counts = np.zeros(len(vocabulary), np.int64)
        counts[old] = living
        base_counts = counts[numbers]
        counts[numbers] += np.array([len(fresh[term][0]) for term in terms], np.int64)
        starts = _starts(counts)
        rows, frequencies = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float16)
        renumbered = np.cumsum(alive, dtype=np.int32) - 1
        for first, last in self._blocks():
            span, number = slice(self.starts[first], self.starts[last]), living[first:last]
            kept = alive[self.rows[span]]
            # A term's postings stay together: each goes as far as the term's first one does.
            shift = starts[old[first:last]] - (np.cumsum(number) - number)
            target = np.repeat(shift, number) + np.arange(number.sum())
            rows[target] = renumbered[self.rows[span][kept]]
            frequencies[target] = self.frequencies[span][kept]
        for place, term, before in zip(numbers.tolist(), terms, base_counts.tolist(), strict=True):
            span = slice(starts[place] + before, starts[place + 1])
            rows[span], frequencies[span] = renumbered[fresh[term][0]], fresh[term][1]
        used = counts > 0
        if used.all():
            return Postings(vocabulary, starts, rows, frequencies)
        return Postings(vocabulary.chosen(used), _starts(counts[used]), rows, frequencies)

    def _living(self, alive: NDArray[np.bool_]) -> Offsets:
        """How many living passages hold each term, int64 [terms]."""
        if alive.all():
            return np.diff(self.starts)
        counts = np.zeros(len(self.vocabulary), np.int64)
        for first, last in self._blocks():
            kept = alive[self.rows[self.starts[first] : self.starts[last]]]
            total = _starts(kept)
            offsets = self.starts[first : last + 1] - self.starts[first]
            counts[first:last] = np.diff(total[offsets])
        return counts

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of terms with about a block of postings each."""
        first, terms = 0, len(self.vocabulary)
        while first < terms:
            limit = self.starts[first] + _BLOCK
            last = max(int(np.searchsorted(self.starts, limit, side="right")) - 1, first + 1)
            yield first, last
            first = last


def encoded(term: str) -> bytes:
    """UTF-8 that keeps lone surrogates, which undecodable file names bring."""
    return term.encode("utf-8", "surrogatepass")


def _frequencies_of_the_living(
    recent: Recent, alive: NDArray[np.bool_]
) -> dict[bytes, tuple[Rows, NDArray[np.float32]]]:
    fresh = {}
    for term, (listed, weights) in recent.items():
        rows, frequencies = np.frombuffer(listed, np.int32), np.frombuffer(weights, np.float32)
        kept = alive[rows]
        if kept.any():
            fresh[encoded(term)] = rows[kept], frequencies[kept]
    return fresh


def _starts(lengths: NDArray[np.int64] | NDArray[np.bool_]) -> Offsets:
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts
