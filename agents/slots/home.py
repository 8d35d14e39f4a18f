"""Slots of the smart home: devices, places, what to do, values, scenes and timers.

Ambiguity:

* ``불`` and ``등`` are lights only where they stand as words; ``에어컨 등을`` names no light.
* Without a device, brightness means the light, volume and channel the television, hot water and warmth the boiler,
  coolness the air conditioner; a bare temperature leaves the device open.
* ``다``, ``전부`` with a device means that device everywhere; alone it means every device.
* ``두 시간만 틀어 줘`` turns on now and off after two hours; ``한 시간 예약 꺼짐`` only off.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from agents.slots.dates_times import find
from agents.slots.numbers import parse_number, quantities

EVERYTHING = "모든 기기"
EVERYWHERE = "집 전체"

_WORD = "(?<![가-힣])"
# 등 is a light only before what is done to a light; "서류 등을 내야 해요" is a list.
_SWITCHED = "(?:[을은이도]|들[을도]?)?\\s?(?:좀|다|모두|전부)?\\s?(?:[끄꺼켜]|어둡|밝)"
_DEVICES: tuple[tuple[str, str], ...] = (
    ("공기청정기", "공기\\s?청정기|공청기|청정기"),
    ("로봇청소기", "로봇\\s?청소기|로청|청소기"),
    ("식기세척기", "식기\\s?세척기|식세기"),
    ("커피 머신", "커피\\s?(?:머신|메이커)"),
    ("전기장판", "전기\\s?(?:장판|매트|요)|온수\\s?매트"),
    ("서큘레이터", "[서써]큘레이[터타]"),
    ("에어컨", "에어\\s?[컨콘]|냉난방기|냉방"),
    ("히터", "히터|온풍기|난로"),
    ("보일러", "보일[러라]|난방|온수"),
    ("텔레비전", "텔레비[전젼]|테레비|티\\s?[비브](?:이)?|tv"),
    ("선풍기", "선풍기"),
    ("가습기", "가습기"),
    ("제습기", "제습기"),
    ("환풍기", "환풍기|환기팬|후드"),
    ("세탁기", "세탁기|빨래(?=\\s?(?:얼마|끝|다\\s?됐))"),
    ("건조기", "건조기"),
    ("냉장고", "냉장고|냉동[실고]"),
    ("인덕션", "인덕션|전기\\s?레인지"),
    ("밥솥", "밥솥"),
    ("콘센트", "콘센트|멀티\\s?탭|스마트\\s?플러그|플러그"),
    ("커튼", "커[튼텐]"),
    ("블라인드", "블라인드|롤스크린"),
    ("도어록", "현관\\s?문|도어\\s?[락록]|(?<![가-힣])문(?=\\s?(?:을|좀)?\\s?(?:잠|열|닫))"),
    ("가스 밸브", "가스\\s?(?:밸브|불)?(?=[가-힣]{0,2}\\s?(?:열|잠|닫|꺼|상태|$))|가스\\s?밸브"),
    ("스피커", "스피커|오디오"),
    ("무드등", "무드\\s?등|취침\\s?등|수면\\s?등"),
    ("스탠드", "스탠드"),
    ("조명", "조명|전등|전구|형광등|센서\\s?등|라이트|소등|점등|(?<=[실방엌관스단])\\s?불"
     f"|{_WORD}(?:현관\\s?)?(?:불|등(?={_SWITCHED}))(?=$|[\\s,.!?]|[을은이도](?![가-힣])|[좀끄꺼켜다]|들)"),
)  # fmt: skip
_PLACES: tuple[tuple[str, str], ...] = (
    ("거실", "거실|마루"),
    ("안방", "안방|큰\\s?방|부부\\s?방"),
    ("침실", "침실"),
    ("작은방", "작은\\s?방"),
    ("아이방", "아이\\s?방|애기?\\s?방|아기\\s?방|아들\\s?방|딸\\s?방"),
    ("아빠 방", "아빠\\s?방"),
    ("서재", "서재|공부\\s?방"),
    ("주방", "주방|부엌"),
    ("욕실", "욕실|화장실"),
    ("옷방", "옷\\s?방|드레스\\s?룸"),
    ("다용도실", "다용도실|세탁실"),
    ("베란다", "베란다|발코니"),
    ("현관", "현관(?!\\s?문)"),
    ("계단", "계단"),
    ("복도", "복도"),
)
_ALL_PLACES = re.compile("집\\s?전체|온\\s?집|집\\s?안\\s?전부|모든\\s?방|집에\\s?있는|방마다")
_ALL = re.compile(f"{_WORD}(?:전부|모두|몽땅|싹|다|나머지|모든)(?=[\\s,.!?]|[꺼끄켜틀닫]|$)")
_SCENES: tuple[tuple[str, str], ...] = (
    ("외출", "외출|나갈게|나간다|나가기|출근|집\\s?비[움울]|휴가\\s?모드|여행\\s?가|갔다\\s?올게"),
    ("귀가", "귀가|퇴근|집에\\s?왔|다녀왔|손님"),
    (
        "취침",
        "취침|수면|낮잠|잠자리|굿\\s?나[잇이]트?|나이트|밤\\s?모드|자기\\s?전|자러|잘래|자야|재울|잘\\s?거"
        "|잘\\s?준비",
    ),
    ("기상", "기상|아침\\s?모드|아침\\s?루틴|모닝|일어났"),
    ("영화", "영화|시네마|극장|장면\\s?바꿔"),
    ("절전", "절전|에너지\\s?절약"),
    ("독서", "독서|책\\s?읽|공부|집중"),
    ("휴식", "휴식|명상|저녁"),
    ("환기", "환기|청소\\s?모드"),
)
_OFF = re.compile(
    "꺼|끄|끔|껐|꺼짐|오프|off|닫|잠[가그궈]|정지|멈[춰추]|중[지단]|그만|소등|내려|쳐",
    re.IGNORECASE,
)
_ON = re.compile("켜|켜짐|틀|열|돌려|가동|시작|걷|젖|올려|온$|on", re.IGNORECASE)
_UP = re.compile("올려|올리|높[여이]|키[워우]|세게|강하게|강풍|밝게|더\\s?따뜻|따뜻하게|추워|추운|시끄럽게")
_DOWN = re.compile(
    "내려|내리|낮[춰추]|줄[여이]|약하게|약풍|미풍|어둡게|시원하게|더\\s?시원|더워|더운|너무\\s?(?:밝|커|크"
    "|세)|작게"
)
_MOST = re.compile("최대|최고|제일\\s?(?:밝|크|세|높)|가장\\s?(?:밝|크|세|높)|맥스")
_LEAST = re.compile("최소|최저|제일\\s?(?:어둡|작|약|낮)|가장\\s?(?:어둡|작|약|낮)|음소거|은은")
_ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("습도", "습도"),
    ("채널", "채널"),
    ("음량", "볼륨|소리|음량|음소거|시끄"),
    ("세기", "풍량|풍속|바람|세기|강풍|약풍|미풍|세게|약하게"),
    ("밝기", "밝|어둡|은은"),
    ("온도", "온도|도로|따뜻|시원|추워|추운|더워|더운"),
)
_BY_UNIT = {"도": "온도", "단계": "세기"}
_BY_DEVICE = {
    "조명": "밝기", "스탠드": "밝기", "무드등": "밝기", "커튼": "열림", "블라인드": "열림", "텔레비전": "음량",
    "스피커": "음량", "에어컨": "온도", "보일러": "온도", "전기장판": "온도", "냉장고": "온도", "선풍기": "세기",
    "공기청정기": "세기", "가습기": "세기", "인덕션": "세기", "제습기": "습도",
}  # fmt: skip
_IMPLIED = {"밝기": "조명", "음량": "텔레비전", "채널": "텔레비전", "열림": "커튼"}
_MODES = re.compile(
    "(?P<mode>제습|송풍|온돌|회전|냉방|난방|자동)(?=\\s?모드|\\s?으?로)|(?P<colour>노란|노랗|하얀|하얗"
    "|따뜻한|흰|푸른|빨간)(?=\\s?(?:빛|색)|게)"
    "|색\\s?(?P<tone>따뜻|하얗|차갑)"
)
_COLOURS = {
    "노란": "노란빛", "노랗": "노란빛", "하얀": "흰빛", "하얗": "흰빛", "흰": "흰빛", "따뜻한": "따뜻한 빛",
    "따뜻": "따뜻한 빛", "차갑": "흰빛", "푸른": "푸른빛", "빨간": "빨간빛",
}  # fmt: skip
_HALF = re.compile("절반|반(?:만|으로)")
_BARE_NUMBER = re.compile(
    "(?<![\\d가-힣])(\\d{1,3})(?=\\s?(?:으?로|번|까지|$|만큼))|(이십|삼십|사십|오십|육십|칠십|팔십"
    "|구십)(?=으?로)"
)
_DURATION = re.compile(
    "(?P<half>반)\\s?시간|(?P<hours>\\d+|한|두|세|네|다섯|여섯|일곱|여덟|아홉|열)\\s?시간(?:\\s?(?P<more>반))?"
    "|(?P<minutes>\\d+|십|이십|삼십|사십|오십)\\s?분"
)
_MORNING = re.compile("일어나|기상|깨")
_ONLY = re.compile("만\\s?(?:틀|켜|돌)|만큼만|\\d\\s?시간만|분만")


def devices_of(text: str) -> list[str]:
    """Names of the devices that a text names, in its order; `EVERYTHING` for all of them."""
    found: list[tuple[int, str]] = []
    taken: list[tuple[int, int]] = []
    for name, pattern in _DEVICES:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if all(match.end() <= start or match.start() >= end for start, end in taken):
                taken.append(match.span())
                found.append((match.start(), name))
    names = list(dict.fromkeys(name for _, name in sorted(found)))
    return names or ([EVERYTHING] if _ALL.search(text) else [])


def places_of(text: str) -> list[str]:
    """Names of the rooms that a text names, in its order; `EVERYWHERE` for the whole home."""
    text = re.sub("(\\S+)\\s?거\\s?말고", "", text)
    found = [(match.start(), name) for name, pattern in _PLACES for match in re.finditer(pattern, text)]
    places = list(dict.fromkeys(name for _, name in sorted(found)))
    if places:
        return places
    return [EVERYWHERE] if _ALL_PLACES.search(text) or _ALL.search(text) else []


def switch_slots(text: str, now: datetime) -> dict[str, Any]:
    """``devices`` and ``places`` of a message that turns something on or off, or asks about it."""
    return {"devices": devices_of(text), "places": places_of(text)}


def value_slots(text: str, now: datetime) -> dict[str, Any]:
    """What to set: ``devices``, ``places``, ``attribute`` and one of ``value``, ``change``, ``choice``.

    ``value`` is a number in the attribute's unit (°C, %, or steps), ``change`` the same to add, ``choice`` a mode or
    a colour. ``change`` is ±1 for a direction without an amount.
    """
    slots = switch_slots(text, now)
    if choice := _choice(text):
        return slots | choice
    devices = slots["devices"]
    amount, unit = _amount(text)
    attribute = _attribute(text, unit, devices)
    if not devices:
        slots["devices"] = _implied(attribute, text)
    return slots | {"attribute": attribute} | _change(text, amount, bool(devices))


def _choice(text: str) -> dict[str, Any]:
    found = _MODES.search(text)
    if not found:
        return {}
    if found["mode"]:
        return {"attribute": "모드", "choice": found["mode"]}
    return {"attribute": "색", "choice": _COLOURS[found["colour"] or found["tone"]]}


def _amount(text: str) -> tuple[float | None, str]:
    for quantity in quantities(text):
        if quantity.unit in ("도", "%", "단계", "번"):
            return quantity.value, quantity.unit
    if _HALF.search(text):
        return 50.0, "%"
    bare = _BARE_NUMBER.search(text)
    if bare is None:
        return None, ""
    tens = "이삼사오육칠팔구"
    return (float(bare[1]) if bare[1] else 10.0 * (tens.index(bare[2][0]) + 2)), ""


def _attribute(text: str, unit: str, devices: list[str]) -> str:
    said = next((name for name, pattern in _ATTRIBUTES if re.search(pattern, text)), "")
    if said and not (said == "온도" and unit == "%"):
        return said
    by_device = next((_BY_DEVICE[device] for device in devices if device in _BY_DEVICE), "")
    return _BY_UNIT.get(unit) or by_device or ("밝기" if unit == "%" else "")


def _implied(attribute: str, text: str) -> list[str]:
    if attribute == "온도":
        if re.search("물\\s?온도|따뜻|추워|추운", text):
            return ["보일러"]
        return ["에어컨"] if re.search("시원|더워|더운", text) else []
    return [_IMPLIED[attribute]] if attribute in _IMPLIED else []


def _change(text: str, amount: float | None, named: bool) -> dict[str, Any]:
    """An amount after 로 is where to end; beside 올려, 내려 alone it is how far to go."""
    if _MOST.search(text):
        return {"value": 100.0}
    if _LEAST.search(text):
        return {"value": 0.0}
    direction = 1.0 if _UP.search(text) else -1.0 if _DOWN.search(text) else 0.0
    if amount is None:
        return {"change": direction} if direction else {}
    absolute = (
        re.search("(?:도|퍼센트|프로|%|단계?|칸|번|\\d|십|반)\\s?(?:으로|로(?!봇)|까지|유지)", text)
        or not direction
    )
    return {"value": amount} if absolute else {"change": direction * amount}


def scene_slots(text: str, now: datetime) -> dict[str, Any]:
    """``scene``: 외출, 귀가, 취침, 기상, 영화, 절전, 독서, 휴식 or 환기."""
    scene = next((name for name, pattern in _SCENES if re.search(pattern, text)), None)
    return {} if scene is None else {"scene": scene}


def timer_slots(text: str, now: datetime) -> dict[str, Any]:
    """``devices``, ``places``, ``action`` (``on`` or ``off``), ``at`` and, for 매일, ``repeat``.

    ``start_now`` is true when the device also goes on at once (두 시간만 틀어 줘).
    """
    slots = switch_slots(text, now)
    when = find(text, now, early=_MORNING.search(text) is not None)
    at = when.moment(now)
    lasting = _duration(text) if at is None else None
    if lasting is not None:
        slots |= {
            "at": now.replace(microsecond=0) + lasting,
            "action": "off",
            "start_now": bool(_ONLY.search(text)),
        }
        return slots
    if at is not None:
        slots["at"] = at
    if when.repeat:
        slots["repeat"] = when.repeat
    # The verb stands last in Korean.
    places = [
        (match.start(), name) for name, verb in (("off", _OFF), ("on", _ON)) for match in verb.finditer(text)
    ]
    if places:
        slots["action"] = max(places)[1]
    return slots


def _duration(text: str) -> timedelta | None:
    found = _DURATION.search(text)
    if found is None:
        return None
    if found["half"]:
        return timedelta(minutes=30)
    hours = parse_number(found["hours"]) if found["hours"] else 0
    minutes = parse_number(found["minutes"]) if found["minutes"] else 30 if found["more"] else 0
    return timedelta(hours=hours or 0, minutes=minutes or 0)
