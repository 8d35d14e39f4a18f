"""Routes a message: one vector, every agent's adapter scores it, calibrated probabilities come out.

``out_of_scope`` has an adapter too, trained on gibberish and on errands that no agent runs (calls, orders, the
weather): a real question belongs to ``documents``, whose evidence gate says when the documents do not answer it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents.adapter import Adapter, Array, log_odds, softmax
from agents.catalogue import NAME, Agent
from agents.encoder import Encoder
from agents.surface import BUCKETS, surface_features
from compression.artefacts import model_folder
from compression.errors import ModelCorruptError, ModelMissingError

OUT_OF_SCOPE = "out_of_scope"
CONFIG = "router.json"
_LONGEST = 2000
# Without documents only a message that clearly asks for them goes there, to be told how to add one.
_NO_DOCUMENTS = {"documents": -1.5}
# After an answer from the documents a person mostly goes on: what leans on it, or tells of oneself, looks like
# small talk when it stands alone. Chosen on the development dialogues.
_AFTER_DOCUMENTS = {"smalltalk": -1.0}


class Best(NamedTuple):
    """The winner: names of agent and intent, and the agent's probability."""

    agent: str
    intent: str
    confidence: float


@dataclass(frozen=True)
class RouteScores:
    """Every agent's and intent's score for one message.

    Attributes:
        agents: agent → calibrated probability, ``out_of_scope`` among them; they sum to 1.
        intents: agent → intent → probability, given that the message is the agent's.
        raw: agent → log-odds of its adapter, which no other agent influences.
    """

    agents: dict[str, float]
    intents: dict[str, dict[str, float]]
    raw: dict[str, float]

    @property
    def best(self) -> Best:
        """The likeliest agent with its likeliest intent."""
        agent = max(self.agents, key=self.agents.__getitem__)
        scores = self.intents.get(agent, {})
        return Best(agent, max(scores, key=scores.__getitem__, default=""), self.agents[agent])


class Router:
    """The encoder with one adapter an agent."""

    def __init__(
        self,
        encoder: Encoder,
        adapters: Mapping[str, Adapter],
        intents: Mapping[str, Sequence[str]],
        temperature: float = 1.0,
    ) -> None:
        self._encoder = encoder
        self._adapters = dict(adapters)
        self._intents = {name: tuple(intents[name]) for name in adapters}
        self._temperature = temperature

    @classmethod
    def load(cls, encoder: Encoder, folder: Path | None = None) -> Router:
        """Load the adapters.

        Args:
            encoder: the encoder they were trained on.
            folder: holds ``router.json`` and one safetensors file an agent; None means the embedded one.

        Raises:
            ModelMissingError: a file is not there.
            ModelCorruptError: a file is damaged, or the adapters were trained on another encoder.
        """
        folder = model_folder("router") if folder is None else folder
        path = folder / CONFIG
        if not path.is_file():
            raise ModelMissingError("라우터 설정 파일이 없습니다.", "models 폴더를 다시 받아 주세요.")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            intents = {
                str(name): [str(intent) for intent in listed] for name, listed in config["intents"].items()
            }
            temperature, trained_on = float(config["temperature"]), config["encoder"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _corrupt("라우터 설정 파일이 손상되었습니다.") from error
        if trained_on != encoder.name:
            raise _corrupt("라우터가 다른 문장 인코더로 학습되었습니다.")
        if not all(map(NAME.fullmatch, intents)) or temperature <= 0:
            raise _corrupt("라우터 설정 파일이 손상되었습니다.")
        adapters = {name: Adapter.load(folder / f"{name}.safetensors") for name in intents}
        for name, adapter in adapters.items():
            if adapter.head.shape != (len(intents[name]) + 1, encoder.dimension + BUCKETS):
                raise _corrupt(f"어댑터 파일 {name}.safetensors가 손상되었습니다.")
        return cls(encoder, adapters, intents, temperature)

    def save(self, folder: Path) -> None:
        """Write ``router.json`` and the adapters."""
        for name, adapter in self._adapters.items():
            adapter.save(folder / f"{name}.safetensors")
        config = {"encoder": self._encoder.name, "temperature": self._temperature, "intents": self._intents}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def with_agents(self, agents: Iterable[tuple[Agent, Adapter]]) -> Router:
        """This router with more agents; the ones it has keep their adapters.

        Args:
            agents: each with its trained adapter.
        """
        added = {agent.name: (adapter, tuple(agent.intents)) for agent, adapter in agents}
        return Router(
            self._encoder,
            self._adapters | {name: adapter for name, (adapter, _) in added.items()},
            self._intents | {name: intents for name, (_, intents) in added.items()},
            self._temperature,
        )

    def route(self, text: str, has_documents: bool = True, after_documents: bool = False) -> RouteScores:
        """Score a message for every agent.

        Args:
            text: the message as typed; only the first 2,000 characters count.
            has_documents: whether there is any document to answer from.
            after_documents: whether the answer before came from the documents.

        Returns:
            Scores; all of the probability is on ``out_of_scope`` for a message without a letter or a symbol.
        """
        features = inputs(self._encoder, [text])
        logits = {name: adapter.logits(features) for name, adapter in self._adapters.items()}
        raw = {name: float(log_odds(scores)[0]) for name, scores in logits.items()}
        shift = {} if has_documents else _NO_DOCUMENTS
        shift = shift | _AFTER_DOCUMENTS if after_documents else shift
        return RouteScores(
            agents=self._probabilities(
                {name: odds + shift.get(name, 0.0) for name, odds in raw.items()}, features
            ),
            intents={
                name: self._intent_probabilities(name, scores[0, :-1]) for name, scores in logits.items()
            },
            raw=raw,
        )

    def _probabilities(self, odds: dict[str, float], features: Array) -> dict[str, float]:
        """Calibrated probabilities; a blank message is out of scope whatever the adapters say."""
        if not features.any():
            return {name: float(name == OUT_OF_SCOPE) for name in odds}
        scores = np.array(list(odds.values())) / self._temperature
        return dict(zip(odds, softmax(scores).tolist(), strict=True))

    def _intent_probabilities(self, agent: str, logits: Array) -> dict[str, float]:
        return dict(zip(self._intents[agent], softmax(logits).tolist(), strict=True))


def inputs(encoder: Encoder, texts: Sequence[str]) -> Array:
    """What adapters see: the vector and the surface features, float32 [n, dimension + BUCKETS]."""
    heads = [text[:_LONGEST] for text in texts]
    return np.concatenate([encoder.encode(heads), surface_features(heads)], axis=1)


def _corrupt(message: str) -> ModelCorruptError:
    return ModelCorruptError(message, "models 폴더를 다시 받거나 라우터를 다시 학습해 주세요.")
