"""Fits the sentence model and the evidence gate on questions people asked of encyclopedia and public-service texts.

Small collections ("worlds") are indexed as a person's documents would be. A part of the passages is left out, so
that the questions about them become near misses: the same topic is there, the answer is not. The sentence model
learns which sentence holds the answer; the gate learns whether the best sentence does. Both are scored on worlds
that were not fitted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.encoder import Encoder
from assistant.context import context_of
from assistant.evaluation.samples import packed
from assistant.evaluation.worlds import worlds
from assistant.grounding import (
    Candidate,
    ConditionalLogit,
    Linear,
    Logistic,
    Question,
    gate_features,
    relative,
    sentence_features,
)
from assistant.history import Message
from assistant.lookup import look_up
from compression.language.collections import Asked, Collection, dialogue_collections
from retrieval.index import Index

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """What the search gave for one question.

    Attributes:
        candidates: sentences with their features.
        right: which of them hold the answer.
        weights: the index's idf of the question's terms as it was then.
    """

    question: Question
    candidates: list[Candidate]
    right: NDArray[np.bool_]
    weights: dict[str, float]

    def idf(self, terms: Sequence[str]) -> Floats:
        """The remembered weights, so that this stands in for the index."""
        return np.array([self.weights[term] for term in terms], np.float64)


def observe(world: Collection, encoder: Encoder) -> Iterator[Observed]:
    """Asks every question of a collection's index."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        for name, text in world.documents.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        with Index.open(Path(home), encoder) as index:
            index.ingest([Path(folder)])
            ids = {document.name: document.id for document in index.documents()}
            for asked in world.questions:
                if (observed := _observed(asked, ids, index, encoder)) is not None:
                    yield observed


def _observed(asked: Asked, ids: dict[str, str], index: Index, encoder: Encoder) -> Observed | None:
    """One question; earlier turns are taken to have been answered from its document."""
    outcome = {"sources": [{"document_id": ids[asked.document]}]} if asked.document in ids else None
    earlier = [
        message
        for q in asked.history
        for message in (Message("user", q, None, 0), Message("assistant", "", outcome, 0))
    ]
    context = context_of(asked.question, earlier)
    question, hits = look_up(asked.question, context, index, encoder)
    candidates = sentence_features(question, hits, index, encoder)
    if not candidates:
        return None
    weights = dict(zip(question.terms, index.idf(question.terms).tolist(), strict=True))
    return Observed(question, candidates, _right(asked, candidates), weights)


def _right(asked: Asked, candidates: Sequence[Candidate]) -> NDArray[np.bool_]:
    """Which candidates hold one of the answers, or are part of it."""
    answers = [packed(answer) for answer in asked.answers]
    texts = [packed(c.text) if c.hit.passage.document == asked.document else "" for c in candidates]
    return np.array([any(a in t or (len(t) > 8 and t in a) for a in answers) for t in texts], np.bool_)


def _fit_answerable(features: Floats, labels: NDArray[np.bool_]) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced")
    model.fit((features - mean) / scale, labels)
    return Logistic(mean, scale, model.coef_[0], float(model.intercept_[0]))


def _fit_sentences(seen: Sequence[Observed]) -> ConditionalLogit:
    """Maximum likelihood of a right candidate, or of none where there is none, by L-BFGS."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    features = np.concatenate([relative(np.stack([c.features for c in o.candidates])) for o in seen])
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    inputs = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    right = np.concatenate([o.right for o in seen])
    sizes = np.array([len(o.candidates) for o in seen])
    starts, question = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(seen)), sizes)

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = inputs @ weights
        highest = np.maximum(np.maximum.reduceat(scores, starts), 0)
        exponents = np.exp(scores - highest[question])
        total = np.add.reduceat(exponents, starts) + np.exp(-highest)
        good = np.add.reduceat(exponents * right, starts)
        wanted = np.where(good > 0, good, np.exp(-highest))
        chosen = exponents * right / np.where(good > 0, good, 1)[question]
        gradient = inputs.T @ (exponents / total[question] - chosen) / len(seen) + 2e-4 * weights
        return float(np.mean(np.log(total / wanted)) + 1e-4 * weights @ weights), gradient

    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return ConditionalLogit(mean, scale, found[:-1], float(found[-1]))


def _ranked(observed: Observed, model: ConditionalLogit) -> tuple[list[Candidate], NDArray[np.bool_]]:
    probabilities = model(np.stack([c.features for c in observed.candidates]))
    order = np.argsort(-probabilities, kind="stable")
    scored = [
        replace(candidate, probability=float(probability))
        for candidate, probability in zip(observed.candidates, probabilities, strict=True)
    ]
    return [scored[i] for i in order], observed.right[order]


def _gate_rows(seen: Sequence[Observed], model: ConditionalLogit) -> tuple[Floats, NDArray[np.bool_]]:
    rows, labels = [], []
    for observed in seen:
        candidates, right = _ranked(observed, model)
        rows.append(gate_features(observed.question, candidates, observed))
        labels.append(bool(right[0]))
    return np.stack(rows), np.array(labels)


def fit(data: Path, out: Path, seed: int = 1, threshold: float = 0.4) -> dict[str, float]:
    """Fits both models and writes ``config.json`` with the figures on the dev dialogues.

    Args:
        data: folder of training data.
        out: folder of the gate, e.g. ``models/gate``.
        seed: of the collections.
        threshold: probability from which the assistant answers.

    Returns:
        ``sentence_accuracy`` (best sentence right, of questions whose answer was found), ``gate_auroc``.
    """
    encoder = Encoder.load()
    fitted, held_out = worlds(data, seed), list(dialogue_collections("dev"))
    bar = tqdm([*fitted, *held_out], unit="collection")
    observed = [list(observe(collection, encoder)) for collection in bar]
    train, test = sum(observed[: len(fitted)], []), sum(observed[len(fitted) :], [])
    sentence = _fit_sentences(train)
    answerable = _fit_answerable(*_gate_rows(train, sentence))
    figures = _figures(test, sentence, answerable)
    values = {"sentence": _numbers(sentence), "answerable": _numbers(answerable)}
    out.mkdir(parents=True, exist_ok=True)
    config = {**values, "threshold": threshold, "figures": figures}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return figures


def _figures(test: Sequence[Observed], sentence: ConditionalLogit, answerable: Logistic) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    rows, labels = _gate_rows(test, sentence)
    found = [o for o in test if o.right.any()]
    firsts = [bool(_ranked(o, sentence)[1][0]) for o in found]
    return {
        "questions": len(test),
        "sentence_accuracy": round(float(np.mean(firsts)), 4),
        "gate_auroc": round(float(roc_auc_score(labels, answerable(rows))), 4),
    }


def _numbers(model: Linear) -> dict[str, Any]:
    rounded = {key: [round(float(v), 6) for v in getattr(model, key)] for key in ("mean", "scale", "weights")}
    return {**rounded, "bias": round(model.bias, 6)}
