"""Trains the adapter of an agent that a person added: seconds on one core.

The agent's utterances stand against those of every agent that ships; public data is not needed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.adapter import Adapter, log_odds
from agents.catalogue import CATALOGUE, Agent, load_catalogue
from agents.personal import PersonalAgents
from agents.router import inputs
from agents.train_router import Line, adapter_of, gibberish, variants

_GIBBERISH = 200


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        lines: utterances it was trained on.
        held_out: utterances it was judged on: a fifth, by hash of the text.
        intent_accuracy: share of those whose intent came first; NaN without any.
        recognised: share of those that it took for its own.
    """

    lines: int
    held_out: int
    intent_accuracy: float
    recognised: float


def train(agents: PersonalAgents, name: str, catalogue: Path = CATALOGUE) -> Trained:
    """Train an agent's adapter; the one before stays in place until the new one is whole.

    Args:
        agents: the person's agents.
        name: one of them.
        catalogue: the agents it has to be told from.

    Raises:
        UnknownAgentError: it is not there.
        CatalogueError: its folder is malformed.
    """
    agent = agents.load(name)
    mine = [Line(said.text, agent.name, said.intent) for said in agent.utterances if said.split != "test"]
    shipped = [
        Line(said.text, other.name) for other in load_catalogue(catalogue) for said in other.utterances
    ]
    lines = [variant for line in mine for variant in variants(line)]
    lines += shipped + gibberish(random.Random(0), _GIBBERISH)
    features = inputs(agents.encoder, [line.text for line in lines])
    adapter = adapter_of(agent.name, list(agent.intents), lines, features)
    agents.save(agent, adapter)
    return _judged(agents, agent, adapter, len(mine))


def _judged(agents: PersonalAgents, agent: Agent, adapter: Adapter, lines: int) -> Trained:
    held_out = [said for said in agent.utterances if said.split == "test"]
    if not held_out:
        return Trained(lines, 0, float("nan"), float("nan"))
    logits = adapter.logits(inputs(agents.encoder, [said.text for said in held_out]))
    wanted = np.array([list(agent.intents).index(said.intent) for said in held_out])
    right = logits[:, :-1].argmax(axis=1) == wanted
    return Trained(lines, len(held_out), float(np.mean(right)), float(np.mean(log_odds(logits) > 0)))
