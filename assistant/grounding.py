"""Which sentences of the found passages answer a question, and whether any does: the evidence gate.

Two stages choose among the sentences of the best passages, or none of them. A conditional logit over overlaps scores
every sentence; the reader (`assistant.reading`) reads the best dozen together with the question. The probability of the
sentence that would be the answer is the gate: to doubt whether there is an answer and to doubt which one it is are both
reasons to abstain. Both stages are fitted by `assistant.evaluation.gate`. The language model does not decide about
abstaining.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from assistant.reading import Packed, Reader, Text, pack
from retrieval.index import Hit, SentenceEncoder
from retrieval.morphology import content_morphemes, likeness, morpheme_ids
from retrieval.thesaurus import thesaurus

Floats = NDArray[np.float64]

SENTENCE_FEATURES = (
    "overlap", "overlap_with_heading", "overlap_passage", "heading_overlap", "bigrams", "similarity",
    "similarity_with_heading", "passage_similarity", "reciprocal_rank", "type_match", "type_mismatch", "length",
    "neighbour_overlap", "first_in_section", "carried_overlap", "soft_overlap", "soft_overlap_with_heading",
    "soft_overlap_passage", "worst_term", "focus", "worst_term_passage", "focus_passage", "similarity_rank",
    "document_overlap", "document_soft_overlap", "document_rank", "document_passages", "document_share",
    "document_similarity", "document_passage_similarity", "section_overlap", "section_similarity", "section_type",
)  # fmt: skip
# Words that ask instead of naming a topic; they never tell one passage from another.
_ASKING = frozenset(
    "알리 알려주 궁금 궁금하 뭐 뭣 무엇 무슨 어디 언제 누구 얼마 어떻 어떠 왜 몇 어느 말하 묻 혹시 "
    "그럼 그러면 설명 질문 가르치 하나요 좀 그거 이거 정도 경우 어찌 며칠 요 네 안녕 대하 관하".split()
)
_TYPES: tuple[tuple[str, re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (name, re.compile(asked), re.compile(answer))
    for name, asked, answer in (
        ("time",
         r"언제|며칠|몇 ?시|몇 ?월|몇 ?일|몇 ?년|날짜|기간|요일|시간|얼마나 (오래|걸)|기한|마감|주기|얼마 ?동안",
         r"\d ?(월|일|시|년|분|주|개월|시간|초|박)|요일|평일|주말|오전|오후|매(년|월|주|일)|당일|이내|하루"
         r"|[세기] ?말|연중|즉시|한 ?달"),
        ("amount",
         r"얼마(?!나 (오래|걸)|동안)|비용|요금|금액|가격|수수료|몇 ?원|연체료|회비|보증금",
         r"\d ?(만|천|백)? ?원|무료|%|면제|없"),
        ("count",
         r"몇 ?(개|명|번|장|회|살|세|권|대|층|단계|리터|도|박|인|곳|가지|킬로|미터|점)|몇이|인원|용량|개수|얼마나",
         r"\d|(?<![가-힣])(한|두|세|네) |다섯|없"),
        ("contact", r"전화|연락처|문의|번호", r"\d{2,4}[-‑]\d{3,4}|☎|\d{4}|전화|문의|누리집|이메일|@"),
        ("place",
         r"어디|장소|위치|어느 (곳|역|동|지역)",
         r"에서|에게|층|동|센터|실|역|시|군|구|도|관|로 |길 |앞|옆|안|누리집|홈페이지|곳|함|장"),
        ("reason",
         r"왜|이유|까닭|원인",
         r"때문|위해|위하|므로|아서|어서|려고|려는|방지|않도록|이라서|기에|니까|까닭|이유|원인"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A sentence that may answer.

    Attributes:
        hit: the found passage it stands in.
        start, end: its span in the document's text.
        text: the sentence.
        heading: the innermost heading above it, or the document's title.
        probability: that it answers, by the sentence model, in [0, 1].
        features: float64 [len(SENTENCE_FEATURES)].
    """

    hit: Hit
    start: int
    end: int
    text: str
    heading: str
    probability: float
    features: Floats


@dataclass(frozen=True)
class Grounding:
    """What the documents say to a question.

    Attributes:
        candidates: sentences, best first.
        answerable: probability that the best of them answers, in [0, 1]; sentences that say the same count together.
    """

    candidates: tuple[Candidate, ...]
    answerable: float


class Lexicon(Protocol):
    """What grounding asks of the index."""

    def idf(self, terms: Sequence[str]) -> Floats:
        """Inverse document frequencies, float [len(terms)]; unknown terms get the largest."""


def relative(features: Floats) -> Floats:
    """Features of one question's candidates [n, k] as [n, 3 k]: as they are, in deviations, and below the best."""
    deviations = (features - features.mean(axis=0)) / (features.std(axis=0) + 0.05)
    return np.concatenate([features, deviations, features - features.max(axis=0)], axis=1)


@dataclass(frozen=True)
class ConditionalLogit:
    """A linear score of each of a question's candidates, over `relative` features; see `choice`.

    Attributes:
        mean, scale, weights: float64 [3 * len(SENTENCE_FEATURES)].
        bias: of the score.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    bias: float

    def scores(self, rows: Floats) -> Floats:
        """Scores [n] of rows [n, k]: w · (x − mean) / scale + bias."""
        return np.asarray((rows - self.mean) / self.scale @ self.weights + self.bias, np.float64)

    @classmethod
    def from_json(cls, values: Mapping[str, list[float] | float]) -> Self:
        """The model from its stored numbers."""
        mean, scale, weights = (np.asarray(values[key], np.float64) for key in ("mean", "scale", "weights"))
        return cls(mean, scale, weights, float(np.asarray(values["bias"])))


def choice(scores: Floats) -> Floats:
    """Probabilities [n] of candidates; what is missing to 1 is that none answers (McFadden, 1974).

    pᵢ = exp sᵢ / (1 + Σ exp s)
    """
    highest = max(float(scores.max()), 0.0)
    exponents = np.exp(scores - highest)
    return np.asarray(exponents / (exponents.sum() + np.exp(-highest)), np.float64)


@dataclass(frozen=True)
class Gate:
    """The fitted models and the threshold.

    Attributes:
        sentence: the first stage.
        threshold: probability from which the assistant answers.
        reader: the second stage; without one the first decides.
    """

    sentence: ConditionalLogit
    threshold: float
    reader: Reader | None = None

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Gate:
        """Reads ``config.json`` of `models/gate`, and the reader beside it if there is one."""
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        reader = Reader(folder, threads) if values["reader"] else None
        return cls(ConditionalLogit.from_json(values["sentence"]), float(values["threshold"]), reader)


@dataclass(frozen=True)
class Question:
    """A question ready for matching.

    Attributes:
        text: as it was asked.
        terms: its content morphemes without asking words, each once.
        carried: terms of the conversation's topic that the question leaves out.
        vector: its sentence vector, float32 [dimension].
        earlier: the question before, if it leans on it.
    """

    text: str
    terms: tuple[str, ...]
    carried: tuple[str, ...]
    vector: NDArray[np.float32]
    earlier: str = ""


READ = 12
"""Candidates that the reader reads."""
_GOING_ON = 2.0
"""How much more likely an answer is when the one before was found; chosen on the dev dialogues."""
_SAID_AGAIN = 0.8
"""The same for the sentence that was said: few ask for it again."""
_UNRELATED = 0.35
"""Likeness of words that have nothing to do with each other."""
_PARAPHRASED = 0.9
"""How well a word is covered by another expression for it."""
_QUESTION_WORD = re.compile(r"언제|어디|누구|누가|얼마|몇|뭐|뭘|무엇|무슨|어떤|어떻게|어느|왜|며칠")
_UNIT = re.compile(r"몇 ?([가-힣])")
_UNITS = {
    "살": "살|세", "달": "달|개월", "킬": "킬|kg|km", "데": "데시벨|dB", "기": "기가|GB|GHz", "리": "리터|L",
    "미": "미터|m", "퍼": "퍼|%", "프": "프로|%", "센": "센티|cm", "그": "그램|g", "평": "평|㎡|제곱", "일": "일|하루",
    "주": "주|일",
}  # fmt: skip
"""Units that are written otherwise than they are asked for, by the first syllable of the asked one."""


def topic_terms(text: str) -> tuple[str, ...]:
    """Content morphemes that name what the text is about, each once, in order."""
    return tuple(dict.fromkeys(term for term in content_morphemes(text) if term not in _ASKING))


def type_match(question: str, sentence: str) -> tuple[float, float]:
    """Whether the sentence has what the kind of question asks for: (matches, misses), each in [0, 1]."""
    wanted = [answer for _, asked, answer in _TYPES if asked.search(question)]
    wanted += [
        re.compile(rf"(\d|한|두|세|네|섯|열|만|천|백) ?({_UNITS.get(unit, unit)})")
        for unit in _UNIT.findall(question)
    ]
    if not wanted:
        return 0.0, 0.0
    found = sum(pattern.search(sentence) is not None for pattern in wanted) / len(wanted)
    return found, 1 - found


def heading_of(hit: Hit) -> str:
    """The innermost heading above a passage, or the document's title."""
    return hit.passage.section.rsplit(" > ", 1)[-1] or hit.passage.title


class _Terms:
    """How much of a question's terms, weighed by rarity, a set of words covers: literally, and by meaning."""

    def __init__(self, question: Question, lexicon: Lexicon, ids: Mapping[str, int]) -> None:
        self.own = dict(zip(question.terms, lexicon.idf(question.terms), strict=True))
        extra = [term for term in question.carried if term not in self.own]
        self._carried = dict(zip(extra, lexicon.idf(extra), strict=True))
        self._column = {word: i for i, word in enumerate(ids)}
        self._focus = _focus(question)
        weights = np.array(list(self.own.values()), np.float64)
        self._weights = weights / (weights.sum() or 1)
        self._alike = np.zeros((len(self.own), len(ids)))
        known = morpheme_ids(question.text)
        for row, term in enumerate(self.own):
            if term in known:
                self._alike[row] = likeness([known[term]], list(ids.values()))[0]
            if term in ids:
                self._alike[row, self._column[term]] = 1
        self._alike = np.maximum(self._alike - _UNRELATED, 0) / (1 - _UNRELATED)
        rows = {term: row for row, term in enumerate(self.own)}
        met = [
            ([rows[word] for word in found.words], [other for other in found.others if other <= ids.keys()])
            for found in thesaurus().paraphrases(self.own)
        ]
        self._paraphrases = [(rows, others) for rows, others in met if others]

    def overlap(self, words: frozenset[str]) -> float:
        """Share of the question's weight that the words hold literally, in [0, 1]."""
        return _share(self.own, words)

    def carried_overlap(self, words: frozenset[str]) -> float:
        """The same for the terms carried over from earlier questions."""
        return _share(self._carried, words)

    def nearest(self, words: frozenset[str]) -> Floats:
        """For each of the question's terms how like it the nearest word is, float64 [terms] in [0, 1]."""
        columns = [self._column[word] for word in words if word in self._column]
        if not columns or not len(self._weights):
            return np.zeros(len(self._weights))
        nearest = self._alike[:, columns].max(axis=1)
        for rows, others in self._paraphrases:
            if any(other <= words for other in others):
                nearest[rows] = np.maximum(nearest[rows], _PARAPHRASED)
        return np.asarray(nearest, np.float64)

    def weakest(self, words: frozenset[str]) -> tuple[float, float]:
        """`nearest` of the term that is covered worst, and of the question's focus; 1 when it has no terms."""
        nearest = self.nearest(words)
        return (float(nearest.min()), float(nearest[self._focus])) if len(nearest) else (1.0, 1.0)

    def soft_overlap(self, words: frozenset[str]) -> float:
        """The weighted mean of `nearest`: late interaction (Khattab & Zaharia, 2020) over word vectors."""
        return float(self.nearest(words) @ self._weights)


def _focus(question: Question) -> int:
    """Which term the question word asks about: the last one before it, or the last of all."""
    asking = _QUESTION_WORD.search(question.text)
    before = question.text[: asking.start()] if asking else question.text
    places = [i for i, term in enumerate(question.terms) if term in before]
    return places[-1] if places else len(question.terms) - 1


def _share(weights: Mapping[str, float], words: frozenset[str]) -> float:
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in words) / total if total else 0.0


def _bigrams(text: str) -> frozenset[str]:
    packed = re.sub(r"[\s?.,!]+", "", text)
    return frozenset(packed[i : i + 2] for i in range(len(packed) - 1))


@dataclass(frozen=True)
class _Read:
    """A passage's sentences with their words and vectors.

    Attributes:
        spans: start, end and text of each sentence.
        words: content morphemes of each sentence.
        outline: content morphemes of the title and the headings.
        ids: all these words with their ids for `retrieval.morphology.likeness`.
        plain, headed: vectors of the sentences, without and with their heading, float32 [sentences, dimension].
    """

    hit: Hit
    spans: list[tuple[int, int, str]]
    words: list[frozenset[str]]
    outline: frozenset[str]
    ids: Mapping[str, int]
    plain: NDArray[np.float32]
    headed: NDArray[np.float32]

    @property
    def everything(self) -> frozenset[str]:
        return frozenset().union(*self.words, self.outline)


def _read(hit: Hit, encoder: SentenceEncoder) -> _Read:
    passage, heading = hit.passage, heading_of(hit)
    texts = [(s, e, passage.text[s - passage.start : e - passage.start]) for s, e in passage.sentences]
    spans = [(s, e, text) for s, e, text in texts if text.strip()]
    words = [frozenset(content_morphemes(text)) for *_, text in spans]
    outline = frozenset(content_morphemes(f"{passage.title} {passage.section}"))
    vectors = encoder.encode([t for *_, t in spans] + [f"{heading} {t}" for *_, t in spans])
    ids = {
        word: i
        for text in (f"{passage.title} {passage.section}", *(text for *_, text in spans))
        for word, i in morpheme_ids(text).items()
    }
    return _Read(hit, spans, words, outline, ids, vectors[: len(spans)], vectors[len(spans) :])


def _rows(read: _Read, rank: int, question: Question, terms: _Terms) -> Iterator[list[float]]:
    """One row a sentence of those of `SENTENCE_FEATURES` that do not look beside it."""
    grams = _bigrams(question.text)
    overlaps = [terms.overlap(words) for words in read.words]
    whole, heading = read.everything, heading_of(read.hit)
    shared = [terms.overlap(whole), terms.overlap(read.outline), terms.soft_overlap(whole)]
    for i, (_, _, text) in enumerate(read.spans):
        match, mismatch = type_match(question.text, f"{heading} {text}")
        around = max([overlaps[j] for j in (i - 1, i + 1) if 0 <= j < len(overlaps)], default=0.0)
        outlined = read.words[i] | read.outline
        yield [
            overlaps[i], terms.overlap(outlined), shared[0], shared[1],
            len(grams & _bigrams(text)) / max(len(grams), 1),
            float(read.plain[i] @ question.vector), float(read.headed[i] @ question.vector), read.hit.dense_score,
            1 / (1 + rank), match, mismatch, min(len(text), 200) / 100, around, float(i == 0),
            terms.carried_overlap(outlined), terms.soft_overlap(read.words[i]), terms.soft_overlap(outlined), shared[2],
            *terms.weakest(outlined), *terms.weakest(whole),
        ]  # fmt: skip


def sentence_features(
    question: Question, hits: Sequence[Hit], lexicon: Lexicon, encoder: SentenceEncoder
) -> list[Candidate]:
    """All sentences of the hits with their features; probabilities are zero until a model scores them."""
    reads = [_read(hit, encoder) for hit in hits]
    terms = _Terms(question, lexicon, {word: i for read in reads for word, i in read.ids.items()})
    found: dict[tuple[str, int, int], Candidate] = {}
    for rank, read in enumerate(reads):
        for (start, end, text), row in zip(read.spans, _rows(read, rank, question, terms), strict=True):
            key = (read.hit.passage.document_id, start, end)
            found.setdefault(
                key, Candidate(read.hit, start, end, text, heading_of(read.hit), 0.0, np.array(row))
            )
    candidates = list(found.values())
    if candidates:
        rows = _beside(candidates, np.stack([c.features for c in candidates]))
        candidates = [replace(c, features=row) for c, row in zip(candidates, rows, strict=True)]
    return candidates


def _beside(candidates: Sequence[Candidate], rows: Floats) -> Floats:
    """The rows with what the whole list, the document and the section of each say: [n, len(SENTENCE_FEATURES)]."""
    column = {name: rows[:, i] for i, name in enumerate(SENTENCE_FEATURES[: rows.shape[1]])}
    places = np.empty(len(rows))
    places[np.argsort(-column["similarity_with_heading"], kind="stable")] = np.arange(len(rows))
    documents = _same([c.hit.passage.document_id for c in candidates])
    sections = _same([f"{c.hit.passage.document_id} {c.hit.passage.section}" for c in candidates])

    def most(same: NDArray[np.bool_], name: str) -> Floats:
        return np.asarray(np.where(same, column[name], -np.inf).max(axis=1), np.float64)

    ranks = [len(np.unique(column["reciprocal_rank"][same])) for same in documents]
    return np.column_stack([
        rows, 1 / (1 + places), most(documents, "overlap_passage"), most(documents, "soft_overlap_passage"),
        most(documents, "reciprocal_rank"), np.array(ranks, np.float64), documents.mean(axis=1),
        most(documents, "similarity_with_heading"), most(documents, "passage_similarity"),
        most(sections, "overlap_with_heading"), most(sections, "similarity_with_heading"),
        (sections @ column["type_match"]) / sections.sum(axis=1),
    ])  # fmt: skip


def _same(keys: Sequence[str]) -> NDArray[np.bool_]:
    """Which keys are equal, bool [n, n]."""
    _, numbers = np.unique(keys, return_inverse=True)
    return np.asarray(numbers[:, None] == numbers, np.bool_)


def reading_list(question: Question, candidates: Sequence[Candidate], lexicon: Lexicon) -> Packed:
    """The candidates as the reader reads them."""
    rarity = dict(zip(question.terms, lexicon.idf(question.terms).tolist(), strict=True))
    return pack(question.text, question.carried, rarity, [_text(candidate) for candidate in candidates])


def _text(candidate: Candidate) -> Text:
    passage = candidate.hit.passage
    before = [(s, e) for s, e in passage.sentences if e <= candidate.start][-1:]
    after = [(s, e) for s, e in passage.sentences if s >= candidate.end][:1]
    around = [
        "".join(passage.text[s - passage.start : e - passage.start] for s, e in some)
        for some in (before, after)
    ]
    return Text(f"{passage.title} {passage.section}", candidate.text, *around)


def scored(
    question: Question, candidates: Sequence[Candidate], gate: Gate, lexicon: Lexicon
) -> list[Candidate]:  # fmt: skip
    """The candidates with their probabilities, best first; beyond the reader's dozen they are zero."""
    rows = relative(np.stack([c.features for c in candidates]))
    prior = gate.sentence.scores(rows)
    best = np.argsort(-prior, kind="stable")
    if gate.reader is not None:
        best = best[:READ]
        packed = reading_list(question, [candidates[i] for i in best], lexicon)
        scores = gate.reader.scores(packed, rows[best].astype(np.float32), prior[best].astype(np.float32))
        probabilities = dict(zip(best.tolist(), choice(scores.astype(np.float64)).tolist(), strict=True))
    else:
        probabilities = dict(enumerate(choice(prior).tolist()))
    found = [replace(c, probability=probabilities.get(i, 0.0)) for i, c in enumerate(candidates)]
    return sorted(found, key=lambda c: -c.probability)


def ground(
    question: Question, hits: Sequence[Hit], gate: Gate, lexicon: Lexicon, encoder: SentenceEncoder,
    said: Collection[tuple[str, int]] = (),
) -> Grounding:  # fmt: skip
    """Scores the sentences of the found passages and how likely the documents hold an answer.

    Args:
        question: from `assistant.lookup`.
        hits: the same.
        gate: the fitted models.
        lexicon: weighs words.
        encoder: encodes the sentences.
        said: document id and start of the sentences that were just said; empty unless the conversation goes on from
            a found answer.
    """
    candidates = sentence_features(question, hits, lexicon, encoder)
    if not candidates:
        return Grounding((), 0.0)
    found = scored(question, candidates, gate, lexicon)
    if said:
        found = _going_on(found, said)
    return Grounding(tuple(found), min(1.0, sum(c.probability for c in found if _same_text(c, found[0]))))


def _going_on(found: list[Candidate], said: Collection[tuple[str, int]]) -> list[Candidate]:
    """The candidates again, best first, with the odds that they have in a conversation that goes on."""
    odds = [_SAID_AGAIN if (c.hit.passage.document_id, c.start) in said else _GOING_ON for c in found]
    total = 1 + sum((factor - 1) * c.probability for c, factor in zip(found, odds, strict=True))
    again = [replace(c, probability=c.probability * f / total) for c, f in zip(found, odds, strict=True)]
    return sorted(again, key=lambda c: -c.probability)


def _same_text(one: Candidate, other: Candidate) -> bool:
    """Whether two sentences are the same but for white space: two versions of a document share most of theirs."""
    return one.text.split() == other.text.split()
