"""Nearest passages by cosine similarity, in FAISS (Johnson, Douze and Jégou, 2019)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval import cache

Vectors = NDArray[np.float32]


class DenseIndex:
    """Exact inner-product search over L2-normalised vectors with ids. Not thread-safe."""

    def __init__(self, dimension: int) -> None:
        """Makes an empty index for vectors of ``dimension`` numbers."""
        self.dimension = dimension
        # FAISS's type stubs miss what its Python layer adds, such as `remove_ids` with an array.
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def ids(self) -> set[int]:
        """Ids of the vectors in the index."""
        return set(faiss.vector_to_array(self._index.id_map).tolist())

    def add(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Adds vectors.

        Args:
            ids: one id a vector, none of them in the index.
            vectors: float32 ``[len(ids), dimension]``, L2-normalised.

        Raises:
            ValueError: the shapes disagree.
        """
        if vectors.shape != (len(ids), self.dimension):
            raise ValueError(f"expected vectors {(len(ids), self.dimension)}, got {vectors.shape}")
        if len(ids):
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.array(ids, np.int64))

    def remove(self, ids: Collection[int]) -> None:
        """Removes vectors; ids that are not there are no error."""
        if ids:
            self._index.remove_ids(np.fromiter(ids, np.int64, len(ids)))

    def search(
        self, vector: Vectors, top_k: int, allowed: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """Finds the nearest vectors.

        Args:
            vector: float32 ``[dimension]``, L2-normalised.
            top_k: how many at most.
            allowed: ids to choose from; None for all.

        Returns:
            ``(id, cosine)``, best first.
        """
        if not len(self) or top_k <= 0 or (allowed is not None and not allowed):
            return []
        chosen = None
        if allowed is not None:
            selector = faiss.IDSelectorBatch(np.fromiter(allowed, np.int64, len(allowed)))
            chosen = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        query = np.ascontiguousarray(vector[None], np.float32)
        scores, ids = self._index.search(query, min(top_k, len(self)), params=chosen)
        return [(int(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True) if i >= 0]

    def cosine(self, vector: Vectors, chunk_id: int) -> float:
        """Cosine of a query vector and a stored one; 0 for an id that is not in the index."""
        try:
            return float(self._index.reconstruct(chunk_id) @ vector)
        except RuntimeError:
            return 0.0

    def save(self, path: Path, stamp: str) -> None:
        """Writes the index atomically; ``stamp`` says what it was made from."""
        cache.write(path, stamp, faiss.serialize_index(self._index).tobytes())

    @classmethod
    def load(cls, path: Path, stamp: str) -> DenseIndex | None:
        """The index that `save` wrote under this stamp; None when absent, damaged or of another stamp."""
        payload = cache.read(path, stamp)
        if payload is None:
            return None
        stored = faiss.deserialize_index(np.frombuffer(payload, np.uint8))
        index = cls(stored.d)
        index._index = stored
        return index
