"""From outcomes to the figures of a table: one row a measure, over a whole set or a part of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assistant.evaluation.metrics import (
    abstention,
    auroc,
    chrf,
    f1,
    faithfulness,
    harmonic,
    mean_reciprocal_rank,
    recall_at,
    risk_coverage,
    rouge_l,
    sacre_bleu,
)
from assistant.evaluation.runs import Outcome


@dataclass(frozen=True)
class Row:
    """A measure as tables show it.

    Attributes:
        key: name in the JSON report.
        label: in Korean.
        group: heading above it, in Korean.
        form: format of its value.
    """

    key: str
    label: str
    group: str
    form: str = "{:.3f}"


ROWS = (
    Row("questions", "질문", "규모", "{:,d}"),
    Row("answerable", "답이 있는 질문", "규모", "{:,d}"),
    Row("passage_r1", "구절 R@1", "검색"),
    Row("passage_r5", "구절 R@5", "검색"),
    Row("passage_r10", "구절 R@10", "검색"),
    Row("passage_mrr", "구절 MRR", "검색"),
    Row("document_r1", "문서 R@1", "검색"),
    Row("document_r5", "문서 R@5", "검색"),
    Row("document_r10", "문서 R@10", "검색"),
    Row("document_mrr", "문서 MRR", "검색"),
    Row("span_em", "근거 구간 EM", "근거"),
    Row("span_f1", "근거 구간 F1", "근거"),
    Row("response_f1", "답 F1(형태소)", "답"),
    Row("rouge_l", "답 ROUGE-L(형태소)", "답"),
    Row("sacrebleu", "답 SacreBLEU(형태소)", "답"),
    Row("chrf", "답 chrF", "답"),
    Row("faithfulness", "충실도(근거에 있는 말의 비율)", "답"),
    Row("uncited", "근거 없이 답한 비율", "답"),
    Row("abstention_precision", "기권 정밀도", "기권"),
    Row("abstention_recall", "기권 재현율", "기권"),
    Row("abstention_f1", "기권 F1", "기권"),
    Row("gate_auroc", "문지기 AUROC", "기권"),
    Row("risk_coverage_area", "위험–응답률 곡선 아래 넓이", "기권"),
    Row("first_token_p50_ms", "첫 글자 p50(ms)", "시간", "{:,.0f}"),
    Row("total_p50_ms", "답 전체 p50(ms)", "시간", "{:,.0f}"),
    Row("total_p99_ms", "답 전체 p99(ms)", "시간", "{:,.0f}"),
)


def figures(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    """Every figure of `ROWS`; None where there is nothing to measure.

    Retrieval, grounding and answer measures are over answerable questions, where a reply that abstains counts as it
    is. Span EM is the share of questions whose cited characters are exactly the gold ones; span F1 is the mean of the
    F1 of cited against gold characters, by place in the document and without white space. SacreBLEU and chrF are of
    the corpus, F1 and ROUGE-L means of the questions. Faithfulness is the mean over answers that do not abstain;
    one that cites nothing, such as a reply to small talk, has no support, and its share is ``uncited``.
    The gate's figures need a confidence: AUROC of telling answerable from unanswerable questions, and the area under
    the curve of `risk`.
    """
    answerable = [outcome for outcome in outcomes if outcome.answerable]
    answered = [outcome for outcome in outcomes if not outcome.abstained]
    gated = [outcome for outcome in outcomes if outcome.confidence is not None]
    precision, recall, balance = abstention(
        [outcome.abstained for outcome in outcomes], [outcome.answerable for outcome in outcomes]
    )
    values: dict[str, float | int | None] = {"questions": len(outcomes), "answerable": len(answerable)}
    for kind in ("passage", "document"):
        ranks = [getattr(outcome, f"{kind}_rank") for outcome in answerable]
        values |= {f"{kind}_r{k}": recall_at(ranks, k) for k in (1, 5, 10)}
        values[f"{kind}_mrr"] = mean_reciprocal_rank(ranks)
    texts = [outcome.answer for outcome in answerable], [outcome.gold for outcome in answerable]
    values |= {
        "span_em": _mean(_exact(outcome) for outcome in answerable),
        "span_f1": _mean(_span_f1(outcome) for outcome in answerable),
        "response_f1": _mean(map(f1, *texts)),
        "rouge_l": _mean(map(rouge_l, *texts)),
        "sacrebleu": sacre_bleu(*texts) if answerable else None,
        "chrf": chrf(*texts) if answerable else None,
        "faithfulness": _mean(faithfulness(outcome.answer, outcome.cited) for outcome in answered),
        "uncited": _mean(not outcome.cited for outcome in answered),
        "abstention_precision": precision,
        "abstention_recall": recall,
        "abstention_f1": balance,
        "gate_auroc": _known(auroc(*_confidences(gated, lambda outcome: outcome.answerable))),
        "risk_coverage_area": _known(risk(gated)[2]),
    }
    values |= {
        "first_token_p50_ms": _percentile([outcome.first_token_ms for outcome in outcomes], 50),
        "total_p50_ms": _percentile([outcome.total_ms for outcome in outcomes], 50),
        "total_p99_ms": _percentile([outcome.total_ms for outcome in outcomes], 99),
    }
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}


def risk(outcomes: Sequence[Outcome]) -> tuple[Any, Any, float]:
    """`metrics.risk_coverage` of the gate: an answer is right when its likeliest sentence overlaps a gold span."""
    gated = [outcome for outcome in outcomes if outcome.confidence is not None]
    return risk_coverage(*_confidences(gated, lambda outcome: outcome.best_is_right))


def _confidences(
    outcomes: Sequence[Outcome], label: Callable[[Outcome], bool]
) -> tuple[list[float], list[bool]]:
    return [outcome.confidence or 0.0 for outcome in outcomes], [label(outcome) for outcome in outcomes]


def _exact(outcome: Outcome) -> bool:
    return outcome.cited_characters == outcome.gold_characters == outcome.common_characters


def _span_f1(outcome: Outcome) -> float:
    return harmonic(outcome.common_characters, outcome.cited_characters, outcome.gold_characters)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None


def _percentile(times: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(times, percent)) if times else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
