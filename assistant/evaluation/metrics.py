"""Measures of retrieval, grounding, answers and abstention, for Korean.

Words are Kiwi's morphemes in lower case: particles and endings are split off, so that ``도서관은`` and ``도서관이``
share ``도서관``. An identical pair scores 1.0 in every measure (packages that keep ASCII alone give Hangul 0.0).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.morphology import content_morphemes, morphemes

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_NUMBER = re.compile(r"\d+")


def words(text: str) -> list[str]:
    """The morphemes of a text without punctuation."""
    return [word for word in morphemes(text) if any(character.isalnum() for character in word)]


def f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall of morphemes, as bags (SQuAD's F1; Rajpurkar et al., 2016).

    Returns:
        In [0, 1]; 1 when neither text has a word.
    """
    said, wanted = Counter(words(answer)), Counter(words(gold))
    return harmonic((said & wanted).total(), said.total(), wanted.total())


def rouge_l(answer: str, gold: str) -> float:
    """F-measure of the longest common subsequence of morphemes, β = 1 (Lin, 2004).

    Returns:
        In [0, 1]; 1 when neither text has a word.
    """
    said, wanted = words(answer), words(gold)
    return harmonic(_common_subsequence(said, wanted), len(said), len(wanted))


def harmonic(common: int, first: int, second: int) -> float:
    """Harmonic mean of ``common / first`` and ``common / second``; 1 when both are empty."""
    return 2 * common / (first + second) if first + second else 1.0


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for column, other in enumerate(second, 1):
            above = lengths[column]
            lengths[column] = diagonal + 1 if word == other else max(above, lengths[column - 1])
            diagonal = above
    return lengths[-1]


def sacre_bleu(answers: Sequence[str], golds: Sequence[str]) -> float:
    """Corpus BLEU by sacreBLEU (Post, 2018) over Kiwi's morphemes with punctuation, in [0, 1].

    sacreBLEU's ``ko-mecab`` tokeniser needs mecab-ko; here the texts are split by Kiwi beforehand and sacreBLEU
    runs with ``tokenize=none``, so figures are close to, not equal to, those of ``ko-mecab``.
    """
    from sacrebleu.metrics import BLEU

    split = [[" ".join(morphemes(text)) for text in texts] for texts in (answers, golds)]
    # A corpus of texts under four morphemes has no 4-grams; effective order leaves those out.
    score = BLEU(tokenize="none", force=True, effective_order=True).corpus_score(split[0], [split[1]]).score
    return min(float(score) / 100, 1.0)


def chrf(answers: Sequence[str], golds: Sequence[str]) -> float:
    """Corpus chrF2 by sacreBLEU: character n-grams up to 6 without white space (Popović, 2015), in [0, 1]."""
    from sacrebleu.metrics import CHRF

    return min(float(CHRF().corpus_score(list(answers), [list(golds)]).score) / 100, 1.0)


def faithfulness(answer: str, cited: Sequence[str]) -> float:
    """Share of the answer's content morphemes and numbers that stand in the cited texts.

    Returns:
        In [0, 1]; 1 for an answer without content.
    """
    said, known = _claims(answer), set().union(*map(_claims, cited))
    return sum(claim in known for claim in said) / len(said) if said else 1.0


def _claims(text: str) -> list[str]:
    morphological = [word for word in content_morphemes(text) if not word.isdecimal()]
    return morphological + _NUMBER.findall(text.replace(",", ""))


def abstention(abstained: Sequence[bool], answerable: Sequence[bool]) -> tuple[float, float, float]:
    """Precision, recall and F1 of abstaining; what should be abstained from are the unanswerable questions."""
    pairs = list(zip(abstained, answerable, strict=True))
    right = sum(silent and not can for silent, can in pairs)
    silent, unanswerable = sum(abstained), sum(not can for can in answerable)
    return right / max(silent, 1), right / max(unanswerable, 1), harmonic(right, silent, unanswerable)


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Probability that a positive scores above a negative, ties half (Mann and Whitney, 1947); nan for one class."""
    values, labels = np.asarray(scores, np.float64), np.asarray(positive, np.bool_)
    ups, downs = int(labels.sum()), int((~labels).sum())
    if not ups or not downs:
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels].sum() - ups * (ups + 1) / 2) / (ups * downs))


def risk_coverage(scores: Sequence[float], right: Sequence[bool]) -> tuple[Floats, Floats, float]:
    """Risk when the most confident share of the questions is answered (El-Yaniv and Wiener, 2010).

    Args:
        scores: confidence of each answer.
        right: whether it is right.

    Returns:
        Coverage float64 [n], risk float64 [n] (share of wrong answers), and the area under the curve. Questions
        of equal confidence are answered together, and get the same point.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    values, wrong = np.asarray(scores, np.float64)[order], ~np.asarray(right, np.bool_)[order]
    answered = np.arange(1, len(wrong) + 1)
    risks = np.cumsum(wrong) / answered
    last = np.searchsorted(-values, -values, side="right") - 1
    coverage, risk = answered[last] / max(len(wrong), 1), risks[last]
    return coverage, risk, float(risk.mean()) if len(risk) else math.nan


def recall_at(ranks: Sequence[int | None], k: int) -> float:
    """Share of questions whose first relevant item is among the first ``k``; ranks count from 1, None is a miss."""
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks) if ranks else 0.0


def mean_reciprocal_rank(ranks: Sequence[int | None]) -> float:
    """Mean of 1 / rank of the first relevant item, 0 for a miss."""
    return sum(1 / rank for rank in ranks if rank) / len(ranks) if ranks else 0.0


def ndcg(ranking: Sequence[str], gains: Mapping[str, float], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first ``k`` (Järvelin and Kekäläinen, 2002; trec_eval's form).

    Args:
        ranking: ids, best first, each once.
        gains: gain of every judged id; others count 0.
        k: depth.

    Returns:
        In [0, 1]; 0 when nothing is relevant.
    """
    ideal = _discounted(sorted((gain for gain in gains.values() if gain > 0), reverse=True)[:k])
    return _discounted([max(gains.get(item, 0.0), 0.0) for item in ranking[:k]]) / ideal if ideal else 0.0


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def recall(ranking: Sequence[str], relevant: Collection[str], k: int = 100) -> float:
    """Share of the relevant ids among the first ``k``; 0 when nothing is relevant."""
    return len(set(ranking[:k]) & set(relevant)) / len(relevant) if relevant else 0.0
