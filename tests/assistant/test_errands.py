from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from assistant.errands import errand, question_of, resumed
from assistant.errors import MissingArgumentError
from assistant.events import Pending
from assistant.tools import Tools
from assistant.tools.registry import Tool

NOW = datetime(2026, 11, 24, 10, 20)


@pytest.fixture
def add(tmp_path: Path) -> Iterator[Tool]:
    with Tools(tmp_path) as tools:
        yield tools.registry["add_event"]


def asked_for_title(tool: Tool) -> Pending:
    asked = MissingArgumentError("title", "무슨 일정인가요?")
    return question_of(errand(tool, "내일 3시 일정 추가해 줘", (), NOW), asked, "schedule", "add")


@pytest.mark.parametrize("answer", ["어머니", "할머니 칠순", "치과"])
def test_an_answer_that_sounds_like_a_question_is_an_answer(add: Tool, answer: str) -> None:
    found = resumed(asked_for_title(add), add, answer, (), NOW)
    assert found is not None and answer in found.arguments["title"]


@pytest.mark.parametrize("message", ["연차는 며칠이나 남았나요", "그건 뭐야?", "비용이 얼마니"])
def test_a_question_is_no_answer(add: Tool, message: str) -> None:
    assert resumed(asked_for_title(add), add, message, (), NOW) is None


def test_the_day_of_a_span_completes_it(add: Tool) -> None:
    asked = MissingArgumentError("date", "언제로 할까요?")
    pending = question_of(errand(add, "다음 주 회의 잡아 줘", (), NOW), asked, "schedule", "add")
    found = resumed(pending, add, "수요일 오후 2시", (), NOW)
    assert found is not None and str(found.arguments["date"]) == "2026-12-02"
