"""Slots of the smart home: devices, places, what to do, values, scenes and timers.

Ambiguity:

* ``불`` and ``등`` are lights only where they stand as words; ``에어컨 등을`` names no light.
* Without a device, brightness means the light, volume and channel the television, hot water and warmth the boiler,
  coolness the air conditioner; a bare temperature leaves the device open.
* ``다``, ``전부`` with a device means that device everywhere; alone it means every device.
* ``거실 빼고 다 꺼`` leaves the living room out; ``에어컨 말고 선풍기`` only drops what is not meant; ``끄지 마`` does
  nothing.
* ``에어컨 켜고 불 꺼 줘`` is two steps, each with its own devices and rooms.
* What is done to a word that is no device (``비행기 켜 줘``) is given as it was said, for whoever acts to refuse.
* ``두 시간만 틀어 줘``, ``세 시까지 틀어 줘`` turn on now and off then; ``한 시간 예약 꺼짐`` only off.
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
    ("커피 머신", "커피\\s?(?:머신|메이커|(?=내려))"),
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
    ("창문", "창문?(?=\\s?(?:을|좀|도|은)?\\s?(?:다|모두)?\\s?(?:열|닫|[가-힣]{0,3}\\s?[열닫]))"),
    ("도어록", "현관\\s?문|도어\\s?[락록]|(?<![가-힣])문(?=\\s?(?:을|좀)?\\s?(?:잠|열|닫))"),
    ("가스 밸브", "가스\\s?(?:밸브|불)?(?=[가-힣]{0,2}\\s?(?:열|잠|닫|[꺼끄껐]|상태|$))|가스\\s?밸브"),
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
    ("외출", "외출|나갈게|나간다|나가기|출근|집\\s?비[움울]|휴가\\s?모드|여행\\s?[가갈]|갔다\\s?올게"),
    ("귀가", "귀가|퇴근|집에\\s?왔|다녀왔|손님"),
    (
        "취침",
        "취침|수면|낮잠|잠자리|굿\\s?나[잇이]트?|나이트|밤\\s?모드|자기\\s?전|자러|잘래|잘게|잘\\s?자|자야|재울|잘\\s?거"
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
    "꺼|끄|끔|껐|꺼짐|오프|off|닫|잠[가그궈]|정지|멈[춰추]|중[지단]|그만|소등|내[려리]|쳐",
    re.IGNORECASE,
)
_ON = re.compile("켜|켜짐|틀|열|돌려|돌리|가동|시작|걷|젖|올[려리]|온$|on", re.IGNORECASE)
_UP = re.compile(
    "올려|올리|높[여이]|키[워우]|세게|강하게|강풍|밝게|더\\s?따뜻|따뜻하게|추워|추운|춥|어두[운워]|작아|안\\s?들려|시끄럽게"
)
_DOWN = re.compile(
    "내려|내리|낮[춰추]|줄[여이]|약하게|약풍|미풍|어둡게|시원하게|더\\s?시원|더워|더운|덥|너무\\s?(?:밝|커|크"
    "|세)|작게"
)
_MOST = re.compile("최대|최고|제일\\s?(?:밝|크|세|높)|가장\\s?(?:밝|크|세|높)|맥스")
_LEAST = re.compile("최소|최저|제일\\s?(?:어둡|작|약|낮)|가장\\s?(?:어둡|작|약|낮)|음소거|은은")
_ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("습도", "습도"),
    ("채널", "채널"),
    ("음량", "볼륨|소리|음량|음소거|시끄|안\\s?들려"),
    ("세기", "풍량|풍속|바람|세기|강풍|약풍|미풍|세게|약하게"),
    ("밝기", "밝|어[둡두]|은은"),
    ("온도", "온도|도로|따뜻|시원|추워|추운|춥|더워|더운|덥"),
)
_BY_UNIT = {"도": "온도", "단계": "세기"}
_BY_DEVICE = {
    "조명": "밝기", "스탠드": "밝기", "무드등": "밝기", "커튼": "열림", "블라인드": "열림", "텔레비전": "음량",
    "스피커": "음량", "에어컨": "온도", "보일러": "온도", "전기장판": "온도", "냉장고": "온도", "선풍기": "세기",
    "공기청정기": "세기", "가습기": "세기", "인덕션": "세기", "제습기": "습도",
}  # fmt: skip
_IMPLIED = {"밝기": "조명", "음량": "텔레비전", "채널": "텔레비전", "열림": "커튼"}
_COLOURS = {
    "노[란랗]": "노란빛", "하[얀얗]|흰|주[광백]색": "흰빛", "차갑": "흰빛", "따뜻한?|전구색": "따뜻한 빛",
    "푸른|푸르|파[란랗]": "푸른빛", "빨[간갛]": "빨간빛", "초록|녹색": "초록빛", "보라": "보랏빛",
    "분홍|핑크": "분홍빛", "주황|오렌지": "주황빛",
}  # fmt: skip
_MODES = re.compile("(?P<mode>제습|송풍|온돌|회전|냉방|난방|자동|외출|취침|절전)(?=\\s?모드|\\s?으?로)")
_COLOUR = re.compile(
    f"(?P<colour>{'|'.join(_COLOURS)})(?:(?<=색)|(?=\\s?(?:빛|색)|게|으?로))|색\\S*\\s?(?P<tone>따뜻|차갑)"
)
_HALF = re.compile("절반|반(?:만|으로)")
_BARE_NUMBER = re.compile(
    "(?<![\\d가-힣])(\\d{1,3})(?=\\s?(?:으?로|번|까지|$|만큼)|\\s(?:올|내|줄|높|낮|키))|(이십|삼십|사십|오십|육십|칠십|팔십"
    "|구십)(?=으?로)"
)
_DURATION = re.compile(
    "(?P<half>반)\\s?시간|(?P<hours>\\d+|한|두|세|네|다섯|여섯|일곱|여덟|아홉|열)\\s?시간(?:\\s?(?P<more>반))?"
    "|(?P<minutes>\\d+|십|이십|삼십|사십|오십)\\s?분(?!\\s?전)"
)
_MORNING = re.compile("일어나|기상|깨")
_ONLY = re.compile("시간만|분만|만큼만|만\\s?(?:틀|켜|돌)")
_CLAUSE_END = re.compile("(?<=[켜끄틀닫열그리치걷])고,?\\s+(?!싶)")
_LEFT_OUT = re.compile(
    "(?P<what>[^,.]*?)(?:만|은|는)?\\s?(?:빼고|빼곤|말고|제외하고|제외한|놔\\s?두고|냅두고|그대로\\s?두고|남기고|남겨\\s?두고)는?"
    "\\s*"
)
_LEAVE = re.compile("[켜끄틀닫열그가]지\\s?(?:마|말(?!고)|않)|[켜꺼열]면\\s?안|안\\s?[켜꺼닫열][가-힣]*도")
_REST = re.compile("나머지|다른\\s?(?:거|것|데|곳|불|방)")
_ANSWER = re.compile(
    "(?:[켜꺼틀닫열]|잠[가궈]|돌려|내려|올려)[가-힣]*(?:\\s(?:줘|주|줄|봐|놔)[가-힣]*)?[.!?]*\\s(?P<answer>.+)$"
)
_DONE = re.compile("(?:켜|꺼|끄|틀|닫|열|잠[가그궈]|돌[려리]|올[려리]|내[려리]|[줘주줄봐놔둬해하돼되]).*$")
_NO_NOUN = re.compile(
    "(?:좀|그|이|저|그거|그것|이거|이것|저거|저것|걔|거|것|다시|또|이제|응|네|예|어|아|야|담소야|아까|방금|빨리|얼른"
    "|지금|당장|바로|제발|부탁|혹시|그럼|그냥|거기|여기|저기|방|집|고마|퍼뜩|그대로|계속|마저|더|잠깐|혼자|알아서|에서)*"
    "(?:을|를|은|는|이|가|도|만|에|의|들)*"
)
_CANCELLED = re.compile("취소|해제|지워|없애|삭제")
_ENDED = re.compile("(?:모드)?\\s?(?:꺼|끄|끝|그만|해제|취소|종료|풀어)")
_LIT = re.compile("켜져|켜진|켜\\s?놓|켜\\s?둔|틀어져|열려|열린")
_STILL_LIT = re.compile("다\\s?(?:꺼졌|꺼져|껐|끈|닫)|전부\\s?(?:꺼졌|껐)|안\\s?꺼진")


DEVICES = tuple(name for name, _ in _DEVICES)


def takes(device: str, attribute: str) -> bool:
    """Whether an attribute is what a kind of device is mostly set by, or one of those that many have."""
    return _BY_DEVICE.get(device) == attribute or (
        attribute in ("세기", "모드", "색") and device in _BY_DEVICE
    )


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
    if names or not _ALL.search(text):
        return names
    if re.search("잠[가그궈]", text):
        return ["도어록", "가스 밸브"]
    return ["커튼", "블라인드"] if re.search("닫|열", text) else [EVERYTHING]


def places_of(text: str) -> list[str]:
    """Names of the rooms that a text names, in its order; `EVERYWHERE` for the whole home."""
    found = [(match.start(), name) for name, pattern in _PLACES for match in re.finditer(pattern, text)]
    places = list(dict.fromkeys(name for _, name in sorted(found)))
    if places:
        return places
    return [EVERYWHERE] if _ALL_PLACES.search(text) or _ALL.search(text) else []


def switch_slots(text: str, now: datetime) -> dict[str, Any]:
    """``devices`` and ``places`` that a message names, and ``except_devices`` and ``except_places`` out of all."""
    left_out = _LEFT_OUT.search(text)
    rest = text if left_out is None else text[: left_out.start()] + text[left_out.end() :]
    slots = {"devices": devices_of(rest), "places": places_of(rest)}
    if left_out is None or (EVERYTHING not in slots["devices"] and EVERYWHERE not in slots["places"]):
        return slots
    what = left_out["what"]
    return slots | {"except_devices": devices_of(what), "except_places": places_of(what)}


def on_slots(text: str, now: datetime) -> dict[str, Any]:
    """What to turn on: as `switch_slots`, with ``then`` and ``leave`` as `off_slots` has them."""
    return _switched(text, now, "on")


def off_slots(text: str, now: datetime) -> dict[str, Any]:
    """What to turn off: as `switch_slots`.

    ``then`` holds the other steps of the message, each with its ``action``; ``leave`` is true when it says not to.
    """
    return _switched(text, now, "off")


def state_slots(text: str, now: datetime) -> dict[str, Any]:
    """What is asked about: as `switch_slots`, with ``only_on`` for what is on and ``only_timers`` for timers."""
    slots = switch_slots(text, now)
    if not slots["devices"] and re.search("예약|타이머", text):
        return slots | {"only_timers": True}
    named = [device for device in slots["devices"] if device != EVERYTHING]
    lit = not named and _LIT.search(text) is not None
    return slots | ({"only_on": True} if lit or _STILL_LIT.search(text) else {})


def _switched(text: str, now: datetime, action: str) -> dict[str, Any]:
    if _LEAVE.search(_LEFT_OUT.sub("", text)):
        return switch_slots(text, now) | {"leave": True}
    steps = _steps(text, now)
    mine = next((number for number, step in enumerate(steps) if step["action"] == action), None)
    if len(steps) > 1 and mine is not None:
        first = steps.pop(mine)
        return {name: value for name, value in first.items() if name != "action"} | {"then": steps}
    slots = switch_slots(text, now)
    if not slots["devices"] and (unknown := _unknown(text)):
        slots["devices"] = [unknown]
    return slots


def _steps(text: str, now: datetime) -> list[dict[str, Any]]:
    """A message clause by clause, each with its ``action``; empty unless each has a verb and a device of its own."""
    clauses = _CLAUSE_END.split(text)
    answer = _ANSWER.search(clauses[-1])
    answered = devices_of(answer["answer"]) if answer else []
    steps = [switch_slots(clause, now) | {"action": _action(clause)} for clause in clauses]
    if answer and answered and any(set(answered) <= set(step["devices"]) for step in steps[:-1]):
        # The answer to the question which room: it belongs to the clause with that device, not to the last one.
        clauses[-1] = clauses[-1][: answer.start("answer")]
        steps[-1] = switch_slots(clauses[-1], now) | {"action": _action(clauses[-1])}
        for step in steps:
            if set(answered) <= set(step["devices"]):
                step["places"] = places_of(answer["answer"])
    if not all(step["devices"] and step["action"] for step in steps):
        return []
    for before, step, clause in zip(steps, steps[1:], clauses[1:], strict=False):
        if _REST.search(clause):
            step |= {"except_devices": before["devices"], "except_places": before["places"]}
    return steps


def _action(text: str) -> str:
    """``on`` or ``off`` by the last verb, for the verb stands last in Korean; empty without one."""
    found = [
        (match.start(), name) for name, verb in (("off", _OFF), ("on", _ON)) for match in verb.finditer(text)
    ]
    return max(found)[1] if found else ""


def _unknown(text: str) -> str:
    """A word that something is to be done to, but that is neither a device nor a room; empty when there is none."""
    for _, pattern in _PLACES:
        text = re.sub(pattern, " ", text)
    nouns = [_DONE.sub("", word) for word in re.findall("[가-힣A-Za-z]+", text)]
    return " ".join(noun for noun in nouns if len(noun) > 1 and not _NO_NOUN.fullmatch(noun))


def value_slots(text: str, now: datetime) -> dict[str, Any]:
    """What to set: ``devices``, ``places``, ``attribute`` and one of ``value``, ``change``, ``choice``.

    ``value`` is a number in the attribute's unit (°C, %, or steps), ``change`` the same to add, ``choice`` a mode or
    a colour. ``change`` is ±1 for a direction without an amount.
    """
    slots = {"devices": devices_of(text), "places": places_of(text)}
    if choice := _choice(text):
        return slots | choice
    devices = slots["devices"]
    amount, unit = _amount(text)
    attribute = _attribute(text, unit, devices)
    if not devices:
        slots["devices"] = _implied(attribute, text)
    return slots | {"attribute": attribute} | _change(text, amount, bool(devices))


def _choice(text: str) -> dict[str, Any]:
    if mode := _MODES.search(text):
        return {"attribute": "모드", "choice": mode["mode"]}
    found = _COLOUR.search(text)
    if found is None:
        return {}
    said = found["colour"] or found["tone"]
    return {
        "attribute": "색",
        "choice": next(name for form, name in _COLOURS.items() if re.match(form, said)),
    }


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
    if (_MOST.search(text) or _LEAST.search(text)) and not unit:
        devices = [device for device in devices if _BY_DEVICE.get(device) != "온도"] or ["선풍기"]
    by_device = next((_BY_DEVICE[device] for device in devices if device in _BY_DEVICE), "")
    return _BY_UNIT.get(unit) or by_device or ("밝기" if unit == "%" else "")


def _implied(attribute: str, text: str) -> list[str]:
    if attribute == "온도":
        if re.search("물\\s?온도|따뜻|추워|추운|춥", text):
            return ["보일러"]
        return ["에어컨"] if re.search("시원|더워|더운|덥", text) else []
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
        re.search(
            "(?:도|퍼센트|프로|%|단계?|칸|번|\\d|십|반)\\s?(?:아래|밑|이하|위|이상|정도|쯤)?(?:으로|로(?!봇)|까지|유지)",
            text,
        )
        or not direction
    )
    return {"value": amount} if absolute else {"change": direction * amount}


def scene_slots(text: str, now: datetime) -> dict[str, Any]:
    """``scene``: 외출, 귀가, 취침, 기상, 영화, 절전, 독서, 휴식 or 환기; ``end`` when it is to be over."""
    scene = next((name for name, pattern in _SCENES if re.search(pattern, text)), None)
    if scene is None:
        return {}
    return {"scene": scene} | ({"end": True} if re.search(f"모드\\S*{_ENDED.pattern}", text) else {})


def timer_slots(text: str, now: datetime) -> dict[str, Any]:
    """``devices``, ``places``, ``action`` (``on`` or ``off``), ``at`` and, for 매일, ``repeat``.

    ``until`` is when the opposite follows (열한 시부터 일곱 시까지). ``start_now`` is true when the opposite is done
    at once (두 시간만 틀어 줘). ``cancel`` is true when timers are to be dropped.
    """
    slots: dict[str, Any] = {"devices": devices_of(text), "places": places_of(text)}
    if _CANCELLED.search(text):
        return slots | {"cancel": True}
    early = _MORNING.search(text) is not None
    when = find(text, now, early)
    at, action = when.moment(now), _action(text)
    slots |= {"repeat": when.repeat} if when.repeat else {}
    lasting = _duration(text) if at is None else None
    if lasting is not None:
        off = {"at": now.replace(microsecond=0) + lasting, "action": "off"}
        return (
            slots | off | {"start_now": bool(_ONLY.search(text)) or (action == "on" and "예약" not in text)}
        )
    if at is None:
        return slots | ({"action": action} if action else {})
    return slots | (_two_moments(text, now, early) or {"at": at} | ({"action": action} if action else {}))


def _two_moments(text: str, now: datetime, early: bool) -> dict[str, Any]:
    """``at``, ``action`` and ``until`` or ``start_now`` where a state has a beginning and an end; empty otherwise."""
    clauses = _CLAUSE_END.split(text)
    if len(clauses) == 2:
        (before, first), (after, second) = ((find(c, now, early).moment(now), _action(c)) for c in clauses)
        if after is None or {first, second} != {"on", "off"}:
            return {}
        if before is None:
            return {"at": after, "action": second, "start_now": True}
        return {"at": before, "action": first, "until": _past(after, before)}
    if _action(text) != "on" or "까지" not in text:
        return {}
    first_part, _, second_part = text.partition("까지")[0].rpartition("부터")
    begin, end = find(first_part, now, early).moment(now), find(second_part, now, early).moment(now)
    if end is None:
        return {}
    if begin is None:
        return {"at": end, "action": "off", "start_now": True}
    return {"at": begin, "action": "on", "until": _past(end, begin)}


def _past(moment: datetime, other: datetime) -> datetime:
    """The same time of day after another moment."""
    moment = datetime.combine(other.date(), moment.time()) if moment.date() < other.date() else moment
    return moment if moment > other else moment + timedelta(days=1)


def _duration(text: str) -> timedelta | None:
    found = _DURATION.search(text)
    if found is None:
        return None
    if found["half"]:
        return timedelta(minutes=30)
    hours = parse_number(found["hours"]) if found["hours"] else 0
    minutes = parse_number(found["minutes"]) if found["minutes"] else 30 if found["more"] else 0
    return timedelta(hours=hours or 0, minutes=minutes or 0)
