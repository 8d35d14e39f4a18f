"""Document-grounded dialogues in Doc2Dial's schema: reading, checking, and writing our own set in it.

Doc2Dial (Feng et al., 2020) and MultiDoc2Dial (Feng et al., 2021) come as two JSON files:

- documents: ``doc_data`` → domain → doc_id → ``title``, ``doc_text``, ``spans`` → id_sp → ``id_sp``,
  ``start_sp``, ``end_sp``, ``text_sp``, ``id_sec``, ``title``, ``parent_titles`` (and ``tag``);
- dialogues: ``dial_data`` → domain → doc_id → list of ``dial_id`` and ``turns`` (``turn_id``, ``role``, ``da``,
  ``references``, ``utterance``). A reference is ``sp_id`` and ``label``; in the multi-document form a domain holds the
  list itself and a reference names its ``doc_id`` and ``id_sp``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from assistant.errors import TrainingDataError
from compression.language.collections import dialogues
from retrieval import readers
from retrieval.readers import Block, SourceText
from retrieval.sentences import lines, sentences

__all__ = ["Dialogue", "Doc2Dial", "SourceDocument", "Span", "Turn", "export_doc2dial", "read"]

Value = TypeVar("Value")
_HINT = "Doc2Dial 형식의 파일인지 확인하고, 그 자리를 고쳐 주세요."
_NO_ANSWER = re.compile(r"respond_no_(answer|solution)")
_MARKUP = re.compile(r"[\s*|#`>_]")


@dataclass(frozen=True)
class Span:
    """A stretch of a document that a turn may rest on.

    Attributes:
        id: ``id_sp``; unique within the document.
        start, end: characters of the document's text.
        text: ``text_sp``.
        level: of a heading, from 1; 0 for anything else.
    """

    id: str
    start: int
    end: int
    text: str
    level: int


@dataclass(frozen=True)
class SourceDocument:
    """A document; ``spans`` are in reading order."""

    id: str
    domain: str
    title: str
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        id: ``turn_id`` as text.
        role: ``user`` or ``agent``.
        act: the dialogue act, ``da``.
        utterance: what is said.
        references: document id and span id of what it rests on.
    """

    id: str
    role: str
    act: str
    utterance: str
    references: tuple[tuple[str, str], ...]

    @property
    def says_no_answer(self) -> bool:
        """Whether an agent's turn says that the documents do not tell."""
        return not self.references and _NO_ANSWER.fullmatch(self.act) is not None


@dataclass(frozen=True)
class Dialogue:
    """A dialogue; ``document`` is None when it is spread over several."""

    id: str
    domain: str
    document: str | None
    turns: tuple[Turn, ...]

    def asked(self) -> Iterator[int]:
        """Positions of the user turns whose reply rests on a document, or says that none tells."""
        for position, (turn, reply) in enumerate(zip(self.turns, self.turns[1:], strict=False)):
            replied = reply.role == "agent" and (reply.references or reply.says_no_answer)
            if turn.role == "user" and turn.utterance.strip() and replied:
                yield position


@dataclass(frozen=True)
class Doc2Dial:
    """A set: documents by id, and dialogues in the order of the file."""

    documents: Mapping[str, SourceDocument]
    dialogues: tuple[Dialogue, ...]


def read(paths: Sequence[Path]) -> Doc2Dial:
    """Reads and checks a set.

    Args:
        paths: the documents file and the dialogues file in any order, or a folder that holds one of each.

    Raises:
        TrainingDataError: a file is missing, is not JSON or not of the schema, or a reference leads nowhere; the
            message names the place.
    """
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path, chosen in _files(paths):
        content = _load(path)
        kinds = [kind for kind in ("doc_data", "dial_data") if kind in content]
        if not kinds and chosen:
            raise TrainingDataError(f"{path.name}에 doc_data도 dial_data도 없어요.", _HINT)
        for kind in kinds:
            if kind in found:
                names = f"{found[kind][0].name}, {path.name}"
                raise TrainingDataError(
                    f"{kind} 파일이 여러 개예요: {names}", "쓸 문서 파일과 대화 파일을 하나씩 알려 주세요."
                )
            found[kind] = path, content
    for kind, label in (("doc_data", "문서"), ("dial_data", "대화")):
        if kind not in found:
            raise TrainingDataError(f"{label} 파일({kind})이 없어요.", "폴더나 두 파일을 모두 알려 주세요.")
    documents = _documents(*found["doc_data"])
    return Doc2Dial(documents, tuple(_dialogues(*found["dial_data"], documents)))


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Files, and whether they were named one by one."""
    for path in paths:
        if path.is_dir():
            yield from ((file, False) for file in sorted(path.glob("*.json")))
        else:
            yield path, True


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TrainingDataError(
            f"{path.name}을(를) 열 수 없어요.", "경로와 읽기 권한을 확인해 주세요."
        ) from error
    except (ValueError, RecursionError) as error:
        raise TrainingDataError(f"{path.name}이(가) UTF-8 JSON이 아니에요. ({error})", _HINT) from error
    if not isinstance(content, dict):
        raise TrainingDataError(f"{path.name}의 맨 바깥이 객체({{ }})가 아니에요.", _HINT)
    return content


def _documents(path: Path, content: dict[str, Any]) -> dict[str, SourceDocument]:
    documents: dict[str, SourceDocument] = {}
    data = _typed(content["doc_data"], dict, f"{path.name} › doc_data")
    for domain, entries in data.items():
        where = f"{path.name} › {domain}"
        for identifier, entry in _typed(entries, dict, where).items():
            if identifier in documents:
                raise TrainingDataError(f"{where}: doc_id '{identifier}'가 두 번 나와요.", _HINT)
            documents[identifier] = _document(entry, identifier, domain, f"{where} › {identifier}")
    return documents


def _document(entry: Any, identifier: str, domain: str, where: str) -> SourceDocument:
    text = _field(entry, "doc_text", str, where)
    raw = _field(entry, "spans", dict, where)
    spans = [_span(value, key, len(text), f"{where} › spans › {key}") for key, value in raw.items()]
    spans.sort(key=lambda span: (span.start, span.end))
    title = _field(entry, "title", str, where).strip()
    return SourceDocument(identifier, domain, title or identifier, text, tuple(spans))


def _span(value: Any, key: str, length: int, where: str) -> Span:
    start, end = _field(value, "start_sp", int, where), _field(value, "end_sp", int, where)
    text = _field(value, "text_sp", str, where)
    if not 0 <= start <= end <= length:
        raise TrainingDataError(f"{where}: {start}–{end}이 doc_text(0–{length}) 밖이에요.", _HINT)
    return Span(key, start, end, text, _level(value, text))


def _level(value: dict[str, Any], text: str) -> int:
    """Level of a heading: by its tag (``h2``), else a span that repeats its section's title is one."""
    tag = re.fullmatch(r"h([1-6])", str(value.get("tag", "")))
    if tag:
        return int(tag[1])
    parents = value.get("parent_titles")
    is_title = "tag" not in value and text.strip() == str(value.get("title", "")).strip()
    return min(2 + (len(parents) if isinstance(parents, list) else 0), 6) if is_title else 0


def _dialogues(
    path: Path, content: dict[str, Any], documents: Mapping[str, SourceDocument]
) -> Iterator[Dialogue]:
    seen: set[str] = set()
    for domain, entries in _typed(content["dial_data"], dict, f"{path.name} › dial_data").items():
        where = f"{path.name} › {domain}"
        by_document = entries if isinstance(entries, dict) else {None: entries}
        for identifier, listed in by_document.items():
            for number, entry in enumerate(
                _typed(listed, list, f"{where} › {identifier or '대화'}"), start=1
            ):
                place = f"{where} › {entry.get('dial_id', number) if isinstance(entry, dict) else number}"
                dialogue = _dialogue(entry, domain, identifier, documents, place)
                if dialogue.id in seen:
                    raise TrainingDataError(f"{place}: dial_id가 두 번 나와요.", _HINT)
                seen.add(dialogue.id)
                yield dialogue


def _dialogue(
    entry: Any, domain: str, document: str | None, documents: Mapping[str, SourceDocument], where: str
) -> Dialogue:
    if document is not None and document not in documents:
        raise TrainingDataError(f"{where}: 문서 '{document}'가 문서 파일에 없어요.", _HINT)
    identifier = str(_field(entry, "dial_id", str | int, where))
    turns = []
    for number, value in enumerate(_field(entry, "turns", list, where), start=1):
        turns.append(_turn(value, number, document, documents, f"{where} › {number}번째 턴"))
    return Dialogue(identifier, domain, document, tuple(turns))


def _turn(
    value: Any, number: int, document: str | None, documents: Mapping[str, SourceDocument], where: str
) -> Turn:
    role = _field(value, "role", str, where)
    if role not in ("user", "agent"):
        raise TrainingDataError(f"{where}: role은 user나 agent여야 하는데 '{role}'이에요.", _HINT)
    listed = _typed(value.get("references") or [], list, f"{where} › references")
    references = tuple(_reference(item, document, documents, where) for item in listed)
    utterance = _field(value, "utterance", str, where)
    return Turn(str(value.get("turn_id", number)), role, str(value.get("da", "")), utterance, references)


def _reference(
    value: Any, document: str | None, documents: Mapping[str, SourceDocument], where: str
) -> tuple[str, str]:
    fields = _typed(value, dict, f"{where} › references")
    span = str(_field(fields, "id_sp" if "id_sp" in fields else "sp_id", str | int, where))
    identifier = str(fields.get("doc_id", document))
    if identifier not in documents:
        raise TrainingDataError(f"{where}: 문서 '{identifier}'가 문서 파일에 없어요.", _HINT)
    if all(span != known.id for known in documents[identifier].spans):
        raise TrainingDataError(f"{where}: 문서 '{identifier}'에 구간 '{span}'이 없어요.", _HINT)
    return identifier, span


def _typed(value: Any, kind: type[Value], where: str) -> Value:
    if not isinstance(value, kind):
        wanted = "객체({ })여야" if kind is dict else "배열([ ])이어야"
        raise TrainingDataError(f"{where}: {wanted} 해요.", _HINT)
    return value


def _field(entry: Any, key: str, kind: Any, where: str) -> Any:
    if key not in _typed(entry, dict, where):
        raise TrainingDataError(f"{where}: '{key}'가 없어요.", _HINT)
    if not isinstance(entry[key], kind) or isinstance(entry[key], bool):
        raise TrainingDataError(f"{where}: '{key}'의 값이 알맞지 않아요.", _HINT)
    return entry[key]


def export_doc2dial(split: str, folder: Path) -> tuple[Path, Path]:
    """Writes a split of damso-dialogues in Doc2Dial's schema.

    A span is a heading, a sentence, or a row of a list or table, of the text that `retrieval.readers` makes of the
    document; a reference becomes all spans that its text touches. damso-dialogues is our own set, not KoDoc2Dial.

    Args:
        split: ``train``, ``dev`` or ``test``.
        folder: made when missing.

    Returns:
        The documents file and the dialogues file.
    """
    doc_data: dict[str, Any] = {}
    dial_data: dict[str, Any] = {}
    for domain, texts, rows in dialogues(split):
        sources = {name: readers.parse(text.encode(), name) for name, text in texts.items()}
        spans = {name: _made_spans(source) for name, source in sources.items()}
        doc_data[domain] = {
            name: {
                "doc_id": name, "title": source.title, "domain": domain, "doc_text": source.text,
                "spans": {span["id_sp"]: span for span in spans[name]},
            }
            for name, source in sources.items()
        }  # fmt: skip
        dial_data[domain] = {name: [] for name in sources}
        for row in rows:
            name = row["document"]
            turns = [
                {**turn, "references": _span_references(turn["references"], sources[name].text, spans[name])}
                for turn in row["turns"]
            ]
            dialogue = {"dial_id": row["dial_id"], "doc_id": name, "domain": domain, "turns": turns}
            dial_data[domain][name].append(dialogue)
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "damso_dialogues_doc.json", folder / f"damso_dialogues_dial_{split}.json"
    for path, key, data in zip(written, ("doc_data", "dial_data"), (doc_data, dial_data), strict=True):
        path.write_text(json.dumps({key: data}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return written


def _made_spans(source: SourceText) -> list[dict[str, Any]]:
    spans: list[dict[str, Any]] = []
    headings: list[dict[str, Any]] = []
    sections = 0
    for block in source.blocks:
        depth = len(block.section.split(" > ")) if block.section else 0
        level = depth + 1 if block.kind == "heading" else 0
        if level:
            sections += 1
            headings = [heading for heading in headings if int(heading["level"][1]) < level]
        title = source.text[block.start : block.end] if level else _innermost(headings, source.title)
        for start, end in _stretches(source.text, block):
            span = {
                "id_sp": str(len(spans) + 1), "tag": f"h{min(level, 6)}" if level else "u",
                "start_sp": start, "end_sp": end, "text_sp": source.text[start:end],
                "id_sec": f"t_{sections}", "title": title,
                "parent_titles": [h for h in headings if h["text"] != title],
            }  # fmt: skip
            spans.append(span)
            if level:
                headings.append({"id_sp": span["id_sp"], "text": title, "level": f"h{min(level, 6)}"})
    return spans


def _innermost(headings: Sequence[Mapping[str, Any]], title: str) -> str:
    return str(headings[-1]["text"]) if headings else title


def _stretches(text: str, block: Block) -> list[tuple[int, int]]:
    if block.kind == "heading":
        return [(block.start, block.end)]
    find = sentences if block.kind == "paragraph" else lines
    return [(block.start + a, block.start + b) for a, b in find(text[block.start : block.end])]


def _span_references(
    references: Sequence[Mapping[str, str]], text: str, spans: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """References by text as references by span: every span that the text touches."""
    places = [place for place, character in enumerate(text) if not _MARKUP.match(character)]
    packed = _MARKUP.sub("", text)
    found: dict[str, str] = {}
    for reference in references:
        wanted = _MARKUP.sub("", reference["text"])
        at = packed.find(wanted)
        if at < 0 or not wanted:
            raise TrainingDataError(
                f"근거를 문서에서 찾지 못했어요: {reference['text']}", "근거 글을 고쳐 주세요."
            )
        start, end = places[at], places[at + len(wanted) - 1] + 1
        touched = [s for s in spans if s["start_sp"] < end and start < s["end_sp"]]
        for span in touched:
            found.setdefault(span["id_sp"], reference["label"])
    return [{"sp_id": span, "label": label} for span, label in found.items()]
