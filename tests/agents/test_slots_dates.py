"""The moment is a Tuesday morning: 24 November 2026, 10:20."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.slots.dates_times import find, find_all

NOW = datetime(2026, 11, 24, 10, 20)

# Expression | day, or first..last | time | repeat
TABLE = """
오늘 | 2026-11-24
금일 중으로 | 2026-11-24
내일 | 2026-11-25
내일까지 | 2026-11-25
모레 | 2026-11-26
내일모레 | 2026-11-26
낼모레 | 2026-11-26
글피 | 2026-11-27
그글피 | 2026-11-28
어제 | 2026-11-23
그저께 | 2026-11-22
엊그제 | 2026-11-22
하루 뒤 | 2026-11-25
이틀 후 | 2026-11-26
사흘 뒤 | 2026-11-27
닷새 후에 | 2026-11-29
열흘 뒤 | 2026-12-04
보름 뒤 | 2026-12-09
3일 뒤 | 2026-11-27
십 일 뒤 | 2026-12-04
20일 뒤 | 2026-12-14
일주일 뒤 | 2026-12-01
2주 뒤 | 2026-12-08
두 주 후 | 2026-12-08
한 달 뒤 | 2026-12-24
석 달 후 | 2027-02-24
3개월 뒤 | 2027-02-24
1년 뒤 | 2027-11-24
사흘 전 | 2026-11-21
일주일 전 | 2026-11-17
12/25 | 2026-12-25
1/3 | 2027-01-03
2026-12-01 | 2026-12-01
2027.3.2 | 2027-03-02
2026/12/31 | 2026-12-31
2026년 1월 3일 | 2026-01-03
26년 5월 5일 | 2026-05-05
이천이십칠년 삼월 이일 | 2027-03-02
12월 25일 | 2026-12-25
11월 24일 | 2026-11-24
11월 20일 | 2027-11-20
십이월 이십오일 | 2026-12-25
시월 삼일 | 2027-10-03
유월 육일 | 2027-06-06
내년 3월 2일 | 2027-03-02
올해 5월 5일 | 2026-05-05
작년 12월 1일 | 2025-12-01
15일에 | 2026-12-15
30일 | 2026-11-30
이십오일에 만나 | 2026-11-25
다음 달 3일 | 2026-12-03
다음달 3일 | 2026-12-03
이번 달 30일 | 2026-11-30
이번 달 말일 | 2026-11-30
지난달 5일 | 2026-10-05
다음 달 둘째 주 월요일 | 2026-12-14
다음 달 첫째 주 금요일 | 2026-12-04
이번 달 마지막 토요일 | 2026-11-28
3월 셋째 주 수요일 | 2027-03-17
3월 말 | 2027-03-21..2027-03-31
3월 초 | 2027-03-01..2027-03-10
12월 중순 | 2026-12-11..2026-12-20
12월 | 2026-12-01..2026-12-31
다음 달 | 2026-12-01..2026-12-31
다음 달 초 | 2026-12-01..2026-12-10
이번 달 | 2026-11-01..2026-11-30
지난달 | 2026-10-01..2026-10-31
월말 | 2026-11-21..2026-11-30
연말 | 2026-12-21..2026-12-31
내년 | 2027-01-01..2027-12-31
화요일 | 2026-11-24
월요일 | 2026-11-30
금욜 | 2026-11-27
토욜에 | 2026-11-28
이번 주 화요일 | 2026-11-24
이번 주 월요일 | 2026-11-23
다음 주 화요일 | 2026-12-01
담주 월욜 | 2026-11-30
다다음 주 수요일 | 2026-12-09
지난주 금요일 | 2026-11-20
다음 금요일 | 2026-12-04
이번 토요일 | 2026-11-28
지난 토요일 | 2026-11-21
오는 일요일 | 2026-11-29
이번 주 | 2026-11-23..2026-11-29
다음 주 | 2026-11-30..2026-12-06
지난주 | 2026-11-16..2026-11-22
이번 주말 | 2026-11-28..2026-11-29
주말 | 2026-11-28..2026-11-29
다음 주말 | 2026-12-05..2026-12-06
다음 주 초 | 2026-11-30..2026-12-01
8월 1일부터 3일까지 | 2027-08-01..2027-08-03
12월 30일부터 1월 2일까지 | 2026-12-30..2027-01-02
3월 말에 이사 28일 | 2027-03-28
이번 주말에 등산 토요일 | 2026-11-28
크리스마스 | 2026-12-25
크리스마스이브에 | 2026-12-24
어린이날 | 2027-05-05
한글날 | 2027-10-09
정오 | | 12:00
자정 | | 00:00
낮 12시 | | 12:00
밤 12시 | | 00:00
3시 | | 15:00
세 시 반 | | 15:30
6시 20분 | | 18:20
7시 | | 19:00
열한 시 | | 11:00
12시 | | 12:00
15시 30분 | | 15:30
스물세 시 | | 23:00
십오 시 | | 15:00
0시 | | 00:00
오전 9시 | | 09:00
오전 12시 | | 00:00
오후 12시 30분 | | 12:30
오후 세 시 반 | | 15:30
아침 8시 | | 08:00
저녁 여섯시 반 | | 18:30
밤 11시 | | 23:00
밤 한 시 | | 01:00
새벽 두 시 | | 02:00
낮 두 시 | | 14:00
점심 12시 반 | | 12:30
3시 15분 전 | | 14:45
오후 3:30 | | 15:30
15:05 | | 15:05
PM 3:30 | | 15:30
3pm | | 15:00
저녁에 약속 7시 | | 19:00
내일 오후 세 시 반 | 2026-11-25 | 15:30
모레 아침 8시 | 2026-11-26 | 08:00
내일 7시 | 2026-11-25 | 07:00
오늘 5시 반 | 2026-11-24 | 17:30
낼 3시 | 2026-11-25 | 15:00
내일오후세시치과 | 2026-11-25 | 15:00
내일 자정 | 2026-11-26 | 00:00
금요일 저녁 7시 | 2026-11-27 | 19:00
금요일 밤 12시 | 2026-11-28 | 00:00
15일 오전 10시 | 2026-12-15 | 10:00
12월 6일 저녁 6시 | 2026-12-06 | 18:00
담주 월욜 열시 | 2026-11-30 | 10:00
두 시간 뒤 | 2026-11-24 | 12:20
한 시간 반 뒤에 | 2026-11-24 | 11:50
1시간 20분 후 | 2026-11-24 | 11:40
반 시간 뒤 | 2026-11-24 | 10:50
30분 뒤 | 2026-11-24 | 10:50
삼십분뒤 | 2026-11-24 | 10:50
5분만 있다가 | 2026-11-24 | 10:25
10초 뒤 | 2026-11-24 | 10:20:10
열네 시간 뒤 | 2026-11-25 | 00:20
매일 | | | daily
매일 밤 10시 | | 22:00 | daily
아침마다 7시 | | 07:00 | daily
평일 아침 6시 반 | | 06:30 | weekdays
매주 월요일 | 2026-11-30 | | weekly
매주 월요일 9시 | 2026-11-30 | 09:00 | weekly
화요일마다 | 2026-11-24 | | weekly
격주 금요일 | 2026-11-27 | | biweekly
매달 25일 | 2026-11-25 | | monthly
매월 말일 | 2026-11-30 | | month_end
매년 5월 8일 | 2027-05-08 | | yearly
매주 월수금 7시 | 2026-11-25 | 07:00 | weekly:0,2,4
매주 화요일이랑 목요일 | 2026-11-24 | | weekly:1,3
월·금요일마다 | 2026-11-27 | | weekly:0,4
주말마다 | 2026-11-28 | | weekly:5,6
이틀마다 | | | daily:2
내일 모레 3시 | 2026-11-26 | 15:00
말일에 | 2026-11-30
요번 주 금욜 | 2026-11-27
내일 이 시간에 | 2026-11-25 | 10:20
12월 초등학교 행사 | 2026-12-01..2026-12-31
3월 말레이시아 여행 | 2027-03-01..2027-03-31
매주 월요일 일기 쓰기 | 2026-11-30 | | weekly
2월 29일 | 2028-02-29
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 150


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_expression_names_its_moment(row: list[str]) -> None:
    text, day, clock, repeat = [*row, "", "", ""][:4]
    first, _, last = day.partition("..")
    found = find(text, NOW)
    assert found.first == (date.fromisoformat(first) if first else None)
    assert found.last == (date.fromisoformat(last or first) if first else None)
    assert found.time == (time.fromisoformat(clock) if clock else None)
    assert found.repeat == repeat


@pytest.mark.parametrize(
    "text",
    [
        "", "거실 불 켜 줘", "다시 한번", "세 시간 동안", "두 시작점", "역시 좋아", "이 일은 어렵다", "생일 축하해",
        "일요", "전화해", "낮잠", "밤새", "2인분", "시월드",
    ],
)  # fmt: skip
def test_what_names_no_moment(text: str) -> None:
    found = find(text, NOW)
    assert (found.first, found.time, found.repeat) == (None, None, "")


@pytest.mark.parametrize("text", ["2월 30일", "11월 31일", "2026년 2월 29일"])
def test_a_day_that_no_calendar_has_is_kept_as_it_was_said(text: str) -> None:
    found = find(f"{text} 3시 회의", NOW)
    assert (found.first, found.unreal) == (None, text)
    assert find(f"{text} 말고 내일", NOW).unreal == ""


def test_two_moments_are_kept_apart() -> None:
    text = "내일 3시 회의를 모레 5시로 옮겨 줘"
    moments = find_all(text, NOW)
    assert [(w.first, w.time, text[w.start : w.end]) for w in moments] == [
        (date(2026, 11, 25), time(15), "내일 3시"),
        (date(2026, 11, 26), time(17), "모레 5시"),
    ]


def test_who_wants_to_be_woken_means_the_morning() -> None:
    assert find("6시에 깨워 줘", NOW).time == time(18)
    assert find("6시에 깨워 줘", NOW, early=True).time == time(6)


def test_a_time_alone_is_the_next_one() -> None:
    assert find("오전 9시", NOW).moment(NOW) == datetime(2026, 11, 25, 9)
    assert find("오후 9시", NOW).moment(NOW) == datetime(2026, 11, 24, 21)
    assert find("내일", NOW).moment(NOW) is None


def test_a_part_of_the_day_without_an_hour_is_kept() -> None:
    assert (find("내일 저녁에 보자", NOW).part, find("내일 저녁 7시", NOW).part) == ("저녁", "")


@given(
    st.text(
        st.sampled_from("0123456789월일시분반년주달 오전후내모레다음이번마지막매첫둘째뒤/:-.부터까"),
        max_size=24,
    )
)
def test_any_text_is_read_without_a_fault(text: str) -> None:
    for moment in [find(text, NOW), *find_all(text, NOW)]:
        assert 0 <= moment.start <= moment.end <= len(text)
        assert moment.first is None or moment.last is not None


@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31)))
def test_days_without_a_year_lie_ahead(now: datetime) -> None:
    for text in ("2월 29일", "31일", "12월 31일", "금요일", "15일"):
        found = find(text, now)
        assert found.first is not None and found.first >= now.date()
        assert text != "금요일" or found.first - now.date() < timedelta(days=7)
