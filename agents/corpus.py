"""Sentence pairs for the encoder, read from the data folder that training commands are given.

Every function reads files described in the project's data notes; nothing read here enters the repository.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from compression.language.corpus import is_held_out, read_jsonl

PASSAGE_CHARACTERS = 600
_HELD_OUT_PERCENT = 10
# As `--half held-out` of `damso eval retrieval` splits them.
_MIRACL_HELD_OUT_PERCENT = 50
_SENTENCE_END = re.compile(r"(?<=[가-힣][.?!])\s+")
_MARKUP = re.compile(r"<[^>]*>")


@dataclass
class Pairs:
    """Texts that belong together, from one source.

    Attributes:
        name: the source, for logs.
        share: how often training draws a batch from this source, relative to the others.
        anchors: first texts.
        positives: texts of the same meaning, or that answer ``anchors``.
        negatives: a text that looks alike but means something else; empty when there is none.
    """

    name: str
    share: float
    anchors: list[str] = field(default_factory=list)
    positives: list[str] = field(default_factory=list)
    negatives: list[str] = field(default_factory=list)

    def add(self, anchor: str, positive: str, negative: str = "") -> None:
        """Add one pair, unless a side is empty or both are the same."""
        if anchor and positive and anchor != positive:
            self.anchors.append(anchor)
            self.positives.append(positive)
            self.negatives.append(negative)

    def __len__(self) -> int:
        return len(self.anchors)


@dataclass(frozen=True)
class Question:
    """A question, the passage that answers it, and whether it is kept for evaluation."""

    text: str
    passage: str
    answer_start: int
    held_out: bool


def questions(data: Path) -> list[Question]:
    """Questions of TyDi QA and KorQuAD 1 with their passages; held out by passage and by article."""
    found = []
    for name, key in (("tydiqa_ko_train", "context"), ("korquad1_articles100", "title")):
        for row in read_jsonl(data / "qa" / f"{name}.jsonl.xz"):
            start = row["answers"][0]["answer_start"]
            found.append(
                Question(row["question"], row["context"], start, is_held_out(row[key], _HELD_OUT_PERCENT))
            )
    return found


def held_out_questions(data: Path) -> set[str]:
    """Texts of the questions that no training sees: of `questions`, and half of MIRACL's.

    MIRACL's questions stand among TyDi QA's as well, so both are left out by what they say.
    """
    asked = read_jsonl(data / "qa" / "miracl_ko_train.jsonl.xz")
    judged = {row["question"] for row in asked if is_held_out(row["qid"], _MIRACL_HELD_OUT_PERCENT)}
    return judged | {question.text for question in questions(data) if question.held_out}


def around(text: str, position: int, width: int = PASSAGE_CHARACTERS) -> str:
    """The part of ``text``, at most ``width`` characters, that has ``position`` near its middle."""
    start = max(0, min(position - width // 2, len(text) - width))
    return text[start : start + width]


def question_pairs(data: Path) -> list[Pairs]:
    """Question → passage pairs that no held-out question or article takes part in."""
    answered = Pairs("question-passage", 4.0)
    held_out = held_out_questions(data)
    for question in questions(data):
        if question.text not in held_out:
            answered.add(question.text, around(question.passage, question.answer_start))
    statements = Pairs("boolq", 1.0)
    for row in read_jsonl(data / "qa" / "boolq.jsonl.xz"):
        statements.add(row["Question"], row["Text"][:PASSAGE_CHARACTERS])
    return [answered, statements]


def welfare_pairs(data: Path) -> Pairs:
    """Name and field of a public service → its description."""
    pairs = Pairs("welfare", 0.5)
    for row in read_jsonl(data / "qa" / "welfare_gov.jsonl.xz"):
        about = row.get("metadata") or {}
        heading = " ".join(str(about[key]) for key in ("사업명", "항목") if about.get(key))
        text = row.get("text")
        if heading and isinstance(text, str):
            pairs.add(heading, text[:PASSAGE_CHARACTERS])
    return pairs


def inference_pairs(data: Path) -> Pairs:
    """Premise → entailed hypothesis, with the contradicted one as the hard negative."""
    pairs = Pairs("inference", 1.5)
    by_premise: dict[str, dict[str, str]] = {}
    for row in read_jsonl(data / "pairs" / "klue_nli_train.jsonl.xz"):
        by_premise.setdefault(row["premise"], {})[row["label"]] = row["hypothesis"]
    for premise, hypotheses in by_premise.items():
        pairs.add(premise, hypotheses.get("entailment", ""), hypotheses.get("contradiction", ""))
    return pairs


def similarity_scores(data: Path, split: str) -> list[tuple[str, str, float]]:
    """KorSTS pairs of ``split`` (``train`` or ``dev``) with their similarity from 0 to 5."""
    rows = read_jsonl(data / "pairs" / f"korsts_{split}.jsonl.xz")
    return [(row["a"], row["b"], float(row["score"])) for row in rows]


def similarity_correlation(encode: Callable[[Sequence[str]], NDArray[np.float32]], data: Path) -> float:
    """Spearman's rank correlation of the cosine with the scores of KorSTS dev.

    Args:
        encode: texts → float32 [n, dimension], rows of length 1.
        data: the data folder.

    Raises:
        TrainingDataError: the file is missing or malformed.
    """
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    rows = similarity_scores(data, "dev")
    cosines = (encode([first for first, _, _ in rows]) * encode([second for _, second, _ in rows])).sum(
        axis=1
    )
    return round(float(spearmanr(cosines, [score for _, _, score in rows])[0]), 4)


def similarity_pairs(data: Path) -> Pairs:
    """KorSTS training pairs of 3.5 and more."""
    pairs = Pairs("korsts", 0.5)
    for first, second, score in similarity_scores(data, "train"):
        if score >= 3.5:
            pairs.add(first, second)
    return pairs


def paraphrase_pairs(data: Path, chooser: random.Random) -> Pairs:
    """Paraphrases from ParaKQC, StyleKQC and Question_pair."""
    pairs = Pairs("paraphrases", 1.5)
    kqc = [row["columns"][-1] for row in read_jsonl(data / "pairs" / "parakqc.jsonl.xz")]
    style = [
        row["text"] for row in read_jsonl(data / "intent" / "stylekqc.jsonl.xz") if row["split"] == "train"
    ]
    for texts in (kqc, style):
        for start in range(0, len(texts) - 9, 10):
            group = chooser.sample(texts[start : start + 10], 10)
            for first, second in zip(group, group[1:], strict=False):
                pairs.add(first, second)
    for row in read_jsonl(data / "pairs" / "question_pair.jsonl.xz"):
        if row["is_duplicate"] == "1":
            pairs.add(row["question1"], row["question2"])
    return pairs


def small_talk_pairs(data: Path) -> Pairs:
    """What a person says → what is said back."""
    pairs = Pairs("small talk", 0.3)
    for row in read_jsonl(data / "intent" / "chatbot.jsonl.xz"):
        pairs.add(row["question"], row["answer"])
    return pairs


@dataclass
class Wikipedia:
    """What one pass over Wikipedia collects: pairs, and a sample of plain text.

    Attributes:
        titles: title → first paragraph.
        clozes: part of a sentence, sometimes with its title → the rest of its paragraph
            (inverse cloze task, Lee et al. 2019, arXiv:1906.00300).
        judged: questions of MIRACL and KorQuAD 2.1 → the paragraph of their article that fits best.
        sample: plain paragraphs for the vocabulary and the co-occurrence counts.
    """

    titles: Pairs
    clozes: Pairs
    judged: Pairs
    sample: list[str]


def wikipedia(
    data: Path, chooser: random.Random, clozes_per_article: int, sample_characters: int
) -> Wikipedia:
    """Collect pairs and text from the four shards of Korean Wikipedia."""
    found = Wikipedia(Pairs("titles", 1.0), Pairs("clozes", 6.0), Pairs("articles", 2.5), [])
    asked = _questions_by_article(data)
    sampled = 0
    for shard in range(4):
        for article in tqdm(
            read_jsonl(data / "text" / f"kowiki-{shard}.jsonl.xz"), f"kowiki-{shard}", mininterval=5
        ):
            paragraphs = [line for line in article["text"].split("\n") if len(line) >= 80]
            if not paragraphs:
                continue
            found.titles.add(article["title"], paragraphs[0][:PASSAGE_CHARACTERS])
            for question, answer in asked.get(article["id"], ()):
                found.judged.add(question, best_paragraph(question, answer, paragraphs))
            chosen = chooser.sample(paragraphs, min(clozes_per_article, len(paragraphs)))
            for paragraph in chosen:
                found.clozes.add(*cloze(article["title"], paragraph, chooser))
            if sampled < sample_characters * (shard + 1) / 4:
                found.sample.append(chosen[0])
                sampled += len(chosen[0])
    return found


def _questions_by_article(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Questions and answers (empty for MIRACL) by Wikipedia id, without what is held out for evaluation."""
    held_out = held_out_questions(data)
    asked: dict[str, list[tuple[str, str]]] = {}
    for row in read_jsonl(data / "qa" / "miracl_ko_train.jsonl.xz"):
        for article in row["pos_doc_ids"] if row["question"] not in held_out else ():
            asked.setdefault(article, []).append((row["question"], ""))
    for row in read_jsonl(data / "qa" / "korquad21_questions.jsonl.xz"):
        if row["answer_in_text"] and not is_held_out(row["title"], _HELD_OUT_PERCENT):
            answer = _MARKUP.sub("", row["answer"]).strip()
            asked.setdefault(row["wiki_id"], []).append((row["question"], answer))
    return asked


def best_paragraph(question: str, answer: str, paragraphs: list[str]) -> str:
    """The paragraph that shares most character bigrams with the question, among those with the answer."""
    wanted = _bigrams(question)
    holding = [paragraph for paragraph in paragraphs if answer in paragraph] or paragraphs
    best = max(holding, key=lambda paragraph: len(wanted & _bigrams(paragraph[:2000])))
    return around(best, best.find(answer[:50]) if answer else 0)


def _bigrams(text: str) -> set[str]:
    return {first + second for first, second in zip(text, text[1:], strict=False)}


def cloze(title: str, paragraph: str, chooser: random.Random) -> tuple[str, str]:
    """A question-like fragment of one sentence, and the paragraph mostly without that sentence."""
    sentences = _SENTENCE_END.split(paragraph)
    place = chooser.randrange(len(sentences))
    words = sentences[place].split()
    kept = [word for word in words if chooser.random() < 0.6][:15]
    query = " ".join([title, *kept] if chooser.random() < 0.4 else kept)
    if chooser.random() < 0.8 and len(sentences) > 1:
        sentences = sentences[:place] + sentences[place + 1 :]
    return query, around(" ".join(sentences), 0, PASSAGE_CHARACTERS // 2)
