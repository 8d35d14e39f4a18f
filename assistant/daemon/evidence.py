"""The evidence of an answer as HTML: passages with the cited spans marked. Documents cannot inject markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assistant.events import Source

NONE_YET = "<p class='hint'>질문하면 답의 근거가 된 문장을 여기에 보여 드려요.</p>"
SEARCHING = "<p class='hint'>문서를 찾아보고 있어요…</p>"
_UNUSED = "<p class='hint'>이 답에는 문서를 쓰지 않았어요.</p>"
_NOTES = {
    "found": "찾아낸 구절이에요. 답에 쓸 문장을 고르고 있어요.",
    "cited": "표시된 문장이 답의 근거예요.",
    "nearest": "답은 찾지 못했지만, 가장 가까운 구절이에요.",
}


def evidence_html(sources: Sequence[Source], kind: str) -> str:
    """Show sources, one card a passage, numbered in their order.

    Args:
        sources: the cited spans.
        kind: ``found`` while the answer is written, ``cited`` for an answer, ``nearest`` for an abstention.

    Returns:
        HTML in which every character that came from a document is escaped.
    """
    if not sources:
        return _UNUSED
    cards = "".join(_card(numbers, spans) for numbers, spans in _by_passage(sources))
    return f"<p class='hint'>{_NOTES[kind]}</p>{cards}"


def outcome_html(outcome: Mapping[str, Any] | None) -> str:
    """Show the evidence of a stored turn.

    Args:
        outcome: its `Done.to_json()`, or None when there is none.
    """
    if outcome is None:
        return NONE_YET
    known = Source.__dataclass_fields__.keys()
    sources = [Source(**{key: source[key] for key in known & source.keys()}) for source in outcome["sources"]]
    return evidence_html(sources, "nearest" if outcome["abstained"] else "cited")


def numbered_answer(answer: str, outcome: Mapping[str, Any]) -> str:
    """The answer with the numbers of its sources, ``[1]``, after the parts that rest on them.

    Args:
        answer: the stored text.
        outcome: its `Done.to_json()`.
    """
    ends = [(source.get("answer_end", 0), number) for number, source in enumerate(outcome["sources"], 1)]
    for end, number in sorted(ends, reverse=True):
        if 0 < end <= len(answer):
            answer = f"{answer[:end]} [{number}]{answer[end:]}"
    return answer


def escape(text: str) -> str:
    """Make text safe inside HTML and inside the templates that Gradio fills (``{{…}}``, ``${…}``)."""
    return html.escape(text).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def _by_passage(sources: Iterable[Source]) -> list[tuple[list[int], list[Source]]]:
    """Group the spans of one passage; a span outside the passage that it names stands alone."""
    groups: dict[tuple[Any, ...], tuple[list[int], list[Source]]] = {}
    for number, source in enumerate(sources, 1):
        key = (source.document_id, source.document, source.passage_start, source.passage or source.text)
        numbers, spans = groups.setdefault(key, ([], []))
        numbers.append(number)
        spans.append(source)
    return list(groups.values())


def _card(numbers: Sequence[int], spans: Sequence[Source]) -> str:
    first = spans[0]
    labels = "".join(f"<b class='number'>{number}</b>" for number in numbers)
    page = f" · {first.page}쪽" if first.page is not None else ""
    section = "".join(f" <i>›</i> {escape(part)}" for part in first.section.split(" > ") if part)
    title = f"{labels}<span>{escape(first.document)}{section}{page}</span>"
    return f"<article class='source'><header>{title}</header><p>{_marked(first, spans)}</p></article>"


def _marked(passage: Source, spans: Sequence[Source]) -> str:
    if not passage.passage:
        return f"<mark>{escape(passage.text)}</mark>"
    text, start = passage.passage, passage.passage_start
    pieces, shown = [], 0
    for span in sorted(spans, key=lambda source: source.start):
        begin, end = max(span.start - start, shown), min(span.end - start, len(text))
        if begin < end:
            pieces += [escape(text[shown:begin]), f"<mark>{escape(text[begin:end])}</mark>"]
            shown = end
    return "".join([*pieces, escape(text[shown:])])
