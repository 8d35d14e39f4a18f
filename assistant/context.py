"""What a conversation carries into the next question: topic words it leaves out and the document it stays in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.grounding import topic_terms
from assistant.history import Message

_CONNECTIVE = re.compile(
    r"^\s*(그럼|그러면|그건|그거|그게|그때|거기|그곳|그 |그리고|또|혹시 그|이건|그렇다면|만약|아니면"
    r"|왜요|어디서요|얼마예요)"
)
_FEW_TERMS = 2
_LOOK_BACK = 3


@dataclass(frozen=True)
class Context:
    """What earlier turns lend to a question.

    Attributes:
        carried: topic words of earlier questions, the latest first; empty at the start of a conversation. What the
            answer before asked back comes first: "네, 5년째예요" says nothing without it.
        question: the question before, for the prompt; empty unless this one leans on it.
        documents: ids of the documents cited last.
        after_documents: whether the answer before came from the documents, or said that they do not tell.
        cited: document id and start of the sentences cited last; they are less likely to answer another question.
    """

    carried: tuple[str, ...] = ()
    question: str = ""
    documents: frozenset[str] = frozenset()
    after_documents: bool = False
    cited: frozenset[tuple[str, int]] = frozenset()


def leans_on_earlier(message: str) -> bool:
    """Whether a question cannot stand alone: it opens with a connective or names hardly any topic."""
    return _CONNECTIVE.match(message) is not None or len(topic_terms(message)) <= _FEW_TERMS


def context_of(message: str, earlier: Sequence[Message]) -> Context:
    """What the messages before lend to this one; messages are in the order they were said."""
    questions = [m.text for m in earlier if m.role == "user"][::-1]
    if not questions:
        return Context()
    carried = list(topic_terms(_asked_back(earlier[-1])))
    for question in questions[:_LOOK_BACK]:
        carried += topic_terms(question)
        if not leans_on_earlier(question):
            break
    outcomes = [m.outcome for m in earlier if m.outcome and m.outcome.get("sources")]
    sources = outcomes[-1]["sources"] if outcomes else []
    documents = frozenset(source["document_id"] for source in sources)
    again = message.strip() in (question.strip() for question in questions)
    cited = frozenset() if again else frozenset((s["document_id"], s.get("start", -1)) for s in sources)
    leans = leans_on_earlier(message)
    topic = tuple(dict.fromkeys(carried))
    after_documents = (earlier[-1].outcome or {}).get("agent") == "documents"
    return Context(topic, questions[0] if leans else "", documents, after_documents, cited)


def _asked_back(last: Message) -> str:
    """The question at the end of an answer that rests on a document."""
    text = last.text.strip()
    cited = last.role == "assistant" and (last.outcome or {}).get("sources")
    return re.split(r"(?<=[.!?])\s", text)[-1] if cited and text.endswith("?") else ""
