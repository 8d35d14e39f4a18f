"""A tiny set in Doc2Dial's schema, written by hand: two documents, three dialogues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LINES = {
    "도서관": ["가람 도서관 이용 안내", "문 여는 시간", "평일에는 오전 9시부터 저녁 8시까지 문을 엽니다.",
            "매주 월요일에는 쉽니다.", "책 빌리기", "책은 한 번에 5권까지 14일 동안 빌릴 수 있습니다."],
    "체육관": ["다온 체육관 안내", "이용료", "어른은 한 달에 *30,000원*을 냅니다.", "# 어린이는 반값입니다."],
}  # fmt: skip
HEADINGS = {"문 여는 시간", "책 빌리기", "이용료"}
SCRIPT = "<script>alert('x')</script>"


def document(name: str) -> dict[str, Any]:
    text, spans = "", {}
    for number, line in enumerate(LINES[name], start=1):
        tag = "h1" if number == 1 else "h2" if line in HEADINGS else "u"
        start = len(text)
        spans[str(number)] = {
            "id_sp": str(number), "tag": tag, "start_sp": start, "end_sp": start + len(line), "text_sp": line,
            "id_sec": "t_0", "title": LINES[name][0], "parent_titles": [],
        }  # fmt: skip
        text += f"{line}\n"
    return {"title": LINES[name][0], "doc_text": text, "spans": spans}


def turn(number: int, role: str, act: str, utterance: str, *spans: str) -> dict[str, Any]:
    references = [{"sp_id": span, "label": "solution"} for span in spans]
    return {"turn_id": number, "role": role, "da": act, "utterance": utterance, "references": references}


def contents() -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents file and the dialogues file."""
    documents = {"doc_data": {"공공": {"도서관": document("도서관"), "../체육관": document("체육관")}}}
    books = [
        turn(1, "user", "query_solution", "책은 한 번에 몇 권까지 빌릴 수 있나요?"),
        turn(2, "agent", "respond_solution", "5권까지 14일 동안 빌릴 수 있어요.", "6"),
        turn(3, "user", "query_solution", "그럼 도서관은 무슨 요일에 쉬어요?"),
        turn(4, "agent", "respond_solution", "월요일에 쉬어요.", "4"),
    ]
    hours = [
        turn(1, "user", "query_solution", f"도서관은 평일 몇 시부터 문을 여나요? {SCRIPT}"),
        turn(2, "agent", "respond_solution", "9시부터 열어요.", "2", "3"),
        turn(3, "user", "thanks", "고마워요"),
    ]
    fees = [
        turn(1, "user", "query_solution", "체육관 이용료는 한 달에 얼마인가요?"),
        turn(2, "agent", "respond_solution", "30,000원이에요.", "3"),
        turn(3, "user", "query_solution", "샤워실은 어디에 있나요?"),
        turn(4, "agent", "respond_no_solution", "문서에 없어요."),
    ]
    dialogues = {
        "공공": {
            "도서관": [{"dial_id": "d1", "turns": books}, {"dial_id": "d2", "turns": hours}],
            "../체육관": [{"dial_id": "d3", "turns": fees}],
        }
    }
    return documents, {"dial_data": dialogues}


def write_set(folder: Path, documents: Any = None, dialogues: Any = None) -> Path:
    """The set as two files of a folder."""
    made = contents()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("doc.json", documents or made[0]), ("dial.json", dialogues or made[1])):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder
