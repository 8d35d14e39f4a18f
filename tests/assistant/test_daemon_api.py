import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import BadRequestError, NotFoundError, OpenAI, RateLimitError

from assistant.daemon.application import create_app
from assistant.daemon.documents import upload_name
from assistant.daemon.errors import status_of
from assistant.errors import AudioError, DamsoError, PictureError, ToolArgumentError, TrafficError
from assistant.settings import Settings
from tests.assistant.doubles import LEAVE, CopyingAssistant, running, wait_until

QUESTION = [{"role": "user", "content": "연차는 언제까지 신청해요?"}]
SLOW = [{"role": "user", "content": "느리게 답해 줘요"}]


class Daemon:
    """A running daemon, its assistant, and the usual ways to talk to it."""

    def __init__(self, settings: Settings, assistant: CopyingAssistant, app: object, url: str) -> None:
        self.settings, self.assistant, self.app, self.url = settings, assistant, app, url
        self.http = httpx.Client(base_url=url, timeout=20)
        self.openai = OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=20)

    @property
    def taken(self) -> int:
        return self.app.state.turns.taken

    def start_slow(self) -> httpx.Response:
        body = {"messages": SLOW, "stream": True}
        response = self.http.send(
            self.http.build_request("POST", "/v1/chat/completions", json=body), stream=True
        )
        assert self.assistant.writing.wait(10)
        return response


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    settings = Settings(home=tmp_path / "home", port=0, queue=1, max_upload_mb=1)
    leave = tmp_path / "휴가.md"
    leave.write_text(LEAVE, encoding="utf-8")
    with CopyingAssistant.open(settings) as assistant:
        assistant.index.ingest([leave])
        app = create_app(assistant, settings)
        with running(app, settings) as url:
            running_daemon = Daemon(settings, assistant, app, url)
            yield running_daemon
            running_daemon.http.close()
            running_daemon.openai.close()


def test_an_answer_in_the_openai_shape(daemon: Daemon) -> None:
    completion = daemon.openai.chat.completions.create(model="damso", messages=QUESTION)
    assert completion.choices[0].message.content == "연차는 쉬기 사흘 전까지 신청합니다."
    assert completion.choices[0].finish_reason == "stop"
    outcome = completion.model_extra["damso"]
    assert outcome["abstained"] is False
    assert outcome["sources"][0]["document"] == "휴가.md"


def test_a_streamed_answer_in_the_openai_shape(daemon: Daemon) -> None:
    chunks = list(daemon.openai.chat.completions.create(model="damso", messages=QUESTION, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "연차는 쉬기 사흘 전까지 신청합니다."
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1].model_extra["damso"]["answer"] == text
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_raw_stream_is_sse_that_ends_in_done(daemon: Daemon) -> None:
    body = {"messages": QUESTION, "stream": True}
    response = daemon.http.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = response.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(frame.removeprefix("data: "))["object"] for frame in frames[:-2])


def test_a_request_without_a_conversation_leaves_none_behind(daemon: Daemon) -> None:
    earlier = [*QUESTION, {"role": "assistant", "content": "사흘 전이에요."}]
    daemon.openai.chat.completions.create(model="damso", messages=[*earlier, *QUESTION])
    assert daemon.assistant.history.list() == ()


def test_a_stored_conversation_goes_on(daemon: Daemon) -> None:
    conversation = daemon.assistant.history.create()
    for _ in range(2):
        daemon.openai.chat.completions.create(
            model="damso", messages=QUESTION, extra_body={"conversation": conversation}
        )
    assert len(daemon.assistant.history.messages(conversation)) == 4


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": [{"role": "user", "content": "  "}]}, 400),
        ({"messages": []}, 400),
        ({"messages": [{"role": "assistant", "content": "나"}]}, 400),
        ({"messages": QUESTION, "conversation": "없는 대화"}, 400),
        ({"messages": QUESTION, "model": "gpt"}, 404),
        ({"messages": [{"role": "user", "content": "고장"}]}, 500),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_one_shape_and_speak_korean(
    daemon: Daemon, body: dict, status: int, stream: bool
) -> None:
    response = daemon.http.post("/v1/chat/completions", json={**body, "stream": stream})
    error = response.json()["error"]
    assert (response.status_code, set(error)) == (status, {"message", "type", "code", "param"})
    assert any("가" <= letter <= "힣" for letter in error["message"])
    wait_until(lambda: daemon.taken == 0)


def test_the_openai_client_knows_the_errors(daemon: Daemon) -> None:
    with pytest.raises(NotFoundError, match="모델"):
        daemon.openai.chat.completions.create(model="gpt-4", messages=QUESTION)
    with pytest.raises(BadRequestError, match="비어"):
        daemon.openai.chat.completions.create(model="damso", messages=[{"role": "user", "content": ""}])


def test_models_and_health(daemon: Daemon) -> None:
    assert [model.id for model in daemon.openai.models.list()] == ["damso"]
    assert daemon.http.get("/healthz").json() == {"status": "ok", "turns": 0}
    assert daemon.http.get("/none").json()["error"]["code"] == "http_404"
    assert daemon.http.put("/healthz").status_code == 405


def test_leaving_a_stream_ends_the_turn_and_frees_its_place(daemon: Daemon) -> None:
    daemon.start_slow().close()
    assert daemon.assistant.ended.wait(10)
    wait_until(lambda: daemon.taken == 0)
    daemon.openai.chat.completions.create(model="damso", messages=QUESTION)


def test_leaving_a_plain_request_ends_the_turn_too(daemon: Daemon) -> None:
    host, port = daemon.url.removeprefix("http://").split(":")
    body = json.dumps({"messages": SLOW}).encode()
    with socket.create_connection((host, int(port))) as client:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        )
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert daemon.assistant.writing.wait(10)
    assert daemon.assistant.ended.wait(10)
    wait_until(lambda: daemon.taken == 0)


def test_a_full_queue_says_when_to_come_back(daemon: Daemon) -> None:
    slow = daemon.start_slow()
    answers: list[str] = []

    def wait_in_line() -> None:
        completion = daemon.openai.chat.completions.create(model="damso", messages=QUESTION)
        answers.append(completion.choices[0].message.content)

    waiting = threading.Thread(target=wait_in_line)
    waiting.start()
    wait_until(lambda: daemon.taken == 2)
    with pytest.raises(RateLimitError) as caught:
        daemon.openai.chat.completions.create(model="damso", messages=QUESTION)
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert "밀려" in str(caught.value)
    slow.close()
    waiting.join(15)
    assert answers == ["연차는 쉬기 사흘 전까지 신청합니다."]


def test_documents_are_added_listed_and_removed(daemon: Daemon) -> None:
    upload = {"file": ("../../화분.md", "# 화분\n\n물은 열흘에 한 번 줍니다.\n".encode())}
    added = daemon.http.post("/v1/documents", files=upload).json()
    assert (added["name"], added["status"]) == ("화분.md", "added")
    names = [card["name"] for card in daemon.http.get("/v1/documents").json()["data"]]
    assert sorted(names) == ["화분.md", "휴가.md"]
    assert daemon.http.delete(f"/v1/documents/{added['id']}").json()["deleted"] is True
    assert daemon.http.delete(f"/v1/documents/{added['id']}").status_code == 404


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [("그림.xyz", b"abc", 415), ("빈.txt", b"", 422), ("이진.txt", b"\x00\x01\x02" * 50, 422)],
)
def test_a_bad_upload_is_refused_and_leaves_nothing(
    daemon: Daemon, name: str, content: bytes, status: int
) -> None:
    response = daemon.http.post("/v1/documents", files={"file": (name, content)})
    assert response.status_code == status
    assert len(daemon.assistant.index.documents()) == 1


@pytest.mark.parametrize("error", [AudioError, PictureError, ToolArgumentError, TrafficError])
def test_a_file_that_a_tool_cannot_read_is_the_requests_fault(error: type[DamsoError]) -> None:
    assert status_of(error("읽을 수 없어요.", "")) == 422
    assert status_of(DamsoError("고장 났어요.", "")) == 500


@given(name=st.text(max_size=400))
def test_upload_names_are_single_safe_components(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    safe = upload_name(name)
    assert safe not in ("", ".", "..") and len(safe.encode()) <= 200
    assert not set(safe) & {"/", "\\", "\0", "\u202e"}
    folder = tmp_path_factory.getbasetemp()
    assert (folder / safe).parent == folder


@pytest.mark.parametrize(
    "name", ["a" * 300 + ".md", "가" * 300 + ".txt", "..", "C:\\docs\\메모.txt", "\u1100\u1161.md"]
)
def test_upload_names_keep_what_matters(name: str) -> None:
    safe = upload_name(name)
    assert Path(safe).suffix == (Path(name).suffix if name != ".." else ".txt")
    assert len(safe.encode()) <= 200


def test_a_body_over_the_limit_is_refused_declared_or_not(daemon: Daemon) -> None:
    large = b"x" * (2**20 + 1)
    declared = daemon.http.post("/v1/chat/completions", content=large)
    chunked = daemon.http.post("/v1/chat/completions", content=iter([large[: 2**19], large[2**19 :]]))
    for response in (declared, chunked):
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert daemon.http.get("/healthz").status_code == 200
