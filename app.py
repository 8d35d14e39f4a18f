"""The Gradio page: layout and rendering only. `python app.py` starts the daemon with it.

Everything shown comes from the turn's events and from the store; the page decides nothing.
"""

from __future__ import annotations

import asyncio
import html
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Gradio reads these when it is imported: no telemetry, and nothing fetched from a hub.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr
from fastapi import FastAPI

from assistant.daemon.evidence import (
    NONE_YET,
    SEARCHING,
    escape,
    evidence_html,
    numbered_answer,
    outcome_html,
)
from assistant.dialog import Assistant
from assistant.errors import BusyError, DamsoError
from assistant.events import Done, Event, Sources, Token, ToolResult
from assistant.settings import Settings
from retrieval.index import IngestResult

SAMPLES = Path(__file__).parent / "samples" / "documents"
FONTS = ("Pretendard", "Noto Sans KR", "Noto Sans CJK KR", "NanumGothic", "sans-serif")
EXAMPLES = (
    "도서관에서 책은 몇 권까지 빌릴 수 있어요?",
    "로봇청소기 먼지통은 얼마나 자주 비워야 해요?",
    "여권 신청할 때 준비물이 뭐예요?",
    "제주에서 비가 오면 어디로 가요?",
)
WELCOME = (
    "<div class='welcome'><h1>담소</h1><p>문서에 대해 편하게 물어보세요.<br>"
    "답은 이 컴퓨터 안에서만 만들고, 근거가 되는 문장을 함께 보여 드려요.</p></div>"
)
Update = dict[Any, Any]
_SECONDS_BETWEEN_REMINDERS = 10


def mount_page(app: FastAPI, assistant: Assistant, settings: Settings) -> None:
    """Serve the page at ``/`` of the daemon's application, behind its guards."""
    # Uploads wait in the user's own folder, not in one that every account can read.
    os.environ["GRADIO_TEMP_DIR"] = str(settings.home / "uploads")
    # Outside a running loop Gradio makes one for each of its locks, and never closes them.
    asyncio.run(_mount(app, assistant, settings))


async def _mount(app: FastAPI, assistant: Assistant, settings: Settings) -> None:
    gr.mount_gradio_app(
        app,
        build_page(assistant, settings),
        "/",
        allowed_paths=[str(settings.home / "results")],
        max_file_size=settings.max_upload_mb * 2**20,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Soft(primary_hue="teal", neutral_hue="stone", font=FONTS, font_mono=FONTS),
        css_paths=Path(__file__).parent / "assistant" / "daemon" / "page.css",
        js="() => { document.documentElement.lang = 'ko'; }",
    )


def build_page(assistant: Assistant, settings: Settings) -> gr.Blocks:
    """Lay the page out and connect it.

    Args:
        assistant: answers, and owns documents and conversations.
        settings: the bound on waiting questions.

    Returns:
        The Blocks, ready to be mounted.
    """
    return _Page(assistant, settings).blocks


class _Page:
    """The components, and the functions their events call."""

    def __init__(self, assistant: Assistant, settings: Settings) -> None:
        self._assistant = assistant
        self._places = threading.BoundedSemaphore(settings.queue + 1)
        self._stops: dict[str | None, threading.Event] = {}
        day = 86_400
        with gr.Blocks(
            title="담소", analytics_enabled=False, fill_width=True, delete_cache=(day, day)
        ) as self.blocks:
            self.conversation = gr.State(None)
            self.clock = gr.Timer(_SECONDS_BETWEEN_REMINDERS)
            with gr.Row(elem_id="columns"):
                self._lay_out_shelf()
                self._lay_out_chat()
                self._lay_out_sources()
            self._connect()

    def _lay_out_shelf(self) -> None:
        with gr.Column(elem_id="shelf", scale=2, min_width=230):
            gr.HTML("<h2>대화</h2>")
            self.new = gr.Button("새 대화", size="sm", variant="primary", elem_id="new")
            self.conversations = gr.Radio([], show_label=False, container=False, elem_classes="list")
            self.forget = gr.Button("이 대화 지우기", size="sm", visible=False, elem_classes="quiet")
            gr.HTML("<h2>문서</h2>")
            with gr.Row(elem_classes="pair"):
                self.upload = gr.UploadButton(
                    "문서 올리기", file_count="multiple", size="sm", elem_id="upload"
                )
                self.samples = gr.Button("예시 문서 넣기", size="sm", elem_id="samples")
            self.documents = gr.CheckboxGroup([], show_label=False, container=False, elem_classes="list")
            self.picked_note = gr.HTML()
            self.remove = gr.Button("고른 문서 지우기", size="sm", visible=False, elem_classes="quiet")

    def _lay_out_chat(self) -> None:
        with gr.Column(elem_id="talk", scale=6, min_width=360):
            self.chat = gr.Chatbot(
                show_label=False,
                elem_id="chat",
                height="100%",
                buttons=["copy"],
                # Answers quote documents, which must bring neither markup nor pictures along.
                render_markdown=False,
                latex_delimiters=[],
                placeholder=WELCOME,
                examples=[{"text": example} for example in EXAMPLES],
                feedback_options=None,
            )
            self.box = gr.MultimodalTextbox(
                show_label=False,
                placeholder="궁금한 것을 물어보세요. 파일을 끌어다 놓아도 돼요.",
                file_count="multiple",
                autofocus=True,
                max_lines=8,
                max_plain_text_length=1_000_000,
                elem_id="box",
            )

    def _lay_out_sources(self) -> None:
        with gr.Column(elem_id="evidence", scale=3, min_width=260):
            gr.HTML("<h2>근거</h2>")
            self.sources = gr.HTML(NONE_YET, elem_id="sources")

    def _connect(self) -> None:
        turn = [self.box, self.chat, self.conversation, self.conversations, self.forget, self.sources]
        shelf = [self.documents, self.picked_note, self.remove]
        quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asked = {"concurrency_limit": None, **quick}
        self.box.submit(self.ask, [self.box, self.conversation, self.documents], [*turn, *shelf], **asked)
        self.chat.example_select(
            self.ask_example, [self.conversation, self.documents], [*turn, *shelf], **asked
        )
        self.box.stop(self.stop, queue=False, **quick)
        self.chat.select(self.show_evidence, [self.conversation], [self.sources], **quick)
        self.new.click(self.start_over, None, turn, **quick)
        self.conversations.input(self.open, [self.conversations], turn, **quick)
        self.forget.click(self.delete, [self.conversation], turn, **quick)
        self.upload.upload(self.add, [self.upload, self.documents], shelf, api_visibility="private")
        self.samples.click(self.add_samples, [self.documents], shelf, api_visibility="private")
        self.documents.input(self.refresh_shelf, [self.documents], shelf, **quick)
        self.remove.click(self.discard, [self.documents], shelf, **quick)
        self.blocks.load(self.refresh_shelf, [self.documents], shelf, **quick)
        self.blocks.load(self.start_over, None, turn, **quick)
        self.blocks.unload(self.stop)
        self.clock.tick(self.remind, None, None, **quick)

    def ask(
        self, typed: dict[str, Any], conversation: str | None, picked: list[str], request: gr.Request
    ) -> Iterator[Update]:
        """Answer the message as it is written, with its files; on an error give the message back.

        Files without a word become documents; with one, the turn decides whose they are.
        """
        text, files = typed.get("text") or "", [Path(file) for file in typed.get("files") or ()]
        if files and not text.strip():
            _report(self._assistant.index.ingest(files))
            yield {self.box: _ready_box(), **self.refresh_shelf(picked)}
            return
        before = self._messages(conversation)
        stop = self._stops[request.session_hash] = threading.Event()
        shown = [*before, _bubble("user", text)]
        yield {self.box: _busy_box(), self.chat: shown, self.sources: SEARCHING}
        try:
            with self._turn():
                events = self._assistant.stream(
                    text, conversation, documents=picked or None, files=files, cancelled=stop.is_set
                )
                for event in events:
                    yield from self._render(event, shown)
            if files:
                yield self.refresh_shelf(picked)
        except Exception as error:
            _warn(error)
            yield {self.box: _ready_box(text), self.chat: before, self.sources: NONE_YET}

    def ask_example(
        self, conversation: str | None, picked: list[str], chosen: gr.SelectData, request: gr.Request
    ) -> Iterator[Update]:
        """Ask an example question; they are about the sample documents, which come in when there are none."""
        if not self._assistant.index.documents():
            yield self.add_samples(picked)
        yield from self.ask({"text": chosen.value["text"]}, conversation, picked, request)

    def _render(self, event: Event, shown: list[dict[str, Any]]) -> Iterator[Update]:
        """Show one event; ``shown`` are the bubbles so far, the answer's last once it has begun."""
        if isinstance(event, Sources):
            yield {self.sources: evidence_html(event.sources, "found")}
        elif isinstance(event, Token | ToolResult):
            if shown[-1]["role"] == "user":
                shown.append(_bubble("assistant", ""))
            shown[-1]["content"] += html.escape(event.text, quote=False)
            yield {self.chat: shown}
        elif isinstance(event, Done):
            outcome = event.to_json()
            asked = shown if shown[-1]["role"] == "user" else shown[:-1]
            yield {
                self.box: _ready_box(),
                self.chat: [*asked, _bubble("assistant", event.answer, outcome)],
                self.sources: outcome_html(outcome),
                **self._shelf_of(event.conversation or None),
            }

    def remind(self) -> None:
        """Say what the person asked to be reminded of; it stays until it is closed."""
        for reminder in self._assistant.reminders():
            gr.Info(escape(reminder), duration=None, title="알림")

    def stop(self, request: gr.Request) -> None:
        """Stop the answer that is being written in this tab, or in a tab that closed."""
        stop = self._stops.pop(request.session_hash, None)
        if stop is not None:
            stop.set()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A place in the queue for the length of a turn."""
        if not self._places.acquire(blocking=False):
            raise BusyError("지금은 질문이 밀려 있어요.", "잠시 뒤에 다시 물어봐 주세요.")
        try:
            yield
        finally:
            self._places.release()

    def _messages(self, conversation: str | None) -> list[dict[str, Any]]:
        messages = self._assistant.history.messages(conversation) if conversation else ()
        return [_bubble(message.role, message.text, message.outcome) for message in messages]

    def _shelf_of(self, conversation: str | None) -> Update:
        choices = [(item.title, item.id) for item in self._assistant.history.list()]
        picked = conversation if conversation in {key for _, key in choices} else None
        return {
            self.conversation: conversation,
            self.conversations: gr.Radio(choices=choices, value=picked),
            self.forget: gr.Button(visible=picked is not None),
        }

    def open(self, conversation: str) -> Update:
        """Show a stored conversation and the evidence of its last answer."""
        messages = self._assistant.history.messages(conversation)
        return {
            self.chat: self._messages(conversation),
            self.sources: outcome_html(messages[-1].outcome if messages else None),
            **self._shelf_of(conversation),
        }

    def start_over(self) -> Update:
        """Show an empty conversation; it comes to exist with its first message."""
        return {self.chat: [], self.sources: NONE_YET, **self._shelf_of(None)}

    def delete(self, conversation: str | None) -> Update:
        """Delete the conversation that is shown."""
        if conversation is not None:
            with _notices():
                self._assistant.history.delete(conversation)
        return self.start_over()

    def show_evidence(self, conversation: str | None, chosen: gr.SelectData) -> Any:
        """Show the evidence of the answer that was clicked."""
        messages = self._assistant.history.messages(conversation) if conversation else ()
        place = chosen.index[0] if isinstance(chosen.index, list | tuple) else chosen.index
        if place >= len(messages) or messages[place].outcome is None:
            return gr.skip()
        return outcome_html(messages[place].outcome)

    def add(self, files: Sequence[str], picked: list[str]) -> Update:
        """Take uploaded documents in; the uploaded copies are not kept."""
        paths = [Path(file) for file in files]
        _report(self._assistant.index.ingest(paths))
        for path in paths:
            path.unlink(missing_ok=True)
        return self.refresh_shelf(picked)

    def add_samples(self, picked: list[str]) -> Update:
        """Take the sample documents in."""
        _report(self._assistant.index.ingest([SAMPLES]))
        return self.refresh_shelf(picked)

    def discard(self, picked: list[str]) -> Update:
        """Delete the picked documents."""
        for document in picked:
            with _notices():
                self._assistant.index.remove(document)
        return self.refresh_shelf([])

    def refresh_shelf(self, picked: list[str]) -> Update:
        """Show the stored documents; those in ``picked`` that are still there stay picked."""
        choices = [(item.name, item.id) for item in self._assistant.index.documents()]
        kept = [document for document in picked or () if document in {key for _, key in choices}]
        return {
            self.documents: gr.CheckboxGroup(choices=choices, value=kept),
            self.picked_note: _picked_note(len(choices), len(kept)),
            self.remove: gr.Button(visible=bool(kept)),
        }


def _bubble(role: str, text: str, outcome: dict[str, Any] | None = None) -> dict[str, Any]:
    """A message as the chat shows it, with the files of its tool's result below the text."""
    if outcome is not None:
        text = numbered_answer(text, outcome)
    # The chat puts even plain text into the page as HTML.
    text = html.escape(text, quote=False)
    files = outcome["tool"]["files"] if outcome and outcome["tool"] else ()
    return {"role": role, "content": [text, *({"path": file} for file in files)] if files else text}


def _busy_box() -> gr.MultimodalTextbox:
    return gr.MultimodalTextbox(value=None, submit_btn=False, stop_btn=True)


def _ready_box(text: str = "") -> gr.MultimodalTextbox:
    return gr.MultimodalTextbox(value={"text": text, "files": []}, submit_btn=True, stop_btn=False)


def _picked_note(stored: int, picked: int) -> str:
    if not stored:
        return "<p class='hint'>아직 문서가 없어요. 문서를 올리거나 예시 문서로 시작해 보세요.</p>"
    if picked:
        return f"<p class='hint'>고른 {picked}개에서만 답을 찾아요.</p>"
    return f"<p class='hint'>{stored}개 모두에서 답을 찾아요. 고르면 그 문서에서만 찾아요.</p>"


def _report(results: Sequence[IngestResult]) -> None:
    """Say which files did not come in; those that did are seen in the list."""
    for result in results:
        if result.error is not None:
            gr.Warning(f"{escape(result.path.name)}: {escape(str(result.error))}")


def _warn(error: Exception) -> None:
    """Tell the person about an error; a fault of ours also goes to the log."""
    if isinstance(error, DamsoError):
        gr.Warning(escape(str(error)))
        return
    logging.getLogger("damso").error("a handler of the page failed", exc_info=error)
    gr.Warning("담소 안에서 문제가 생겼어요. 적은 말은 그대로 두었으니 다시 보내 주세요.")


@contextmanager
def _notices() -> Iterator[None]:
    try:
        yield
    except DamsoError as error:
        _warn(error)


if __name__ == "__main__":
    from assistant.cli import main

    main(["serve", "--open"])
