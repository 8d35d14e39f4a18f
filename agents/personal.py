"""Agents that a person adds: a folder each in the user directory, with an adapter of its own beside it.

An adapter is trained on the agent's utterances against those of every agent that ships. It shares no weight with
another, so adding, training or removing one changes no other agent's scores.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from agents.adapter import Adapter
from agents.catalogue import NAME, Agent, describe_agent, describe_catalogue, load_agent
from agents.encoder import Encoder
from agents.errors import CatalogueError, UnknownAgentError
from agents.surface import BUCKETS
from compression.errors import DamsoError

ADAPTER = "adapter.safetensors"
_FEWEST = 5
_FILES = ("agent.toml", "utterances.tsv")


class PersonalAgents:
    """The agents of one user directory."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        """Name the folder.

        Args:
            folder: holds one folder an agent; made with the first.
            encoder: the encoder that adapters stand on.
        """
        self._folder, self.encoder = folder, encoder

    def describe(self) -> tuple[Agent, ...]:
        """Every agent's description, by name.

        Raises:
            CatalogueError: one is malformed.
        """
        folders = sorted(path for path in self._folder.glob("*") if (path / _FILES[0]).is_file())
        return tuple(describe_agent(path) for path in folders)

    def is_trained(self, name: str) -> bool:
        """Whether an agent has an adapter that fits the encoder and its intents."""
        return self._adapter(describe_agent(self._place(name))) is not None

    def trained(self) -> tuple[tuple[Agent, Adapter], ...]:
        """Agents that can take messages, with their adapters; one that is broken or untrained is left out."""
        found = []
        for path in sorted(self._folder.glob(f"*/{ADAPTER}")):
            with contextlib.suppress(DamsoError):
                agent = describe_agent(path.parent)
                if adapter := self._adapter(agent):
                    found.append((agent, adapter))
        return tuple(found)

    def add(self, source: Path) -> Agent:
        """Copy an agent's two files into the user directory.

        Args:
            source: a folder with ``agent.toml`` and ``utterances.tsv``.

        Raises:
            CatalogueError: the folder is malformed, or a shipped agent has the name.
        """
        agent = load_agent(source.resolve())
        if agent.name in {shipped.name for shipped in describe_catalogue()}:
            raise CatalogueError(
                f"'{agent.name}'은(는) 담소에 들어 있는 에이전트 이름이에요.", "다른 이름을 써 주세요."
            )
        _require_enough(agent, source)
        place = self._folder / agent.name
        place.mkdir(parents=True, exist_ok=True)
        for file in _FILES:
            shutil.copyfile(source / file, place / file)
        return agent

    def remove(self, name: str) -> None:
        """Delete an agent with its adapter.

        Raises:
            UnknownAgentError: it is not there.
        """
        shutil.rmtree(self._place(name))

    def load(self, name: str) -> Agent:
        """An agent with its utterances.

        Raises:
            UnknownAgentError: it is not there.
            CatalogueError: its folder is malformed.
        """
        return load_agent(self._place(name))

    def save(self, agent: Agent, adapter: Adapter) -> None:
        """Write weights, encoder and intents as one file, renamed into place when it is whole."""
        path = self._folder / agent.name / ADAPTER
        partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            save_file(adapter.tensors(), partial, metadata=self._stamp(agent))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _stamp(self, agent: Agent) -> dict[str, str]:
        return {"encoder": self.encoder.name, "intents": json.dumps(list(agent.intents))}

    def _adapter(self, agent: Agent) -> Adapter | None:
        """The agent's adapter; None when there is none, or it is damaged or for another encoder or other intents."""
        path = self._folder / agent.name / ADAPTER
        shape = (len(agent.intents) + 1, self.encoder.dimension + BUCKETS)
        try:
            with safe_open(path, "np") as file:
                fits = file.metadata() == self._stamp(agent)
            adapter = Adapter.load(path)
        except (OSError, SafetensorError, DamsoError):
            return None
        return adapter if fits and adapter.head.shape == shape else None

    def _place(self, name: str) -> Path:
        # A name is looked up among the folders there are; it never becomes a path.
        found = {path.name: path for path in self._folder.glob("*") if path.is_dir()}
        if not NAME.fullmatch(name) or name not in found:
            raise UnknownAgentError(
                f"그런 에이전트가 없어요: {name[:80]}", "damso agents list로 확인해 주세요."
            )
        return found[name]


def _require_enough(agent: Agent, folder: Path) -> None:
    for intent in agent.intents:
        count = sum(said.intent == intent for said in agent.utterances)
        if count < _FEWEST:
            raise CatalogueError(
                f"{folder.name}/utterances.tsv: 의도 '{intent}'의 발화가 {count}개뿐이에요.",
                f"의도마다 {_FEWEST}개 이상, 될 수 있으면 20개를 적어 주세요.",
            )
