from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.fusion import Ranks, Scores, convex_combination, late_interaction, reciprocal_rank_fusion
from retrieval.index import Index
from tests.retrieval.hashing_encoder import HashingEncoder

DOCUMENTS = {
    "도서관.md": "# 가람 도서관\n\n## 여는 시간\n\n평일에는 아홉 시에 열고 여섯 시에 닫아요.\n\n"
    "## 대출\n\n책은 다섯 권까지 두 주 동안 빌려요.",
    "수영장.md": "# 다온 수영장\n\n## 여는 시간\n\n새벽 여섯 시에 열고 밤 아홉 시에 닫아요.\n\n"
    "## 준비물\n\n수영모를 꼭 써야 해요.",
}


class TokenHashingEncoder(HashingEncoder):
    """Its tokens are words; each word's vector is its bigrams."""

    def token_vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return [self.encode(text.split()) for text in texts]


def floats(values: object) -> NDArray[np.float32]:
    return np.array(values, np.float32)


@pytest.fixture(params=[HashingEncoder, TokenHashingEncoder, None], ids=["vectors", "tokens", "words"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    encoder = request.param() if request.param else None
    with Index.open(tmp_path, encoder, Scores()) as index:
        index.ingest_texts(DOCUMENTS.items())
        yield index


def test_scores_by_rank_and_weight() -> None:
    fused = reciprocal_rank_fusion([(1.0, ["a", "b"]), (0.5, ["b", "c"])], k=10)
    assert fused == pytest.approx({"a": 1 / 11, "b": 1 / 12 + 0.5 / 11, "c": 0.5 / 12})


def test_nothing_to_fuse() -> None:
    assert reciprocal_rank_fusion([(1.0, []), (1.0, [])]) == {}
    assert not len(convex_combination(np.zeros(0, np.float32), np.zeros(0, np.float32), 0.3))


def test_convex_combination_by_hand() -> None:
    combined = convex_combination(floats([4, 2, 0]), floats([0.5, 1, -1]), 0.25)
    assert combined == pytest.approx([0.75 + 0.125, 0.375 + 0.25, 0])
    assert convex_combination(np.zeros(1, np.float32), np.ones(1, np.float32), 0.25) == pytest.approx([0.25])


def test_late_interaction_by_hand() -> None:
    query = floats([[3, 0], [0, 1]])
    passages = [floats([[2, 0], [0, -1]]), np.zeros((0, 2), np.float32), floats([[0, 5], [1, 1]])]
    expected = [(3 * 1 + 1 * 0) / 4, 0, (3 * 0.5**0.5 + 1) / 4]
    assert late_interaction(query, passages) == pytest.approx(expected, abs=1e-6)
    assert late_interaction(query[:0], passages) == pytest.approx([0, 0, 0])
    assert late_interaction(query, passages[1:2]) == pytest.approx([0])


@given(st.integers(0, 2**32 - 1))
def test_a_passage_that_holds_the_whole_query_is_nearest(seed: int) -> None:
    random = np.random.default_rng(seed)
    query = random.normal(size=(3, 8)).astype(np.float32)
    other, more = (random.normal(size=(size, 8)).astype(np.float32) for size in (4, 2))
    scores = late_interaction(query, [other, np.concatenate([more, query])])
    assert scores[1] == pytest.approx(1, abs=1e-5) and -1 <= scores[0] <= scores[1] + 1e-5


def test_search_by_scores_finds_the_passage(index: Index) -> None:
    for question, section in (("수영장은 몇 시에 열어요?", "여는 시간"), ("책은 몇 권 빌려요?", "대출")):
        hits = index.search(question)
        assert hits[0].passage.section == section
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert [hit.passage.id for hit in hits] == index.rankings(question, 50).fused[: len(hits)]
    assert index.search("") == [] or index.search("")[0].lexical_rank is None
    assert index.search("수영장", documents=[]) == []
    assert {hit.passage.document for hit in index.search("여는 시간", documents=["도서관.md"])} == {
        "도서관.md"
    }


def test_context_is_part_of_the_meaning(index: Index) -> None:
    first = index.search("몇 시에 열어요?", context=["다온", "수영장"])[0]
    assert (first.passage.document, first.passage.section) == ("수영장.md", "여는 시간")


def test_by_ranks_context_only_adds_words(tmp_path: Path) -> None:
    with Index.open(tmp_path, HashingEncoder(), Ranks()) as index:
        index.ingest_texts(DOCUMENTS.items())
        assert index.search("수영모를 꼭 써야 해요")[0].score == pytest.approx(1.3 / 6)
        assert index.search("열어요?", context=["수영장"]) == index.search("열어요?", expansion=["수영장"])


def test_tokens_decide_between_equal_passages(tmp_path: Path) -> None:
    near, far = "빌린 책은 무인 반납함에 넣어요.", "빌린 책은 무인 자판기에 넣어요."
    question = "책 반납함"
    with Index.open(tmp_path, TokenHashingEncoder(), Scores(dense=0.0)) as index:
        index.ingest_texts([("나.txt", far), ("가.txt", near)])
        assert index.search(question)[0].passage.text == near
        gap = [hit.score for hit in index.search(question)]
    with Index.open(tmp_path, TokenHashingEncoder(), Scores(dense=0.0, depth=0)) as index:
        without = [hit.score for hit in index.search(question)]
    assert gap[0] > without[0]
