"""The page in a real browser: Chromium, headless, where any connection out of loopback is a fault."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from app import SAMPLES, mount_page
from assistant.daemon.application import create_app
from assistant.settings import Settings
from tests.assistant.doubles import CopyingAssistant, running, wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
HOSTILE = (
    "# 화분\n\n## 장난 ${1+1} {{value}}\n\n"
    "<img src=x onerror=document.title='뚫림'> 화분에는 {{물}}을 ${열흘}에 한 번 <b>줍니다</b>.\n"
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def assistant(tmp_path: Path) -> Iterator[CopyingAssistant]:
    with CopyingAssistant.open(Settings(home=tmp_path / "home", port=0)) as opened:
        yield opened


@pytest.fixture
def page(assistant: CopyingAssistant) -> Iterator[Page]:
    app = create_app(assistant, assistant.settings)
    mount_page(app, assistant, assistant.settings)
    with running(app, assistant.settings) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1440, "height": 900}, locale="ko-KR")
        faults: list[str] = []
        opened.on("request", lambda request: faults.append(request.url) if is_foreign(request.url) else None)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        opened.goto(url)
        opened.get_by_text("담소", exact=True).first.wait_for()
        yield opened
        browser.close()
    assert faults == []


def is_foreign(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost")


def ask(page: Page, text: str) -> None:
    page.locator("#box textarea").fill(text)
    page.locator("#box textarea").press("Enter")


def answers(page: Page) -> object:
    return page.locator("#chat .bot.message")


def photograph(page: Page, name: str) -> None:
    folder = os.environ.get("DAMSO_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(800)
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_first_chat_over_the_samples(page: Page, assistant: CopyingAssistant) -> None:
    photograph(page, "empty")
    page.locator("#samples").click()
    expect(page.locator("#shelf .list label")).to_have_count(len(list(SAMPLES.iterdir())))
    ask(page, "청년 월세 지원은 매달 얼마까지 받을 수 있어요?")
    cited = page.locator("#sources mark").first
    expect(cited).to_be_visible()
    expect(page.locator("#sources header").first).to_contain_text(".")
    expect(answers(page).last).to_contain_text(cited.inner_text().split("\n")[0])
    expect(page.locator("#shelf")).to_contain_text("청년 월세 지원은 매달")
    expect(page.locator("#box textarea")).to_have_value("")
    photograph(page, "answer")


def test_an_example_question_brings_the_samples_along(page: Page, assistant: CopyingAssistant) -> None:
    page.locator("#chat .example").first.click()
    expect(answers(page).last).to_be_visible()
    assert len(assistant.index.documents()) == len(list(SAMPLES.iterdir()))


def test_an_answer_can_be_stopped(page: Page, assistant: CopyingAssistant) -> None:
    ask(page, "느리게 답해 줘요")
    expect(answers(page).last).to_contain_text("네 네")
    page.locator("#box .stop-button").click()
    wait_until(assistant.ended.is_set)
    expect(page.locator("#box .submit-button")).to_be_visible()


def test_closing_the_page_stops_the_answer(page: Page, assistant: CopyingAssistant) -> None:
    ask(page, "느리게 답해 줘요")
    expect(answers(page).last).to_contain_text("네 네")
    page.goto("about:blank")
    wait_until(assistant.ended.is_set, 30)


@pytest.mark.parametrize(("message", "told"), [("고장 난 질문", "문제가 생겼어요"), ("   ", "비어 있어요")])
def test_an_error_is_told_and_gives_the_message_back(page: Page, message: str, told: str) -> None:
    ask(page, message)
    expect(page.locator(".toast-body")).to_contain_text(told)
    expect(page.locator("#box textarea")).to_have_value(message)
    expect(answers(page)).to_have_count(0)


def test_documents_are_uploaded_searched_alone_and_deleted(page: Page, tmp_path: Path) -> None:
    good, bad = tmp_path / "물주기.md", tmp_path / "사진.txt"
    good.write_text(HOSTILE, encoding="utf-8")
    bad.write_bytes(b"\x00\x01\x02" * 100)
    with page.expect_file_chooser() as chooser:
        page.locator("#upload").click()
    chooser.value.set_files([good, bad])
    expect(page.locator("#shelf .list label")).to_have_text(["물주기.md"])
    expect(page.locator(".toast-body", has_text="사진.txt")).to_be_visible()
    ask(page, "화분에 물은 얼마나 줘요?")
    expect(page.locator("#sources mark")).to_contain_text("{{물}}을 ${열흘}에")
    expect(page.locator("#sources header")).to_contain_text("${1+1} {{value}}")
    expect(answers(page).last).to_contain_text("<img src=x onerror")
    assert page.locator("#sources img, #sources b:not(.number), #chat img[src=x]").count() == 0
    assert page.title() == "담소"
    page.locator("#shelf .list input[type=checkbox]").check()
    expect(page.locator("#shelf")).to_contain_text("고른 1개에서만")
    page.get_by_role("button", name="고른 문서 지우기").click()
    expect(page.locator("#shelf")).to_contain_text("아직 문서가 없어요")


def test_a_file_dropped_in_the_box_becomes_a_document(page: Page, tmp_path: Path) -> None:
    note = tmp_path / "메모.txt"
    note.write_text("회의는 매주 화요일 오전 열 시에 엽니다.\n", encoding="utf-8")
    page.locator("#box input[type=file]").set_input_files(note)
    expect(page.locator("#box").get_by_role("listitem")).to_have_count(1)
    ask(page, "회의는 언제 열어요?")
    expect(page.locator("#sources mark")).to_contain_text("화요일")
    expect(page.locator("#shelf .list label", has_text="메모.txt")).to_be_visible()


def test_a_dropped_file_that_cannot_be_read_gives_the_message_back(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "사진.txt"
    broken.write_bytes(b"\x00\x01\x02" * 100)
    page.locator("#box input[type=file]").set_input_files(broken)
    expect(page.locator("#box").get_by_role("listitem")).to_have_count(1)
    ask(page, "회의는 언제 열어요?")
    expect(page.locator(".toast-body")).to_contain_text("사진.txt")
    expect(page.locator("#box textarea")).to_have_value("회의는 언제 열어요?")


def test_conversations_are_listed_reopened_and_deleted(page: Page) -> None:
    ask(page, "첫째 이야기")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#shelf .list")).to_contain_text(["첫째 이야기", ""])
    page.locator("#new").click()
    expect(answers(page)).to_have_count(0)
    page.reload()
    page.locator("#shelf .list label", has_text="첫째 이야기").click()
    expect(answers(page)).to_have_count(1)
    page.get_by_role("button", name="이 대화 지우기").click()
    expect(answers(page)).to_have_count(0)
    expect(page.locator("#shelf .list label")).to_have_count(0)


def test_a_reminder_comes_by_itself_and_stays(page: Page, assistant: CopyingAssistant) -> None:
    assistant.due = ["오후 3시 치과 <b>예약</b>"]
    expect(page.locator(".toast-body")).to_contain_text("오후 3시 치과 <b>예약</b>")
    page.wait_for_timeout(11_000)
    expect(page.locator(".toast-body")).to_have_count(1)
