"""Lists that teach the reader what is said in other words: one expression, its paraphrase, and look-alikes.

From public sets of paraphrases, inferences and requests, and from our own thesaurus. Look-alikes share words
(TF-IDF neighbours) or, for single expressions, lie close in the morpheme vectors.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.evaluation.reading import List
from assistant.reading import Text, pack
from compression.language.collections import OWN
from compression.language.corpus import read_jsonl
from compression.reading.vectors import MORPHEMES
from retrieval.morphology import tagged_morphemes
from retrieval.thesaurus import read_groups

Floats = NDArray[np.float32]

_LOOK_ALIKES = 5
_SHARE = {"sets": 0.6, "requests": 0.5}
_NO_ANSWER = 0.15
_BESIDE = 25


def paraphrase_lists(data: Path, vectors: Floats, seed: int) -> list[List]:
    """All lists, in random order.

    Args:
        data: folder of training data.
        vectors: float32 [MORPHEMES, dimension].
        seed: of the choice.
    """
    rng = random.Random(seed)
    groups = list(read_groups(OWN / "thesaurus"))
    lists = [
        *_sets(data, rng),
        *_inferences(data),
        *_requests(data, rng),
        *_expressions(groups, vectors, rng),
    ]
    rng.shuffle(lists)
    return lists


def _list(query: str, candidates: Sequence[str], right: Sequence[bool]) -> List:
    return List.of(pack(query, (), {}, [Text("", candidate, "", "") for candidate in candidates]), right)


def _sets(data: Path, rng: random.Random) -> Iterator[List]:
    """Ten ways to say the same, of ParaKQC and StyleKQC."""
    rows = [row["columns"][2] for row in read_jsonl(data / "pairs" / "parakqc.jsonl.xz")]
    styled = (row for row in read_jsonl(data / "intent" / "stylekqc.jsonl.xz") if row["split"] == "train")
    rows += [row["text"] for row in styled]
    neighbours = _neighbours(rows, rows, 3 * _BESIDE)
    for i, (text, near) in enumerate(zip(rows, neighbours, strict=True)):
        if rng.random() > _SHARE["sets"]:
            continue
        same = [other for other in rows[i // 10 * 10 : i // 10 * 10 + 10] if other != text]
        wrong = [rows[j] for j in near if j // 10 != i // 10]
        wrong = rng.sample(wrong, min(_LOOK_ALIKES, len(wrong)))
        right = [] if rng.random() < _NO_ANSWER and wrong else same[:1] and [rng.choice(same)]
        if right or wrong:
            yield _list(text, right + wrong, [True] * len(right) + [False] * len(wrong))


def _inferences(data: Path) -> Iterator[List]:
    """KLUE-NLI: a hypothesis is answered by the premise that entails it, by no other."""
    rows: list[dict[str, Any]] = list(read_jsonl(data / "pairs" / "klue_nli_train.jsonl.xz"))
    premises = [row["premise"] for row in rows]
    neighbours = _neighbours(premises, [row["hypothesis"] for row in rows], 6)
    for row, near in zip(rows, neighbours, strict=True):
        others = sorted({premises[j] for j in near} - {row["premise"]})[:3]
        right = [row["label"] == "entailment"] + [False] * len(others)
        yield _list(row["hypothesis"], [row["premise"], *others], right)


def _requests(data: Path, rng: random.Random) -> Iterator[List]:
    """sae4k: what a request is about."""
    rows = [
        row for row in read_jsonl(data / "intent" / "sae4k.jsonl.xz") if rng.random() < _SHARE["requests"]
    ]
    arguments = list(dict.fromkeys(row["argument"] for row in rows))
    neighbours = _neighbours(arguments, [row["text"] for row in rows], 8)
    for row, near in zip(rows, neighbours, strict=True):
        wrong = [arguments[j] for j in near if arguments[j] != row["argument"]][:_LOOK_ALIKES]
        yield _list(row["text"], [row["argument"], *wrong], [True] + [False] * len(wrong))


def _expressions(groups: Sequence[Sequence[str]], vectors: Floats, rng: random.Random) -> Iterator[List]:
    """Our thesaurus: members of a group against expressions with like vectors."""
    member_of: dict[str, set[int]] = defaultdict(set)
    for number, group in enumerate(groups):
        for member in group:
            member_of[member].add(number)
    expressions = list(member_of)
    neighbours = _nearest(np.stack([_vector(expression, vectors) for expression in expressions]), _BESIDE)
    for expression, near in zip(expressions, neighbours, strict=True):
        numbers = member_of[expression]
        same = sorted({member for number in numbers for member in groups[number]} - {expression})
        wrong = [other for other in (expressions[j] for j in near) if not member_of[other] & numbers]
        if same:
            others = [*rng.sample(wrong, min(_LOOK_ALIKES - 1, len(wrong))), rng.choice(expressions)]
            others = [other for other in others if other not in same and other != expression]
            yield _list(expression, [rng.choice(same), *others], [True] + [False] * len(others))


def _neighbours(texts: Sequence[str], queries: Sequence[str], count: int) -> NDArray[np.int64]:
    """For each query the texts that share most words with it, int64 [queries, count]."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer=lambda text: [m.form for m in tagged_morphemes(text)], sublinear_tf=True
    )
    matrix = vectorizer.fit_transform(texts)
    found, rows = [], vectorizer.transform(queries)
    for begin in range(0, rows.shape[0], 1000):
        likeness = (rows[begin : begin + 1000] @ matrix.T).toarray()
        found.append(np.argpartition(-likeness, min(count, len(texts) - 1), axis=1)[:, :count])
    return np.concatenate(found)


def _nearest(vectors: Floats, count: int) -> NDArray[np.int64]:
    """For each vector the most alike ones, int64 [vectors, count]."""
    found = [
        np.argpartition(-(vectors[begin : begin + 1000] @ vectors.T), min(count, len(vectors) - 1), axis=1)[
            :, :count
        ]
        for begin in range(0, len(vectors), 1000)
    ]
    return np.concatenate(found)


def _vector(expression: str, vectors: Floats) -> Floats:
    ids = [morpheme.id for morpheme in tagged_morphemes(expression) if 0 <= morpheme.id < MORPHEMES]
    total = vectors[ids].sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-6), np.float32)
