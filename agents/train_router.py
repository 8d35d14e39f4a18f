"""Trains every agent's adapter: ``damso train router --data DIR``.

Each adapter learns its agent's utterances against everybody else's. With a data folder, public questions and
small talk join: they belong to an agent, of no known intent. Without one the catalogue alone is enough. The
questions written for this project (``data/collections``) keep what is asked about a device, a date or a
photograph with ``documents``; those about three documents in ten only evaluate. What people say in the training
dialogues (``data/damso-dialogues``), where they tell of themselves and lean on the answer before, does the same.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents import corpus
from agents.adapter import Adapter, Array, log_odds
from agents.catalogue import CATALOGUE, Agent, load_catalogue
from agents.encoder import Encoder
from agents.router import OUT_OF_SCOPE, Router, inputs
from agents.train_adapter import AdapterRecipe, fit_temperature, train_adapter
from compression.language.collections import dialogues, question_collections
from compression.language.corpus import is_held_out, read_jsonl

PUBLIC_LINES = 1500
PUBLIC_ERRANDS = 600
PUBLIC_WEIGHT = 0.02
OWN_WEIGHT = 0.06
DIALOGUE_WEIGHT = 0.5
GIBBERISH = "gibberish"
_WH_QUESTION = 1
# Labels of kochat whose questions an encyclopaedia answers, or small talk.
_ENCYCLOPAEDIC = ("위키", "인물", "이슈", "명언")
# StyleKQC's topics of the home and of the calendar: what is asked there is no document's matter.
_TOOL_TOPICS = (1, 3)
_HELD_OUT_PERCENT = 30


@dataclass(frozen=True)
class Line:
    """A message with the agent it belongs to; an empty intent is unknown."""

    text: str
    agent: str
    intent: str = ""
    weight: float = 1.0


def train(
    out: Path, encoder: Encoder, data: Path | None = None, catalogue: Path = CATALOGUE
) -> dict[str, float]:
    """Train all adapters, calibrate them together and write them.

    Args:
        out: where ``router.json`` and the adapters go.
        encoder: gives the vectors, and is written into the router's configuration.
        data: the data folder, or None.
        catalogue: the agents' folders.

    Returns:
        The figures of :func:`evaluate`.

    Raises:
        CatalogueError: an agent's folder is malformed.
        TrainingDataError: a file of ``data`` is missing or malformed.
    """
    agents = load_catalogue(catalogue)
    chooser = random.Random(0)  # noqa: S311
    known = catalogue_lines(agents, "train")
    lines = [variant for line in known for variant in variants(line)] + gibberish(chooser, 600)
    if any(agent.name == "documents" for agent in agents):
        lines += own_lines()
    if data:
        lines += public_lines(data, chooser) + about_topics(known, data, chooser)
    features = inputs(encoder, [line.text for line in lines])
    intents = intents_of(agents)
    adapters = {name: adapter_of(name, intents[name], lines, features) for name in tqdm(intents, "adapters")}
    held_out = catalogue_lines(agents, "calibration") + gibberish(chooser, 20)
    temperature = _temperature(adapters, inputs(encoder, [line.text for line in held_out]), held_out)
    router = Router(encoder, adapters, intents, temperature)
    router.save(out)
    return evaluate(router, catalogue_lines(agents, "test"))


def intents_of(agents: Sequence[Agent]) -> dict[str, list[str]]:
    """Intents by agent; ``out_of_scope`` is always there, and gibberish is one of its intents."""
    intents = {agent.name: list(agent.intents) for agent in agents}
    intents[OUT_OF_SCOPE] = [GIBBERISH, *intents.get(OUT_OF_SCOPE, [])]
    return intents


def catalogue_lines(agents: Sequence[Agent], split: str) -> list[Line]:
    """The catalogue's utterances of one split."""
    return [
        Line(utterance.text, agent.name, utterance.intent)
        for agent in agents
        for utterance in agent.utterances
        if utterance.split == split
    ]


def variants(line: Line) -> list[Line]:
    """The line as people also type it: without its mark, with another, without spaces."""
    bare = line.text.rstrip(" ?!.~")
    texts = dict.fromkeys(
        [line.text, bare, bare.replace(" ", ""), line.text + "?" if line.text == bare else bare + "??"]
    )
    kept = [text for text in texts if text]
    return [Line(text, line.agent, line.intent, line.weight / len(kept)) for text in kept]


def gibberish(chooser: random.Random, count: int) -> list[Line]:
    """Keyboard mashing, loose jamo, random syllables and symbols: for no agent."""
    alphabets = [
        "asdfghjklqwertyuiopzxcvbnm",
        "ㄱㄴㄷㄹㅁㅂㅅㅈㅊㅋㅌㅍㅏㅑㅓㅕㅗㅛㅜㅡㅣ",
        "0123456789",
        "!@#$%^&*()-_=+/<>|",
    ]
    syllables = "".join(map(chr, range(ord("가"), ord("힣") + 1, 7)))
    texts = (
        "".join(chooser.choices(chooser.choice([*alphabets, syllables]), k=chooser.randint(1, 20)))
        for _ in range(count)
    )
    return [Line(text, OUT_OF_SCOPE, GIBBERISH, PUBLIC_WEIGHT) for text in texts]


def collection_questions(held_out: bool) -> list[str]:
    """Questions about the project's own documents, by document for training or held out; none when installed."""
    return sorted(
        {
            asked.question
            for collection in question_collections()
            for asked in collection.questions
            if is_held_out(asked.document, _HELD_OUT_PERCENT) == held_out
        }
    )


def own_lines() -> list[Line]:
    """Training questions about the project's own documents, and what people say in its training dialogues."""
    asked = [Line(text, "documents", weight=OWN_WEIGHT) for text in collection_questions(held_out=False)]
    return asked + dialogue_lines("train")


def dialogue_lines(split: str) -> list[Line]:
    """Turns of people in damso-dialogues: for ``documents`` where the reply rests on one, else small talk.

    Args:
        split: ``train``, ``dev`` or ``test``.
    """
    said: dict[str, str] = {}
    for _, _, rows in dialogues(split):
        for turns in (row["turns"] for row in rows):
            for turn, reply in zip(turns, [*turns[1:], {}], strict=True):
                if turn["role"] == "user":
                    said[turn["utterance"]] = "documents" if _from_document(reply) else "smalltalk"
    return [Line(text, agent, weight=DIALOGUE_WEIGHT) for text, agent in sorted(said.items())]


def _from_document(reply: Mapping[str, Any]) -> bool:
    return bool(reply.get("references")) or reply.get("da") == "respond_no_answer"


def public_lines(data: Path, chooser: random.Random) -> list[Line]:
    """Public questions and topics for ``documents``, as much small talk, and errands for the internet."""
    said = [row["question"] for row in read_jsonl(data / "intent" / "chatbot.jsonl.xz")]
    said += [row["text"] for row in read_jsonl(data / "intent" / "kochat_ood.jsonl.xz")]
    needs = _information_needs(data, chooser)
    talk = chooser.sample(sorted(set(said)), len(needs))
    errands = chooser.sample(_errands(data), PUBLIC_ERRANDS)
    groups = (("documents", needs), ("smalltalk", talk), (OUT_OF_SCOPE, errands))
    return [Line(text, agent, weight=PUBLIC_WEIGHT) for agent, texts in groups for text in texts]


def _errands(data: Path) -> list[str]:
    """What people ask of an assistant that is online: the weather, places to eat, news, music."""
    rows = [
        *read_jsonl(data / "intent" / "kochat.jsonl.xz"),
        *read_jsonl(data / "intent" / "kochat_12.jsonl.xz"),
    ]
    return sorted({row["text"] for row in rows if row["label"] not in _ENCYCLOPAEDIC})


def _information_needs(data: Path, chooser: random.Random) -> list[str]:
    """Encyclopaedic and everyday questions, and bare topics as people type into a search box."""
    asked = [question.text for question in corpus.questions(data)]
    asked += [row["question"] for row in read_jsonl(data / "qa" / "korquad21_questions.jsonl.xz")]
    style = read_jsonl(data / "intent" / "stylekqc.jsonl.xz")
    everyday = [
        row["text"] for row in style if row["act"] == _WH_QUESTION and row["topic"] not in _TOOL_TOPICS
    ]
    groups = [(asked, 1.0), (everyday, 0.5), (topics(data), 0.4)]
    return [
        text
        for texts, share in groups
        for text in chooser.sample(sorted(set(texts)), int(PUBLIC_LINES * share))
    ]


def topics(data: Path) -> list[str]:
    """Names of public services and titles of articles."""
    services = [row.get("metadata", {}) for row in read_jsonl(data / "qa" / "welfare_gov.jsonl.xz")]
    titles = [row["title"] for row in read_jsonl(data / "qa" / "korquad21_questions.jsonl.xz")]
    return titles + [str(about["사업명"]) for about in services if about.get("사업명")]


def about_topics(lines: Sequence[Line], data: Path, chooser: random.Random) -> list[Line]:
    """Utterances for ``documents`` again, each about a topic, so that form weighs more than subject."""
    named = sorted(set(topics(data)))
    return [
        replace(line, text=f"{chooser.choice(named)} {line.text}", weight=line.weight / 3)
        for line in lines
        for _ in range(3)
        if line.agent == "documents"
    ]


def adapter_of(agent: str, intents: Sequence[str], lines: Sequence[Line], features: Array) -> Adapter:
    """Train one agent against the rest, both sides weighing the same.

    Args:
        agent: the agent's name.
        intents: its intents.
        lines: messages for it and for others.
        features: what `agents.router.inputs` makes of the lines.
    """
    allowed = np.array([_allowed(agent, intents, line) for line in lines])
    weights = np.array([line.weight for line in lines], dtype=np.float32)
    mine = ~allowed[:, -1]
    weights[mine] /= weights[mine].sum()
    weights[~mine] /= weights[~mine].sum()
    return train_adapter(features, allowed, weights, AdapterRecipe())


def _allowed(agent: str, intents: Sequence[str], line: Line) -> list[bool]:
    """The classes a line may have: its intent, or any of the agent's when it is unknown, or ``none``."""
    mine = line.agent == agent
    return [mine and line.intent in ("", intent) for intent in intents] + [not mine]


def _temperature(adapters: dict[str, Adapter], features: Array, lines: Sequence[Line]) -> float:
    odds = [log_odds(adapter.logits(features)) for adapter in adapters.values()]
    scores = np.stack(odds, axis=1)
    names = list(adapters)
    labels: NDArray[np.int64] = np.array([names.index(line.agent) for line in lines], dtype=np.int64)
    return fit_temperature(scores, labels)


def evaluate(router: Router, lines: Sequence[Line]) -> dict[str, float]:
    """Figures of a router on lines it was not trained on.

    Returns:
        ``agent_accuracy``, ``intent_accuracy`` (agent and intent both right), ``calibration_error`` (Guo et
        al. 2017, ten bins) and ``lines``.
    """
    found = [router.route(line.text).best for line in lines]
    agent = np.array([best.agent == line.agent for best, line in zip(found, lines, strict=True)])
    intent = np.array([best.intent == line.intent for best, line in zip(found, lines, strict=True)])
    confidence = np.array([best.confidence for best in found])
    bins = np.minimum((confidence * 10).astype(int), 9)
    error = sum(abs((agent[bins == b] - confidence[bins == b]).sum()) for b in range(10)) / len(lines)
    return {
        "agent_accuracy": round(float(agent.mean()), 4),
        "intent_accuracy": round(float((agent & intent).mean()), 4),
        "calibration_error": round(float(error), 4),
        "lines": len(lines),
    }
