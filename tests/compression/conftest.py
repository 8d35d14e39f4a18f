from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from compression.language.corpus import is_held_out
from compression.language.pretraining import tokenizer_texts
from compression.language.tokenizer import train_tokenizer

Write = Callable[[Path, Iterable[dict[str, Any]]], None]
PLACES = ("가람", "노을", "다온", "라온", "마루", "바롬", "새별", "아라", "자람", "초롱", "하늬", "윤슬")
KINDS = ("도서관", "박물관", "식물원", "천문대")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8", preset=0) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def article(number: int) -> dict[str, str]:
    """An encyclopedia article on an institution that does not exist."""
    title = f"{PLACES[number % 12]} {KINDS[number // 12 % 4]}"
    year, people = 1900 + number, 20 + 3 * number
    text = (
        f"{title}은 강가에 자리한 오래된 공공 기관이다. "
        f"{title}은 {year}년 5월 {number % 28 + 1}일에 문을 열었다. "
        f"처음에는 직원 {people}명이 작은 건물에서 함께 일했다.\n"
        f"이 건물은 붉은 벽돌을 쌓아 만든 {number % 5 + 2}층 집이다. "
        f"시민들은 비를 피하기 위해 이곳을 자주 찾는다. "
        f"안뜰에는 키가 큰 은행나무가 많다."
    )
    return {"id": str(number), "title": title, "text": text}


def _numbers(held_out: bool) -> Iterator[int]:
    return (number for number in count() if is_held_out(str(number)) == held_out)


def _asked(context: str, question: str, answer: str) -> dict[str, Any]:
    found = {"text": answer, "answer_start": context.index(answer)}
    return {"question": question, "context": context, "answers": [found]}


def _tydiqa() -> Iterator[dict[str, Any]]:
    for number, place in enumerate(PLACES):
        context = (
            f"{place}천은 길이가 {number + 31}km인 작은 강이다. 물이 맑아 은어가 많이 산다. "
            f"여름이면 아이들이 모여 물놀이를 즐긴다."
        )
        yield {"id": f"t-{number}", **_asked(context, f"{place}천의 길이는 얼마인가?", f"{number + 31}km")}


def _korquad1() -> Iterator[dict[str, Any]]:
    """Eight titles of the training side and two of the held-out one, two questions each."""
    titles = [f"제{number}극장" for number in range(400)]
    held = [title for title in titles if is_held_out(title, 5)]
    for title in [t for t in titles if t not in held][:8] + held[:2]:
        context = (
            f"{title}은 김마루가 세운 작은 극장이다. "
            f"좌석은 모두 240석이며 무대가 낮다. 봄마다 인형극 잔치가 열린다."
        )
        yield {"title": title, **_asked(context, f"{title}을 세운 사람은 누구인가?", "김마루")}
        yield {"title": title, **_asked(context, f"{title}의 좌석은 몇 석인가?", "240석")}


def _korquad21() -> Iterator[dict[str, Any]]:
    for number in islice(_numbers(held_out=False), 12):
        item = article(number)
        answer = f"<a>{20 + 3 * number}명</a>"
        question = f"{item['title']}에서 처음에 일한 직원은 몇 명인가?"
        yield {"wiki_id": item["id"], "title": item["title"], "question": question, "answer": answer}
    yield {"wiki_id": "0", "title": "표", "question": "표에는 무엇이 있는가?", "answer": "<table></table>"}


def _welfare() -> Iterator[dict[str, Any]]:
    facts = {
        "지원 대상": "혼자 사는 예순다섯 살 이상 시민",
        "지원 내용": "한 달에 쌀 10kg을 집으로 보내 드립니다",
        "신청 방법": "가까운 주민센터에 신청서를 내면 됩니다",
        "문의처": "다온시 돌봄과 031-000-0000",
    }
    for name in ("이웃 쌀 나눔", "따뜻한 밥상"):
        for kind, text in facts.items():
            yield {"source": "own", "text": f"{kind}: {text}", "metadata": {"사업명": name, "항목": kind}}
    yield {"source": "own", "text": "설명이 없는 줄", "metadata": None}


@pytest.fixture(scope="session")
def write() -> Write:
    return write_jsonl


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training folder in little: the same files and fields, text of our own."""
    folder = tmp_path_factory.mktemp("data")
    numbers = list(islice(_numbers(held_out=False), 48))
    shards = [numbers[shard::4] for shard in range(4)]
    shards[0] += islice(_numbers(held_out=True), 2)
    for shard, chosen in enumerate(shards):
        write_jsonl(folder / "text" / f"kowiki-{shard}.jsonl.xz", map(article, chosen))
    # Colloquial text is held out from the 240,000th review on.
    reviews = ({"text": f"{PLACES[n % 12]} 나오는 장면이 참 좋았어요", "rating": 9} for n in range(240_050))
    write_jsonl(folder / "text" / "nsmc.jsonl.xz", reviews)
    talk = (
        {"question": f"오늘 {place} 기분이야", "answer": "좋은 하루네요.", "label": 0} for place in PLACES
    )
    write_jsonl(folder / "intent" / "chatbot.jsonl.xz", talk)
    write_jsonl(folder / "qa" / "tydiqa_ko_train.jsonl.xz", _tydiqa())
    write_jsonl(folder / "qa" / "korquad1_articles100.jsonl.xz", _korquad1())
    write_jsonl(folder / "qa" / "korquad21_questions.jsonl.xz", _korquad21())
    write_jsonl(folder / "qa" / "welfare_gov.jsonl.xz", _welfare())
    return folder


@pytest.fixture(scope="session")
def tokenizer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(tokenizer_texts(data, 50), 600, tmp_path_factory.mktemp("tokenizer"))
