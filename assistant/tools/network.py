"""The conversation's way to `assistant.tools.iot`: an attached record of traffic, judged by a profile that is there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from assistant.errors import DamsoError, MissingArgumentError
from assistant.events import ToolResult
from assistant.tools.registry import Registry

_NONE = "아직 배워 둔 기기가 없어요. 평소 기록으로 damso iot learn을 먼저 해 주세요."
_NO_FILE = "살펴볼 네트워크 기록(pcap, CSV)을 붙여서 다시 말씀해 주세요."


class Network:
    """The profiles of one data folder; what they need is imported when one is used."""

    def __init__(self, folder: Path) -> None:
        """Name the person's data folder."""
        self._folder = folder

    def check_network(self, file: Path, device: str = "") -> ToolResult:
        """기기의 네트워크 기록에서 평소와 다른 움직임을 찾아요.

        Args:
            file: 살펴볼 기록.
            device: 배워 둔 기기 이름.
        """
        names = self._names()
        if not names:
            return ToolResult("check_network", _NONE)
        if not device:
            listed = f"어느 기기의 기록인가요? 배워 둔 기기: {', '.join(names)}"
            raise MissingArgumentError("device", listed)
        from assistant.tools.iot import examine
        from compression.iot.profiles import load

        found = examine(load(device, self._folder), file)
        return ToolResult("check_network", found.text, self._kept(found.picture))

    def list_profiles(self) -> str:
        """평소 모습을 배워 둔 기기를 보여 줘요."""
        names = self._names()
        return f"배워 둔 기기가 {len(names)}개 있어요: {', '.join(names)}" if names else _NONE

    def slots(self, text: str, now: datetime) -> Mapping[str, Any]:
        """``device``: the one profile that the message names, or the only one there is."""
        names = self._names()
        named = [name for name in names if name.casefold() in text.casefold()] or names
        return {"device": named[0]} if len(named) == 1 else {}

    def _names(self) -> list[str]:
        from compression.iot.profiles import load_all

        return [item.name for item in load_all(self._folder) if not isinstance(item, DamsoError)]

    def _kept(self, picture: bytes) -> tuple[str, ...]:
        """The picture under a generated name, where faces may show it from."""
        if not picture:
            return ()
        place = self._folder / "results" / f"{uuid.uuid4().hex}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture)
        return (str(place),)


def register(registry: Registry, network: Network) -> None:
    """Make the network's functions tools."""
    registry.add(network.check_network, network.slots, {"file": _NO_FILE})
    registry.add(network.list_profiles)
