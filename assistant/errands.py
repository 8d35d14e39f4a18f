"""What a tool agent makes of a message: its arguments, the files with it, and the answer to a question asked back.

Arguments come from the person's own message alone. No text of a document ever gets here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from assistant.errors import MissingArgumentError
from assistant.events import Pending
from assistant.history import Message
from assistant.tools.registry import Tool

_NEVER_MIND = re.compile(
    r"\s*(아니(야|요|에요)?|됐어요?|취소(해 ?줘?|할래)?|그만(둬|할래)?|안 ?할래요?|하지 ?마(세요)?|관둘래요?"
    r"|그만둘래요?|괜찮아요?)[\s.!]*"
)
_QUESTION = re.compile(
    r"\?\s*$|(나요|까요|는지|는가|인가요|(?<!머)니|냐)[.!]*$|뭐|언제|어디|얼마|누구|왜|어떻게|무슨"
)
_COMMAND = re.compile(r"(켜|꺼|줘|줄래|주세요|보여|알려 ?줘)[.!]*$")
_ASKS_HOW = re.compile(
    r"어떻게|어케|왜 |방법|[는은] ?법(?![가-힣]*원)|설명서|안내[문서]|계약서|규정|회칙|문서|공지"
    r"|[켜꺼해아어]도 ?(돼|되|괜찮|문제)"
)
_LONGEST_TITLE = 40


@dataclass(frozen=True)
class Errand:
    """A call to make.

    Attributes:
        tool: the tool's name.
        arguments: its arguments as far as they are known.
        message: what the person has said about it so far.
    """

    tool: str
    arguments: dict[str, Any]
    message: str


def asks_how(message: str) -> bool:
    """Whether a message about a device or a date asks how, or names a document: then documents come first."""
    return _ASKS_HOW.search(message) is not None


def never_mind(message: str) -> bool:
    """Whether the person drops what was asked back."""
    return _NEVER_MIND.fullmatch(message) is not None


def errand(tool: Tool, message: str, files: Sequence[Path], now: datetime) -> Errand:
    """The call that a message asks for.

    Args:
        tool: the tool of its intent.
        message: what the person said.
        files: what was attached; the first goes to a tool that takes one.
        now: local time.
    """
    arguments = _known(tool, message, now)
    if tool.file and files:
        arguments[tool.file] = files[0]
    return Errand(tool.name, arguments, message)


def pending_of(earlier: Sequence[Message]) -> Pending | None:
    """What the last answer of a conversation asked for, if it asked for anything."""
    outcome = earlier[-1].outcome if earlier else None
    kept = outcome.get("pending") if outcome else None
    return Pending(**kept) if kept else None


def resumed(
    pending: Pending, tool: Tool, message: str, files: Sequence[Path], now: datetime
) -> Errand | None:
    """The call with the person's answer filled in; None when the message is no answer to the question.

    Args:
        pending: the question.
        tool: the tool that asked it.
        message: what the person said next.
        files: what was attached to that.
        now: local time.
    """
    joined = f"{pending.message} {pending.answered.replace('{}', message)}"
    found = errand(tool, joined, files, now)
    if pending.name == tool.file:
        return found if files else None
    if _QUESTION.search(message):
        return None
    before = _known(tool, pending.message, now)
    if {key: found.arguments.get(key) for key in before} != before or found.arguments.keys() - before.keys():
        return found
    # A free text has no grammar: a short answer is taken as it stands.
    if pending.name == "title" and len(message) <= _LONGEST_TITLE and not _COMMAND.search(message):
        return Errand(tool.name, found.arguments | {"title": message.strip()}, joined)
    return None


def question_of(errand: Errand, asked: MissingArgumentError, agent: str, intent: str) -> Pending:
    """The question as the conversation keeps it, with the agent and intent on whose behalf it is asked."""
    return Pending(errand.tool, asked.name, errand.message, asked.answered, agent, intent)


def _known(tool: Tool, message: str, now: datetime) -> dict[str, Any]:
    filled: Mapping[str, Any] = tool.fill(message, now)
    return {name: value for name, value in filled.items() if name in tool.arguments.model_fields}
