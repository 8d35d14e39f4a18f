"""Markdown (CommonMark with tables) without its markup.

The parser is markdown-it-py (CommonMark 0.31); what it leaves in place, such as ``**"강조"**는``, whose
asterisks CommonMark does not take for emphasis before a Korean particle, is removed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from retrieval.readers.source import Kind, Piece, SourceText, titled, unwrap
from retrieval.readers.tables import named_rows

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

_FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_LEFTOVER_EMPHASIS = re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1")
_TASK_BOX = re.compile(r"\A\[[ xX]\]\s+")
_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^>]*>", re.DOTALL)


def parse(text: str, stem: str) -> SourceText:
    """Reads Markdown.

    The first heading is the title when it is the only first-level one, and opens no section; else first-level
    headings are sections and the title is the file's name. Bullets vanish, numbers of ordered lists stay
    (they say which step it is).

    Args:
        text: decoded text.
        stem: the file's name without extension, the title when the text has none.
    """
    from markdown_it.tree import SyntaxTreeNode

    tree = SyntaxTreeNode(_parser().parse(_FRONT_MATTER.sub("", text)))
    return titled(stem, _walk(tree))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])


def _walk(node: SyntaxTreeNode, kind: Kind = "paragraph", marker: str = "") -> Iterator[Piece]:
    """Pieces under a node; ``kind`` and ``marker`` come from the list that encloses it."""
    if node.type == "heading":
        yield Piece("heading", _line(node), int(node.tag[1]))
    elif node.type == "paragraph":
        text = unwrap(_TASK_BOX.sub("", _text(node)).split("\n"))
        yield Piece(kind, marker + (text.replace("\n", " ") if kind == "list" else text))
    elif node.type == "table":
        header, *body = _grid(node)
        yield Piece("table", "\n".join(named_rows(header, body)))
    elif node.type in ("fence", "code_block"):
        yield Piece("paragraph", node.content.strip("\n"))
    elif node.type == "html_block":
        yield Piece("paragraph", _TAG.sub("", node.content).strip())
    else:
        yield from _children(node, kind, marker)


def _children(node: SyntaxTreeNode, kind: Kind, marker: str) -> Iterator[Piece]:
    if node.type == "list_item":
        kind, marker = "list", f"{node.info}{node.markup} " if node.info else ""
    for child in node.children:
        yield from _walk(child, kind, marker)
        marker = ""


def _grid(table: SyntaxTreeNode) -> list[list[str]]:
    return [[_line(cell) for cell in row.children] for part in table.children for row in part.children]


def _line(node: SyntaxTreeNode) -> str:
    return " ".join(_text(node).split())


def _text(node: SyntaxTreeNode) -> str:
    text = "".join(_inline(child) for child in node.children)
    return _LEFTOVER_EMPHASIS.sub(r"\2", text).strip()


def _inline(node: SyntaxTreeNode) -> str:
    if node.type in ("text", "code_inline", "image"):
        return node.content
    if node.type in ("softbreak", "hardbreak"):
        return "\n"
    if node.type == "html_inline":
        return " " if node.content.lower().startswith("<br") else ""
    return "".join(_inline(child) for child in node.children)
