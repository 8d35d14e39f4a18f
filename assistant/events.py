"""The typed events of one turn: what `assistant.dialog` emits and every face renders."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Route:
    """Which agent takes the message.

    Attributes:
        agent: name of the chosen agent, e.g. ``documents``; ``out_of_scope`` when none fits.
        intent: the agent's intent with the highest score.
        confidence: calibrated probability of ``agent``, in [0, 1].
    """

    agent: str
    intent: str
    confidence: float


@dataclass(frozen=True)
class Source:
    """A cited span of a document.

    Attributes:
        document: file name as the person knows it.
        section: breadcrumb of headings, `` > `` between levels; empty when there is none.
        page: page number from 1, or None for formats without pages.
        start: first character of the span in the document's text.
        end: one past the last character.
        text: the cited span itself.
        document_id: the store's id of the document.
        passage: the whole passage around the span, for showing it in its place.
        passage_start: offset of ``passage`` in the document's text.
        answer_start: first character of the part of the answer that rests on this span.
        answer_end: one past its last character; 0 for a passage that was found but is not cited.
    """

    document: str
    section: str
    page: int | None
    start: int
    end: int
    text: str
    document_id: str = ""
    passage: str = ""
    passage_start: int = 0
    answer_start: int = 0
    answer_end: int = 0


@dataclass(frozen=True)
class Sources:
    """Passages found for the message, best first, before the answer is written."""

    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Token:
    """A piece of the answer, always whole characters."""

    text: str


@dataclass(frozen=True)
class ToolResult:
    """What a tool gave back.

    Attributes:
        name: the tool's name.
        text: the result in Korean.
        files: paths of pictures, charts or videos to show.
    """

    name: str
    text: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pending:
    """A tool's question that the person's next message may answer.

    Attributes:
        tool: the tool that asked.
        name: the argument it asked for.
        message: what was said so far.
        answered: how the answer joins it; ``{}`` stands for the answer.
        agent: the agent that asked.
        intent: its intent.
    """

    tool: str
    name: str
    message: str
    answered: str
    agent: str
    intent: str


@dataclass(frozen=True)
class Timings:
    """Milliseconds since the turn began (`*_ms` of stages are their own duration), and tokens written."""

    route_ms: float = 0.0
    retrieve_ms: float = 0.0
    first_token_ms: float = 0.0
    total_ms: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Done:
    """The end of a turn: the whole outcome, as `damso ask --json` prints it.

    ``answer`` replaces whatever was streamed. ``sources`` holds only the spans that the answer cites. ``pending``
    is there when a tool asked for something.
    """

    answer: str
    abstained: bool
    agent: str
    intent: str
    confidence: float
    sources: tuple[Source, ...] = ()
    tool: ToolResult | None = None
    timings: Timings = field(default_factory=Timings)
    conversation: str = ""
    pending: Pending | None = None

    def to_json(self) -> dict[str, Any]:
        """The turn's outcome as plain JSON types."""
        return asdict(self)


Event = Route | Sources | Token | ToolResult | Done
