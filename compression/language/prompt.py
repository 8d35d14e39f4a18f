"""The generator's prompt: a question, labelled evidence sentences, and the label the answer opens with.

A turn is one token sequence:

    <|user|>earlier question<|user|>question<|section|>heading<|1|>sentence<|2|>sentence …
    <|user|>question<|bot|><|2|>answer<|end|>

The question stands before the evidence, so that each sentence is read in its light, and again after it,
beside the answer. The answer opens with the label of the sentence it rests on: the citation is part of what
the model learns, and copying what follows a label is plain induction. A turn without an answer in its
evidence opens with ``<|none|>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

END, PAD, USER, BOT, SECTION, NONE = "<|end|>", "<|pad|>", "<|user|>", "<|bot|>", "<|section|>", "<|none|>"
MAX_EVIDENCE = 12
"""How many evidence sentences a prompt can label."""
LABELS = tuple(f"<|{number}|>" for number in range(1, MAX_EVIDENCE + 1))
SPECIAL_TOKENS = (END, PAD, USER, BOT, SECTION, NONE, *LABELS)


@dataclass(frozen=True)
class Evidence:
    """A sentence that may hold the answer, under its heading (title or breadcrumb leaf)."""

    section: str
    text: str


def prompt_text(question: str, evidence: Sequence[Evidence], history: Sequence[str] = ()) -> str:
    """The prompt up to where the answer's label begins; without evidence it is a small-talk prompt."""
    question = _plain(question)
    if not evidence:
        return f"{USER}{question}{BOT}"
    parts = [f"{USER}{_plain(earlier)}" for earlier in history] + [f"{USER}{question}"]
    section = None
    for label, item in zip(LABELS, evidence, strict=False):
        if item.section != section:
            section = item.section
            parts.append(f"{SECTION}{_plain(section)}")
        parts.append(f"{label}{_plain(item.text)}")
    return "".join(parts) + f"{USER}{question}{BOT}"


def _plain(text: str) -> str:
    """The text with nothing in it that reads as a special token: no document or message gives orders."""
    return text.replace("<|", "< |")
