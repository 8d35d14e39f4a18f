"""Sentence spans by rule: fast, predictable, and line by line where lists and tables need it.

Official and household documents punctuate their sentences; the rule splits there and is careful about dates
(``2026. 3. 1.``), numbering (``1.``, ``가.``), abbreviations and brackets. Kiwi's splitter finds
unpunctuated ends too, but costs an analysis of the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_SENTENCE = 400
"""Characters after which a sentence without an end is cut at white space."""

MARKER = re.compile(
    r"(?:[-*+•·‣▪◦○●◎■□▶▷◆◇◈※☞✓✔]\s*|[①-⑳㉠-㉻]\s*|\(?(?:\d{1,3}|[가나다라마바사아자차카타파하])\)\s*"
    r"|(?:\d{1,2}|[가나다라마바사아자차카타파하])\.\s+)(?=\S)"
)
"""A list item's marker with the space after it."""

_LINE = re.compile(r"[^\n]+")
_END = re.compile(r"[.!?…。！？]+[\"'”’)\]」』〉》]*(?=\s)|(?<=[다요죠])[.!?]+(?=[가-힣])")
_NOT_AN_END = re.compile(
    r"(?:^|[\s(~])(?:\d{1,4}|[가나다라마바사아자차카타파하]|[A-Za-z]|Dr|Mr|Ms|No|vs|etc)\.$"
)
_OPEN, _CLOSE = "([「『“《〈", ")]」』”》〉"


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences of a text.

    Args:
        text: any text; a sentence never crosses a newline.

    Returns:
        ``(start, end)`` in characters, ascending and disjoint. Surrounding white space and list markers are
        left out, so are stretches without a letter or digit.
    """
    found = []
    for line in _LINE.finditer(text):
        for start, end in _split(line[0]):
            found += [(line.start() + a, line.start() + b) for a, b in _cut(line[0], start, end)]
    return found


def lines(text: str) -> list[tuple[int, int]]:
    """Spans of the lines that hold a letter or digit, without surrounding white space."""
    return [
        (line.start() + a, line.start() + b) for line in _LINE.finditer(text) for a, b in _trimmed(line[0])
    ]


def _split(line: str) -> Iterator[tuple[int, int]]:
    marker = MARKER.match(line, len(line) - len(line.lstrip()))
    start = marker.end() if marker else 0
    for end in _END.finditer(line, start):
        if _ends_sentence(line, start, end.end()):
            yield start, end.end()
            start = end.end()
    yield start, len(line)


def _ends_sentence(line: str, start: int, end: int) -> bool:
    if end - start > LONGEST_SENTENCE:
        return True
    sentence = line[start:end]
    return not _NOT_AN_END.search(sentence) and not _inside_brackets(
        sentence, line[end : end + LONGEST_SENTENCE]
    )


def _inside_brackets(before: str, after: str) -> bool:
    """Whether a bracket opened in ``before`` closes in ``after``."""
    return any(
        before.count(opening) > before.count(closing) and closing in after
        for opening, closing in zip(_OPEN, _CLOSE, strict=True)
    )


def _cut(line: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > LONGEST_SENTENCE:
        space = line.rfind(" ", start + LONGEST_SENTENCE // 2, start + LONGEST_SENTENCE)
        middle = space if space > 0 else start + LONGEST_SENTENCE
        yield from _trimmed(line, start, middle)
        start = middle
    yield from _trimmed(line, start, end)


def _trimmed(line: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    part = line[start:end]
    if any(character.isalnum() for character in part):
        start += len(part) - len(part.lstrip())
        yield start, start + len(part.strip())
