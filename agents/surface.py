"""Cheap features of a message's form, beside its vector: how it ends, and which letters stand together.

The static encoder does not see order and gives little weight to the endings that tell a question from a
statement.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

BUCKETS = 4096
_SPACE = re.compile(r"\s+")
_LONGEST = 200


def surface_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """Hash every message's features into buckets with signs (Weinberger et al. 2009, arXiv:0902.2206).

    Args:
        texts: messages; only the first and last 200 characters of a long one are looked at.

    Returns:
        float32 [n, BUCKETS], rows of length 1 (0 for blank messages).
    """
    rows = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for feature in _features(text):
            code = zlib.crc32(feature.encode("utf-8", "replace"))
            row[code % BUCKETS] += 1 if code & 0x80000000 else -1
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    hashed: NDArray[np.float32] = np.divide(rows, lengths, out=rows, where=lengths > 0)
    return hashed


def _features(text: str) -> Iterator[str]:
    """Length class, script, closing marks, the last one to four letters, and all n-grams inside words."""
    text = unicodedata.normalize("NFC", _SPACE.sub(" ", _ends(text.strip().lower())))
    if not text:
        return
    bare = text.rstrip(" ?!.~…,")
    yield f"length {min(len(text) // 4, 8)}"
    yield f"script {_script(text)}"
    yield f"mark {text[len(bare) :][:2]}"
    for size in range(1, 5):
        yield f"end {bare[-size:]}"
    for word in (f"^{word}$" for word in text.split()):
        for size in range(1, 5):
            yield from (word[start : start + size] for start in range(len(word) - size + 1))


def _ends(text: str) -> str:
    """The first and the last letters of a long text."""
    return text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]} {text[-_LONGEST:]}"


def _script(text: str) -> str:
    """The kind of most letters: whole syllables, loose jamo, Latin letters, or others."""
    syllables = sum("가" <= letter <= "힣" for letter in text)
    jamo = sum("ㄱ" <= letter <= "ㆎ" for letter in text)
    latin = sum("a" <= letter <= "z" for letter in text)
    counts = {
        "syllables": syllables,
        "jamo": jamo,
        "latin": latin,
        "other": len(text) - syllables - jamo - latin,
    }
    return max(counts, key=counts.__getitem__)
