import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import CorruptDatabaseError, MessageError, NewerDatabaseError
from assistant.history import History


@pytest.fixture
def history(tmp_path: Path) -> History:
    opened = History(tmp_path / "home" / "conversations.db")
    yield opened
    opened.close()


def test_messages_come_back_in_order_with_their_outcome(history: History) -> None:
    conversation = history.create()
    history.append(conversation, "user", "연차는\n 언제까지 신청해요?")
    history.append(
        conversation, "assistant", "사흘 전까지예요.", {"answer": "사흘 전까지예요.", "sources": []}
    )
    asked, answered = history.messages(conversation)
    assert (asked.role, asked.text, asked.outcome) == ("user", "연차는\n 언제까지 신청해요?", None)
    assert answered.outcome == {"answer": "사흘 전까지예요.", "sources": []}
    assert history.list()[0].title == "연차는 언제까지 신청해요?"


def test_the_latest_conversation_is_first_and_empty_ones_are_not_listed(history: History) -> None:
    first, second, _ = history.create(), history.create(), history.create()
    history.append(first, "user", "하나")
    history.append(second, "user", "둘")
    history.append(first, "user", "셋")
    assert [(item.id, item.title) for item in history.list()] == [(first, "하나"), (second, "둘")]


def test_deleting_takes_the_messages_along(history: History) -> None:
    conversation = history.create()
    history.append(conversation, "user", "지울 말")
    history.delete(conversation)
    assert history.list() == () and history.messages(conversation) == ()
    for lost in (lambda: history.delete(conversation), lambda: history.append(conversation, "user", "말")):
        with pytest.raises(MessageError, match="대화를 찾을 수 없어요"):
            lost()


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal; from pathlib import Path; from assistant.history import History\n"
        "history = History(Path(sys.argv[1])); conversation = history.create()\n"
        "history.append(conversation, 'user', '남아야 하는 말'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "conversations.db"
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2])
    assert killed.returncode < 0
    reopened = History(path)
    assert [item.title for item in reopened.list()] == ["남아야 하는 말"]
    reopened.close()


def test_threads_share_one_history(history: History) -> None:
    conversation = history.create()
    threads = [
        threading.Thread(target=lambda: [history.append(conversation, "user", "말") for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history.messages(conversation)) == 80


@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    history = History(tmp_path_factory.mktemp("home") / "conversations.db")
    conversation = history.create()
    history.append(conversation, "user", text)
    assert history.messages(conversation)[0].text == text
    assert "\n" not in history.list()[0].title and len(history.list()[0].title) <= 60
    history.close()


def test_a_newer_or_broken_database_is_refused(tmp_path: Path) -> None:
    import sqlite3

    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    (tmp_path / "broken.db").write_bytes("데이터베이스가 아닌 것".encode() * 200)
    with pytest.raises(NewerDatabaseError):
        History(tmp_path / "newer.db")
    with pytest.raises(CorruptDatabaseError):
        History(tmp_path / "broken.db")
