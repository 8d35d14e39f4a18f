from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from agents.slots import home as devices
from assistant.errors import CorruptDatabaseError, MissingArgumentError, ToolArgumentError, UnknownToolError
from assistant.events import ToolResult
from assistant.tools import Tools, home, schedule
from assistant.tools.home import RECORD_ONLY, Home
from assistant.tools.registry import Registry
from assistant.tools.schedule import Schedule


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 10, 20)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    made = Registry()
    book, house = Schedule(tmp_path / "s.db", clock), Home(tmp_path / "h.db", clock)
    schedule.register(made, book)
    home.register(made, house)
    yield made
    book.close()
    house.close()


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> Iterator[Schedule]:
    made = Schedule(tmp_path / "schedule.db", clock)
    yield made
    made.close()


def say(registry: Registry, tool: str, message: str) -> str:
    """What a tool answers to a message: its result, or its question."""
    try:
        return registry.call(tool, registry[tool].fill(message, datetime(2026, 11, 24, 10, 20))).text
    except MissingArgumentError as asked:
        return f"? {asked.name}: {asked.question}"


def measure(length: float, unit: str = "cm", picture: Path | None = None) -> str | ToolResult:
    """길이를 재요.

    둘째 문단은 설명에 들어가지 않아요.

    Args:
        length: 길이.
            이어지는 줄.
        unit: 단위.
        picture: 사진.
    """
    return ToolResult("other", f"{length:g}{unit}", (str(picture),)) if picture else f"{length:g}{unit}"


def test_the_schema_comes_from_the_signature_and_the_docstring() -> None:
    registry = Registry()
    registry.add(measure)
    (found,) = registry.schemas()
    assert (found["name"], found["description"]) == ("measure", "길이를 재요.")
    properties = found["parameters"]["properties"]
    assert properties["length"] == {"type": "number", "title": "Length", "description": "길이. 이어지는 줄."}
    assert properties["unit"]["default"] == "cm" and found["parameters"]["required"] == ["length"]
    assert registry["measure"].file == "picture"


def test_a_call_is_validated_and_named() -> None:
    registry = Registry()
    registry.add(measure, questions={"length": "길이가 얼마인가요?"})
    assert registry.call("measure", {"length": "3"}) == ToolResult("measure", "3cm")
    assert registry.call("measure", {"length": 3, "picture": Path("a.png")}).files == ("a.png",)
    with pytest.raises(MissingArgumentError, match="길이가 얼마인가요"):
        registry.call("measure", {})
    with pytest.raises(ToolArgumentError, match="length"):
        registry.call("measure", {"length": "길다"})
    with pytest.raises(ToolArgumentError, match="width"):
        registry.call("measure", {"length": 1, "width": 2})
    with pytest.raises(UnknownToolError, match="fly"):
        registry.call("fly", {})


def test_every_shipped_tool_describes_all_of_its_parameters(tmp_path: Path) -> None:
    with Tools(tmp_path / "home") as tools:
        for found in tools.registry.schemas():
            assert found["description"]
            for name, parameter in found["parameters"]["properties"].items():
                assert parameter.get("description"), (found["name"], name)
    assert not (tmp_path / "home").exists(), "nothing is written before a tool is used"


def test_an_event_is_written_looked_up_changed_and_cancelled(registry: Registry) -> None:
    assert "내일(11월 25일 수요일) 오후 3시 회의" in say(
        registry, "add_event", "내일 오후 3시에 회의 잡아 줘"
    )
    assert "오후 3시 회의" in say(registry, "list_events", "내일 뭐 있지")
    assert "오후 4시 회의" in say(registry, "change_event", "내일 회의 4시로 바꿔 줘")
    assert "오후 5시 회의" in say(registry, "change_event", "회의 한 시간 미뤄 줘")
    assert "없어요" in say(registry, "list_events", "모레 일정")
    assert "지웠어요" in say(registry, "cancel_event", "회의 취소해 줘")
    assert "없어요" in say(registry, "list_events", "내일 뭐 있지")


@pytest.mark.parametrize(
    ("tool", "message", "missing"),
    [
        ("add_event", "일정 추가해 줘", "title"),
        ("add_event", "치과 예약 추가해 줘", "date"),
        ("add_event", "내일 치과 예약 추가해 줘", "time"),
        ("add_event", "이번 주말에 등산 적어 줘", "date"),
        ("remind", "알람 맞춰 줘", "time"),
        ("remind", "회의 10분 전에 알려 줘", "title"),
        ("change_event", "일정 수정해 줘", "title"),
        ("cancel_event", "내일 병원 취소해 줘", "title"),
        ("run_scene", "파티 모드", "scene"),
        ("set_timer", "에어컨 예약해 줘", "at"),
        ("turn_on", "켜 줘", "devices"),
        ("set_value", "안방 온도 23도", "devices"),
    ],
)
def test_what_is_missing_is_asked_for(registry: Registry, tool: str, message: str, missing: str) -> None:
    assert say(registry, tool, message).startswith(f"? {missing}: ")


def test_a_birthday_needs_no_time_and_a_meeting_without_one_says_so(registry: Registry) -> None:
    assert "5월 8일" in say(registry, "add_event", "5월 8일 엄마 생신 적어 줘")
    assert "회의" in say(registry, "add_event", "내일 회의 추가해 줘 종일")


def test_one_of_several_is_never_guessed(registry: Registry) -> None:
    for day in ("내일", "모레"):
        say(registry, "add_event", f"{day} 3시 회의 추가해 줘")
    assert say(registry, "cancel_event", "회의 취소해 줘").startswith("? title: ")
    assert say(registry, "cancel_event", "일정 다 지워 줘").startswith("? confirmed: ")
    assert "2개" in say(registry, "list_events", "회의 언제지")
    assert "2개를 지웠어요" in say(registry, "cancel_event", "일정 다 지워 줘 네")


def test_what_was_written_last_can_be_meant(registry: Registry) -> None:
    say(registry, "add_event", "내일 3시 회의")
    say(registry, "add_event", "모레 4시 면접")
    assert "면접" in say(registry, "cancel_event", "방금 넣은 일정 취소해 줘")


@pytest.mark.parametrize(
    ("repeat", "days"),
    [
        ("daily", [24, 25, 26, 27, 28, 29, 30]),
        ("weekdays", [24, 25, 26, 27, 30]),
        ("weekly", [24]),
        ("biweekly", [24]),
        ("monthly", [24]),
        ("yearly", [24]),
        ("", [24]),
    ],
)
def test_repeating_events_fall_on_their_days(
    book: Schedule, repeat: schedule.Repeat, days: list[int]
) -> None:
    book.add_event("청소", date(2026, 11, 24), repeat=repeat)
    found = [day.day for day, _ in book._between(date(2026, 11, 24), date(2026, 11, 30))]
    assert found == days
    later = {"weekly": date(2026, 12, 1), "biweekly": date(2026, 12, 8), "yearly": date(2027, 11, 24)}
    if repeat in later:
        assert book._between(later[repeat], later[repeat])


def test_an_event_of_several_days_is_found_on_each(book: Schedule) -> None:
    book.add_event("휴가", date(2026, 12, 1), end_date=date(2026, 12, 3))
    assert "휴가" in book.list_events(date(2026, 12, 2), date(2026, 12, 2))
    assert "없어요" in book.list_events(date(2026, 12, 4), date(2026, 12, 4))


def test_a_reminder_comes_once_when_it_is_due(book: Schedule, clock: Clock) -> None:
    assert book.due() == []
    book.remind("빨래", date(2026, 11, 24), time(12, 20))
    assert book.due() == []
    clock.now = datetime(2026, 11, 24, 12, 21)
    assert book.due() == ["오후 12시 20분 빨래"]
    assert book.due() == []


def test_a_reminder_before_an_event(book: Schedule, clock: Clock) -> None:
    book.add_event("회의", date(2026, 11, 25), time(15))
    assert "10분 전" in book.remind("회의", minutes_before=10)
    clock.now = datetime(2026, 11, 25, 14, 49)
    assert book.due() == []
    clock.now += timedelta(minutes=1)
    assert book.due() == ["오후 3시 회의"]


def test_a_daily_reminder_comes_every_day(book: Schedule, clock: Clock) -> None:
    book.remind("약 먹기", date(2026, 11, 25), time(9), "daily")
    for day in (25, 26, 27):
        clock.now = datetime(2026, 11, day, 9, 30)
        assert book.due() == ["오전 9시 약 먹기"]


def test_a_reminder_that_would_never_come_is_not_promised(book: Schedule, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 24, 16)
    assert "이미 지나서" in book.remind("약", date(2026, 11, 24), time(15))
    book.add_event("통화", date(2026, 11, 24), time(16, 5))
    assert "이미 지나서" in book.remind("통화", minutes_before=10)
    assert "내일" in book.remind("약", time=time(15)), "a time alone is the next one ahead"
    clock.now = datetime(2026, 11, 24, 23)
    assert book.due() == []


def test_a_reminder_set_late_does_not_ring_at_once_for_what_is_over(book: Schedule, clock: Clock) -> None:
    book.add_event("청소", date(2026, 11, 1), time(9), repeat="daily")
    clock.now = datetime(2026, 11, 24, 15)
    book.remind("청소", minutes_before=10)
    assert book.due() == []
    clock.now = datetime(2026, 11, 25, 8, 51)
    assert book.due() == ["오전 9시 청소"]


def test_a_trip_rings_once_and_is_shown_whole(book: Schedule, clock: Clock) -> None:
    book.add_event("여행", date(2026, 12, 20), end_date=date(2026, 12, 25))
    book.remind("여행", minutes_before=0)
    clock.now = datetime(2026, 12, 20, 9, 1)
    assert book.due() == ["오전 9시 여행"]
    clock.now = datetime(2026, 12, 22, 9, 1)
    assert book.due() == []
    assert "12월 20일 일요일부터" in book.list_events(date(2026, 12, 23), date(2026, 12, 23))


def test_reminders_within_a_day_are_written_one_by_one(registry: Registry) -> None:
    said = say(registry, "remind", "3시까지 30분마다 물 마시라고 알려 줘")
    assert "오전 10시 50분부터 오후 2시 50분까지 30분마다 ‘물 마시기’ 9번" in said
    assert say(registry, "remind", "한 시간마다 알려 줘").startswith("? until: ")
    assert "적지 않았어요" in say(registry, "remind", "저녁 8시까지 1분마다 알려 줘")


def test_a_time_named_with_a_reminder_stands_in_for_an_event(registry: Registry) -> None:
    assert "오후 1시 30분에 ‘치과’" in say(registry, "remind", "내일 오후 2시 치과 30분 전에 알려 줘")
    assert "오후 2시 50분에" in say(registry, "remind", "오후 3시 10분 전에 알려 줘")


@pytest.mark.parametrize("tool", ["add_event", "remind", "list_events", "cancel_event"])
def test_a_day_that_no_calendar_has_is_asked_for_again(registry: Registry, tool: str) -> None:
    assert "‘2월 30일’로는 정할 수 없어요" in say(registry, tool, "2월 30일 9시 회의")


def test_what_is_past_is_said_to_be(registry: Registry) -> None:
    assert "이미 지난 때" in say(registry, "add_event", "오늘 아침 9시 회의")
    assert "이미 지난 때" not in say(registry, "add_event", "오늘 오후 3시 회의")


def test_half_of_the_day_follows_the_event(registry: Registry) -> None:
    say(registry, "add_event", "매주 월요일 9시에 주간 회의 넣어 줘")
    assert "오전 10시" in say(registry, "change_event", "주간 회의 10시로 바꿔 줘")
    assert "오후 4시" in say(registry, "change_event", "주간 회의 4시로 바꿔 줘")
    say(registry, "add_event", "금요일 저녁 7시 동창회")
    assert "오후 8시" in say(registry, "change_event", "7시 동창회 8시로 바꿔 줘")


def test_another_event_is_never_deleted_in_its_place(registry: Registry) -> None:
    say(registry, "add_event", "내일 3시 치과 예약")
    assert say(registry, "cancel_event", "미용실 예약 취소해 줘").startswith(
        "? title: 그런 일정을 찾지 못했어요"
    )
    assert say(registry, "cancel_event", "치과 예약 점검 취소해 줘").startswith("? confirmed: ")
    say(registry, "add_event", "매주 월요일 9시 조례")
    assert say(registry, "cancel_event", "다음 주 월요일 조례 취소해 줘").startswith("? confirmed: ")
    assert "지웠어요" in say(registry, "cancel_event", "조례 취소해 줘")


def test_the_schedule_outlives_the_process(tmp_path: Path, clock: Clock) -> None:
    first = Schedule(tmp_path / "s.db", clock)
    first.add_event("이사", date(2026, 12, 1))
    first.close()
    second = Schedule(tmp_path / "s.db", clock)
    assert "이사" in second.list_events()
    second.close()


def test_a_damaged_schedule_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"no database" * 500)
    with pytest.raises(CorruptDatabaseError, match=r"s\.db"):
        Schedule(tmp_path / "s.db").list_events()


def test_a_device_is_written_down_and_every_answer_says_that_nothing_moved(registry: Registry) -> None:
    for tool, message in (
        ("turn_on", "거실 불 켜 줘"),
        ("turn_off", "거실 불 꺼 줘"),
        ("set_value", "거실 조명 30퍼센트로"),
        ("set_timer", "30분 뒤에 거실 불 꺼 줘"),
        ("run_scene", "외출 모드"),
    ):
        assert RECORD_ONLY in say(registry, tool, message), message
    assert "실제 기기와 다를 수" in say(registry, "query_state", "거실 불 켜져 있어?")


def test_states_values_and_places(registry: Registry) -> None:
    say(registry, "turn_on", "거실 불 켜 줘")
    assert "60%" in say(registry, "set_value", "더 밝게 해 줘")
    say(registry, "turn_on", "안방 불 켜 줘")
    assert say(registry, "turn_off", "불 꺼 줘").startswith("? places: 어느 곳의 조명을 끌까요? 거실, 안방")
    say(registry, "turn_off", "불 다 꺼")
    state = say(registry, "query_state", "불 꺼져 있어?")
    assert "거실 조명: 꺼짐" in state and "안방 조명: 꺼짐" in state
    assert "적어 둔 것이 없어요" in say(registry, "query_state", "에어컨 켜져 있어?")


def test_a_value_stays_in_its_range(registry: Registry) -> None:
    assert "100%" in say(registry, "set_value", "거실 조명 밝기 300퍼센트로")
    assert "잠근" in say(registry, "turn_off", "가스 잠가")
    assert "연 것" in say(registry, "turn_on", "커튼 열어 줘")


def test_a_timer_runs_when_its_time_has_come(registry: Registry, clock: Clock) -> None:
    assert "지금 켠 다음" in say(registry, "set_timer", "에어컨 두 시간만 틀어 줘")
    assert "켜짐" in say(registry, "query_state", "에어컨 켜져 있어?")
    assert "예약" in say(registry, "query_state", "에어컨 예약 남았어?")
    clock.now += timedelta(hours=2)
    state = say(registry, "query_state", "에어컨 켜져 있어?")
    assert "꺼짐" in state and "예약" not in state


def test_a_daily_timer_runs_again(registry: Registry, clock: Clock) -> None:
    say(registry, "set_timer", "매일 밤 11시에 거실 불 꺼 줘")
    for day in (24, 25):
        clock.now = datetime(2026, 11, day, 22)
        say(registry, "turn_on", "거실 불 켜 줘")
        clock.now = datetime(2026, 11, day, 23, 1)
        assert "거실 조명: 꺼짐" in say(registry, "query_state", "거실 불 켜져 있어?")


def test_a_scene_changes_what_is_known_and_leaves_what_must_run(registry: Registry) -> None:
    assert "아직 적혀 있지 않아요" in say(registry, "run_scene", "외출 모드")
    for message in ("거실 불 켜 줘", "냉장고 켜 줘", "에어컨 켜 줘"):
        say(registry, "turn_on", message)
    say(registry, "run_scene", "외출 모드")
    state = say(registry, "query_state", "집 상태 알려 줘")
    assert "거실 조명: 꺼짐" in state and "에어컨: 꺼짐" in state and "냉장고: 켜짐" in state


def test_each_step_of_a_message_is_done_to_its_own_devices(registry: Registry) -> None:
    assert "에어컨을 켠 것으로, 선풍기를 끈 것으로" in say(registry, "turn_on", "에어컨 켜고 선풍기 꺼 줘")
    assert "안방 조명을 끈" in say(registry, "turn_on", "거실 불 켜고 안방 불은 꺼 줘")
    assert "거실 조명을 끈 것으로, 보일러를 켠" in say(registry, "turn_off", "거실 불 끄고 보일러 켜 줘")
    asked = say(registry, "turn_on", "불 켜고 선풍기 꺼 줘")
    assert asked.startswith("? places: 어느 곳의 조명을 켤까요?")
    assert "거실 조명을 켠 것으로, 선풍기를 끈" in say(registry, "turn_on", "불 켜고 선풍기 꺼 줘 거실 조명")
    assert "거실 조명을 켠" in say(registry, "turn_on", "거실 불만 켜고 나머지는 다 꺼 줘")
    assert "거실 조명: 켜짐" in say(registry, "query_state", "거실 불 켜져 있어?")


def test_what_is_left_out_stays_as_it_is(registry: Registry) -> None:
    for message in ("거실 불 켜 줘", "안방 불 켜 줘", "에어컨 켜 줘", "커튼 열어 줘"):
        say(registry, "turn_on", message)
    for message in ("에어컨 끄지 마", "에어컨 안 꺼도 돼"):
        assert say(registry, "turn_off", message).startswith("그대로 두었어요")
    assert say(registry, "turn_off", "거실만 빼고 불 다 꺼 줘").startswith("안방 조명을 끈")
    assert say(registry, "turn_off", "에어컨 말고 다 꺼 줘").startswith("거실 조명, 안방 조명을 끈")
    assert "· 에어컨: 켜짐" in say(registry, "query_state", "지금 뭐 켜져 있어?")


@pytest.mark.parametrize("message", ["비행기 켜 줘", "차고켜줘"])
def test_what_is_no_device_is_not_taken_for_the_last_one(registry: Registry, message: str) -> None:
    say(registry, "turn_on", "선풍기 켜 줘")
    assert "모르는 기기" in say(registry, "turn_off", message)
    assert "선풍기를 끈" in say(registry, "turn_off", "그거 좀 꺼 줄래")


def test_a_setting_keeps_to_what_the_device_allows(registry: Registry) -> None:
    assert "에어컨 온도 30도로 맞춰 적었어요. 에어컨 온도는 16도부터 30도까지" in say(
        registry, "set_value", "에어컨 100도로 맞춰 줘"
    )
    assert "온도 18도" in say(registry, "set_value", "에어컨 18도 아래로 내려 줘")
    assert say(registry, "set_value", "습도 50퍼센트로 맞춰 줘").startswith("? devices: 가습기와 제습기")


def test_a_timer_has_a_beginning_and_an_end(registry: Registry) -> None:
    for message in ("에어컨 3시에 켜고 5시에 꺼 줘", "3시부터 5시까지 에어컨 켜 줘"):
        assert "오후 3시에 켠 다음 오후 5시에 끈" in say(registry, "set_timer", message), message
    assert "지금 켠 다음 오후 3시에 끈" in say(registry, "set_timer", "3시까지 에어컨 틀어 줘")
    assert "이미 지났어요" in say(registry, "set_timer", "오늘 오전 9시에 에어컨 켜 줘")


def test_timers_are_dropped_one_device_at_a_time(registry: Registry, clock: Clock) -> None:
    say(registry, "set_timer", "매일 밤 11시에 거실 불 꺼 줘")
    say(registry, "set_timer", "30분 뒤에 에어컨 꺼 줘")
    assert say(registry, "set_timer", "예약 취소해 줘").startswith("? devices: ")
    assert "예약 1개를 지웠어요" in say(registry, "set_timer", "거실 불 예약 취소해 줘")
    clock.now = datetime(2026, 11, 25, 9)
    assert "적어 둔 예약이 없어요" in say(registry, "query_state", "예약 뭐 있어?")


def test_a_weekly_timer_runs_once_a_week(registry: Registry, clock: Clock) -> None:
    say(registry, "set_timer", "매주 월요일 8시에 로봇청소기 돌려 줘")
    for day, state in ((30, "켜짐"), (31, "꺼짐")):
        clock.now = datetime(2026, 11, 30, 9) + timedelta(days=day - 30)
        assert f"로봇청소기: {state}" in say(registry, "query_state", "로봇청소기 상태")
        say(registry, "turn_off", "로봇청소기 꺼 줘")


def test_a_scene_is_not_run_again_when_it_is_to_end(registry: Registry) -> None:
    say(registry, "turn_on", "거실 불 켜 줘")
    assert "되돌릴 수 없어요" in say(registry, "run_scene", "외출 모드 꺼 줘")
    assert "거실 조명: 켜짐" in say(registry, "query_state", "거실 불 켜져 있어?")


def test_every_device_is_recognised_by_its_own_name() -> None:
    for name in devices.DEVICES:
        named = devices.devices_of(f"{name} 열어 줘" if name == "창문" else name)
        assert named == [name], name
