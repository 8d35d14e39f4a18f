from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.encoder import Encoder
from assistant import cli
from assistant.dialog import Assistant
from assistant.settings import Settings
from tests.agents.test_personal import LIBRARIAN, write_librarian

TWO = {intent: LIBRARIAN[intent] for intent in ("borrow", "find")}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> Path:
    monkeypatch.setenv("DAMSO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


def damso(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_persons_agent_is_added_tested_shown_and_removed(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert damso("agents", "add", write_librarian(tmp_path / "source", TWO)) == 0
    assert "librarian: 발화" in capsys.readouterr().out
    assert damso("agents", "test", "소설책 대출해 줘", "--json") == 0
    assert printed(capsys)["best"]["agent"] == "librarian"
    assert damso("agents", "test", "소설책 대출해 줘", "--all") == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("librarian", "documents", "home", "out_of_scope"))
    assert damso("agents", "show", "librarian") == 0
    assert "답 ‘사서에게 전할게요.’" in capsys.readouterr().out
    assert damso("agents", "train") == 0
    assert damso("agents", "rm", "librarian") == 0
    capsys.readouterr()
    assert damso("agents", "list", "--json") == 0
    assert "librarian" not in {agent["name"] for agent in printed(capsys)}


def test_the_list_names_every_agent_with_its_state(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_librarian(home / "agents", TWO)
    assert damso("agents", "list", "--json") == 0
    states = {agent["name"]: agent["state"] for agent in printed(capsys)}
    assert states["librarian"] == "학습 전" and states["schedule"] == "내장" and len(states) == 11


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["show", "nobody"], "그런 에이전트가 없어요"),
        (["rm", "home"], "내장 도우미는 지울 수 없어요"),
        (["train", "home"], "damso train router"),
        (["train", "nobody"], "그런 에이전트가 없어요"),
        (["add", "없는 폴더"], "agent.toml"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert damso("agents", *arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("오류: ") and expected in message


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("utterances.tsv", "borrow\t책\nborrow 소설\n".encode(), "utterances.tsv 2번째 줄"),
        ("utterances.tsv", "borrow\t책\n".encode() + "find\t대출\n".encode("cp949"), "2번째 줄: UTF-8"),
        ("agent.toml", b'name = "librarian"\ntitle = "a"\ndescription = "b"\n', "둘 이상"),
    ],
)
def test_a_bad_folder_is_named_with_file_and_line(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], file: str, content: bytes, expected: str
) -> None:
    folder = write_librarian(tmp_path / "source", TWO)
    (folder / file).write_bytes(content)
    assert damso("agents", "add", folder) == 1
    assert expected in capsys.readouterr().err
    assert not (home / "agents").exists()


def test_a_persons_agent_answers_in_a_turn(
    tmp_path: Path, home: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert damso("agents", "add", write_librarian(tmp_path / "source", TWO)) == 0
    monkeypatch.setenv("DAMSO_MODELS", str(models))
    with Assistant.open(Settings(home=home, threads=1)) as assistant:
        done = assistant.ask("소설책 대출해 줘")
        assert (done.agent, done.intent, done.answer) == ("librarian", "borrow", "사서에게 전할게요.")
        assert assistant.ask("거실 불 켜 줘").agent == "home"
