from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval import dense
from retrieval.dense import DenseIndex


@pytest.fixture
def vectors() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def index(vectors: np.ndarray) -> DenseIndex:
    index = DenseIndex(8)
    index.add(range(100, 150), vectors)
    return index


def test_finds_what_brute_force_finds(index: DenseIndex, vectors: np.ndarray) -> None:
    best = np.argsort(-(vectors @ vectors[3]))[:5]
    found = index.search(vectors[3], 5)
    assert [i for i, _ in found] == [100 + int(row) for row in best]
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)


def test_only_allowed(index: DenseIndex, vectors: np.ndarray) -> None:
    assert {i for i, _ in index.search(vectors[3], 9, allowed={104, 105, 999})} == {104, 105}
    assert index.search(vectors[3], 9, allowed=set()) == []


def test_removed_vectors_are_gone(index: DenseIndex, vectors: np.ndarray) -> None:
    index.remove([103, 999])
    assert 103 not in {i for i, _ in index.search(vectors[3], 50)}
    assert index.ids == set(range(100, 150)) - {103}
    assert index.cosine(vectors[3], 103) == 0.0


def test_cosine_of_one(index: DenseIndex, vectors: np.ndarray) -> None:
    assert index.cosine(vectors[0], 107) == pytest.approx(float(vectors[0] @ vectors[7]), abs=1e-6)


def test_saves_and_loads(index: DenseIndex, vectors: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "dense.cache"
    index.save(path, "stamp")
    loaded = DenseIndex.load(path, "stamp")
    assert loaded is not None
    assert loaded.search(vectors[1], 7) == index.search(vectors[1], 7)
    loaded.remove([101])
    loaded.add([101], vectors[:1])
    assert loaded.cosine(vectors[0], 101) == pytest.approx(1.0, abs=1e-5)
    assert DenseIndex.load(path, "another") is None


def test_wrong_shapes_are_refused(index: DenseIndex) -> None:
    with pytest.raises(ValueError, match="expected"):
        index.add([1], np.zeros((1, 9), np.float32))


def test_an_empty_index_finds_nothing() -> None:
    assert DenseIndex(8).search(np.ones(8, np.float32), 3) == []


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> tuple[DenseIndex, np.ndarray]:
    """An index over the size from which it is inverted, in two additions."""
    monkeypatch.setattr(dense, "_INVERTED_FROM", 600)
    monkeypatch.setattr(dense, "_LISTS", 8)
    monkeypatch.setattr(dense, "_PROBED", 6)
    drawn = np.random.default_rng(1).normal(size=(1000, 16)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    index = DenseIndex(16)
    index.add(range(500), drawn[:500])
    assert index.is_exact
    index.add(range(500, 1000), drawn[500:])
    assert not index.is_exact and len(index) == 1000
    return index, drawn


def test_a_large_index_finds_nearly_what_brute_force_finds(large: tuple[DenseIndex, np.ndarray]) -> None:
    index, vectors = large
    shared = 0
    for query in vectors[::50]:
        best = set(np.argsort(-(vectors @ query))[:10].tolist())
        shared += len(best & {i for i, _ in index.search(query, 10)})
    assert shared >= 0.9 * 200
    assert index.search(vectors[3], 1)[0][0] == 3
    assert index.cosine(vectors[0], 7) == pytest.approx(float(vectors[0] @ vectors[7]), abs=0.02)


def test_a_large_index_forgets_restricts_and_comes_back(
    large: tuple[DenseIndex, np.ndarray], tmp_path: Path
) -> None:
    index, vectors = large
    index.remove([3, 4, 9999])
    assert 3 not in index and len(index) == 998 and index.cosine(vectors[0], 3) == 0
    assert {i for i, _ in index.search(vectors[3], 9, allowed={3, 500, 777})} == {500, 777}
    index.save(tmp_path / "dense.cache", "s")
    loaded = DenseIndex.load(tmp_path / "dense.cache", "s")
    assert loaded is not None and loaded.ids == index.ids and not loaded.is_exact
    assert loaded.search(vectors[8], 20) == index.search(vectors[8], 20)
    loaded.add([3], vectors[3:4])
    assert loaded.search(vectors[3], 1)[0][0] == 3
