"""Sentence endings of Korean: plain style (해라체) to polite style (합니다체), and statement to question.

The rules look only at the last syllables. Hangul syllables are composed as 0xAC00 + (onset · 21 + vowel) ·
28 + coda (The Unicode Standard, section 3.12), so that swapping a coda is arithmetic.
"""

from __future__ import annotations

import re

_CODA_N, _CODA_L, _CODA_B = 4, 8, 17
# 요 ends a polite sentence, but also nouns: 필요, 중요, 주요, 수요, 개요, 소요, 동요, 민요, 강요.
_POLITE = re.compile(r"([가-힣](?<![필중주수개소동민강])요|죠|시오)[.!?~]*$")
_FORMAL = re.compile(r"(?P<stem>[가-힣])(니다|니까|시다)[.!?~]*$")
# 다 ends a plain sentence, but also nouns: 바다, …마다, 캐나다, 우간다, 르완다, 베란다.
_FINAL = re.compile(r"(?P<stem>.*[가-힣](?<![바마])(?<!캐나|우간|르완|베란))다(?P<tail>[.!]?)$", re.S)
_NOMINAL = re.compile(r"[가-힣A-Za-z0-9)%](?P<tail>\.?)$")


def coda(syllable: str) -> int:
    """The index of a syllable's final consonant, 0 for none or for anything that is not Hangul."""
    code = ord(syllable) - 0xAC00
    return code % 28 if 0 <= code < 11172 else 0


def _with_coda(syllable: str, index: int) -> str:
    return chr(ord(syllable) - coda(syllable) + index)


def is_polite(sentence: str) -> bool:
    """Whether the sentence already ends in a polite ending."""
    stripped = sentence.strip()
    formal = _FORMAL.search(stripped)
    return _POLITE.search(stripped) is not None or (formal is not None and coda(formal["stem"]) == _CODA_B)


def is_plain(sentence: str) -> bool:
    """Whether the sentence is a whole statement in plain style, such as ``… 만들었다.``."""
    stripped = sentence.strip()
    return not is_polite(stripped) and _FINAL.match(stripped) is not None


def polite(sentence: str) -> str:
    """The sentence in 합니다체; one that has no plain ending comes back unchanged.

    ``했다.`` → ``했습니다.``, ``한다.`` → ``합니다.``, ``먹는다.`` → ``먹습니다.``, ``길다.`` → ``깁니다.``
    """
    stripped = sentence.strip()
    match = _FINAL.match(stripped)
    if is_polite(stripped) or match is None:
        return stripped
    stem, tail = match["stem"], match["tail"] or "."
    return _polite_stem(stem) + "니다" + tail


def _polite_stem(stem: str) -> str:
    """The stem up to the ``ㅂ`` or ``습`` of the polite ending."""
    last = stem[-1]
    if stem.endswith(("까지", "부터")):
        return stem + "입"
    if last == "는" and len(stem) > 1 and coda(stem[-2]):
        return stem[:-1] + "습"
    if coda(last) in (0, _CODA_N, _CODA_L):
        return stem[:-1] + _with_coda(last, _CODA_B)
    return stem + "습"


def interrogative(sentence: str) -> str | None:
    """The plain statement as a polite question (``했다.`` → ``했나요?``); None without a plain ending."""
    match = _FINAL.match(sentence.strip())
    if match is None or is_polite(sentence):
        return None
    stem = match["stem"]
    last = stem[-1]
    if stem.endswith(("까지", "부터")):
        return stem + "인가요?"
    if last == "이" or stem.endswith("아니"):
        return stem[:-1] + _with_coda(last, _CODA_N) + "가요?"
    if last == "는" and len(stem) > 1 and coda(stem[-2]):
        return stem[:-1] + "나요?"
    if coda(last) in (_CODA_N, _CODA_L):
        return stem[:-1] + _with_coda(last, 0) + "나요?"
    return stem + "나요?"


def statement(text: str) -> str:
    """The text as a considerate person says it: a sentence politely, a noun phrase with ``입니다.``."""
    stripped = text.strip()
    if is_polite(stripped):
        return stripped
    if is_plain(stripped):
        return polite(stripped)
    match = _NOMINAL.search(stripped)
    return f"{stripped.rstrip('. ')}입니다." if match else stripped


def topic_particle(word: str) -> str:
    """``은`` after a final consonant, ``는`` otherwise (digits and Latin letters count as open)."""
    return "은" if word and coda(word[-1]) else "는"
