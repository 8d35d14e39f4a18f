"""Morpheme vectors out of Kiwi's language model (CoNg, trained on the Sejong and NIKL corpora, Apache-2.0).

Kiwi tells cosines between morphemes, not the vectors. The cosines of all morphemes with a few hundred anchors are
enough: with anchors' Gram matrix G = A Aᵀ, an eigendecomposition gives A up to a rotation, and the vectors of
the others follow by least squares (classical multidimensional scaling with landmarks; de Silva & Tenenbaum, 2004).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Floats = NDArray[np.float32]

MORPHEMES = 70_488
"""Morphemes that Kiwi's model has vectors for; their ids are below this."""
_RANK = 256


def profiles(similar: Callable[[int], Iterable[tuple[int, float]]], anchors: list[int]) -> Floats:
    """Cosines of every morpheme with each anchor.

    Args:
        similar: anchor → (id, cosine) of all other morphemes.
        anchors: ids.

    Returns:
        float32 [MORPHEMES, anchors].
    """
    cosines = np.zeros((MORPHEMES, len(anchors)), np.float32)
    for column, anchor in enumerate(anchors):
        ids, values = (np.array(part) for part in zip(*similar(anchor), strict=True))
        known = (ids < MORPHEMES) & np.isfinite(values)
        cosines[ids[known], column] = values[known]
        cosines[anchor, column] = 1
    return cosines


def vectors_from(cosines: Floats, anchors: list[int], dimension: int, rank: int = _RANK) -> Floats:
    """Vectors whose cosines are the given ones, less what is common to all, in the leading directions.

    Args:
        cosines: from `profiles`.
        anchors: ids of the columns; more than ``rank``.
        dimension: of the result.
        rank: of the vectors behind the cosines.

    Returns:
        float32 [MORPHEMES, dimension].
    """
    gram = cosines[anchors]
    values, axes = np.linalg.eigh((gram + gram.T) / 2)
    values, axes = values[-rank:], axes[:, -rank:]
    vectors = _unit(cosines @ axes / np.sqrt(np.maximum(values, 1e-3)))
    vectors = _unit(vectors - vectors[anchors].mean(axis=0))
    _, directions = np.linalg.eigh(vectors[anchors].T @ vectors[anchors])
    return np.ascontiguousarray(vectors @ directions[:, ::-1][:, :dimension], np.float32)


def kiwi_vectors(texts: Iterable[str], dimension: int, anchors: int = 1500) -> Floats:
    """The vectors, with the texts' most frequent morphemes as anchors (two minutes).

    Args:
        texts: what the anchors are counted in.
        dimension: of the vectors.
        anchors: how many.
    """
    from kiwipiepy import Kiwi
    from tqdm import tqdm

    kiwi = Kiwi(num_workers=1, load_multi_dict=False, load_default_dict=False, load_typo_dict=False)
    counts = Counter(token.id for text in texts for token in kiwi.tokenize(text) if 0 <= token.id < MORPHEMES)
    chosen = [number for number, _ in counts.most_common(2 * anchors) if _has_vector(kiwi, number)][:anchors]
    bar = iter(tqdm(chosen, unit="anchor", desc="Kiwi"))

    def similar(anchor: int) -> list[tuple[int, float]]:
        next(bar, None)
        return [(found.id, found.score) for found in kiwi.most_similar_morphemes(anchor, top_n=10**6)]

    return vectors_from(profiles(similar, chosen), chosen, dimension)


def save_vectors(vectors: Floats, path: Path) -> None:
    """Writes vectors in 8 bits, each row with its own scale."""
    scales = np.maximum(np.abs(vectors).max(axis=1) / 127, 1e-6).astype(np.float16)
    table = np.clip(np.round(vectors / scales[:, None].astype(np.float32)), -127, 127).astype(np.int8)
    save_file({"table": table, "scales": scales}, path)


def load_vectors(path: Path) -> tuple[NDArray[np.int8], Floats]:
    """The table int8 [MORPHEMES, dimension] and its scales float32 [MORPHEMES]."""
    tensors = load_file(path)
    return tensors["table"], tensors["scales"].astype(np.float32)


def _has_vector(kiwi: object, number: int) -> bool:
    try:
        return bool(kiwi.most_similar_morphemes(number, top_n=1))  # type: ignore[attr-defined]
    except ValueError:
        return False


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6), np.float32)
