r"""What every reader makes of a file: one clean text, and blocks that point into it.

`SourceText.text` is not the file's bytes decoded but the text a person would read aloud: markup is gone,
Unicode is NFC, lines end in ``\n``, a table row reads ``header: cell, header: cell`` so that it stands
alone. Every offset in Damso (blocks, chunks, sentences, citations) counts characters of this text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from retrieval.errors import DocumentTooLargeError

Kind = Literal["paragraph", "table", "list", "heading"]

# A small file can be told to become a very long text: a long table header is repeated in every row.
_MAX_CHARACTERS = 20_000_000

_FINISHED = re.compile(r"[.!?:;…。][\"'”’)\]」』]*$|:\s")


@dataclass(frozen=True)
class Block:
    """A stretch of one kind of text.

    Attributes:
        start: offset of its first character in `SourceText.text`.
        end: one past its last character.
        section: breadcrumb of the headings above it, `` > `` between levels; a heading's own includes itself.
        kind: what the block is; ``table`` and ``list`` hold one row or item a line.
        page: page number from 1, or None for formats without pages.
    """

    start: int
    end: int
    section: str
    kind: Kind
    page: int | None = None


@dataclass(frozen=True)
class SourceText:
    r"""A file's clean text with its structure.

    Attributes:
        title: the document's own title, or the file's name without its extension.
        text: NFC, ``\n`` newlines, no markup.
        blocks: in reading order, without overlap.
    """

    title: str
    text: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Piece:
    """What a reader hands to `assemble`.

    Attributes:
        kind: as in `Block`.
        text: clean text of the piece.
        level: depth of a heading from 1; 0 marks the document's title, which opens no section.
        page: as in `Block`.
    """

    kind: Kind
    text: str
    level: int = 0
    page: int | None = None


def assemble(title: str, pieces: Iterable[Piece]) -> SourceText:
    """Lays pieces out as one text and gives each its place and breadcrumb.

    Raises:
        DocumentTooLargeError: the text becomes longer than any document should be.
    """
    breadcrumb: list[Piece] = []
    blocks: list[Block] = []
    parts: list[str] = []
    offset = 0
    for piece in _joined_lists(map(_normalized, filter(lambda piece: piece.text.strip(), pieces))):
        if piece.kind == "heading":
            breadcrumb = [above for above in breadcrumb if above.level < piece.level]
            breadcrumb += [piece] if piece.level else []
        section = " > ".join(heading.text for heading in breadcrumb)
        blocks.append(Block(offset, offset + len(piece.text), section, piece.kind, piece.page))
        gap = "\n" if piece.kind == "heading" else "\n\n"
        parts.append(piece.text + gap)
        offset += len(parts[-1])
        if offset > _MAX_CHARACTERS:
            raise DocumentTooLargeError(
                "문서에서 꺼낸 글이 너무 많아서 받을 수 없어요.", "문서를 나누어 올려 주세요."
            )
    return SourceText(unicodedata.normalize("NFC", title), "".join(parts).rstrip("\n"), tuple(blocks))


def titled(stem: str, pieces: Iterable[Piece]) -> SourceText:
    """`assemble` with the title: the level-0 heading, else the first if it alone is first-level, else ``stem``.

    The heading that is the title opens no section.
    """
    found = list(pieces)
    headings = [piece for piece in found if piece.kind == "heading"]
    alone = [piece.level for piece in headings].count(1) == 1 and headings[0].level == 1
    title = next((piece for piece in headings if piece.level == 0), headings[0] if alone else None)
    if title is None:
        return assemble(stem, found)
    return assemble(title.text, (replace(piece, level=0) if piece is title else piece for piece in found))


def _normalized(piece: Piece) -> Piece:
    return replace(piece, text=unicodedata.normalize("NFC", piece.text))


def _joined_lists(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbouring list items of a page become one list, an item a line."""
    for (kind, page), group in groupby(pieces, key=lambda piece: (piece.kind, piece.page)):
        if kind == "list":
            yield Piece("list", "\n".join(item.text for item in group), page=page)
        else:
            yield from group


def unwrap(lines: Iterable[str], margin: int = 60) -> str:
    """Joins lines that were broken at the margin; lines that end of their own accord stay lines.

    A line counts as broken when it is at least ``margin`` columns wide (a Hangul syllable takes two), does
    not end like a sentence and is no ``name: value`` line.
    """
    text = ""
    unfinished = False
    for line in lines:
        text += (" " if unfinished else "\n") + line
        unfinished = _columns(line) >= margin and not _FINISHED.search(line)
    return text[1:]


def _columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)
