"""Grounded turns: a question, labelled evidence, an answer that quotes one sentence or says there is none.

`compression.language.prompt` gives their form.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compression.language.corpus import Article, articles, is_held_out, is_prose, read_jsonl, split_sentences
from compression.language.endings import interrogative, is_plain, polite, statement, topic_particle
from compression.language.prompt import END, LABELS, NONE, Evidence

NOT_FOUND = "주어진 문서에는 그 내용이 없습니다."


@dataclass(frozen=True)
class Turn:
    """One grounded turn.

    Attributes:
        question: what the person asks.
        evidence: candidate sentences in reading order, at most ``MAX_EVIDENCE``.
        answer_index: which sentence answers, None when none does.
        answer: the polite answer; empty for small talk of unknown answer.
        history: earlier questions of the conversation, oldest first.
    """

    question: str
    evidence: tuple[Evidence, ...]
    answer_index: int | None
    answer: str
    history: tuple[str, ...] = field(default=())


def answer_text(turn: Turn) -> str:
    """What the model has to write after the prompt."""
    if not turn.evidence:
        return turn.answer + END
    label = NONE if turn.answer_index is None else LABELS[turn.answer_index]
    return label + turn.answer + END


_DATE = re.compile(r"(?:기원전 )?\d{3,4}년(?: \d{1,2}월)?(?: \d{1,2}일)?|\d{1,2}월 \d{1,2}일")
_COUNT = re.compile(
    r"(?:약 )?\d[\d,.]*(?:만|억|천|조)?(?: ?\d[\d,]*(?:만|천)?)? ?"
    r"(?P<unit>명|개|년|세|살|위|권|편|곡|점|층|석|대|척|회|차례|시간|분|일|개월|주|km|m|cm|kg|g|%|퍼센트|원|달러|미터|킬로미터|제곱킬로미터|평방킬로미터)"
)
_PLACE = re.compile(
    r"[가-힣A-Za-z]+(?:시|군|구|도|국|주|현|대학교|고등학교|대학|병원|공항|섬|강|산|성|역)"
    r"(?=에서 |에 위치|에 있)"
)
_AGENT = re.compile(
    r"(?<= )(?P<who>[가-힣]{2,8})(?=(?:이|가|에 의해|에게서) [^.]{0,20}"
    r"(?:설립|발명|제작|감독|작곡|지었|썼|만들|발견|세웠|그린|쓴))"
)
_REASON = re.compile(r"[^,.]{4,40}(?:때문에|덕분에|위해|위하여|위해서),? ")
_PRONOUN_OPENING = re.compile(
    r"^(?:그|그녀|이|이것|그것|본|이곳|그곳|그들|이들|그러나|하지만|또한|그리고|한편)"
    r"(?:는|은|가|이|의|에|를|을|로서)?,? "
)
_SUBJECT = re.compile(r"^(?P<subject>[^,.()]{2,20}?)(?:은|는) ")
_PARENTHESES = re.compile(r"\s*[(（][^()（）]{0,60}[)）]")

_TAILS = ("", "", "", " 알려 주세요.", " 궁금해요.")


def _usable(sentence: str) -> bool:
    return 18 <= len(sentence) <= 150 and is_plain(sentence) and sentence.count("(") == sentence.count(")")


def _wh_slots(sentence: str) -> list[tuple[int, int, str]]:
    """Spans of the sentence that a question word can stand for, with the question word."""
    slots = [(m.start(), m.end(), "언제") for m in _DATE.finditer(sentence)]
    for match in _COUNT.finditer(sentence):
        if not any(start <= match.start() < end for start, end, _ in slots):
            unit = match["unit"]
            word = "얼마" if unit in ("원", "달러") else f"몇 {unit}"
            slots.append((match.start(), match.end(), word))
    slots += [(m.start(), m.end(), "어디") for m in _PLACE.finditer(sentence)]
    slots += [(m.start("who"), m.end("who"), "누구") for m in _AGENT.finditer(sentence)]
    slots += [(m.start(), m.end(), "왜 ") for m in _REASON.finditer(sentence)]
    return slots


def _thin(question: str, keep: str, rng: random.Random) -> str:
    """Drops words of the question at random, as people do, but not the question word or the predicate."""
    words, marks = question.split(" "), keep.split()
    rate = rng.choice((0.0, 0.0, 0.2, 0.35, 0.5))
    kept = [
        w
        for i, w in enumerate(words)
        if i in (0, len(words) - 1) or any(mark in w for mark in marks) or rng.random() > rate
    ]
    return " ".join(kept)


def _informal(question: str, rng: random.Random) -> str:
    """The polite question in one of the other ways people ask."""
    roll = rng.random()
    if roll < 0.15 and question.endswith("나요?"):
        return question[:-3] + "는지 알려 주세요." if rng.random() < 0.5 else question[:-3] + "나?"
    if roll < 0.3:
        return question.replace("인가요?", "이에요?") if question.endswith("인가요?") else question
    if roll < 0.4:
        return question.rstrip("?")
    return question


def wh_question(title: str, sentence: str, rng: random.Random) -> str | None:
    """A question that the sentence answers, by putting a question word in the place of one of its facts."""
    slots = _wh_slots(sentence)
    asked = interrogative(_PARENTHESES.sub("", sentence)) if not slots else None
    if not slots:
        return _subject_question(title, sentence, asked, rng)
    start, end, word = rng.choice(slots)
    swapped = _PARENTHESES.sub("", sentence[:start] + word + sentence[end:])
    asked = interrogative(_PRONOUN_OPENING.sub("", swapped))
    if asked is None:
        return None
    question = _thin(asked, word, rng).replace("누구가", "누가").replace("누구이", "누가")
    if title not in question and rng.random() < 0.75:
        base = _PARENTHESES.sub("", title)
        joint = topic_particle(base) if rng.random() < 0.6 and not _SUBJECT.match(question) else "에서"
        question = f"{base}{joint} {question}"
    return _informal(question, rng)


def _subject_question(title: str, sentence: str, asked: str | None, rng: random.Random) -> str | None:
    """A definition or description question about the sentence's subject."""
    match = _SUBJECT.match(_PARENTHESES.sub("", sentence))
    if match is None:
        return None
    subject = _PRONOUN_OPENING.sub("", match["subject"]) or title
    if sentence.endswith("이다."):
        forms = ("{0} 무엇인가요?", "{0} 뭐예요?", "{0} 무엇인지 알려 주세요.", "{0} 어떤 것인가요?")
        return rng.choice(forms).format(subject + topic_particle(subject))
    predicate = (asked or "").split(" ")[-2:]
    forms = (
        f"{subject}{topic_particle(subject)} 무엇을 {predicate[-1] if predicate else '하나요?'}",
        f"{subject}에 대해 알려 주세요.",
        f"{subject}{topic_particle(subject)} 어떻게 {' '.join(predicate[-1:])}",
        f"{subject}{topic_particle(subject)} 어떤 {' '.join(predicate)}",
    )
    return rng.choice(forms)


def _place(
    question: str, answer: Evidence | None, others: Sequence[Evidence], text: str, rng: random.Random
) -> Turn:
    """Puts the answering sentence among the others, sections kept together, in random order."""
    pool = list(others[: len(LABELS) - 1])
    if answer is not None:
        pool.insert(rng.randint(0, len(pool)), answer)
    keys = {section: rng.random() for section in sorted({item.section for item in pool})}
    ordered = sorted(pool, key=lambda item: keys[item.section])
    if answer is None:
        return Turn(question, tuple(ordered), None, NOT_FOUND)
    index = next(i for i, item in enumerate(ordered) if item is answer)
    return Turn(question, tuple(ordered), index, text)


def _styled(items: Iterable[Evidence], rng: random.Random) -> list[Evidence]:
    """The evidence as it is, or all of it in polite style, as public documents are."""
    if rng.random() < 0.45:
        return [Evidence(item.section, polite(item.text)) for item in items]
    return list(items)


def _turn(
    question: str, target: Evidence, others: Sequence[Evidence], unanswerable: float, rng: random.Random
) -> Turn:
    others = [item for item in others if item.text != target.text]
    styled = _styled([target, *others], rng)
    if rng.random() < unanswerable and others:
        return _place(question, None, styled[1:], "", rng)
    return _place(question, styled[0], styled[1:], statement(styled[0].text), rng)


def article_turns(
    article: Article, strangers: Sequence[Evidence], rng: random.Random, most: int = 3
) -> Iterator[Turn]:
    """Template questions over one article; distractors come from the article and from other articles."""
    sentences = [s for s in split_sentences(article.text[:4000]) if _usable(s)]
    pool = [Evidence(article.title, s) for s in sentences]
    rng.shuffle(pool)
    for target in pool[:most]:
        question = wh_question(article.title, target.text, rng)
        if question is None or not 5 <= len(question) <= 90:
            continue
        near = [item for item in pool if item is not target]
        others = near[: rng.randint(0, 5)] + rng.sample(strangers, k=min(len(strangers), rng.randint(0, 4)))
        turn = _turn(question, target, others, 0.1, rng)
        yield _as_follow_up(turn, article.title, rng)


def _as_follow_up(turn: Turn, title: str, rng: random.Random) -> Turn:
    """Sometimes moves the topic into an earlier question, so that the question alone no longer names it."""
    base = _PARENTHESES.sub("", title)
    if rng.random() > 0.25 or not base or base not in turn.question or len(turn.question) < len(base) + 6:
        return turn
    bare = re.sub(re.escape(base) + r"(?:은|는|이|가|에서|의)? ?", "", turn.question).strip()
    opening = rng.choice(
        (f"{base}에 대해 알려 주세요.", f"{base}{topic_particle(base)} 무엇인가요?", f"{base} 궁금해요.")
    )
    return replace(turn, question=rng.choice(("", "그럼 ", "그러면 ", "그건 ")) + bare, history=(opening,))


def _answer_sentence(
    text: str, span: str, question: str, start: int | None = None
) -> tuple[str, list[str]] | None:
    """The sentence that holds the answer span (the one most like the question), and the others."""
    sentences = split_sentences(text)
    if start is not None:
        holding = [s for s in sentences if span in s and text.find(s) <= start < text.find(s) + len(s)]
    else:
        holding = [s for s in sentences if span in s]
    grams = {question[i : i + 2] for i in range(len(question) - 1)}
    holding = [s for s in holding if len(s) <= 200]
    if not holding:
        return None
    best = max(holding, key=lambda s: sum(gram in s for gram in grams))
    return best, [s for s in sentences if span not in s and len(s) <= 200]


def qa_turns(
    items: Iterable[dict[str, Any]], strangers: Sequence[Evidence], rng: random.Random
) -> Iterator[Turn]:
    """Turns from questions people wrote, in SQuAD's fields: question, context, answers, title."""
    for item in items:
        answer = item["answers"][0]
        found = _answer_sentence(
            item["context"], answer["text"], item["question"], answer.get("answer_start")
        )
        if found is None:
            continue
        title = item.get("title", "")
        near = [Evidence(title, s) for s in found[1]]
        rng.shuffle(near)
        others = near[: rng.randint(1, 6)] + rng.sample(strangers, k=min(len(strangers), rng.randint(0, 4)))
        yield _turn(item["question"].strip(), Evidence(title, found[0]), others, 0.1, rng)


_WELFARE_ASKS = {
    "대상": (
        "{0} 누가 받을 수 있나요?",
        "{0} 대상이 어떻게 돼요?",
        "{0} 지원 대상 알려 주세요.",
        "{0} 저도 받을 수 있나요?",
    ),
    "내용": (
        "{0} 어떤 지원을 받나요?",
        "{0} 무엇을 지원해 주나요?",
        "{0} 얼마나 지원되나요?",
        "{0} 혜택이 뭐예요?",
    ),
    "방법": (
        "{0} 어떻게 신청하나요?",
        "{0} 신청 방법 알려 주세요.",
        "{0} 어디에서 신청해요?",
        "{0} 신청하려면 어떻게 해야 하죠?",
    ),
    "문의": ("{0} 어디에 문의하나요?", "{0} 전화번호 알려 주세요.", "{0} 물어볼 데가 있나요?"),
    "서류": ("{0} 필요한 서류가 뭐예요?", "{0} 뭘 준비해야 하나요?"),
}


def welfare_programmes(items: Iterable[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Public-service leaflets: the programme's name → its (item, text) pairs."""
    programmes: dict[str, list[tuple[str, str]]] = {}
    for item in items:
        meta = item.get("metadata") or {}
        name, kind, text = meta.get("사업명"), meta.get("항목"), item.get("text", "")
        if name and kind and ": " in text and len(text) < 220 and "관련 정보" not in text:
            programmes.setdefault(name, []).append((kind, text.split(": ", 1)[1].strip()))
    return programmes


def welfare_questions(
    name: str, facts: Sequence[tuple[str, str]], rng: random.Random
) -> Iterator[tuple[str, tuple[str, str]]]:
    """A question for each fact of a programme, with the fact."""
    for kind, text in facts:
        asks = next(
            (forms for key, forms in _WELFARE_ASKS.items() if key in kind), (f"{{0}} {kind} 알려 주세요.",)
        )
        topic = rng.choice((name, name + topic_particle(name)))
        yield rng.choice(asks).format(topic), (kind, text)


def welfare_turns(items: Iterable[dict[str, Any]], rng: random.Random) -> Iterator[Turn]:
    """Turns over public-service leaflets: the programme's other items distract."""
    for name, facts in welfare_programmes(items).items():
        for question, (kind, text) in welfare_questions(name, facts, rng):
            near = [Evidence(k, t) for k, t in facts if t != text]
            rng.shuffle(near)
            turn = _turn(question, Evidence(kind, text), near[:6], 0.08, rng)
            yield _as_follow_up(turn, name, rng)


def _korquad2_items(
    data: Path, wanted: dict[str, list[dict[str, Any]]], shards: Sequence[int]
) -> Iterator[dict[str, Any]]:
    for shard in shards:
        for article in articles(data, shard):
            for item in wanted.get(article.id, ()):
                yield {
                    "question": item["question"],
                    "context": article.text[:12000],
                    "title": article.title,
                    "answers": [{"text": item["plain"]}],
                }


def korquad2_turns(
    data: Path, strangers: Sequence[Evidence], rng: random.Random, shards: Sequence[int] = (0, 1, 2, 3)
) -> Iterator[Turn]:
    """Turns from KorQuAD 2.1 questions whose answer, stripped of markup, stands in the article's text."""
    wanted: dict[str, list[dict[str, Any]]] = {}
    for item in read_jsonl(data / "qa" / "korquad21_questions.jsonl.xz"):
        plain = re.sub(r"<[^>]+>", "", item["answer"]).strip()
        if 1 < len(plain) <= 80:
            wanted.setdefault(item["wiki_id"], []).append({**item, "plain": plain})
    yield from qa_turns(_korquad2_items(data, wanted, shards), strangers, rng)


def natural_turns(
    data: Path, strangers: Sequence[Evidence], rng: random.Random, held_out: bool = False
) -> Iterator[Turn]:
    """Turns from TyDiQA, KorQuAD 1 and public-service text; 5 % by a hash of the context are held out."""
    tydiqa = read_jsonl(data / "qa" / "tydiqa_ko_train.jsonl.xz")
    korquad = read_jsonl(data / "qa" / "korquad1_articles100.jsonl.xz")
    for source in (tydiqa, korquad):
        side = (
            item for item in source if is_held_out(item.get("title") or item["context"][:80], 5) == held_out
        )
        yield from qa_turns(side, strangers, rng)
    if not held_out:
        yield from welfare_turns(read_jsonl(data / "qa" / "welfare_gov.jsonl.xz"), rng)


def smalltalk_turns(data: Path) -> Iterator[Turn]:
    """Question and answer pairs of everyday talk, without evidence."""
    for item in read_jsonl(data / "intent" / "chatbot.jsonl.xz"):
        yield Turn(item["question"], (), None, item["answer"])


def wiki_turns(data: Path, shards: Sequence[int], rng: random.Random, most_articles: int) -> Iterator[Turn]:
    """Template turns over Wikipedia prose, up to ``most_articles`` articles of the training side."""
    strangers: list[Evidence] = []
    count = 0
    for shard in shards:
        for article in articles(data, shard):
            if not is_prose(article.text[:1500]):
                continue
            count += 1
            if count > most_articles:
                return
            yield from article_turns(article, strangers, rng)
            usable = [s for s in split_sentences(article.text[:1500]) if _usable(s)][:3]
            strangers = (strangers + [Evidence(article.title, s) for s in usable])[-300:]
