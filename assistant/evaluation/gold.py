"""A Doc2Dial set's documents in the index, and where its spans lie in the text the index holds.

A document is written as Markdown, its heading spans as headings, and read as any file of a person's is. Reading
changes white space, so spans are found again by their characters without it.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from assistant.evaluation.kodoc2dial import Doc2Dial, SourceDocument
from retrieval.index import Index

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_OPENS_BLOCK = re.compile(r"(?m)^([-+=])")
_INDENT = re.compile(r"(?m)^[ \t]+")


@dataclass(frozen=True)
class Place:
    """A stretch of a document in the index; offsets count characters of its text there.

    Attributes:
        document: the store's id of the document.
    """

    document: str
    start: int
    end: int

    def overlaps(self, other: Place) -> bool:
        """Whether they share a character."""
        return self.document == other.document and self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class Gold:
    """Where a set's documents and spans lie in the index.

    Attributes:
        documents: the store's id by the set's doc_id.
        spans: place by the set's doc_id and span id; spans that reading lost are missing.
        reach: the same; a heading's place runs on through the span below it, because the index keeps headings
            beside passages and not in them.
        texts: the text the index holds, by the store's id.
        lost: number of spans that were not found again.
    """

    documents: Mapping[str, str]
    spans: Mapping[tuple[str, str], Place]
    reach: Mapping[tuple[str, str], Place]
    texts: Mapping[str, str]
    lost: int

    def characters(self, places: Iterable[Place]) -> frozenset[tuple[str, int]]:
        """Document and offset of every character of some places, white space aside."""
        return frozenset(
            (place.document, at)
            for place in places
            for at in range(place.start, place.end)
            if not self.texts[place.document][at].isspace()
        )


def ingest(dataset: Doc2Dial, index: Index, progress: Callable[[], None] = lambda: None) -> Gold:
    """Puts the set's documents into an index; those that are there already cost nothing.

    Args:
        dataset: the set; its names never become paths.
        index: takes the documents as ``00000.md``, ``00001.md`` …
        progress: called after each document.

    Raises:
        DocumentError: a document cannot be read, e.g. holds no text.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, document in enumerate(dataset.documents.values()):
            paths.append(Path(folder) / f"{number:05}.md")
            paths[-1].write_text(markdown(document), encoding="utf-8")
        results = index.ingest(paths, lambda _: progress())
    ids: dict[str, str] = {}
    for identifier, result in zip(dataset.documents, results, strict=True):
        if result.document is None:
            assert result.error is not None
            raise result.error
        ids[identifier] = result.document.id
    texts = {identifier: index.document_text(identifier) for identifier in ids.values()}
    spans: dict[tuple[str, str], Place] = {}
    reach: dict[tuple[str, str], Place] = {}
    for document in dataset.documents.values():
        found = _found(document, ids[document.id], texts[ids[document.id]])
        spans |= {(document.id, span): place for span, place in found.items()}
        reach |= {(document.id, span): place for span, place in _reach(document, found).items()}
    lost = sum(len(document.spans) for document in dataset.documents.values()) - len(spans)
    return Gold(ids, spans, reach, texts, lost)


def markdown(document: SourceDocument) -> str:
    """The document as Markdown: its title, its text as it is, and its heading spans as headings."""
    parts, at = [], 0
    headings = [span for span in document.spans if span.level and span.text.strip()]
    if not headings or _packed(headings[0].text) != _packed(document.title):
        parts.append(f"# {_escaped(document.title)}")
    for number, span in enumerate(headings):
        if span.start < at:
            continue
        is_title = number == 0 and not parts
        parts.append(_escaped(document.text[at : span.start]))
        parts.append(
            f"{'#' * (1 if is_title else max(span.level, 2))} {_escaped(' '.join(span.text.split()))}"
        )
        at = span.end
    parts.append(_escaped(document.text[at:]))
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, but for its line breaks."""
    flush = _INDENT.sub("", text.strip())
    return _OPENS_BLOCK.sub(r"\\\1", _SPECIAL.sub(r"\\\1", flush))


def _packed(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split())


def _found(document: SourceDocument, identifier: str, text: str) -> dict[str, Place]:
    """Places of the spans in the index's text, each looked for after the one before."""
    places = [place for place, character in enumerate(text) if not character.isspace()]
    packed, cursor = _packed(text), 0
    found = {}
    for span in document.spans:
        wanted = _packed(span.text)
        at = packed.find(wanted, cursor) if wanted else -1
        at = packed.find(wanted) if at < 0 and wanted else at
        if at >= 0:
            cursor = at + len(wanted)
            found[span.id] = Place(identifier, places[at], places[cursor - 1] + 1)
    return found


def _reach(document: SourceDocument, found: Mapping[str, Place]) -> dict[str, Place]:
    known = [span for span in document.spans if span.id in found]
    reach = {span.id: found[span.id] for span in known}
    for span, following in zip(known[-2::-1], known[:0:-1], strict=True):
        end = reach[following.id].end
        if span.level and end > reach[span.id].start:
            reach[span.id] = replace(reach[span.id], end=end)
    return reach
