from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.slots.schedule import add_slots, cancel_slots, change_slots, list_slots, remind_slots

NOW = datetime(2026, 11, 24, 10, 20)
TOMORROW = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("내일 오후 3시에 회의 잡아 줘", {"title": "회의", "date": TOMORROW, "time": time(15)}),
        ("다음 주 화요일에 치과 예약 추가해 줘", {"title": "치과 예약", "date": date(2026, 12, 1)}),
        ("모레 아침 8시에 병원 가는 거 적어 줘", {"title": "병원 가기", "time": time(8)}),
        ("캘린더에 팀 회의 넣어 줄래?", {"title": "팀 회의"}),
        ("금요일 저녁 7시에 친구랑 저녁 약속 등록해 줘", {"title": "친구랑 저녁 약속", "time": time(19)}),
        ("매주 월요일 9시에 주간 회의 넣어 줘", {"title": "주간 회의", "repeat": "weekly", "time": time(9)}),
        ("휴가 일정 8월 1일부터 3일까지 넣어 줘", {"title": "휴가", "end_date": date(2027, 8, 3)}),
        ("스케줄 하나 등록할게 수요일 2시 발표", {"title": "발표", "time": time(14)}),
        ("내일오후세시치과", {"title": "치과", "date": TOMORROW, "time": time(15)}),
        ("까먹기 전에 적어 둘게 수요일에 책 반납", {"title": "책 반납"}),
        ("오늘 5시 반에 아이 데리러 가기", {"title": "아이 데리러 가기", "time": time(17, 30)}),
        ("내일 저녁에 약속 잡아 줘", {"part": "저녁", "date": TOMORROW}),
        ("내일 생일 파티 종일로 잡아 줘", {"title": "생일 파티", "all_day": True}),
    ],
)
def test_new_events(text: str, slots: dict[str, Any]) -> None:
    found = add_slots(text, NOW)
    assert {key: found.get(key) for key in slots} == slots


@pytest.mark.parametrize(
    "text", ["일정 추가해 줘", "약속 하나 적어 줘", "새 일정 만들래", "일정 하나 넣어 줘"]
)
def test_a_word_for_an_event_is_no_title(text: str) -> None:
    assert add_slots(text, NOW) == {}


@pytest.mark.parametrize(
    "text", ["이번 주말에 등산 가기로 했어 기록해 줘", "3월 말에 제주도 여행 일정 넣어 줘"]
)
def test_a_span_of_days_leaves_the_day_open(text: str) -> None:
    assert "date" not in add_slots(text, NOW) and add_slots(text, NOW)["title"]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("오늘 일정 뭐 있어?", {"first": date(2026, 11, 24), "last": date(2026, 11, 24), "title": None}),
        ("이번 주 일정 알려 줘", {"first": date(2026, 11, 23), "last": date(2026, 11, 29), "title": None}),
        ("회의 언제였지", {"first": None, "title": "회의"}),
        ("치과 예약 며칠이더라", {"title": "치과 예약"}),
        ("내 일정 보여 줘", {"first": None, "title": None}),
        ("금요일에 뭐 있더라", {"first": date(2026, 11, 27), "title": None}),
        ("모레까지 일정", {"first": date(2026, 11, 24), "last": date(2026, 11, 26), "title": None}),
        ("앞으로 일주일 동안 뭐 있노", {"last": date(2026, 12, 1), "title": None}),
    ],
)
def test_looking_up(text: str, slots: dict[str, Any]) -> None:
    found = list_slots(text, NOW)
    assert {key: found.get(key) for key in slots} == slots


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("내일 회의 4시로 바꿔 줘", {"title": "회의", "date": TOMORROW, "new_time": time(16)}),
        ("내일 3시 회의를 5시로 옮겨 줘", {"time": time(15), "new_time": time(17)}),
        ("금요일 저녁 약속을 토요일로 바꿔 줄래?", {"title": "저녁 약속", "new_date": date(2026, 11, 28)}),
        ("회의 한 시간 미뤄 줘", {"title": "회의", "shift_minutes": 60}),
        ("팀 회의 30분 앞당겨 줘", {"shift_minutes": -30}),
        ("이사 날짜 하루 앞당겨 줘", {"title": "이사", "shift_minutes": -1440}),
        ("동창회 일주일 미뤄 줘", {"title": "동창회", "shift_minutes": 10080}),
        ("등산 다음 주로 연기해 줘", {"title": "등산", "new_week": date(2026, 11, 30)}),
        ("회의 제목을 주간 회의로 바꿔 줘", {"title": "회의", "new_title": "주간 회의"}),
        ("회의 미뤄 줘 한 시간로 바꿔 줘", {"title": "회의", "shift_minutes": 60}),
        ("회의 반 시간 늦춰 줘", {"title": "회의", "shift_minutes": 30}),
        ("회의 3일로 미뤄 줘", {"new_date": date(2026, 12, 3), "shift_minutes": None}),
        (
            "여행 12월 21일부터 24일로 바꿔 줘",
            {"new_date": date(2026, 12, 21), "new_last": date(2026, 12, 24)},
        ),
        ("그거 6시로 바꿔 줘", {"latest": True, "new_time": time(18)}),
        ("필라테스 7시에서 8시로 변경해 줘", {"title": "필라테스", "time": time(7), "open_half": True}),
    ],
)
def test_changes(text: str, slots: dict[str, Any]) -> None:
    found = change_slots(text, NOW)
    assert {key: found.get(key) for key in slots} == slots


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("내일 회의 취소해 줘", {"title": "회의", "date": TOMORROW}),
        ("3시 회의 취소됐어", {"title": "회의", "time": time(15)}),
        ("이번 주 일정 전부 삭제", {"everything": True, "last": date(2026, 11, 29)}),
        ("방금 넣은 일정 취소해 줘", {"latest": True}),
        ("일정표 비워 줘 네", {"everything": True, "confirmed": True, "title": None}),
        ("일정표 비워 줘", {"confirmed": None}),
    ],
)
def test_cancelling(text: str, slots: dict[str, Any]) -> None:
    found = cancel_slots(text, NOW)
    assert {key: found.get(key) for key in slots} == slots


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("내일 아침 8시에 약 먹으라고 알려 줘", {"title": "약 먹기", "date": TOMORROW, "time": time(8)}),
        ("두 시간 뒤에 빨래 널라고 말해 줘", {"title": "빨래 널기", "time": time(12, 20)}),
        ("회의 10분 전에 알려 줘", {"title": "회의", "minutes_before": 10}),
        ("면접 한 시간 반 전에 알려 주세요", {"title": "면접", "minutes_before": 90}),
        ("생일 일주일 전에 알림 설정해 줘", {"title": "생일", "minutes_before": 10080}),
        ("발표 전날 저녁에 알려 줘", {"title": "발표", "minutes_before": 1440}),
        ("내일 6시에 깨워 줘", {"date": TOMORROW, "time": time(6)}),
        ("매일 아침 9시에 영양제 먹으라고 알려 주세요", {"repeat": "daily", "title": "영양제 먹기"}),
        ("알람 맞춰 줘", {"title": None, "time": None}),
        ("30분뒤에알려줘", {"title": None, "time": time(10, 50)}),
        ("빨래 널어야 하니까 한 시간 뒤에 알리도", {"title": "빨래 널기", "time": time(11, 20)}),
        ("9시부터 6시까지 두 시간마다 알려 줘", {"every_minutes": 120, "until": time(18), "time": time(9)}),
    ],
)
def test_reminders(text: str, slots: dict[str, Any]) -> None:
    found = remind_slots(text, NOW)
    assert {key: found.get(key) for key in slots} == slots


@given(st.text(max_size=40))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    for grammar in (add_slots, list_slots, change_slots, cancel_slots, remind_slots):
        grammar(text, NOW)
