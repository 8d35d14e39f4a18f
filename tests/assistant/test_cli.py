import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from starlette.routing import Mount

import assistant.dialog
from assistant import cli, doctor
from assistant.daemon import server
from assistant.errors import ModelCorruptError, ModelMissingError
from assistant.settings import Settings
from tests.assistant.doubles import LEAVE, CopyingAssistant

QUESTION = "연차는 언제까지 신청해요?"
ANSWER = "연차는 쉬기 사흘 전까지 신청합니다."


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAMSO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(assistant.dialog, "Assistant", CopyingAssistant)
    return tmp_path / "home"


@pytest.fixture
def leave(tmp_path: Path) -> Path:
    path = tmp_path / "휴가.md"
    path.write_text(LEAVE, encoding="utf-8")
    return path


def damso(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)


def test_ask_prints_the_contract_and_stores_nothing(
    home: Path, leave: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert damso("ask", QUESTION, "--doc", leave, "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    keys = {"answer", "abstained", "agent", "intent", "confidence", "sources", "tool", "timings"}
    assert keys <= outcome.keys()
    assert {"document", "section", "page", "start", "end", "text"} <= outcome["sources"][0].keys()
    timings = {"route_ms", "retrieve_ms", "first_token_ms", "total_ms", "tokens"}
    assert timings <= outcome["timings"].keys()
    assert outcome["answer"] == ANSWER
    assert not home.exists()


def test_ask_prints_the_answer_and_its_sources(leave: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert damso("ask", QUESTION, "--doc", leave) == 0
    answer, source = capsys.readouterr().out.splitlines()
    assert answer == ANSWER
    assert source.startswith("  [1] 휴가.md › ") and source.endswith(ANSWER)


def test_ask_uses_the_store_and_before_it_holds_anything_the_samples(
    leave: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damso("ask", "청년 월세 지원 금액", "--json")
    assert json.loads(capsys.readouterr().out)["sources"][0]["document"] == "청년월세지원.md"
    damso("ingest", leave)
    capsys.readouterr()
    damso("ask", QUESTION, "--json")
    assert json.loads(capsys.readouterr().out)["sources"][0]["document"] == "휴가.md"


@pytest.mark.parametrize("name", ["없는 파일.md", "그림.xyz", "이진.txt"])
def test_ask_over_a_bad_file_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    if name != "없는 파일.md":
        (tmp_path / name).write_bytes(b"\x00\x01" * 100)
    assert damso("ask", QUESTION, "--doc", tmp_path / name) == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("오류: ") and output.err.count("\n") == 1


def test_an_empty_question_is_one_message(leave: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert damso("ask", " ", "--doc", leave) == 1
    assert capsys.readouterr().err == "오류: 메시지가 비어 있어요. 궁금한 점을 적어 주세요.\n"


def test_ingest_goes_on_after_a_failure_and_tells(
    tmp_path: Path, leave: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "깨진.txt"
    broken.write_bytes(b"\x00" * 100)
    assert damso("ingest", broken, leave) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["실패", "넣음"]
    assert damso("ingest", leave) == 0
    assert capsys.readouterr().out.startswith("그대로")


def test_documents_are_listed_and_removed(leave: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damso("ingest", leave)
    capsys.readouterr()
    assert damso("docs", "list", "--json") == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)] == ["휴가.md"]
    assert damso("docs", "rm", "휴가.md") == 0
    assert damso("docs", "rm", "휴가.md") == 1
    assert damso("docs", "list") == 0
    assert "모두 0개" in capsys.readouterr().out


def test_route_prints_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert damso("route", QUESTION, "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert {"agents", "intents", "best"} <= scores.keys()
    assert damso("route", QUESTION) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["90.0%", "documents"]


def test_an_error_of_the_file_system_is_one_message(
    leave: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/there")

    monkeypatch.setattr(CopyingAssistant, "open", refuse)
    assert damso("ingest", leave) == 1
    said = capsys.readouterr().err
    assert said.startswith("오류: 파일이나 폴더를 쓸 수 없어요: /there.")


def test_chat_streams_obeys_and_survives_errors(
    leave: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damso("ingest", leave)
    lines = iter(
        ["/docs", "/help", QUESTION, KeyboardInterrupt, "그래서 언제까지요?", "/quit", "안 물어볼 말"]
    )

    def typed(_: str) -> str:
        line = next(lines)
        if line is KeyboardInterrupt:
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr("builtins.input", typed)
    assert damso("chat") == 0
    output = capsys.readouterr().out
    assert f"담소> {ANSWER}\n  [1] 휴가.md" in output
    assert "휴가.md\n" in output and "/quit" in output
    assert next(lines) == "안 물어볼 말"


def test_ctrl_c_stops_the_answer_and_not_the_chat(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["느리게 말해 줘", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,)).start()
    before = signal.getsignal(signal.SIGINT)
    assert damso("chat") == 0
    assert "네 네" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


def test_serving_to_the_world_needs_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert damso("serve", "--host", "0.0.0.0") == 1
    assert "DAMSO_TOKEN" in capsys.readouterr().err


def test_serve_binds_loopback_and_puts_api_and_page_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served = []
    monkeypatch.setattr(server, "serve", lambda app, listener: served.append((app, listener.getsockname())))
    assert damso("serve", "--port", "0") == 0
    app, (host, port) = served[0]
    assert host == "127.0.0.1" and f"http://127.0.0.1:{port}/" in capsys.readouterr().out
    assert any(getattr(route, "path", None) == "/healthz" for route in app.routes), app.routes
    assert any(isinstance(route, Mount) and route.path == "" for route in app.routes)


def test_a_broken_setting_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAMSO_PORT", "천")
    assert damso("serve") == 1
    assert "port" in capsys.readouterr().err


def test_help_is_korean_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from assistant.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'gradio', 'onnxruntime', 'faiss', 'fastapi', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-X", "utf8", "-c", code]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "문서를 넣어요" in done.stdout


def test_doctor_names_what_is_wrong_and_looks_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"generator": ModelCorruptError("모델 파일이 달라요.", "다시 받아 주세요."), "encoder": None}
    monkeypatch.setattr(doctor, "verify_all", lambda: broken)
    monkeypatch.setenv("DAMSO_MODELS", str(tmp_path))
    assert damso("doctor") == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("✗ 모델 generator: 모델 파일이 달라요.") for line in lines)
    assert "✓ 모델 encoder: 체크섬이 맞아요" in lines
    assert any(line.startswith("✗ 한글 나누기") for line in lines)
    assert lines[-1].startswith(("✓ 디스크", "✗ 디스크"))


def test_doctor_without_models_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> dict[str, None]:
        raise ModelMissingError("모델 목록이 없어요.", "저장소를 다시 받아 주세요.")

    monkeypatch.setattr(doctor, "verify_all", missing)
    checks = {check.name: check for check in doctor.examine(Settings(home=tmp_path / "아직 없는 곳"))}
    assert checks["모델"].ok is False and "저장소" in checks["모델"].detail
    assert checks["파이썬"].ok and checks["꾸러미"].ok
    assert str(tmp_path) in checks["디스크"].detail


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask"], "질문 값이 빠졌어요. 쓰는 법은 damso ask --help"),
        (["ask", "--nope", "x"], "그런 옵션은 없어요: --nope"),
        (["ingst"], "그런 명령은 없어요: ingst. 혹시 ingest인가요?"),
        (["serve", "--port", "abc"], "--port에 쓸 수 없는 값이에요"),
        (["doctor", "extra"], "받을 수 없는 값이 더 있어요: extra"),
        (["ingest", "--collection"], "--collection 다음에 값이"),
    ],
)
def test_wrong_usage_is_told_in_korean(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("오류: ") and told in message and message.count("\n") == 1
