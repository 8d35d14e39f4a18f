"""The catalogue of agents: one folder an agent, with ``agent.toml`` and ``utterances.tsv``.

``agent.toml`` names the agent, what it is for and its intents; ``utterances.tsv`` has one example a line, as
``intent<TAB>utterance``. Adding an agent is adding a folder and training its adapter.

An intent says what answers it: ``tool`` (a tool's name), ``documents`` (names of documents to answer from) or
``reply`` (a fixed text). The same keys at the top of ``agent.toml`` hold for every intent without one.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agents.errors import CatalogueError

CATALOGUE = Path(__file__).parent / "catalog"
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FIX = "파일을 고친 뒤 다시 실행해 주세요."


@dataclass(frozen=True)
class Utterance:
    """One example of what people say to an agent."""

    intent: str
    text: str

    @property
    def split(self) -> str:
        """``train``, ``calibration`` or ``test`` (7 : 1 : 2), decided by the text's hash."""
        share = int.from_bytes(hashlib.sha256(self.text.encode()).digest()[:4], "big") / 2**32
        return "train" if share < 0.7 else "calibration" if share < 0.8 else "test"


@dataclass(frozen=True)
class Answer:
    """What answers an intent: at most one of the three; none leaves it to the turn.

    Attributes:
        tool: a tool's name.
        documents: names of the documents to answer from.
        reply: a fixed text.
    """

    tool: str = ""
    documents: tuple[str, ...] = ()
    reply: str = ""


@dataclass(frozen=True)
class Agent:
    """An agent as its folder describes it.

    Attributes:
        name: lower-case letters, digits and ``_``; the folder's name.
        title: what people see, in Korean.
        description: what it is for, in Korean.
        intents: intent → its description, in the file's order.
        utterances: the examples; empty when only the description was read.
        answers: intent → what answers it.
    """

    name: str
    title: str
    description: str
    intents: dict[str, str]
    utterances: tuple[Utterance, ...] = ()
    answers: dict[str, Answer] = field(default_factory=dict)


def load_catalogue(folder: Path = CATALOGUE) -> tuple[Agent, ...]:
    """Read every agent of a catalogue, in the order of their names.

    Raises:
        CatalogueError: there is no agent, or one is malformed.
    """
    return tuple(load_agent(path) for path in _folders(folder))


def describe_catalogue(folder: Path = CATALOGUE) -> tuple[Agent, ...]:
    """The agents of a catalogue without their utterances, which only training needs. Raises as `load_catalogue`."""
    return tuple(describe_agent(path) for path in _folders(folder))


def _folders(folder: Path) -> list[Path]:
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not folders:
        raise CatalogueError(
            f"{folder.name} 폴더에 에이전트가 없습니다.", "에이전트 폴더를 하나 이상 넣어 주세요."
        )
    return folders


def load_agent(folder: Path) -> Agent:
    """Read one agent.

    Raises:
        CatalogueError: a file is missing, not UTF-8 or malformed; the message names the file and the line.
    """
    agent = describe_agent(folder)
    return replace(agent, utterances=_utterances(folder / "utterances.tsv", agent.intents))


def describe_agent(folder: Path) -> Agent:
    """Read one agent's ``agent.toml`` alone. Raises as `load_agent`."""
    described = folder / "agent.toml"
    fields = _table(described)
    name = _string(fields, "name", described)
    if name != folder.name or not NAME.fullmatch(name):
        raise _malformed(
            described,
            _line_of(described, name),
            f"이름 '{name}'은(는) 폴더 이름과 같고 영문 소문자, 숫자, _만 써야 합니다.",
        )
    intents = _intents(fields, described)
    usual = _answer(fields, described)
    return Agent(
        name=name,
        title=_string(fields, "title", described),
        description=_string(fields, "description", described),
        intents=intents,
        answers={
            entry["name"]: answer if (answer := _answer(entry, described)) != Answer() else usual
            for entry in fields["intents"]
        },
    )


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{_shown(path)}: TOML 형식이 아닙니다 ({error}).", _FIX) from error


def _string(fields: dict[str, Any], key: str, path: Path) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _malformed(path, 0, f"'{key}' 항목에 글자를 적어 주세요.")
    return value


def _intents(fields: dict[str, Any], path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    listed = fields.get("intents")
    for entry in listed if isinstance(listed, list) else ():
        name = _string(entry if isinstance(entry, dict) else {}, "name", path)
        if name in found:
            raise _malformed(path, _line_of(path, name, last=True), f"의도 '{name}'이(가) 두 번 있습니다.")
        if not NAME.fullmatch(name):
            raise _malformed(
                path, _line_of(path, name), f"의도 이름 '{name}'은(는) 영문 소문자, 숫자, _만 써야 합니다."
            )
        found[name] = _string(entry, "description", path)
    if len(found) < 2:
        raise _malformed(path, 0, "의도([[intents]])가 둘 이상 있어야 합니다.")
    return found


def _answer(fields: dict[str, Any], path: Path) -> Answer:
    """The one of ``tool``, ``documents`` and ``reply`` that a table has."""
    given: dict[str, Any] = {key: fields[key] for key in ("tool", "documents", "reply") if key in fields}
    if not given:
        return Answer()
    if len(given) > 1:
        line = _line_of(path, list(given)[1], last=False)
        raise _malformed(path, line, "tool, documents, reply 가운데 하나만 적어 주세요.")
    if "documents" in given:
        names = given["documents"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise _malformed(
                path, _line_of(path, "documents"), "'documents'에는 문서 이름의 목록을 적어 주세요."
            )
        return Answer(documents=tuple(names))
    if "tool" in given:
        return Answer(tool=_string(given, "tool", path))
    return Answer(reply=_string(given, "reply", path))


def _line_of(path: Path, value: str, last: bool = False) -> int:
    """The first or last line that holds a value; 0 when none does."""
    lines = [number for number, line in enumerate(_text(path).splitlines(), 1) if value in line]
    return 0 if not lines else lines[-1 if last else 0]


def _utterances(path: Path, intents: dict[str, str]) -> tuple[Utterance, ...]:
    first_line: dict[str, int] = {}
    found = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        intent, _, text = (part.strip() for part in line.partition("\t"))
        if not intent or not text:
            raise _malformed(path, number, "'의도<탭>발화' 꼴이 아닙니다.")
        if intent not in intents:
            raise _malformed(path, number, f"agent.toml에 없는 의도 '{intent}'입니다.")
        if text in first_line:
            raise _malformed(path, number, f"{first_line[text]}번째 줄과 같은 발화입니다.")
        first_line[text] = number
        found.append(Utterance(intent, text))
    missing = sorted(set(intents) - {utterance.intent for utterance in found})
    if missing:
        raise _malformed(path, 0, f"의도 '{missing[0]}'의 발화가 없습니다.")
    return tuple(found)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CatalogueError(
            f"{_shown(path)} 파일을 읽지 못했습니다.", "파일이 있는지 확인해 주세요."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _malformed(path, line, "UTF-8로 저장된 글이 아닙니다.") from error


def _malformed(path: Path, line: int, problem: str) -> CatalogueError:
    place = f"{_shown(path)} {line}번째 줄" if line else _shown(path)
    return CatalogueError(f"{place}: {problem}", _FIX)


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
