"""Nearest passages by cosine similarity, in FAISS (Johnson, Douze and Jégou, 2019).

Up to a hundred thousand vectors are searched one by one, exactly. From there on an inverted file (Jégou, Douze and
Schmid, "Product Quantization for Nearest Neighbor Search", 2011) of 8-bit vectors takes over: a fourth of the
memory, and a query reads some hundredths of the vectors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval import cache

Vectors = NDArray[np.float32]

_INVERTED_FROM = 100_000
_LISTS = 1024
_PROBED = 64
# Fewer allowed vectors are compared one by one: the lists that are probed may hold none of them.
_COMPARED_ALL = 4096


class DenseIndex:
    """Inner-product search over L2-normalised vectors with ids. Not thread-safe."""

    def __init__(self, dimension: int) -> None:
        """Makes an empty index for vectors of ``dimension`` numbers."""
        self.dimension = dimension
        # FAISS's type stubs miss what its Python layer adds, such as `remove_ids` with an array.
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, chunk_id: int) -> bool:
        return chunk_id in self._ids

    @property
    def ids(self) -> set[int]:
        """Ids of the vectors in the index."""
        return set(self._ids)

    @property
    def id_array(self) -> NDArray[np.int64]:
        """The same as int64 [n], in no order."""
        return np.fromiter(self._ids, np.int64, len(self._ids))

    @property
    def is_exact(self) -> bool:
        """Whether every vector is compared, as it was given."""
        return not isinstance(self._index, faiss.IndexIVF)

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
            self._ids.update(ids)
        if self.is_exact and len(self) >= _INVERTED_FROM:
            self._invert()

    def remove(self, ids: Collection[int]) -> None:
        """Removes vectors; ids that are not there are no error."""
        gone = self._ids.intersection(ids)
        if gone:
            self._index.remove_ids(np.fromiter(gone, np.int64, len(gone)))
            self._ids -= gone

    def search(
        self, vector: Vectors, top_k: int, allowed: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """Finds the nearest vectors.

        Args:
            vector: float32 ``[dimension]``, L2-normalised.
            top_k: how many at most.
            allowed: ids to choose from; None for all.

        Returns:
            ``(id, cosine)``, best first. In a large index a near vector may be missed now and then.
        """
        if not len(self) or top_k <= 0 or (allowed is not None and not allowed):
            return []
        if allowed is not None and not self.is_exact and len(allowed) <= _COMPARED_ALL:
            cosines = (
                (chunk_id, self.cosine(vector, chunk_id)) for chunk_id in self._ids.intersection(allowed)
            )
            return sorted(cosines, key=lambda found: (-found[1], found[0]))[:top_k]
        query = np.ascontiguousarray(vector[None], np.float32)
        scores, ids = self._index.search(query, min(top_k, len(self)), params=self._parameters(allowed))
        return [(int(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True) if i >= 0]

    def cosine(self, vector: Vectors, chunk_id: int) -> float:
        """Cosine of a query vector and a stored one; 0 for an id that is not in the index."""
        return float(self._index.reconstruct(chunk_id) @ vector) if chunk_id in self._ids else 0.0

    def save(self, path: Path, stamp: str) -> None:
        """Writes the index atomically; ``stamp`` says what it was made from."""
        cache.write(path, stamp, faiss.serialize_index(self._index).data)

    @classmethod
    def load(cls, path: Path, stamp: str) -> DenseIndex | None:
        """The index that `save` wrote under this stamp; None when absent, damaged or of another stamp."""
        payload = cache.read(path, stamp)
        if payload is None:
            return None
        stored = faiss.deserialize_index(np.frombuffer(payload, np.uint8))
        index = cls(stored.d)
        index._index = stored
        index._ids = set(_stored_ids(stored).tolist())
        return index

    def _parameters(self, allowed: Collection[int] | None) -> Any:
        selector = None
        if allowed is not None:
            selector = faiss.IDSelectorBatch(np.fromiter(allowed, np.int64, len(allowed)))
        if self.is_exact:
            return faiss.SearchParameters(sel=selector) if selector else None  # type: ignore[call-arg]
        return faiss.SearchParametersIVF(sel=selector, nprobe=_PROBED)  # type: ignore[call-arg]

    def _invert(self) -> None:
        """Moves all vectors into an inverted file, whose lists are learnt from them."""
        ids = _stored_ids(self._index)
        vectors = faiss.downcast_index(self._index.index).reconstruct_n(0, len(ids))
        inverted: Any = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(self.dimension), self.dimension, _LISTS,
            faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT,
        )  # fmt: skip
        inverted.train(vectors)
        by_id = faiss.DirectMap.Hashtable  # type: ignore[attr-defined]
        inverted.set_direct_map_type(by_id)  # for `cosine` and removal
        inverted.add_with_ids(vectors, ids)
        self._index = inverted


def _stored_ids(index: Any) -> NDArray[np.int64]:
    """Ids of all vectors, int64 [n]."""
    if not isinstance(index, faiss.IndexIVF):
        return np.asarray(faiss.vector_to_array(index.id_map), np.int64)
    lists: Any = index.invlists
    sizes = [lists.list_size(number) for number in range(index.nlist)]
    ids = [faiss.rev_swig_ptr(lists.get_ids(n), size).copy() for n, size in enumerate(sizes) if size]
    return np.concatenate([np.zeros(0, np.int64), *ids])
