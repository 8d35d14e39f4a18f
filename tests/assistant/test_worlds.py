from __future__ import annotations

import random

from assistant.evaluation.worlds import _struck
from compression.language.collections import Asked, Collection

TEXT = """# 도서관

책은 5권까지 빌립니다. 기간은 14일입니다. 늦으면 하루에 100원을 냅니다.

- 평일은 9시에 엽니다.
- 주말은 10시에 엽니다.

| 실 | 층 |
| --- | --- |
| 열람실 | 2층 |
"""
ANSWERS = (
    "책은 5권까지 빌립니다.",
    "기간은 14일입니다.",
    "하루에 100원",
    "평일은 9시에 엽니다.",
    "주말은 10시에 엽니다.",
    "| 열람실 | 2층 |",
)


def test_what_is_struck_out_leaves_near_misses_and_no_traces() -> None:
    questions = tuple(Asked(f"{answer}?", (answer,), "도서관.md") for answer in ANSWERS)
    library = Collection("library", {"도서관.md": TEXT}, (*questions, Asked("왜?", (), "도서관.md")))
    parts = list(_struck(library, random.Random(0)))
    struck = []
    for part in parts:
        (text,) = part.documents.values()
        gone = [asked for asked in part.questions if not asked.answers]
        assert len(gone) == 2 and all(asked.question[:-1] not in text for asked in gone)
        assert all(asked.answers[0] in text for asked in part.questions if asked.answers)
        assert "- \n" not in text and "늦으면 을" not in text and "# 도서관" in text
        struck += [asked.question for asked in gone]
    assert sorted(struck) == sorted(
        asked.question for asked in questions
    )  # each once, the unanswerable one never
