"""Readers: one file a format, each turning a file into a `SourceText`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from retrieval.errors import (
    DocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from retrieval.readers import archive, csv, docx, eml, html, hwp, hwpx, markdown, pdf, plain, pptx, xlsx
from retrieval.readers.decoding import decode, read_bytes, require_file
from retrieval.readers.source import Block, SourceText

__all__ = ["SUPPORTED", "Block", "SourceText", "document_name", "is_supported", "load", "parse", "read"]

_Reader = Callable[[bytes, str], SourceText]


def _text(parse: Callable[[str, str], SourceText]) -> _Reader:
    """A reader of decoded text and a title as a reader of bytes and a name."""
    return lambda data, name: parse(decode(data, name), Path(name).stem)


_READERS: dict[str, _Reader] = {
    ".csv": _text(csv.parse),
    ".docx": docx.parse,
    ".eml": eml.parse,
    ".htm": html.parse,
    ".html": html.parse,
    ".hwp": hwp.parse,
    ".hwpx": hwpx.parse,
    ".md": _text(markdown.parse),
    ".pdf": pdf.parse,
    ".pptx": pptx.parse,
    ".tsv": _text(csv.parse),
    ".txt": _text(plain.parse),
    ".xlsx": xlsx.parse,
}
SUPPORTED = tuple(_READERS)
_MACROS = (".docm", ".dotm", ".pptm", ".xlsm")
_OLD = {".doc": ".docx", ".ppt": ".pptx", ".xls": ".xlsx"}
_PICTURES = (".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Control characters and marks that reorder text: a name must not be able to lie about itself on a screen.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def read(path: Path) -> SourceText:
    """Reads a file by its extension.

    Raises:
        UnsupportedFormatError: no reader knows the extension.
        UnreadableFileError: missing, no permission, damaged, password-protected, of unknown encoding.
        EmptyDocumentError: no text in it.
        DocumentTooLargeError: over 20 MB, or too large once unpacked.
    """
    return parse(load(path), document_name(path))


def load(path: Path) -> bytes:
    """A file's bytes, when a reader knows its extension. Raises as `read` does."""
    require_file(path)
    _require_supported(path.name)
    return read_bytes(path)


def parse(data: bytes, name: str) -> SourceText:
    """Makes sense of the bytes that `load` gave; ``name`` chooses the reader. Raises as `read` does."""
    if not data:
        raise EmptyDocumentError(
            f"'{name}'은(는) 빈 파일이라서 읽을 글이 없어요.", "내용이 있는 파일을 올려 주세요."
        )
    source = _guarded(_READERS[_extension(name)], data, name)
    if not any(character.isalnum() for character in source.text):
        raise EmptyDocumentError(f"'{name}'에 읽을 글이 없어요.", "내용이 있는 파일을 올려 주세요.")
    return source


def _guarded(reader: _Reader, data: bytes, name: str) -> SourceText:
    """What the libraries raise on damaged files has no end; to a person all of it says the same."""
    try:
        return reader(data, name)
    except DocumentError:
        raise
    except MemoryError as error:
        raise DocumentTooLargeError(
            f"'{name}'을(를) 읽기에 메모리가 부족해요.", "파일을 나누어 올려 주세요."
        ) from error
    except Exception as error:
        raise UnreadableFileError(
            f"'{name}'이(가) 깨졌거나 이름과 다른 형식이라서 읽을 수 없어요.",
            "원래 프로그램에서 열어 다시 저장한 뒤 올려 주세요.",
        ) from error


def is_supported(path: Path) -> bool:
    """Whether a reader knows the extension."""
    return _extension(path.name) in _READERS


def document_name(path: Path, root: Path | None = None) -> str:
    """What a document is called: the file's name or its path under ``root``, NFC and printable."""
    label = path.relative_to(root).as_posix() if root else path.name
    readable = label.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return unicodedata.normalize("NFC", _UNPRINTABLE.sub("�", readable))


def _extension(name: str) -> str:
    return Path(name).suffix.lower()


def _require_supported(name: str) -> None:
    extension, shown = _extension(name), Path(name).name
    if extension in _MACROS:
        raise archive.with_macros(shown)
    if extension in _OLD:
        raise UnsupportedFormatError(
            f"'{shown}'은(는) 옛 형식({extension})의 파일이에요.",
            f"{_OLD[extension]}로 다시 저장한 뒤 올려 주세요.",
        )
    if extension in _PICTURES:
        raise UnsupportedFormatError(
            f"'{shown}'은(는) 그림이라서 글을 읽을 수 없어요.",
            "글자 인식(OCR)으로 글자를 넣은 PDF로 만들어 올려 주세요.",
        )
    if extension not in _READERS:
        supported = ", ".join(SUPPORTED)
        raise UnsupportedFormatError(
            f"'{shown}'은(는) 읽을 수 없는 형식이에요. 지원하는 형식: {supported}",
            "지원하는 형식으로 저장해서 올려 주세요.",
        )
