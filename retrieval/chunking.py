"""Passages along a document's structure: sections first, then blocks, then sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from retrieval.readers.source import Block, SourceText
from retrieval.sentences import MARKER, lines, sentences

Span = tuple[int, int]


@dataclass(frozen=True)
class Chunk:
    """A passage.

    Attributes:
        start: offset of its first character in `SourceText.text`.
        end: one past its last character.
        section: breadcrumb of its headings.
        page: page number from 1, or None.
        sentences: spans in offsets of `SourceText.text`, ascending.
    """

    start: int
    end: int
    section: str
    page: int | None
    sentences: tuple[Span, ...]


def chunk(source: SourceText, target_chars: int = 300, table_chars: int = 900) -> list[Chunk]:
    """Cuts a document into passages that never cross a section, a page or a sentence.

    Headings are not part of a passage: they are its ``section``. A heading with nothing at all under it
    becomes a passage of its own, so that no text is lost to search.

    Args:
        source: the document.
        target_chars: a passage closes when the next sentence would take it beyond this.
        table_chars: a table up to this size stays whole, a passage by itself when it is over
            ``target_chars``.

    Returns:
        Passages in reading order.
    """
    parts = groupby(_searchable(source.blocks), key=lambda block: (block.section, block.page))
    return [
        Chunk(_with_marker(source.text, spans[0][0]), spans[-1][1], section, page, tuple(spans))
        for (section, page), blocks in parts
        for spans in _packed(source.text, blocks, target_chars, table_chars)
    ]


def _with_marker(text: str, start: int) -> int:
    """Moves the start of a list item back before its marker, which no sentence holds."""
    line = text.rfind("\n", 0, start) + 1
    marker = MARKER.match(text, line)
    return line if marker and marker.end() == start else start


def _searchable(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        bare = following is None or not following.section.startswith(block.section)
        if block.kind != "heading" or (block.section and bare) or len(blocks) == 1:
            yield block


def _packed(text: str, blocks: Iterable[Block], target: int, table_limit: int) -> Iterator[list[Span]]:
    """Greedy packing of one section; a short last passage joins the one before it."""
    packs: list[list[Span]] = []
    for unit in _units(text, blocks, table_limit):
        if packs and unit[-1][1] - packs[-1][0][0] <= target:
            packs[-1] += unit
        else:
            packs.append(list(unit))
    if len(packs) > 1 and _length(packs[-1]) < target // 4 and _length(packs[-2]) <= target:
        packs[-2:] = [packs[-2] + packs[-1]]
    yield from packs


def _length(spans: list[Span]) -> int:
    return spans[-1][1] - spans[0][0]


def _units(text: str, blocks: Iterable[Block], table_limit: int) -> Iterator[list[Span]]:
    """What is never cut: a small table, else a sentence."""
    for block in blocks:
        find = lines if block.kind == "table" else sentences
        spans = [(block.start + a, block.start + b) for a, b in find(text[block.start : block.end])]
        if block.kind == "table" and spans and _length(spans) <= table_limit:
            yield spans
        else:
            yield from ([span] for span in spans)
