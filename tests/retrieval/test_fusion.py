from __future__ import annotations

import pytest

from retrieval.fusion import reciprocal_rank_fusion


def test_scores_follow_the_formula() -> None:
    fused = reciprocal_rank_fusion([(1.0, ["a", "b"]), (0.5, ["b", "c"])])
    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 0.5 / 61, "c": 0.5 / 62})


def test_agreement_beats_one_first_place() -> None:
    fused = reciprocal_rank_fusion([(1.0, ["x", "both"]), (1.0, ["y", "both"])])
    assert max(fused, key=fused.__getitem__) == "both"


def test_nothing_gives_nothing() -> None:
    assert reciprocal_rank_fusion([]) == {}
