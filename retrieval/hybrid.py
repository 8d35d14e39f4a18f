"""BM25 and FAISS in memory, kept in line with the store.

A passage's id never changes its meaning, so an index is right when it holds the ids that the store holds.
At open both come from cache files, then `HybridIndex.synchronise` adds what is missing and drops what is
gone; a cache that is absent, damaged or made by another encoder or analyser counts as empty. Filling an
index now and rebuilding it later run the same code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from retrieval import cache
from retrieval.dense import DenseIndex, Vectors
from retrieval.fusion import (
    Fusion,
    Ranks,
    Scores,
    convex_combination,
    late_interaction,
    reciprocal_rank_fusion,
)
from retrieval.lexical import BM25
from retrieval.morphology import TERMS_VERSION, index_terms, index_terms_of
from retrieval.store import Store, as_stored

_HEADING_WEIGHT = 1.0
_EXPANSION_WEIGHT = 0.3
_BATCH = 512
_VECTORS_AT_ONCE = 8192


class SentenceEncoder(Protocol):
    """What turns texts into vectors; ``name`` changes whenever the vectors would."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def name(self) -> str:
        """Changes whenever the vectors would."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Float32 ``[len(texts), dimension]``, L2-normalised; a zero row for a text it knows nothing of."""


@runtime_checkable
class TokenEncoder(Protocol):
    """An encoder that can also tell the vectors a text's vector is made of."""

    def token_vectors(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text float32 ``[tokens, dimension]``; the length of a row is the token's weight."""


@dataclass(frozen=True)
class Analysed:
    """A passage as BM25 wants it: the terms of its text, and the weights of its heading's terms."""

    terms: list[str]
    heading: dict[str, float]


@dataclass(frozen=True)
class Candidates:
    """What both indices say about a query.

    Attributes:
        meaning: what was encoded of the query.
        terms: the query's terms and their weights.
        vector: the query's vector, float32 ``[dimension]``; empty without an encoder.
        lexical: ids by BM25, best first.
        dense: ids by cosine, best first.
    """

    meaning: str
    terms: dict[str, float]
    vector: Vectors
    lexical: list[int]
    dense: list[int]


class HybridIndex:
    """The indices over a store's passages. Calls must not overlap: `retrieval.index.Index` holds the lock."""

    def __init__(self, store: Store, folder: Path, encoder: SentenceEncoder | None, fusion: Fusion) -> None:
        """Loads the caches in ``folder`` and brings them in line with the store."""
        self._store = store
        self._fusion = fusion
        self._encoder = encoder
        self._lexical_path, self._dense_path = folder / "lexical.cache", folder / "dense.cache"
        self._lexical_stamp = (
            f"{store.id} arrays 2 terms {TERMS_VERSION} kiwi {version('kiwipiepy')} heading {_HEADING_WEIGHT}"
        )
        self._dense_stamp = f"{store.id} {_signature(encoder)}" if encoder else ""
        self._lexical = self._loaded_lexical()
        self._dense = self._loaded_dense()
        self._changed = False
        self.synchronise()

    def synchronise(self) -> None:
        """Adds passages of the store that are missing here, and drops those that are gone."""
        stored, indexed = self._store.chunk_id_array(), self._lexical.id_array
        both = indexed
        if self._dense is not None:
            both = np.intersect1d(indexed, self._dense.id_array)
            indexed = np.union1d(indexed, self._dense.id_array)
        self.drop(np.setdiff1d(indexed, stored).tolist())
        self.add(np.setdiff1d(stored, both).tolist())

    def add(self, ids: Iterable[int]) -> None:
        """Indexes passages of the store; those that are indexed already cost nothing."""
        wanted = sorted(set(ids))
        for batch in self._read(i for i in wanted if i not in self._lexical):
            numbers, headings, texts = zip(*batch, strict=True)
            self._add_terms(numbers, self.analysed(headings, texts))
        if self._dense is not None:
            self._add_vectors(self._dense, [i for i in wanted if i not in self._dense])

    def analysed(self, headings: Sequence[str], texts: Sequence[str]) -> list[Analysed]:
        """Passages ready for `insert`. Needs no lock: it touches no index."""
        found = zip(map(index_terms, headings), index_terms_of(texts), strict=True)
        return [Analysed(terms, dict.fromkeys(heading, _HEADING_WEIGHT)) for heading, terms in found]

    def insert(self, ids: Sequence[int], passages: Sequence[Analysed], vectors: Vectors | None) -> None:
        """Indexes passages that were just stored; what was removed from the store since is left out.

        Args:
            ids: their ids.
            passages: from `analysed`.
            vectors: those in the store, float32 ``[len(ids), dimension]``; None without an encoder.
        """
        stored = self._store.existing(ids)
        missing = [n for n, i in enumerate(ids) if i in stored and i not in self._lexical]
        self._add_terms([ids[n] for n in missing], [passages[n] for n in missing])
        if self._dense is not None and vectors is not None:
            missing = [n for n, i in enumerate(ids) if i in stored and i not in self._dense]
            self._dense.add([ids[n] for n in missing], as_stored(vectors[missing]))
            self._changed |= bool(missing)

    def drop(self, ids: Collection[int]) -> None:
        """Forgets passages."""
        self._changed |= bool(ids)
        for chunk_id in ids:
            self._lexical.remove(chunk_id)
        if self._dense is not None:
            self._dense.remove(ids)

    def candidates(
        self,
        query: str,
        context: Sequence[str],
        expansion: Sequence[str],
        depth: int,
        allowed: Collection[int] | None,
    ) -> Candidates:
        """The best ``depth`` passages of each index, among ``allowed`` ones."""
        meaning = " ".join([query, *context]) if isinstance(self._fusion, Scores) else query
        terms = dict.fromkeys((*context, *expansion), _EXPANSION_WEIGHT)
        for term in index_terms(query):
            terms[term] = terms.get(term, 0.0) + 1.0
        lexical = [chunk_id for chunk_id, _ in self._lexical.search(terms, depth, allowed)]
        if self._encoder is None or self._dense is None:
            return Candidates(meaning, terms, np.zeros(0, np.float32), lexical, [])
        vector = self._encoder.encode([meaning])[0]
        nearest = self._dense.search(vector, depth, allowed) if vector.any() else []
        return Candidates(meaning, terms, vector, lexical, [chunk_id for chunk_id, _ in nearest])

    def fused(self, found: Candidates) -> dict[int, float]:
        """Scores above zero of the candidates by both indices; higher is better."""
        fusion = self._fusion
        if isinstance(fusion, Ranks):
            rankings = [(fusion.lexical, found.lexical), (fusion.dense, found.dense)]
            return reciprocal_rank_fusion(rankings, fusion.k)
        ids = sorted({*found.lexical, *found.dense})
        words, cosines = np.array(self.scores(found, ids), np.float32).reshape(-1, 2).T
        combined = convex_combination(words, cosines, fusion.dense)
        fused = dict(zip(ids, combined.tolist(), strict=True))
        best = sorted(ids, key=lambda chunk_id: -fused[chunk_id])[: fusion.depth]
        for chunk_id, nearness in self._late_interaction(found.meaning, best).items():
            fused[chunk_id] += fusion.late * nearness
        return {chunk_id: score for chunk_id, score in fused.items() if score > 0}

    def scores(self, candidates: Candidates, ids: Sequence[int]) -> list[tuple[float, float]]:
        """BM25 score and cosine of given passages."""
        words = self._lexical.scores(candidates.terms, ids).tolist()
        if self._dense is None:
            return [(score, 0.0) for score in words]
        cosines = [self._dense.cosine(candidates.vector, chunk_id) for chunk_id in ids]
        return list(zip(words, cosines, strict=True))

    def idf(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """Inverse document frequency of terms, float64 ``[len(terms)]``."""
        return self._lexical.idf(terms)

    def encode(self, passages: Sequence[str]) -> Vectors | None:
        """Vectors for the store, of texts that `embedded_text` made; None without an encoder."""
        return self._encoder.encode(passages) if self._encoder else None

    def save(self) -> None:
        """Writes the caches when something changed; when there is no room, the next start rebuilds."""
        if not self._changed:
            return
        with contextlib.suppress(OSError):
            cache.write(self._lexical_path, self._lexical_stamp, self._lexical.to_parts())
            if self._dense is not None:
                self._dense.save(self._dense_path, self._dense_stamp)
            self._changed = False

    def _loaded_lexical(self) -> BM25:
        stored = cache.read(self._lexical_path, self._lexical_stamp)
        return BM25() if stored is None else BM25.from_bytes(stored)

    def _loaded_dense(self) -> DenseIndex | None:
        if self._encoder is None:
            return None
        if self._store.encoder != _signature(self._encoder):
            self._store.use_encoder(_signature(self._encoder))
        return DenseIndex.load(self._dense_path, self._dense_stamp) or DenseIndex(self._encoder.dimension)

    def _late_interaction(self, meaning: str, ids: Sequence[int]) -> dict[int, float]:
        """By passage; nothing where the encoder has no vectors of tokens."""
        if not isinstance(self._encoder, TokenEncoder):
            return {}
        numbers, texts = [], [meaning]
        for chunk_id, heading, text in self._store.texts(sorted(ids)):
            numbers.append(chunk_id)
            texts.append(embedded_text(heading, text))
        query, *passages = self._encoder.token_vectors(texts)
        return dict(zip(numbers, late_interaction(query, passages).tolist(), strict=True))

    def _read(self, ids: Iterable[int]) -> Iterator[list[tuple[int, str, str]]]:
        """Ids, headings and texts of passages, some at a time."""
        unread = self._store.texts(ids)
        while batch := list(islice(unread, _BATCH)):
            yield batch

    def _add_terms(self, ids: Sequence[int], passages: Sequence[Analysed]) -> None:
        for chunk_id, passage in zip(ids, passages, strict=True):
            self._lexical.add(chunk_id, passage.terms, passage.heading)
            self._changed = True

    def _add_vectors(self, dense: DenseIndex, missing: Sequence[int]) -> None:
        """From the store where it has them; else made and stored."""
        self._changed |= bool(missing)
        for start in range(0, len(missing), _VECTORS_AT_ONCE):
            batch = missing[start : start + _VECTORS_AT_ONCE]
            found, vectors = self._store.vectors(batch)
            dense.add(found, vectors.reshape(len(found), dense.dimension))
            self._make_vectors(dense, sorted(set(batch).difference(found)))

    def _make_vectors(self, dense: DenseIndex, missing: Sequence[int]) -> None:
        for batch in self._read(missing):
            ids = [chunk_id for chunk_id, _, _ in batch]
            vectors = self.encode([embedded_text(heading, text) for _, heading, text in batch])
            assert vectors is not None
            self._store.put_vectors(ids, vectors)
            # An index filled now must equal one rebuilt later.
            dense.add(ids, as_stored(vectors))


def embedded_text(heading: str, text: str) -> str:
    """What is encoded of a passage."""
    return f"{heading}\n{text}"


def _signature(encoder: SentenceEncoder) -> str:
    return f"{encoder.name} {encoder.dimension}"
