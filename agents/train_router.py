"""Trains every agent's adapter: ``damso train router --data DIR``.

Each adapter learns its agent's utterances against everybody else's. With a data folder, public questions and
small talk join: they belong to an agent, of no known intent. Without one the catalogue alone is enough.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents import corpus
from agents.adapter import Adapter, Array, log_odds
from agents.catalogue import CATALOGUE, Agent, load_catalogue
from agents.encoder import Encoder
from agents.router import OUT_OF_SCOPE, Router, inputs
from agents.train_adapter import AdapterRecipe, fit_temperature, train_adapter
from compression.language.corpus import read_jsonl

PUBLIC_LINES = 1500
PUBLIC_WEIGHT = 0.03
GIBBERISH = "gibberish"
_WH_QUESTION = 1


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
    if data:
        lines += public_lines(data, chooser) + about_topics(known, data, chooser)
    features = inputs(encoder, [line.text for line in lines])
    intents = {agent.name: list(agent.intents) for agent in agents} | {OUT_OF_SCOPE: [GIBBERISH]}
    adapters = {name: _adapter(name, intents[name], lines, features) for name in intents}
    held_out = catalogue_lines(agents, "calibration") + gibberish(chooser, 20)
    temperature = _temperature(adapters, inputs(encoder, [line.text for line in held_out]), held_out)
    router = Router(encoder, adapters, intents, temperature)
    router.save(out)
    return evaluate(router, catalogue_lines(agents, "test"))


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
    return [Line(text, OUT_OF_SCOPE, weight=PUBLIC_WEIGHT) for text in texts]


def public_lines(data: Path, chooser: random.Random) -> list[Line]:
    """Public questions and topics for ``documents``, public small talk for ``smalltalk``, as many of each."""
    said = [row["question"] for row in read_jsonl(data / "intent" / "chatbot.jsonl.xz")]
    said += [row["text"] for row in read_jsonl(data / "intent" / "kochat_ood.jsonl.xz")]
    needs = _information_needs(data, chooser)
    talk = chooser.sample(sorted(set(said)), len(needs))
    return [Line(text, "documents", weight=PUBLIC_WEIGHT) for text in needs] + [
        Line(text, "smalltalk", weight=PUBLIC_WEIGHT) for text in talk
    ]


def _information_needs(data: Path, chooser: random.Random) -> list[str]:
    """Encyclopaedic, everyday and local questions, and bare topics as people type into a search box."""
    asked = [question.text for question in corpus.questions(data)]
    asked += [row["question"] for row in read_jsonl(data / "qa" / "korquad21_questions.jsonl.xz")]
    style = read_jsonl(data / "intent" / "stylekqc.jsonl.xz")
    everyday = [row["text"] for row in style if row["act"] == _WH_QUESTION]
    places = [row["text"] for row in read_jsonl(data / "intent" / "kochat.jsonl.xz")]
    groups = [(asked, 1.0), (everyday, 0.5), (places, 0.1), (topics(data), 0.4)]
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


def _adapter(agent: str, intents: Sequence[str], lines: Sequence[Line], features: Array) -> Adapter:
    """Train one agent against the rest, both sides weighing the same."""
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
