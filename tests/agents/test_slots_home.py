from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.slots.home import (
    EVERYTHING,
    EVERYWHERE,
    devices_of,
    places_of,
    scene_slots,
    switch_slots,
    timer_slots,
    value_slots,
)

NOW = datetime(2026, 11, 24, 10, 20)


@pytest.mark.parametrize(
    ("text", "devices", "places"),
    [
        ("거실 불 켜 줘", ["조명"], ["거실"]),
        ("불좀", ["조명"], []),
        ("불다꺼", ["조명"], []),
        ("거실에어컨켜줘", ["에어컨"], ["거실"]),
        ("에어콘 켜조", ["에어컨"], []),
        ("보일라 좀 켜 주이소", ["보일러"], []),
        ("거실이랑 주방 불 다 켜 줘", ["조명"], ["거실", "주방"]),
        ("에어컨이랑 선풍기 꺼 줘", ["에어컨", "선풍기"], []),
        ("공청기 켜 줘", ["공기청정기"], []),
        ("욕실 환풍기 켜", ["환풍기"], ["욕실"]),
        ("부엌에 불 좀 꺼 줘", ["조명"], ["주방"]),
        ("드레스룸 조명 좀 켜 줄래요", ["조명"], ["옷방"]),
        ("현관 등 켜 주시겠어요?", ["조명"], ["현관"]),
        ("현관문 열어 줘", ["도어록"], []),
        ("가스 잠가", ["가스 밸브"], []),
        ("커튼 쳐 줘", ["커튼"], []),
        ("티비 틀어 줘", ["텔레비전"], []),
        ("집 전체 불 꺼 줘", ["조명"], [EVERYWHERE]),
        ("전부 다 꺼", [EVERYTHING], [EVERYWHERE]),
        ("거실 거 말고 안방 거 꺼 줘", [], ["안방"]),
        ("빨래 얼마나 남았어", ["세탁기"], []),
    ],
)
def test_devices_and_places(text: str, devices: list[str], places: list[str]) -> None:
    assert switch_slots(text, NOW) == {"devices": devices, "places": places}


@pytest.mark.parametrize(
    "text", ["불이익이 있나요", "등산 가자", "등록해 줘", "문제가 뭐야", "서류 등을 내야 해요"]
)
def test_what_is_no_device(text: str) -> None:
    assert devices_of(text) == []


def test_an_entrance_is_no_place_when_it_is_the_door() -> None:
    assert (places_of("현관 불"), places_of("현관문 잠가 줘")) == (["현관"], [])


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("에어컨 24도로 맞춰 줘", {"devices": ["에어컨"], "attribute": "온도", "value": 24}),
        ("안방 온도 스물두 도로 올려 줘", {"devices": [], "attribute": "온도", "value": 22}),
        ("난방 온도 두 도만 올려 줘", {"devices": ["보일러"], "attribute": "온도", "change": 2}),
        ("에어컨 온도 좀 낮춰 줘", {"devices": ["에어컨"], "attribute": "온도", "change": -1}),
        ("냉동실 영하 18도로 설정해 주세요", {"devices": ["냉장고"], "attribute": "온도", "value": -18}),
        ("조명 밝기 50퍼센트로", {"devices": ["조명"], "attribute": "밝기", "value": 50}),
        ("불 좀 어둡게", {"devices": ["조명"], "attribute": "밝기", "change": -1}),
        ("스탠드 밝기 최대로", {"devices": ["스탠드"], "attribute": "밝기", "value": 100}),
        ("밝기를 절반으로 줄여 줘", {"devices": ["조명"], "attribute": "밝기", "value": 50}),
        ("티비 소리 좀 줄여", {"devices": ["텔레비전"], "attribute": "음량", "change": -1}),
        ("소리 5만큼 내려", {"devices": ["텔레비전"], "attribute": "음량", "change": -5}),
        ("음소거해 줘", {"devices": ["텔레비전"], "attribute": "음량", "value": 0}),
        ("채널 11번으로 돌려 줘", {"devices": ["텔레비전"], "attribute": "채널", "value": 11}),
        ("선풍기 3단", {"devices": ["선풍기"], "attribute": "세기", "value": 3}),
        ("커튼 반만 열어 줘", {"devices": ["커튼"], "attribute": "열림", "value": 50}),
        ("제습기 습도 40퍼센트로 설정해 줘", {"devices": ["제습기"], "attribute": "습도", "value": 40}),
        ("조금 더 따뜻하게 해 주세요", {"devices": ["보일러"], "attribute": "온도", "change": 1}),
        ("좀만 더 시원하게 해 줘", {"devices": ["에어컨"], "attribute": "온도", "change": -1}),
        ("에어컨 제습 모드로 바꿔", {"devices": ["에어컨"], "attribute": "모드", "choice": "제습"}),
        ("불 색깔 하얗게", {"devices": ["조명"], "attribute": "색", "choice": "흰빛"}),
    ],
)
def test_values(text: str, slots: dict[str, Any]) -> None:
    found = value_slots(text, NOW)
    assert {key: found.get(key) for key in slots} == slots
    assert ("value" in found) + ("change" in found) + ("choice" in found) == 1


@pytest.mark.parametrize(
    ("text", "scene"),
    [
        ("외출모드로바꿔줘", "외출"), ("나 나갈게 외출 모드로 해 줘", "외출"), ("이제 잘래 취침 모드 켜", "취침"),
        ("굿나잇 모드", "취침"), ("영화 볼 거니까 분위기 만들어 줘", "영화"), ("굿모닝 모드 켜 줘", "기상"),
        ("집에 왔어", "귀가"),
        ("절전 모드로 바꿔 줘", "절전"), ("책 읽을 거니까 독서 모드", "독서"), ("환기 모드로 바꿔 줘", "환기"),
    ],
)  # fmt: skip
def test_scenes(text: str, scene: str) -> None:
    assert scene_slots(text, NOW) == {"scene": scene}


def test_an_unknown_scene_is_left_to_be_asked_for() -> None:
    assert scene_slots("파티 모드 켜 줘", NOW) == {}


@pytest.mark.parametrize(
    ("text", "at", "action"),
    [
        ("30분 뒤에 에어컨 꺼 줘", datetime(2026, 11, 24, 10, 50), "off"),
        ("밤 11시에 거실 불 꺼 줘", datetime(2026, 11, 24, 23), "off"),
        ("내일 아침 7시에 안방 불 켜 줘", datetime(2026, 11, 25, 7), "on"),
        ("새벽 두 시에 에어컨 꺼지게 예약해 줘", datetime(2026, 11, 25, 2), "off"),
        ("에어컨 1시간 예약 꺼짐으로 해 줘", datetime(2026, 11, 24, 11, 20), "off"),
        ("자정에 불 다 꺼 줘", datetime(2026, 11, 25), "off"),
        ("퇴근 시간 맞춰서 7시에 보일러 켜 놔", datetime(2026, 11, 24, 19), "on"),
        ("20분 뒤에 커튼 열어 줘", datetime(2026, 11, 24, 10, 40), "on"),
    ],
)
def test_timers(text: str, at: datetime, action: str) -> None:
    found = timer_slots(text, NOW)
    assert (found["at"], found["action"]) == (at, action)


def test_only_for_a_while_means_on_now_and_off_then() -> None:
    found = timer_slots("가습기 네 시간만 틀어 줘", NOW)
    assert (found["at"], found["action"], found["start_now"]) == (datetime(2026, 11, 24, 14, 20), "off", True)


def test_a_timer_of_every_day() -> None:
    assert timer_slots("매일 밤 11시 반에 다 꺼 줘", NOW)["repeat"] == "daily"


def test_a_timer_without_a_time_leaves_it_open() -> None:
    assert "at" not in timer_slots("에어컨 타이머 걸어 줘", NOW)


@given(st.text(max_size=40))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    for grammar in (switch_slots, value_slots, scene_slots, timer_slots):
        grammar(text, NOW)
