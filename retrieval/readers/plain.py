"""Plain text: headings, lists and paragraphs recognised as Korean documents write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from retrieval.readers.source import Piece, SourceText, assemble, titled, unwrap
from retrieval.sentences import MARKER

# Outermost first; the position is the heading's level.
_HEADINGS = [
    [r"제\s?\d+\s?장(?:\s.*)?", r"[ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ]+\.?\s*\S.*", r"[IVX]{1,4}\.\s+\S.*", r"부\s?칙"],
    [r"제\s?\d+\s?절(?:\s.*)?", r"[\[<【〈《「][^\[\]<>]{1,40}[\]>】〉》」]", r"[■□◆◇▶▷◈]\s*\S.*"],
    [r"\d{1,2}\.\s+\S.*", r"제\s?\d+\s?조(?:의\s?\d+)?"],
    [r"\d{1,2}(?:\.\d{1,2}){1,3}\.?\s+\S.*"],
    [r"[가나다라마바사아자차카타파하]\.\s+\S.*"],
]
_STYLES = [
    (level, re.compile(pattern)) for level, patterns in enumerate(_HEADINGS, 1) for pattern in patterns
]
_ARTICLE = re.compile(r"(제\s?\d+\s?조(?:의\s?\d+)?\s?[(\[][^()\[\]]{1,40}[)\]])\s*(.*)")
_ARTICLE_LEVEL = 3
_UNDERLINE = re.compile(r"={3,}|-{3,}")
_SENTENCE_END = re.compile(r"[.!?;,]$|(?:니다|한다|된다|하다|있다|없다|세요|어요|아요|해요|니까)$")
_FACT = re.compile(r"\d[\d,.]*\s*(?:년|월|일|시|분|원|만|%|명|개|층|호|회)|\d{2,4}-\d{3,4}")
_LONGEST_HEADING = 40


def parse(text: str, stem: str) -> SourceText:
    """Reads plain text.

    A line is a heading when it looks like one (``1. 신청 대상``, ``제3조(휴가)``, ``[문의]``, ``■ 접수``),
    is short, is no sentence, has something under it, and is not one of several alike in a row: those are a
    list. A first line that is short and no sentence is the title.

    Args:
        text: decoded text.
        stem: the file's name without extension, the title when the text has none.
    """
    lines = [line.rstrip() for line in text.split("\n")]
    filled = [index for index, line in enumerate(lines) if line.strip()]
    title = _title(lines, filled)
    first = filled[0] + 1 if title else 0
    head = [_title_piece(title)] if title else []
    return assemble(title or stem, [*head, *_pieces(lines, first, _headings(lines, filled))])


def pieces(text: str, page: int | None = None, followed: bool = False) -> Iterator[Piece]:
    """Headings, lists and paragraphs of a part of a document that has no markup of its own.

    Args:
        text: lines of it.
        page: as in `Block`.
        followed: whether something such as a table comes after it, which its last line may be a heading of.
    """
    lines = [line.rstrip() for line in text.split("\n")] + [""]
    filled = [index for index, line in enumerate(lines) if line.strip()]
    below = [len(lines) - 1] if followed else []
    for piece in _pieces(lines, 0, _headings(lines, filled + below)):
        yield replace(piece, page=page)


def structured(stem: str, found: list[Piece]) -> SourceText:
    """A document of paragraphs and tables; without styled headings it is read by how headings are written."""
    if any(piece.kind == "heading" for piece in found):
        return titled(stem, found)
    first = next((piece.text for piece in found if piece.text.strip()), "")
    title = first if "\n" not in first and len(found) > 1 and _title([first, ""], [0, 1]) else ""
    return assemble(title or stem, _restructured(found, title))


def _restructured(found: list[Piece], title: str) -> Iterator[Piece]:
    run: list[str] = []
    for piece in found:
        if title and piece.text == title:
            yield _title_piece(title)
            title = ""
        elif piece.kind == "paragraph":
            run.append(piece.text)
        else:
            yield from pieces("\n\n".join(run), followed=True)
            run = []
            yield piece
    yield from pieces("\n\n".join(run))


def _title_piece(title: str) -> Piece:
    # Headings are no passages; a title that states a fact ('회의 3월 2일') stays one as well.
    return Piece("paragraph" if _FACT.search(title) else "heading", title)


def _title(lines: list[str], filled: list[int]) -> str:
    first = lines[filled[0]].strip()
    plain = not MARKER.match(first) and _style(first) is None
    return first if len(filled) > 1 and plain and ": " not in first and _is_short_phrase(first) else ""


def _headings(lines: list[str], filled: list[int]) -> dict[int, int]:
    """Levels of the lines that are headings, by line number."""
    styles = {index: _style(lines[index].strip()) for index in filled}
    levels = {}
    for before, index, after in zip([-1, *filled], filled, filled[1:], strict=False):
        style = styles[index]
        alike = style in (styles.get(before), styles[after])
        if style is not None and not alike and _is_short_phrase(lines[index].strip()):
            levels[index] = _STYLES[style][0]
        elif style is None and _underlined(lines, index):
            levels[index] = 1
    return levels


def opens_block(line: str) -> bool:
    """Whether a line looks like a heading or a list item, which never goes on with the line before it."""
    return _style(line) is not None or bool(MARKER.match(line) or _ARTICLE.match(line))


def _style(line: str) -> int | None:
    return next((number for number, (_, style) in enumerate(_STYLES) if style.fullmatch(line)), None)


def _underlined(lines: list[str], index: int) -> bool:
    below = lines[index + 1] if index + 1 < len(lines) else ""
    return bool(_UNDERLINE.fullmatch(below.strip())) and _is_short_phrase(lines[index].strip())


def _is_short_phrase(line: str) -> bool:
    return len(line) <= _LONGEST_HEADING and not _SENTENCE_END.search(line) and not _UNDERLINE.match(line)


def _pieces(lines: list[str], first: int, levels: dict[int, int]) -> Iterator[Piece]:
    kept: list[str] = []
    in_list = False
    for index, raw in enumerate(lines[first:], first):
        line = raw.strip()
        article = _ARTICLE.match(line)
        item = bool(MARKER.match(line))
        continues = in_list and raw[:1].isspace()
        if kept and (not line or index in levels or article or item or (in_list and not continues)):
            yield _piece(kept, in_list)
            kept, in_list = [], False
        if index in levels or article:
            yield Piece("heading", article[1] if article else line, levels.get(index, _ARTICLE_LEVEL))
            line = article[2] if article else ""
        if line and not _UNDERLINE.fullmatch(line):
            in_list = in_list or item
            kept.append(line)
    if kept:
        yield _piece(kept, in_list)


def _piece(lines: list[str], in_list: bool) -> Piece:
    # An indented line under a list item goes on with it however short the item is.
    return Piece("list", unwrap(lines, margin=0)) if in_list else Piece("paragraph", unwrap(lines))
