"""The tools that agents call: one file a tool, and the registry that validates every call."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from assistant.tools import audio, home, network, schedule, vision
from assistant.tools.audio import Voice
from assistant.tools.home import Home
from assistant.tools.network import Network
from assistant.tools.registry import Registry, Tool
from assistant.tools.schedule import Schedule
from assistant.tools.vision import Vision

__all__ = ["Registry", "Tool", "Tools"]


class Tools:
    """The registry of one data folder, with what its tools keep open."""

    def __init__(self, folder: Path) -> None:
        """Register every tool that can run here.

        Args:
            folder: the person's data folder; files in it are made when a tool first needs them.
        """
        self.registry = Registry()
        self.schedule = Schedule(folder / "schedule.db")
        self.home = Home(folder / "home.db")
        schedule.register(self.registry, self.schedule)
        home.register(self.registry, self.home)
        network.register(self.registry, Network(folder))
        vision.register(self.registry, Vision(folder))
        audio.register(self.registry, Voice(folder))

    def close(self) -> None:
        """Close the databases."""
        self.schedule.close()
        self.home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
