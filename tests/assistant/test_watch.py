from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import assistant.dialog
from assistant import cli
from assistant.commands import watch
from tests.assistant.doubles import LEAVE, CopyingAssistant


def test_a_folder_is_followed_until_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAMSO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(assistant.dialog, "Assistant", CopyingAssistant)
    monkeypatch.setattr(watch, "INTERVAL_S", 0.05)
    folder = tmp_path / "문서"
    folder.mkdir()
    (folder / "휴가.md").write_text(LEAVE, encoding="utf-8")
    said: list[str] = []
    monkeypatch.setattr(watch.typer, "echo", lambda text, err=False: said.append(text))

    def person() -> None:
        steps = [
            ("넣음", lambda: (folder / "휴가.md").write_text(LEAVE + "\n\n끝.\n", encoding="utf-8")),
            ("바꿈", (folder / "휴가.md").unlink),
            ("지움", lambda: os.kill(os.getpid(), signal.SIGINT)),
        ]
        for word, act in steps:
            end = time.monotonic() + 20
            while not any(line.startswith(word) for line in said) and time.monotonic() < end:
                time.sleep(0.02)
            act()

    thread = threading.Thread(target=person)
    thread.start()
    with pytest.raises(SystemExit) as exited:
        cli.main(["ingest", str(folder), "--watch"])
    thread.join()
    assert not exited.value.code
    assert [line.split()[0] for line in said] == ["폴더를", "넣음", "바꿈", "지움", "지켜보기를"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_only_a_folder_can_be_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(["ingest", str(tmp_path / "없음"), "--watch"])
    assert exited.value.code == 1 and "폴더가 아니라서" in capsys.readouterr().err


def test_documents_are_put_into_a_collection_and_listed_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAMSO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(assistant.dialog, "Assistant", CopyingAssistant)
    for name, arguments in (("휴가.md", ["--collection", "회사"]), ("메모.md", [])):
        (tmp_path / name).write_text(LEAVE, encoding="utf-8")
        with pytest.raises(SystemExit) as exited:
            cli.main(["ingest", str(tmp_path / name), *arguments])
        assert not exited.value.code
    capsys.readouterr()
    for arguments, names in (([], ["메모.md", "휴가.md"]), (["--collection", "회사"], ["휴가.md"])):
        with pytest.raises(SystemExit):
            cli.main(["docs", "list", "--json", *arguments])
        assert [item["name"] for item in json.loads(capsys.readouterr().out)] == names
    with pytest.raises(SystemExit):
        cli.main(["docs", "list"])
    assert "휴가.md  [회사]" in capsys.readouterr().out
