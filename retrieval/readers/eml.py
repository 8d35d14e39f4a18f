"""Mails (.eml): the subject is the title; sender, receivers, date, the text, the names of attachments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from pathlib import Path

from retrieval.errors import DocumentError, EmptyDocumentError, UnreadableFileError
from retrieval.readers import html, plain
from retrieval.readers.decoding import decode
from retrieval.readers.source import Piece, SourceText, assemble

_LABELS = {"From": "보낸 사람", "To": "받는 사람", "Cc": "참조", "Date": "날짜"}
_LONGEST_HEADER = 2000
# The parameters of such a header take Python's parser quadratic time.
_OVERLONG = re.compile(rb"^content-[\w-]+:(?:[^\n]|\n[ \t]){20000}", re.IGNORECASE | re.MULTILINE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_QUOTE = re.compile(r"^(?:> ?)+", re.MULTILINE)


def parse(data: bytes, name: str) -> SourceText:
    """Reads a mail: its plain text, or its HTML where it has none; attachments by name only.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        UnreadableFileError: no mail, or a text of unknown encoding.
    """
    message = Message() if _OVERLONG.search(data) else message_from_bytes(data)
    if not any(message[header] for header in (*_LABELS, "Subject", "Received")):
        raise UnreadableFileError(
            f"'{name}'은(는) 메일 파일이 아닌 것 같아요.", "메일 프로그램에서 .eml로 저장해 올려 주세요."
        )
    title = _header(message, "Subject")
    head = [Piece("heading", title)] if title else []
    return assemble(title or Path(name).stem, [*head, *_envelope(message), *_body(message, name)])


def _envelope(message: Message) -> Iterator[Piece]:
    lines = [f"{label}: {value}" for key, label in _LABELS.items() if (value := _header(message, key))]
    yield Piece("paragraph", "\n".join(lines))


def _header(message: Message, key: str) -> str:
    return _readable(next((value for name, value in message.raw_items() if name.lower() == key.lower()), ""))


def _readable(value: str) -> str:
    """A header's text: encoded words (RFC 2047) decoded, and raw bytes that some programs write."""
    value = value[:_LONGEST_HEADER]
    if not value.isascii():
        return _decoded(value.encode("utf-8", "surrogateescape"), "")
    try:
        parts = decode_header(value)
    except (HeaderParseError, ValueError):
        parts = [(value, None)]
    words = (part if isinstance(part, str) else _decoded(part, charset or "") for part, charset in parts)
    return " ".join("".join(words).split())


def _decoded(data: bytes, charset: str) -> str:
    try:
        return decode(data, "", charset)
    except DocumentError:
        return _UNPRINTABLE.sub(" ", data.decode("ascii", "ignore"))


def _body(message: Message, name: str) -> Iterator[Piece]:
    parts = [part for part in message.walk() if not part.is_multipart()]
    names = [_readable(part.get_filename() or "") for part in parts]
    texts = [part for part, attached in zip(parts, names, strict=True) if not attached]
    yield from list(_texts(texts, "text/plain", name)) or _texts(texts, "text/html", name)
    if attached := ", ".join(filter(None, names)):
        yield Piece("paragraph", f"첨부 파일: {attached}")


def _texts(parts: list[Message], content_type: str, name: str) -> Iterator[Piece]:
    for part in parts:
        data = part.get_payload(decode=True)
        if part.get_content_type() != content_type or not isinstance(data, bytes):
            continue
        try:
            text = decode(data, name, str(part.get_content_charset("")))
        except EmptyDocumentError:
            continue
        if content_type == "text/html":
            yield from html.pieces(text)
        else:
            yield from plain.pieces(_QUOTE.sub("", text))
