"""`/v1/documents`: list, add and remove the documents that questions are answered from."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, UploadFile

from assistant.errors import DocumentError

if TYPE_CHECKING:
    from assistant.dialog import Assistant
    from retrieval.store import Document

_NAME_BYTES = 180


def document_routes(assistant: Assistant) -> APIRouter:
    """The routes.

    Args:
        assistant: owns the index.
    """
    routes = APIRouter()

    @routes.get("/v1/documents")
    def documents() -> dict[str, Any]:
        return {"object": "list", "data": [document_card(item) for item in assistant.index.documents()]}

    @routes.post("/v1/documents")
    def add(file: UploadFile) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="damso-") as folder:
            path = Path(folder) / upload_name(file.filename or "")
            path.write_bytes(file.file.read())
            result = assistant.index.ingest([path])[0]
        if result.document is None:
            raise result.error or DocumentError("문서를 넣지 못했어요.", "다른 파일로 다시 해 주세요.")
        return document_card(result.document) | {"status": result.status}

    @routes.delete("/v1/documents/{document_id}")
    def remove(document_id: str) -> dict[str, Any]:
        removed = assistant.index.remove(document_id)
        return document_card(removed) | {"deleted": True}

    return routes


def upload_name(name: str) -> str:
    """A file name that is safe inside a fresh folder.

    Args:
        name: what the client calls the file: anything.

    Returns:
        The last component in NFC, without controls and direction marks, at most 180 bytes; the suffix stays.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    name = "".join(letter for letter in name if letter.isprintable()).strip(" .")
    path = Path(name or "이름없음.txt")
    suffix = path.suffix if len(path.suffix.encode()) <= 16 else ""
    stem = path.stem.encode()[: _NAME_BYTES - len(suffix.encode())].decode(errors="ignore")
    return stem + suffix


def document_card(document: Document) -> dict[str, Any]:
    """What callers see of a document."""
    return {
        "id": document.id,
        "object": "document",
        "name": document.name,
        "title": document.title,
        "bytes": document.size,
        "created": document.added_at,
    }
