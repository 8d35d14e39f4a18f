"""Slots of the schedule: what, when, how often, how long before.

The title is what is left of a message without its expressions of time, its command and its particles. Ambiguity:

* ``일정``, ``약속``, ``알림`` alone are no title: they are what the person asks to write down.
* In a change, the last expression of time before 로 is where the event goes; one before it says which event is meant.
* ``10분 전에 알려 줘`` counts back from the event named, or from the time named with it; without either the event is
  missing.
* A day that does not exist (``2월 30일``), or several where one is needed, is given as it was said: whoever checks the
  slots asks for another.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from agents.slots.dates_times import When, find, find_all, spans
from agents.slots.numbers import NATIVE, SINO, parse_number

_N = f"(?:\\d+|{NATIVE}|{SINO})"
_BEFORE = re.compile(
    f"(?:(?P<hours>{_N})\\s?시간(?:\\s?(?P<half>반))?\\s?|(?P<minutes>{_N})\\s?분\\s?|(?P<days>하루|이틀"
    f"|사흘|나흘|일주일|{_N}\\s?일)\\s?"
    "|(?P<eve>전날))(?:전(?:에|부터)?(?=\\s|$)|(?<=전날)(?:에)?)"
)
_DAYS = {"하루": 1, "이틀": 2, "사흘": 3, "나흘": 4, "일주일": 7}
_PARTICLE = "(?:에는|에서|에다|에도|에|엔|부터|까지|으로|로|은|는|이|가|을|를|의|쯤|정도|날)?"
# What people wrap a title in; each is cut from the text.
_BOOK = "(?:일정표|캘린더|달력|스케[줄쥴]|일정|리마인더|리마인드|알림|알람)"
_VERB = (
    "추가|등록|저장|기록|입력|메모|표시|반영|설정|생성|수정|변경|조정|삭제|제거|취소|캔슬|연기|확인|조회"
    "|잡아|넣어|적어|써|만들|올려|걸어|맞춰"
    "|울려|울리|알려|말해|깨워|지워|지우|빼|없애|비워|바꿔|바꾸|바꿀|바꿨|바뀌|옮겨|옮기|옮길|고쳐|미뤄"
    "|미루|밀렸|늦춰|당겨|앞당겨|보여|읽어|찾아|부탁"
    "|잡을|켜|꺼|해|알리|깨아|바까|옴기|맞차"
)
# A helping verb goes on like this; 할머니, 하늘, 주말 do not.
_HELPS = "(?=\\s|$|[게래까께수거세셔시실십쇼고자려는도가라면이겠길]|기(?:로)?(?![가-힣]))"
# The verb, what is joined to it, and the helping verbs after it; nothing beyond, for a title may follow.
_COMMAND = re.compile(
    f"(?:(?<=\\s)(?:내|새|새로운|반복)\\s)?(?:(?:^|(?<=\\s)){_BOOK}(?:에서도|에서|에다가?|에도|에|을|를|도"
    f"|으로|로|이|은)?\\s?)?"
    "(?:을|를|으로|로)?(?:(?:^|(?<=\\s)|(?<=[을를로]))(?:좀|하나|더|새로|미리|다시|또|한마디|반복으로)\\s?)*"
    f"(?:^|(?<=\\s)|(?<=[을를로])|(?<=알람)|(?<=알림))(?:{_VERB})"
    f"(?:ㄱㄱ|[가-힣])*(?:\\s(?:(?:주|둘|볼|할|하|수){_HELPS}|줘|줄|조|죠|놔|둬|봐|두고|있|되|돼|됐|됩|부탁|감사|싶|해|달라"
    "|요|도(?=$|\\s)|다오|놓으|두라|두이)[가-힣]*)*"
)
_BARE_NOUN = re.compile(f"(?:^|\\s){_BOOK}(?:을|를|이|은|는|도|만|에서도|에서|에|으로|로|마다|요)?(?=\\s|$)")
_FILLER = re.compile(
    "(?:^|\\s)(?:좀|그|이|저|내|나|제|제가|저는|나는|그리고|그럼|그날|그거|그것|거기에|기존|방금|아까|하나"
    "|한번|새|이따가?|잊지 않게|까먹지 않게"
    "|까먹기 전에|잠깐|있다가|미리|매주|매일|매달|다시|또|꼭|혹시|아|아니|전부|다|모두|종일|반복|되면|시간"
    "|시간만|날짜|날짜를|이름|타이머|더|켜|말고|싶어|중에|하루|사이에?)(?=\\s|$)"
)
_TAIL = re.compile(
    "(?:\\s+(?:하나|좀|거|것|사이|되기|시작하기|날짜|(?<!을 )시간|있어|있다고|있다|있어서|있는데|있음|있는 날)"
    "|(?<=약속)\\s?있(?:어|다|음)|\\s?(?:부탁(?:해"
    "|드려요?|드립니다|할게)?|해 ?줘|주세요|주실래요|주시겠어요"
    "|줄래요?|줘요?|ㄱㄱ|(?:하|가|먹|받|만나)기로 (?:했어|한|했음)|(?<=[가-힣])(?:하|버리|가|받|내)는 거"
    "|(?:쓸|할|갈|볼|먹을) 거야|없던 (?:걸|일)로|가야 ?(?:하니까|되니까|해|돼|된다)"
    "|했어|라고|이라고|이야|이요|예요|이에요|입니다))+$"
)
_LONE = ("약속", "에", "것", "거", "요", "로", "되기", "사이", "때")
_TO_DO = re.compile("([가-힣]+?)으?라고(?=\\s|$)")
_MUST = re.compile("(?:(?P<do>해)|(?<=[가-힣])[어아여])야 ?(?:하니까|되니까|해서|돼서)")
_DOING = re.compile("([가-힣]+)는 거(?=\\s|$)")
_TITLE_EDGE = re.compile("^[\\s,.·~-]+|[\\s,.!?~·]+$")
_OBJECT = re.compile("(?<=[가-힣])(?:을|를)$")
_EVENING = re.compile("회식|술|야식|뒤풀이|송년회|망년회|동창회|야근")
_EARLY = re.compile("깨워|기상|알람|모닝")
_LENGTH = re.compile(
    f"(?:(?P<half_hour>반\\s?시간)|(?P<hours>{_N})\\s?시간(?P<half>\\s?반)?|(?P<minutes>{_N})\\s?분|(?P<days>하루|이틀|사흘|나흘"
    f"|일주일|{_N}\\s?(?:일(?!로)|주(?![가-힣]))))(?:\\s?(?:만|씩|정도))?(?!\\s?(?:전|후))"
)
_LATER = re.compile("미[뤄루룹]|늦[춰추]|연기|뒤로")
_EARLIER = re.compile("앞?당[겨기]")
_EVERY = re.compile(
    f"(?:(?P<hours>{_N})\\s?시간(?P<half>\\s?반)?|(?P<minutes>{_N})\\s?분|(?P<half_hour>반\\s?시간)|매\\s?시간)"
    "\\s?(?:마다|간격(?:으로)?|에 한 ?번씩?)|매\\s?시간(?:마다)?"
)
_FROM_TO = re.compile("(?:(?P<start>.*)(?:부터|~))?(?P<end>.*?)까지")
_RENAME = re.compile("(?:제목|이름)(?:을|를)?\\s?(?P<title>\\S.*?)(?:으로|로)\\s?(?:바꿔|변경|수정|고쳐)")
_ALL_DAY = re.compile("(?:하루\\s?)?종일(?:로)?|시간은?\\s?(?:없|미정|아직)\\S*|아직 몰라\\S*")
_YES = re.compile(
    "(?:^|\\s)(?:네|넵|넹|예|응|어|그래|맞아요?|좋아요?)[\\s,.!]*(?:다|모두|전부)?\\s?(?:지워\\s?(?:줘"
    "|주세요)?)?[.!]*$"
)
_CALLED_OFF = re.compile(
    "취소\\S*|없어졌\\S*|안 (?:해|한대|가기로 했어|가)\\S*|못 먹게 됐\\S*|그만뒀\\S*|그만해?|잘못 (?:넣었"
    "|등록)\\S*|하나 지워"
)
_AFTER_TIME = re.compile(f"{_PARTICLE}(?=\\s|$|[,.!?])|(?:에는|에|엔)(?={_VERB})")
_DAYS_AHEAD = re.compile(
    f"(?:앞으로|향후)\\s?(?P<days>{'|'.join(_DAYS)}|{_N}\\s?(?:일|주))(?:일|간|동안|\\s동안)?"
)
_LATEST = re.compile("방금|아까|(?:^|\\s)그\\s?(?:일정|약속|거|회의)")
_ALL = re.compile("(?<![가-힣])다 (?:지워|빼|삭제|취소|꺼)|전부|모두|전체|비워")
_QUESTION_WORDS = re.compile(
    "언제|어때\\S*|할 일|뭐\\S*|머\\b|몇\\s?시|몇\\s?번|몇\\s?개|며칠|뭐|무슨|어떤|어떻게|있\\S*|없\\S*"
    "|했\\S*|하기로|하지|해야|봐\\S*|볼래|보자"
    "|비(?:어|는)\\s?\\S*|시간|되는|가능\\S*|첫|남은|등록된|등록해|등록한|저장해|저장된|잡아|잡았\\S*|잡은"
    "|둔|둘|적혀|적어|놨\\S*|놓은|돼\\S*|라고"
    "|이더라|더라|였\\S*|이야|야\\b|예요|알\\S*|계획|목록|다음|다가오는|가장 가까운|쭉|세 개만|날짜|날이|나"
    "|중에|것|걸어|확인\\S*|조회|몇|내가|시에|시지|해|하루|정리|이후에|아무|찾아|열어|읽어|있으면|말"
    "|보여\\S*|브리핑|체크|바빠|바쁜|한가\\S*"
)


def add_slots(text: str, now: datetime) -> dict[str, Any]:
    """``title``, ``date``, ``time``, ``end_date``, ``repeat``, ``part``, ``all_day`` of a new event.

    A span of days that is not 부터 … 까지 gives no date: which day is to be asked.
    """
    when = find(text, now)
    slots: dict[str, Any] = _when(when, now)
    if when.first != when.last and re.search("부터|~", text):
        slots |= {"date": when.first, "end_date": when.last}
    if when.part:
        slots["part"] = when.part
    if when.time is not None and when.open_half and 7 <= when.time.hour < 12 and _EVENING.search(text):
        slots["time"] = when.time.replace(hour=when.time.hour + 12)
    if _ALL_DAY.search(text):
        slots["all_day"] = True
    return slots | _titled(_ALL_DAY.sub(" ", text), now)


def list_slots(text: str, now: datetime) -> dict[str, Any]:
    """``first`` and ``last`` day and a ``title`` to look for."""
    if ahead := _DAYS_AHEAD.search(text):
        text = f"{text[: ahead.start()]} {text[ahead.end() :]}"
        slots: dict[str, Any] = {
            "first": now.date(),
            "last": now.date() + timedelta(days=_days(ahead["days"])),
        }
    else:
        when = find(text, now)
        until = when.day is not None and when.day > now.date() and text[when.end :].startswith("까지")
        first = now.date() if until else when.first
        slots = {"first": first, "last": when.last} if first else {}
        slots |= {"first": when.unreal} if when.unreal else {}
    words = [word for word in _without_times(text, now).split() if not _QUESTION_WORDS.search(word)]
    title = _cleaned(" ".join(words))
    return slots | ({"title": title} if len(title) > 1 else {})


def change_slots(text: str, now: datetime) -> dict[str, Any]:
    """Which event (``title``, ``date``, ``time``) and where it goes.

    ``new_date`` (``new_last`` for a span), ``new_time``, ``new_title``, ``new_week`` (its Monday; the weekday stays),
    or ``shift_minutes``. ``open_half`` when an hour was said without 오전 or 오후: the event's own time tells which.
    """
    if renamed := _RENAME.search(text):
        rest = text[: renamed.start()]
        return _titled(rest, now) | _which(find(rest, now)) | {"new_title": _cleaned(renamed["title"])}
    earlier = _EARLIER.search(text)
    length = _LENGTH.search(text) if earlier or _LATER.search(text) else None
    if length is not None:
        rest = re.sub("^\\s?(?:뒤로|로 바꿔 줘$)", "", text[length.end() :])
        rest = _LATER.sub(" 미뤄", _EARLIER.sub(" 당겨", text[: length.start()] + rest))
        minutes = _minutes(length)
        return (
            _titled(rest, now) | _which(find(rest, now)) | {"shift_minutes": -minutes if earlier else minutes}
        )
    latest = {"latest": True} if _LATEST.search(text) else {}
    # Which half of the day an hour alone means is for the event's own time to tell, not for the clock.
    moments = find_all(text, now.replace(hour=0, minute=0))
    goals = [when for when in moments if re.match("\\s?(?:으로|로)", text[when.end :])]
    goal = goals[-1] if goals else None
    slots = _titled(re.sub("같은 시간으로|시간만|시간을?|날짜를?|오전으로|저녁으로", "", text), now)
    if goal is not None:
        if goal.day:
            slots["new_date"] = goal.day
        elif goal.unreal:
            slots["new_date"] = goal.unreal
        elif goal.first and re.search("부터|~", text[goal.start : goal.end]):
            slots |= {"new_date": goal.first, "new_last": goal.last}
        elif goal.first and goal.last and (goal.last - goal.first).days == 6:
            slots["new_week"] = goal.first
        slots |= {"new_time": goal.time} if goal.time is not None else {}
        slots |= {"open_half": True} if goal.open_half else {}
    for when in moments:
        if when is not goal and not re.match("\\s?말고", text[when.end :]):
            slots |= _which(when)
    return slots | latest


def cancel_slots(text: str, now: datetime) -> dict[str, Any]:
    """Which events: ``title``, ``date`` (``last`` for a span), ``time`` (``open_half`` without 오전 or 오후).

    ``everything`` when all that fit go, ``confirmed`` after a yes, ``latest`` for the one written down last.
    """
    when = find(text, now)
    slots = _titled(_CALLED_OFF.sub("", _YES.sub("", text)), now) | _which(when)
    if when.first and when.first != when.last:
        slots |= {"date": when.first, "last": when.last}
    slots |= {"confirmed": True} if _YES.search(text) else {}
    slots |= {"latest": True} if _LATEST.search(text) and not when.first else {}
    return slots | ({"everything": True} if _ALL.search(text) else {})


def remind_slots(text: str, now: datetime) -> dict[str, Any]:
    """A reminder of its own (``title``, ``date``, ``time``, ``repeat``) or ``minutes_before`` an event.

    ``every_minutes`` and ``until`` for one that comes again and again within a day.
    """
    text = _MUST.sub(lambda must: "하기" if must["do"] else "기", _TO_DO.sub("\\1기", text))
    if often := _EVERY.search(text):
        return _often(f"{text[: often.start()]} {text[often.end() :]}", now) | {
            "every_minutes": _minutes(often)
        }
    before = _BEFORE.search(text)
    rest = text if before is None else f"{text[: before.start()]} {text[before.end() :]}"
    when = find(rest, now, early=bool(_EARLY.search(text)))
    slots = _when(when, now) | _titled(rest, now)
    if "date" not in slots and when.first is not None:
        slots["date"] = rest[when.start : when.end]
    if before is None:
        return slots
    if "title" in slots:
        slots["title"] = re.sub("\\s?(?:시작하기|시작|가기|타기|하기)$", "", slots["title"])
    return slots | {"minutes_before": _minutes(before)}


def _often(text: str, now: datetime) -> dict[str, Any]:
    """A reminder that comes several times a day: from the time before 부터 to the one before 까지."""
    span = _FROM_TO.search(text)
    if span is None:
        return _when(find(text, now), now) | _titled(text, now)
    start, end = find(span["start"] or "", now.replace(hour=0, minute=0)), find(span["end"], now)
    slots = _titled(text, now)
    slots |= {"repeat": repeat} if (repeat := start.repeat or end.repeat) else {}
    slots |= {"date": day} if (day := start.day or end.day) else {}
    slots |= {"time": start.time} if start.time is not None else {}
    return slots | ({"until": end.time} if end.time is not None else {})


def title_of(text: str, now: datetime) -> str:
    """What a message is about, without when and without the command; empty when nothing is left."""
    rest = _without_times(_DOING.sub("\\1기", text), now)
    return _cleaned(_COMMAND.sub(" ", rest))


def _titled(text: str, now: datetime) -> dict[str, Any]:
    title = title_of(text, now)
    return {"title": title} if title else {}


def _without_times(text: str, now: datetime) -> str:
    """The text without expressions of time and the particle after each."""
    kept, end = "", 0
    for start, stop in spans(text, now):
        kept += text[end:start] + " "
        particle = _AFTER_TIME.match(text, stop)
        end = particle.end() if particle else stop
    return kept + text[end:]


def _cleaned(text: str) -> str:
    """A title at rest: without the words around it and without the particle behind it."""
    before = None
    while before != text:
        before = text
        text = _FILLER.sub(" ", _BARE_NOUN.sub(" ", f" {text} "))
        text = _TITLE_EDGE.sub("", re.sub("\\s+", " ", text).strip())
        text = _OBJECT.sub("", _TAIL.sub("", text))
    return "" if text in _LONE else text


def _when(when: When, now: datetime) -> dict[str, Any]:
    """``date``, ``time``, ``repeat`` as far as they were said; a time alone is the next one ahead."""
    slots: dict[str, Any] = {}
    moment = when.moment(now)
    if when.time is not None:
        slots["time"] = when.time
    if when.unreal:
        slots["date"] = when.unreal
    elif moment is not None and when.first == when.last:
        slots["date"] = moment.date()
    elif when.day is not None:
        slots["date"] = when.day
    elif when.repeat:
        slots["date"] = now.date()
    return slots | ({"repeat": when.repeat} if when.repeat else {})


def _which(when: When) -> dict[str, Any]:
    slots: dict[str, Any] = {"date": when.day} if when.day else {"date": when.unreal} if when.unreal else {}
    slots |= {"time": when.time} if when.time is not None else {}
    return slots | ({"open_half": True} if when.open_half else {})


def _count(text: str) -> float:
    return parse_number(text) or 0.0


def _days(text: str) -> int:
    """하루, 3일, 2주 … in days."""
    weeks = text.endswith("주")
    return _DAYS.get(text) or int(_count(text.rstrip(" 일주"))) * (7 if weeks else 1)


def _minutes(found: re.Match[str]) -> int:
    """A length of time in minutes; 전날 is a day, and every hour is meant where nothing is said."""
    fields = found.groupdict()
    if fields.get("eve"):
        return 1440
    if fields.get("days"):
        return 1440 * _days(fields["days"])
    if fields.get("half_hour"):
        return 30
    if fields.get("minutes"):
        return int(_count(fields["minutes"]))
    return int(_count(fields["hours"]) * 60 + 30 * bool(fields["half"])) if fields.get("hours") else 60
