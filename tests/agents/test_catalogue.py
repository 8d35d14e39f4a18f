from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agents.catalogue import Answer, describe_agent, describe_catalogue, load_agent, load_catalogue
from agents.errors import CatalogueError

TOML = """name = "{name}"
title = "우편"
description = "우편을 도와 드립니다."
[[intents]]
name = "send"
description = "보냅니다."
[[intents]]
name = "{second}"
description = "받습니다."
"""
LINES = "send\t편지를 보내고 싶어요\nreceive\t택배 왔나요?\n"


def write(folder: Path, lines: bytes | str = LINES, toml: str | None = None) -> Path:
    agent = folder / "mail"
    agent.mkdir()
    (agent / "agent.toml").write_text(toml or TOML.format(name="mail", second="receive"), encoding="utf-8")
    (agent / "utterances.tsv").write_bytes(lines.encode() if isinstance(lines, str) else lines)
    return agent


def test_a_folder_becomes_an_agent(tmp_path: Path) -> None:
    agent = load_agent(write(tmp_path, "\ufeff" + LINES))
    assert (agent.name, agent.title, list(agent.intents)) == ("mail", "우편", ["send", "receive"])
    assert [(line.intent, line.text) for line in agent.utterances] == [
        ("send", "편지를 보내고 싶어요"),
        ("receive", "택배 왔나요?"),
    ]
    assert load_catalogue(tmp_path) == (agent,)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("send\t하나\nreceive 둘\n", "utterances.tsv 2번째 줄"),
        ("send\t하나\nreceive\t\n", "utterances.tsv 2번째 줄"),
        ("send\t하나\n\nlose\t둘\n", "utterances.tsv 3번째 줄: .*'lose'"),
        ("send\t하나\nreceive\t하나\n", "2번째 줄: 1번째 줄과 같은"),
        ("send\t하나\n", "'receive'의 발화가 없습니다"),
        ("", "발화가 없습니다"),
        ("send\t하나\n".encode() + "receive\t둘\n".encode("cp949"), "2번째 줄: UTF-8"),
    ],
)
def test_malformed_utterances_name_the_file_and_the_line(
    tmp_path: Path, lines: str | bytes, expected: str
) -> None:
    with pytest.raises(CatalogueError, match=expected):
        load_agent(write(tmp_path, lines))


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        (TOML.format(name="mail", second="send"), "'send'이.* 두 번"),
        (TOML.format(name="mail", second="receive").split('[[intents]]\nname = "receive"')[0], "둘 이상"),
        ('name = "mail"\ntitle = "우편"\ndescription = "우편"\nintents = 3\n', "둘 이상"),
        (TOML.format(name="letters", second="receive"), "'letters'"),
        (TOML.format(name="mail", second="receive").replace('title = "우편"', "title = 7"), "'title'"),
        ("name = ", "TOML"),
    ],
)
def test_malformed_descriptions_name_the_file(tmp_path: Path, toml: str, expected: str) -> None:
    with pytest.raises(CatalogueError, match=f"mail/agent.toml.*{expected}"):
        load_agent(write(tmp_path, toml=toml))


@pytest.mark.parametrize("file", ["agent.toml", "utterances.tsv"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    folder = write(tmp_path)
    (folder / file).unlink()
    with pytest.raises(CatalogueError, match=file):
        load_agent(folder)


def test_an_empty_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError):
        load_catalogue(tmp_path)
    with pytest.raises(CatalogueError):
        load_catalogue(tmp_path / "nowhere")


SHIPPED = "audio documents help home iot out_of_scope schedule smalltalk video vision".split()


def test_the_shipped_catalogue_has_sixty_lines_an_intent() -> None:
    agents = load_catalogue()
    assert [agent.name for agent in agents] == SHIPPED
    for agent in agents:
        counts = Counter(line.intent for line in agent.utterances)
        # What is out of scope needs telling apart as a whole, not by its kinds.
        assert min(counts.values()) >= (48 if agent.name == "out_of_scope" else 60), agent.name
        held_out = Counter(line.intent for line in agent.utterances if line.split == "test")
        assert min(held_out[intent] for intent in agent.intents) >= 10, agent.name


def test_the_tool_agents_name_a_tool_for_every_intent() -> None:
    for agent in describe_catalogue():
        tools = [agent.answers[intent].tool for intent in agent.intents]
        named = agent.name not in ("documents", "help", "smalltalk", "out_of_scope")
        assert all(tools) if named else not any(tools), agent.name
        assert agent.utterances == ()


ANSWERS = """name = "mail"
title = "우편"
description = "우편을 도와 드립니다."
{top}
[[intents]]
name = "send"
description = "보냅니다."
{first}
[[intents]]
name = "receive"
description = "받습니다."
"""


def test_an_intent_says_what_answers_it_and_the_agent_for_the_rest(tmp_path: Path) -> None:
    toml = ANSWERS.format(top='reply = "우체국에 물어보세요."', first='tool = "send_mail"')
    answers = describe_agent(write(tmp_path, toml=toml)).answers
    assert answers == {"send": Answer(tool="send_mail"), "receive": Answer(reply="우체국에 물어보세요.")}


@pytest.mark.parametrize(
    ("top", "first", "expected"),
    [
        ('tool = "a"\nreply = "b"', "", "가운데 하나만"),
        ("", "documents = []", "문서 이름의 목록"),
        ("", 'documents = "휴가.md"', "agent.toml 8번째 줄"),
        ("", "tool = 3", "'tool'"),
    ],
)
def test_malformed_answers_name_the_file(tmp_path: Path, top: str, first: str, expected: str) -> None:
    with pytest.raises(CatalogueError, match=expected):
        load_agent(write(tmp_path, toml=ANSWERS.format(top=top, first=first)))


def test_a_duplicate_intent_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="agent.toml 8번째 줄: 의도 'send'"):
        load_agent(write(tmp_path, toml=TOML.format(name="mail", second="send")))


def test_no_utterance_is_in_two_agents_and_every_split_is_used() -> None:
    lines = [line for agent in load_catalogue() for line in agent.utterances]
    assert len({line.text for line in lines}) == len(lines)
    shares = Counter(line.split for line in lines)
    assert shares["train"] / len(lines) == pytest.approx(0.7, abs=0.05)
    assert shares["test"] / len(lines) == pytest.approx(0.2, abs=0.05)
