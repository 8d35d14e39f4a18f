from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import lexical, postings
from retrieval.lexical import BM25

PASSAGES = {1: "가 나 나 다".split(), 5: "나 라".split(), 9: "마 마 마 바 사".split()}


def filled(passages: dict[int, list[str]]) -> BM25:
    index = BM25()
    for chunk_id, terms in passages.items():
        index.add(chunk_id, terms)
    return index


def reference(
    passages: dict[int, list[str]], query: list[str], k1: float = 0.9, b: float = 0.4
) -> dict[int, float]:
    """BM25 as the formula reads, one passage at a time."""
    mean = sum(map(len, passages.values())) / max(len(passages), 1)
    scores = {}
    for chunk_id, terms in passages.items():
        score = 0.0
        for term in query:
            df = sum(term in other for other in passages.values())
            idf = math.log(1 + (len(passages) - df + 0.5) / (df + 0.5))
            tf = Counter(terms)[term]
            score += idf * tf / (tf + k1 * (1 - b + b * len(terms) / mean))
        if score:
            scores[chunk_id] = score
    return scores


def test_scores_follow_the_formula() -> None:
    assert dict(filled(PASSAGES).search(["나", "마", "없는말"], 10)) == pytest.approx(
        reference(PASSAGES, ["나", "마"]), rel=1e-5
    )


_TERMS = st.lists(st.sampled_from("가나다라마"), min_size=1, max_size=6)
_STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "compact", "reload"]), st.integers(0, 9), _TERMS), max_size=40
)


@given(_STEPS, _TERMS)
def test_any_history_equals_a_fresh_index(steps: list[tuple[str, int, list[str]]], query: list[str]) -> None:
    index, passages = BM25(), {}
    for step, chunk_id, terms in steps:
        if step == "add" and chunk_id not in passages:
            index.add(chunk_id, terms)
            passages[chunk_id] = terms
        elif step == "remove":
            index.remove(chunk_id)
            passages.pop(chunk_id, None)
        elif step == "compact":
            index.compact()
        elif step == "reload":
            index = BM25.from_bytes(index.to_bytes())
    assert index.ids == set(passages)
    assert dict(index.search(query, 20)) == pytest.approx(reference(passages, query), rel=1e-4)


def test_compaction_happens_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "_COMPACT_FROM", 3)
    passages = {i: ["가", f"말{i}"] for i in range(50)}
    index = filled(passages)
    for chunk_id in range(0, 50, 2):
        index.remove(chunk_id)
        del passages[chunk_id]
    assert dict(index.search(["말7", "가"], 99)) == pytest.approx(
        reference(passages, ["말7", "가"]), rel=1e-4
    )
    assert len(index) == 25


def test_ties_go_to_the_lower_id_and_top_k_holds() -> None:
    index = filled({i: ["가"] for i in (7, 3, 5)})
    assert [i for i, _ in index.search(["가"], 2)] == [3, 5]
    assert index.search(["가"], 0) == []


def test_only_allowed_passages() -> None:
    index = filled(PASSAGES)
    assert [i for i, _ in index.search(["나"], 9, allowed={5, 77})] == [5]
    assert index.search(["나"], 9, allowed=()) == []


def test_scores_of_given_passages() -> None:
    index = filled(PASSAGES)
    found = dict(index.search(["나"], 9))
    np.testing.assert_allclose(index.scores(["나"], [5, 9, 1, 404]), [found[5], 0, found[1], 0])
    assert index.scores(["나"], []).shape == (0,)


def test_fields_add_their_weight() -> None:
    index = BM25()
    index.add(1, ["가"], {"제목": 0.5})
    index.add(2, ["제목"])
    assert [i for i, _ in index.search(["제목"], 9)] == [2, 1]


def test_query_weights() -> None:
    index = filled({1: ["가"], 2: ["나"]})
    assert [i for i, _ in index.search({"가": 0.3, "나": 1.0}, 9)] == [2, 1]


def test_an_id_cannot_be_added_twice() -> None:
    with pytest.raises(ValueError, match="already"):
        filled(PASSAGES).add(1, [])


def test_idf_falls_with_frequency() -> None:
    often, once, never = filled(PASSAGES).idf(["나", "가", "없는말"])
    assert often < once < never


def drawn(passages: int, seed: int = 0) -> dict[int, list[str]]:
    """Passages whose terms are as unevenly common as words are."""
    random = np.random.default_rng(seed)
    return {
        int(i): [f"말{t}" for t in random.zipf(1.3, 12) if t < 400] or ["말1"]
        for i in random.permutation(passages) * 3
    }


@pytest.mark.parametrize("top_k", [1, 10, 400])
def test_pruning_finds_what_scoring_everything_finds(monkeypatch: pytest.MonkeyPatch, top_k: int) -> None:
    passages = drawn(600)
    index = filled(passages)
    for chunk_id in list(passages)[::7]:
        index.remove(chunk_id)
    for query in (
        {"말1": 1.0, "말2": 1.0, "말9": 1.0},
        {"말1": 1.0, "말3": 0.3, "말50": 2.0, "없음": 1.0},
        {"말1": 1.0},
    ):
        for allowed in (None, list(passages)[::2]):
            monkeypatch.setattr(lexical, "_PRUNED_FROM", 10**9)
            full = index.search(query, top_k, allowed)
            monkeypatch.setattr(lexical, "_PRUNED_FROM", 0)
            pruned = index.search(query, top_k, allowed)
            assert [i for i, _ in pruned] == [i for i, _ in full]
            assert [s for _, s in pruned] == pytest.approx([s for _, s in full], rel=1e-5)


def test_compaction_in_blocks_keeps_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "_BLOCK", 50)
    monkeypatch.setattr(postings, "_TERMS_AT_ONCE", 7)
    monkeypatch.setattr(lexical, "_COMPACT_FROM", 40)
    passages = drawn(400)
    index = filled(passages)
    for chunk_id in list(passages)[::3]:
        index.remove(chunk_id)
        del passages[chunk_id]
    index.compact()
    for query in ("말1", "말7", "말399"):
        assert dict(index.search([query], 999)) == pytest.approx(reference(passages, [query]), rel=1e-4)
    assert all((chunk_id in index) == (chunk_id in passages) for chunk_id in range(1300))


@given(st.lists(st.text(max_size=4), max_size=30), st.text(max_size=4))
def test_any_term_is_found_in_the_sorted_vocabulary(terms: list[str], other: str) -> None:
    index = BM25()
    for number, term in enumerate(terms):
        index.add(number, [term])
    index = BM25.from_bytes(index.to_bytes())
    for term in [*terms, other, "\udc80"]:
        assert {i for i, _ in index.search([term], 99)} == {i for i, t in enumerate(terms) if t == term}
