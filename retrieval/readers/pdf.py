"""PDF files with a text layer: lines, tables and headings from where the text stands on the page."""

from __future__ import annotations

import logging
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import DocumentTooLargeError, UnreadableFileError
from retrieval.readers import archive, layout
from retrieval.readers.source import SourceText

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

_MAX_PAGES = 5000
_MAX_OPERATORS = 2_000_000
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]")
# Korean encodings of old PDFs that pypdf lacks (PDF 32000-1, table 118).
_KOREAN_CMAPS = {
    "/KSC-EUC-H": "euc_kr",
    "/KSC-EUC-V": "euc_kr",
    "/KSCms-UHC-H": "cp949",
    "/KSCms-UHC-V": "cp949",
}


def parse(data: bytes, name: str) -> SourceText:
    """Reads the text layer page by page, running heads and page numbers left out.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        UnreadableFileError: password-protected, damaged, or without a text layer (it needs OCR).
        DocumentTooLargeError: too many pages or drawing operators.
    """
    # It reports every repair it makes to the standard error output.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    from pypdf import PdfReader, _cmap
    from pypdf.errors import LimitReachedError

    _cmap._predefined_cmap.update(_KOREAN_CMAPS)
    try:
        pages = _fragments(_opened(PdfReader(BytesIO(data)), name), name)
    except LimitReachedError as error:
        raise archive.too_large(name) from error
    if not any(pages):
        raise UnreadableFileError(
            f"'{name}'에는 글자 정보가 없어요. 스캔한 문서라면 글자 인식(OCR)이 필요해요.",
            "OCR로 글자를 넣은 PDF로 다시 만들어 올려 주세요.",
        )
    return layout.document(Path(name).stem, pages)


def _opened(reader: PdfReader, name: str) -> PdfReader:
    # Many files are only locked against changes: the empty password opens them for reading.
    if reader.is_encrypted and not reader.decrypt(""):
        raise archive.password_protected(name)
    if len(reader.pages) > _MAX_PAGES:
        raise DocumentTooLargeError(
            f"'{name}'의 쪽이 너무 많아요. {_MAX_PAGES:,}쪽까지 받을 수 있어요.", "파일을 나누어 올려 주세요."
        )
    return reader


def _fragments(reader: PdfReader, name: str) -> list[list[layout.Fragment]]:
    operators = 0

    def count(*_: Any) -> None:
        nonlocal operators
        operators += 1
        if operators > _MAX_OPERATORS:
            raise archive.too_large(name)

    return [_page(page, count) for page in reader.pages]


def _page(page: PageObject, count: Any) -> list[layout.Fragment]:
    fragments: list[layout.Fragment] = []

    def collect(text: str, user: list[float], matrix: list[float], font: Any, size: float) -> None:
        if text.strip() and _is_readable(font):
            # The text matrix, then the one of the page (PDF 32000-1, 9.4.4).
            x = matrix[4] * user[0] + matrix[5] * user[2] + user[4]
            y = matrix[4] * user[1] + matrix[5] * user[3] + user[5]
            scale = abs(matrix[3] * user[3]) or abs(matrix[1] * user[0]) or 1.0
            clean = " ".join(_UNPRINTABLE.sub(" ", text).split())
            fragments.append(layout.Fragment(clean, x, y, size * scale))

    page.extract_text(visitor_operand_before=count, visitor_text=collect)
    return [fragment for fragment in fragments if fragment.text]


def _is_readable(font: Any) -> bool:
    """Whether the codes of a font stand for characters; without a map, glyph numbers do not."""
    if font is None or "/ToUnicode" in font:
        return font is not None
    return font.get("/Encoding") not in ("/Identity-H", "/Identity-V")
