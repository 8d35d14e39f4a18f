from __future__ import annotations

import re

from agents.catalogue import load_catalogue
from assistant.replies import CANNOT_YET, FALLBACK_SMALLTALK, NEVER_MIND, NO_DOCUMENTS, not_found, reply_for
from compression.language.endings import is_polite
from retrieval.readers import SUPPORTED
from tests.assistant.turn import candidate


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text) if part]


def test_every_question_about_damso_itself_has_a_fixed_reply() -> None:
    about = next(agent for agent in load_catalogue() if agent.name == "help")
    assert about.intents
    for intent in about.intents:
        assert reply_for("help", intent), intent
    assert all(extension in (reply_for("help", "formats") or "") for extension in SUPPORTED)


def test_what_has_to_be_written_has_no_fixed_reply() -> None:
    assert reply_for("documents", "ask_fact") is None
    assert reply_for("smalltalk", "feeling") is None
    assert reply_for("out_of_scope", "order") != reply_for("out_of_scope", "gibberish")
    assert reply_for("out_of_scope", "gibberish") == reply_for("out_of_scope", "") is not None


def test_fixed_replies_are_polite() -> None:
    found = [reply_for(agent.name, intent) for agent in load_catalogue() for intent in agent.intents]
    fixed = (NO_DOCUMENTS, CANNOT_YET, NEVER_MIND, FALLBACK_SMALLTALK, not_found(None))
    for reply in (*filter(None, found), *fixed):
        assert is_polite(sentences(reply)[-1]), reply


def test_an_abstention_names_the_nearest_passage() -> None:
    far, near = not_found(candidate("책은 많다.", 0.05)), not_found(candidate("책은\n많다.", 0.2))
    for reply in (far, near):
        assert reply.startswith("문서에 없습니다.")
        assert "‘도서관.md › 이용 › 책 빌리기’" in reply
    assert "책은" not in far and "“책은 많다.”" in near
    assert len(not_found(candidate("책은 아주 많다. " * 100, 0.2))) < 300
