"""Korean words as an index needs them, by Kiwi (https://github.com/bab2min/Kiwi).

Settings, measured on a 2-core EPYC: without the multi-word, default (encyclopaedia names) and typo
dictionaries Kiwi starts in 0.6 s and takes 247 MB, against 0.9 s and 320 MB with the last two; it analyses
about 180,000 characters a second either way. Names that it does not know are kept whole and as character
bigrams, so they are found all the same.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.sentences import sentences

if TYPE_CHECKING:
    from kiwipiepy import Kiwi, Token

__all__ = [
    "TERMS_VERSION",
    "content_morphemes",
    "forget",
    "Morpheme",
    "index_terms",
    "index_terms_of",
    "likeness",
    "morpheme_ids",
    "morphemes",
    "sentences",
    "tagged_morphemes",
    "warm_up",
]

TERMS_VERSION = 1
"""Raise it when `index_terms` changes, so that stored term indices are made anew."""

_NOUNS = frozenset(("NNG", "NNP", "NNB", "NR", "XR", "SL", "SH", "W_HASHTAG", "W_MENTION"))
_PREDICATES = frozenset(("VV", "VA"))
_CONTENT = _NOUNS | _PREDICATES | {"W_URL", "W_EMAIL"}
_NUMBERS = frozenset(("SN", "W_SERIAL"))
# Too common to tell one passage from another: light verbs and bound nouns.
_LIGHT = frozenset("하 되 있 이 것 거 수 등 때 때문 그 저 중 알 주 받 보 같".split())
_CACHED_LENGTH = 512
# More threads than this wait for the one that turns Kiwi's tokens into terms.
_WORKERS = min(4, os.cpu_count() or 1)
_loading = Lock()


def content_morphemes(text: str) -> list[str]:
    """Nouns, verb and adjective stems, numbers and foreign words, in order.

    Particles, endings and light verbs are left out.

    Foreign words are lower-cased, numbers lose their thousands separators (``3,000`` → ``3000``).
    """
    return [form for token in _tokens(text) for form in _content(token)]


def morphemes(text: str) -> list[str]:
    """All morphemes in order, particles, endings and punctuation included, in lower case: for measuring."""
    return [token.form.lower() for token in _tokens(text)]


class Morpheme(NamedTuple):
    """A morpheme as it stands in a text: its form, its part of speech, its id in Kiwi's language model."""

    form: str
    tag: str
    id: int


def tagged_morphemes(text: str) -> list[Morpheme]:
    """All morphemes in order, punctuation included; tags are without Kiwi's marks of conjugation."""
    return [Morpheme(token.form, token.tag.split("-")[0], token.id) for token in _tokens(text)]


def morpheme_ids(text: str) -> dict[str, int]:
    """Content morphemes of a text with their ids in Kiwi's language model, for `likeness`."""
    return {form: token.id for token in _tokens(text) for form in _content(token) if token.id >= 0}


def likeness(first: Sequence[int], second: Sequence[int]) -> NDArray[np.float32]:
    """Cosines of morphemes in Kiwi's CoNg language model, trained on the Sejong and NIKL corpora.

    Unrelated words are at about 0.35, synonyms at 0.55 to 0.8; words of one field (``버전``, ``블루투스``) come
    close to that.

    Args:
        first: ids from `morpheme_ids`.
        second: other ids from it.

    Returns:
        float32 ``[len(first), len(second)]``.
    """
    similarity = _kiwi().morpheme_similarity
    cosines = [[similarity(a, b) for b in second] for a in first]
    # Morphemes that the language model never saw have no length, and so no cosine.
    return np.nan_to_num(np.array(cosines, np.float32)).reshape(len(first), len(second))


def index_terms(text: str) -> list[str]:
    """Terms of a passage or a query for BM25.

    The content morphemes; for a word of several nouns also the whole (``주민`` + ``등록`` → ``주민등록``),
    which is the word stripped of its particles; for words that Kiwi does not know also character bigrams,
    so that a differently cut or inflected form still meets it.
    """
    return _terms(_tokens(text))


def index_terms_of(texts: Sequence[str]) -> Iterator[list[str]]:
    """`index_terms` of many texts, in order; Kiwi analyses several at a time."""
    analysed: Iterable[list[Token]] = _kiwi().tokenize(list(map(_printable, texts)))
    return map(_terms, analysed)


def warm_up() -> None:
    """Loads Kiwi now instead of at the first query."""
    _tokens("담소")


def forget() -> None:
    """Drops the remembered analyses, so that a time measured next holds the analysis as well."""
    _remembered.cache_clear()


def _terms(tokens: Iterable[Token]) -> list[str]:
    terms: list[str] = []
    compounds: list[str] = []
    for _, word in groupby(tokens, key=_word):
        nouns, unknown = [], False
        for token in word:
            terms += _content(token)
            if token.tag in _NOUNS:
                nouns.append(token.form)
                unknown = unknown or token.oov
        whole = "".join(nouns).lower()
        compounds += [whole] if len(nouns) > 1 else []
        compounds += _bigrams(whole) if unknown else []
    return terms + compounds


def _word(token: Token) -> int:
    return int(token.word_position)


def _content(token: Token) -> list[str]:
    tag = token.tag
    if tag in _NUMBERS:
        return re.findall(r"\d+", token.form.replace(",", ""))
    # Kiwi marks regular and irregular predicates by a suffix (``VV-R``).
    if tag not in _CONTENT and tag.split("-")[0] not in _PREDICATES:
        return []
    form = token.form
    return [] if form in _LIGHT else [form.lower()]


def _bigrams(word: str) -> list[str]:
    return [word[i : i + 2] for i in range(len(word) - 1)] if len(word) > 2 else []


def _tokens(text: str) -> tuple[Token, ...]:
    return _remembered(text) if len(text) <= _CACHED_LENGTH else _analysed(text)


@lru_cache(maxsize=4096)
def _remembered(text: str) -> tuple[Token, ...]:
    return _analysed(text)


def _analysed(text: str) -> tuple[Token, ...]:
    return tuple(_kiwi().tokenize(_printable(text)))


def _printable(text: str) -> str:
    # Lone surrogates come from undecodable command-line arguments; Kiwi's UTF-8 has no room for them.
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))


def _kiwi() -> Kiwi:
    with _loading:  # two threads must not both pay for loading
        return _loaded_kiwi()


@cache
def _loaded_kiwi() -> Any:
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=_WORKERS, load_multi_dict=False, load_default_dict=False, load_typo_dict=False)
