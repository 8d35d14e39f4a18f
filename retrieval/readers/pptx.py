"""PowerPoint presentations (.pptx): a slide is a page, its title the section; notes follow the slide."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.readers import archive, tables
from retrieval.readers.source import Piece, SourceText, assemble

if TYPE_CHECKING:
    from pptx.slide import Slide

_DEEPEST_GROUP = 20


def parse(data: bytes, name: str) -> SourceText:
    """Reads the slides in order; within a slide the title first, then from top to bottom.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        DocumentError: password-protected, damaged, too large, or no presentation.
    """
    archive.checked(data, name, "ppt/presentation.xml").close()
    from pptx import Presentation

    slides = list(Presentation(BytesIO(data)).slides)
    title = _title(slides[0]) if slides else ""
    pieces = (piece for page, slide in enumerate(slides, 1) for piece in _slide(slide, page))
    return assemble(title or Path(name).stem, pieces)


def _title(slide: Slide) -> str:
    shape = slide.shapes.title
    return " ".join(shape.text_frame.text.split()) if shape is not None else ""


def _slide(slide: Slide, page: int) -> Iterator[Piece]:
    body = list(_body(slide, page))
    title = _title(slide)
    if title or body:
        # A slide without a title must not go on with the section of the one before.
        yield Piece("heading", title or f"슬라이드 {page}", 1, page)
    yield from body


def _body(slide: Slide, page: int) -> Iterator[Piece]:
    title = slide.shapes.title
    shapes = [s for s in _flat(slide.shapes) if title is None or s.shape_id != title.shape_id]
    for shape in sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0)):
        if getattr(shape, "has_table", False):
            yield from tables.pieces(_grid(shape.table), page)
        elif shape.has_text_frame:
            yield from _paragraphs(shape.text_frame, page)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
        yield from _paragraphs(notes, page)


def _flat(shapes: Any, depth: int = 0) -> Iterator[Any]:
    """The shapes with those inside groups, whose positions count from the group's corner."""
    for shape in shapes:
        if hasattr(shape, "shapes") and depth < _DEEPEST_GROUP:
            yield from _flat(shape.shapes, depth + 1)
        else:
            yield shape


def _paragraphs(frame: Any, page: int) -> Iterator[Piece]:
    lines = [" ".join(paragraph.text.split()) for paragraph in frame.paragraphs]
    filled = [line for line in lines if line]
    for line in filled:
        yield Piece("list" if len(filled) > 1 else "paragraph", line, page=page)


def _grid(table: Any) -> list[list[str]]:
    cells = (
        tables.Cell(row, column, cell.text, cell.span_height if cell.is_merge_origin else 1)
        for row, line in enumerate(table.rows)
        for column, cell in enumerate(line.cells)
        if not cell.is_spanned
    )
    return tables.unmerged(cells)
