from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.evaluation.metrics import (
    abstention,
    auroc,
    chrf,
    f1,
    faithfulness,
    mean_reciprocal_rank,
    ndcg,
    recall,
    recall_at,
    risk_coverage,
    rouge_l,
    sacre_bleu,
)

BOOKS = "책은 한 번에 5권까지 14일 동안 빌릴 수 있어요."
SAME_BOOKS = "책을 14일 동안 5권까지 빌려요."
PARKING = "주차장은 지하에 있습니다."


@pytest.mark.parametrize("text", [BOOKS, PARKING, "네.", "A형 12,000원", "ㅋㅋ"])
def test_an_identical_pair_scores_one_in_every_measure(text: str) -> None:
    assert f1(text, text) == rouge_l(text, text) == faithfulness(text, [text]) == 1
    assert sacre_bleu([text], [text]) == pytest.approx(1) and chrf([text], [text]) == pytest.approx(1)


@given(st.text("가나다라마 12.", min_size=1, max_size=20))
def test_whatever_is_said_twice_is_the_same(text: str) -> None:
    assert f1(text, text) == rouge_l(text, text) == 1


def test_particles_do_not_hide_a_shared_word() -> None:
    # 도서관/은 against 도서관/이: one of two morphemes is shared.
    assert f1("도서관은", "도서관이") == rouge_l("도서관은", "도서관이") == pytest.approx(0.5)


def test_order_matters_to_rouge_alone() -> None:
    assert f1("어른 아이", "아이 어른") == 1 and rouge_l("어른 아이", "아이 어른") == 0.5
    assert 0 < rouge_l(SAME_BOOKS, BOOKS) < f1(SAME_BOOKS, BOOKS) < 1


def test_nothing_in_common_is_nothing() -> None:
    assert f1("사과", "도서관") == rouge_l("사과", "도서관") == f1("", "도서관") == 0
    assert f1("", "?") == 1


def test_corpus_scores_fall_with_a_wrong_answer() -> None:
    golds = [BOOKS, PARKING]
    assert 0 < sacre_bleu([BOOKS, SAME_BOOKS], golds) < 1 and 0 < chrf([BOOKS, SAME_BOOKS], golds) < 1


def test_a_number_that_is_not_cited_is_not_supported() -> None:
    assert faithfulness("요금은 3,000원이에요.", ["요금은 3000원입니다."]) == 1
    assert faithfulness("요금은 4,000원이에요.", ["요금은 3,000원입니다."]) == pytest.approx(2 / 3)
    assert faithfulness("요금은 3,000원이에요.", []) == 0


def test_abstention_counts_the_unanswerable() -> None:
    abstained, answerable = [True, True, False, False], [False, True, False, True]
    assert abstention(abstained, answerable) == (0.5, 0.5, 0.5)
    assert abstention([False], [True]) == (0, 0, 1)


def test_auroc_is_the_chance_to_rank_a_pair_right() -> None:
    assert auroc([0.9, 0.8, 0.1], [True, True, False]) == 1
    assert auroc([0.1, 0.9], [True, False]) == 0
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    assert auroc([0.9, 0.4, 0.6, 0.1], [True, True, False, False]) == 0.75
    assert math.isnan(auroc([0.1], [True]))


def test_risk_rises_with_coverage_when_confidence_is_good() -> None:
    coverage, risk, area = risk_coverage([0.9, 0.8, 0.3, 0.2], [True, True, False, True])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1] and risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert area == pytest.approx((1 / 3 + 1 / 4) / 4)


def test_equal_confidences_are_answered_together() -> None:
    coverage, risk, _ = risk_coverage([0.5, 0.5], [True, False])
    assert coverage.tolist() == [1, 1] and risk.tolist() == [0.5, 0.5]


def test_ranks() -> None:
    ranks = [1, 3, None, 12]
    assert [recall_at(ranks, k) for k in (1, 5, 20)] == [0.25, 0.5, 0.75]
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 3 + 1 / 12) / 4)


def test_ndcg_as_trec_eval_computes_it() -> None:
    gains = {"a": 1.0, "b": 1.0, "c": 0.0}
    ideal = 1 + 1 / math.log2(3)
    assert ndcg(["a", "b"], gains) == pytest.approx(1)
    assert ndcg(["c", "a", "x", "b"], gains) == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert ndcg(["x"] * 10 + ["a"], gains) == 0 == ndcg(["a"], {})
    assert recall(["a", "x"], {"a", "b"}) == 0.5 and recall(["x", "a"], {"a"}, k=1) == 0
