"""The settings of one run: environment over `DAMSO_HOME/settings.toml` over defaults, checked at the door.

Every field is set by the variable ``DAMSO_<FIELD>`` or by the key ``<field>`` of the file; a list is written
with commas in the environment. ``DAMSO_HOME`` alone cannot stand in the file, which lies inside it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from assistant.errors import SettingsError

_HOST_NAME = re.compile(r"[a-z0-9:_.-]+", re.IGNORECASE)
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Settings:
    """What a person may set; validated, then trusted.

    Attributes:
        home: user data folder: documents, conversations, uploads.
        host: address the daemon binds to.
        port: TCP port of the daemon; 0 lets the system choose.
        token: secret that every request must carry; None asks for none.
        allowed_hosts: names, besides loopback's, under which the daemon may be reached.
        threads: CPU threads of the models; None takes the physical cores.
        max_message: longest message, in characters.
        max_upload_mb: largest request body, in MiB.
        queue: requests that may wait for the one that is being answered.
        answer_threshold: evidence needed to answer, in [0, 1]; None takes the fitted one.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    threads: int | None = None
    max_message: int = 20_000
    max_upload_mb: int = 25
    queue: int = 8
    answer_threshold: float | None = None

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: a value cannot work.
        """
        _require(_is_host(self.host), "host", "주소나 이름이어야 해요. 예: 127.0.0.1")
        _require(0 <= self.port <= 65535, "port", "0부터 65535 사이의 정수여야 해요.")
        _require(
            self.token is None or bool(_TOKEN.fullmatch(self.token)), "token", "빈칸 없는 영문·숫자여야 해요."
        )
        _require(all(map(_is_host, self.allowed_hosts)), "allowed_hosts", "포트 없는 이름이나 주소여야 해요.")
        _require(
            self.threads is None or 1 <= self.threads <= 256, "threads", "1부터 256 사이의 정수여야 해요."
        )
        _require(1 <= self.max_message <= 1_000_000, "max_message", "1부터 1,000,000 사이의 정수여야 해요.")
        _require(1 <= self.max_upload_mb <= 4096, "max_upload_mb", "1부터 4096 사이의 정수여야 해요.")
        _require(0 <= self.queue <= 1000, "queue", "0부터 1000 사이의 정수여야 해요.")
        threshold = self.answer_threshold
        _require(threshold is None or 0 <= threshold <= 1, "answer_threshold", "0과 1 사이의 수여야 해요.")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the environment and the settings file.

        Args:
            environ: variables, by default the process's own.
            **overrides: values that win over both, e.g. a command's options; None leaves a field alone.

        Raises:
            SettingsError: a value is malformed, or the file names an unknown setting.
        """
        environ = os.environ if environ is None else environ
        home = Path(environ.get("DAMSO_HOME") or platformdirs.user_data_dir("damso")).expanduser().absolute()
        values = {**_from_file(home / "settings.toml"), **_from_environment(environ)}
        values |= {name: value for name, value in overrides.items() if value is not None}
        return cls(home=home, **values)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address the daemon binds to."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def _require(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise SettingsError(
            f"설정 {name} 값을 쓸 수 없어요: {rule}",
            f"DAMSO_{name.upper()} 또는 settings.toml을 고쳐 주세요.",
        )


def _is_host(name: str) -> bool:
    return bool(_HOST_NAME.fullmatch(name.strip("[]")))


def _parse(name: str, kind: str, value: str) -> Any:
    """Turn a variable's text into the type that a field's annotation, ``kind``, names."""
    value = value.strip()
    try:
        if kind.startswith("int"):
            return int(value)
        if kind.startswith("float"):
            return float(value)
    except ValueError:
        _require(False, name, f"'{value}'은(는) 수가 아니에요.")
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


_KINDS = {item.name: str(item.type) for item in fields(Settings) if item.name != "home"}
_TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str, "tuple": list}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {name: environ.get(f"DAMSO_{name.upper()}", "") for name in _KINDS}
    return {name: _parse(name, _KINDS[name], value) for name, value in variables.items() if value.strip()}


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"설정 파일을 읽지 못했어요: {path}", f"파일을 고치거나 지워 주세요. ({error})"
        ) from error
    for name, value in values.items():
        _require(name in _KINDS, name, "모르는 설정이에요.")
        kind = _KINDS[name].partition("[")[0].partition(" ")[0]
        _require(isinstance(value, _TYPES[kind]) and not isinstance(value, bool), name, "값의 종류가 달라요.")
        if kind == "tuple":
            _require(all(isinstance(part, str) for part in value), name, "값의 종류가 달라요.")
            values[name] = tuple(value)
    return values
