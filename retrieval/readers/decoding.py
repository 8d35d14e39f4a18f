"""From a path to characters: size limits, encodings, and what is not text at all."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from retrieval.errors import DocumentTooLargeError, EmptyDocumentError, UnreadableFileError

MAX_BYTES = 20 * 2**20

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_UNMARKED = ("utf-16-le", "utf-16-be")
# What a declaration is believed about; Python's other codecs are no text encodings of documents.
_EAST_ASIAN = {"big5", "cp932", "cp949", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "johab", "shift_jis"}
_SEVEN_BIT = {"iso2022_kr", "iso2022_jp"}
_WESTERN = {"cp1252", "iso8859-1"}
# NUL and the other C0/C1 controls never occur in text, except white space and the form feed of old printouts.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\x80-\x84\x86-\x9f]")
_NEWLINE = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def require_file(path: Path) -> None:
    """Refuses what is missing and what is no regular file: reading a pipe or a device could wait for ever.

    Raises:
        UnreadableFileError: there is no such regular file.
    """
    try:
        reason = "" if path.is_file() else "일반 파일이 아니에요" if path.exists() else "파일이 없어요"
    except (OSError, ValueError) as error:  # a name too long, a NUL in it, a folder that may not be entered
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise UnreadableFileError(
            f"'{path.name}'을(를) 읽을 수 없어요: {reason}.", "경로와 권한을 확인해 주세요."
        )


def read_bytes(path: Path) -> bytes:
    """Reads a regular file of at most `MAX_BYTES`.

    Raises:
        UnreadableFileError: it cannot be opened or read.
        DocumentTooLargeError: over the limit.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableFileError(
            f"'{path.name}'을(를) 읽을 수 없어요: {getattr(error, 'strerror', None) or error}.",
            "파일의 읽기 권한을 확인해 주세요.",
        ) from error
    if len(data) > MAX_BYTES:
        raise DocumentTooLargeError(
            f"'{path.name}'이(가) 너무 커요. 한 파일은 {MAX_BYTES // 2**20} MB까지 받을 수 있어요.",
            "파일을 나누어 올려 주세요.",
        )
    return data


def decode(data: bytes, name: str, declared: str = "") -> str:
    r"""Decodes text: by its BOM, else UTF-8, else as it declares, else CP949 (a superset of EUC-KR).

    All of them strictly, so that the wrong one fails. UTF-16 without a BOM is recognised by what it says.

    Args:
        data: the file's bytes.
        name: the file's name, for messages.
        declared: the encoding that the file says it has; it may be wrong or unknown.

    Returns:
        The text in NFC with ``\n`` newlines.

    Raises:
        UnreadableFileError: no encoding fits, or the bytes are not text.
        EmptyDocumentError: there is no letter or digit in it.
    """
    text = _NEWLINE.sub("\n", unicodedata.normalize("NFC", _decoded(data, name, declared)))
    if _CONTROL.search(text):
        raise UnreadableFileError(
            f"'{name}'은(는) 글이 아니라 다른 형식의 파일로 보여요.", "글로 저장한 파일을 올려 주세요."
        )
    if not any(character.isalnum() for character in text):
        raise EmptyDocumentError(f"'{name}'에 읽을 글이 없어요.", "내용이 있는 파일을 올려 주세요.")
    return text


def _decoded(data: bytes, name: str, declared: str) -> str:
    marked = [encoding for bom, encoding in _BOMS.items() if data.startswith(bom)]
    for encoding in marked or _candidates(data, declared):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding not in _UNMARKED or _is_korean_or_ascii(text):
            return text
    raise UnreadableFileError(
        f"'{name}'의 글자 인코딩을 알 수 없어요.", "UTF-8로 다시 저장한 뒤 올려 주세요."
    )


def _candidates(data: bytes, declared: str) -> list[str]:
    try:
        codec = codecs.lookup(declared).name if declared else ""
    except (LookupError, ValueError):
        codec = ""
    if codec in _SEVEN_BIT:
        return [codec, "utf-8"]
    unmarked = list(_UNMARKED) if b"\0" in data else []
    last = ["cp1252"] if codec in _WESTERN else []
    return [*unmarked, "utf-8", *([codec] if codec in _EAST_ASIAN else []), "cp949", *last]


def _is_korean_or_ascii(text: str) -> bool:
    """Whether bytes read as UTF-16 by guess make sense: other bytes become characters of all scripts."""
    usual = sum("가" <= character <= "힣" or "\t" <= character <= "~" for character in text)
    return usual > 0.9 * len(text)
