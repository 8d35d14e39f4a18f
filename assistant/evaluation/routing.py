"""How well messages are routed: on our own held-out lines, and on public sets with adapters on the frozen vector.

Accuracy and macro-F1, out-of-scope AUROC and false positives at 95 % recall, calibration, latency and bytes, for any
encoder folder, so that a teacher, its students and the static encoder stand side by side.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.adapter import Array, softmax
from agents.catalogue import load_catalogue
from agents.contextual import open_encoder
from agents.corpus import similarity_correlation
from agents.encoder import Encoder
from agents.labelled import LabelledSet
from agents.router import OUT_OF_SCOPE, Router
from agents.train_adapter import AdapterRecipe, train_adapter
from agents.train_router import Line, catalogue_lines, collection_questions
from agents.train_router import train as train_router

Labels = NDArray[np.int64]


class Encodes(Protocol):
    """Any sentence encoder.

    Attributes:
        name: for people.
    """

    name: str

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `Encoder.encode`."""


Progress = Callable[[str], None]

_MOST_LINES = 12_000
_RECALL = 0.95
# The vector alone is dense and short: a wider bottleneck, little dropout and decay.
_RECIPE = AdapterRecipe(rank=32, epochs=30, learning_rate=3e-3, decay=0.01, dropout=0.1)


@dataclass(frozen=True)
class Outcome:
    """Predictions on held-out lines of one set.

    Attributes:
        names: the classes.
        labels: int64 [n], the right class.
        scores: float64 [n, classes], probabilities.
        inside: float64 [n], how sure it is that the line is in scope.
        outside: float64 [m], the same for lines that are not.
    """

    names: tuple[str, ...]
    labels: Labels
    scores: NDArray[np.float64]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]

    @property
    def predicted(self) -> Labels:
        """The likeliest class of each line, int64 [n]."""
        best: Labels = self.scores.argmax(axis=1)
        return best


def judge_set(chosen: LabelledSet, encoder: Encodes, recipe: AdapterRecipe = _RECIPE) -> Outcome:
    """Train one adapter on a set's training side, on the frozen vector alone, and predict its held-out side."""
    chooser = np.random.default_rng(0)
    train = [chosen.train[place] for place in chooser.permutation(len(chosen.train))[:_MOST_LINES]]
    names = tuple(sorted({label for _, label in chosen.train}))
    half = len(chosen.outside) // 2
    taught, strange = chosen.outside[:half], chosen.outside[half:]
    vectors = encoder.encode([text for text, _ in train] + list(taught))
    allowed = np.zeros((len(vectors), len(names) + 1), dtype=np.bool_)
    allowed[np.arange(len(train)), [names.index(label) for _, label in train]] = True
    allowed[len(train) :, -1] = True
    adapter = train_adapter(vectors, allowed, np.ones(len(vectors), np.float32), recipe)
    labels = np.array([names.index(label) for _, label in chosen.test], dtype=np.int64)
    logits = adapter.logits(encoder.encode([text for text, _ in chosen.test]))
    empty = np.zeros(0)
    return Outcome(
        names,
        labels,
        softmax(logits[:, :-1]).astype(np.float64),
        _scope(logits) if strange else empty,
        _scope(adapter.logits(encoder.encode(strange))) if strange else empty,
    )


def _scope(logits: Array) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = (1 - softmax(logits)[:, -1]).astype(np.float64)
    return probabilities


def router_of(encoder: Encoder, data: Path | None, embedded: bool) -> Router:
    """The embedded router, or for another encoder one trained now in a folder that is thrown away."""
    if embedded:
        return Router.load(encoder)
    with tempfile.TemporaryDirectory() as folder:
        train_router(Path(folder), encoder, data)
        return Router.load(encoder, Path(folder))


def judge_router(router: Router, lines: Sequence[Line], tick: Progress = lambda _: None) -> Outcome:
    """Predict the agents of lines; those of ``out_of_scope`` are what must be told apart."""
    scores = []
    for line in lines:
        scores.append(router.route(line.text).agents)
        tick("route")
    names = tuple(scores[0])
    table = np.array([[row[name] for name in names] for row in scores])
    labels = np.array([names.index(line.agent) for line in lines], dtype=np.int64)
    in_scope = 1 - table[:, names.index(OUT_OF_SCOPE)]
    outside = labels == names.index(OUT_OF_SCOPE)
    return Outcome(names, labels, table, in_scope[~outside], in_scope[outside])


def held_out_lines() -> list[Line]:
    """The catalogue's held-out lines of every agent."""
    return catalogue_lines(load_catalogue(), "test")


def document_questions() -> list[Line]:
    """Held-out questions about the project's own documents: none may be lost to a tool."""
    return [Line(text, "documents") for text in collection_questions(held_out=True)]


def figures(outcome: Outcome) -> dict[str, Any]:
    """Shares in [0, 1] of one set.

    Returns:
        ``lines``, ``accuracy``, ``macro_f1``, ``calibration_error`` and, where out-of-scope lines are held out,
        ``out_of_scope_auroc`` and ``out_of_scope_fpr95``; ``classes`` has each class's accuracy.
    """
    right = outcome.predicted == outcome.labels
    classes = {
        name: round(float(right[outcome.labels == place].mean()), 4)
        for place, name in enumerate(outcome.names)
        if (outcome.labels == place).any()
    }
    values: dict[str, Any] = {
        "lines": len(right),
        "accuracy": round(float(right.mean()), 4),
        "macro_f1": round(macro_f1(outcome.predicted, outcome.labels), 4),
        "calibration_error": round(calibration_error(outcome.scores.max(axis=1), right), 4),
        "classes": classes,
    }
    if len(outcome.outside):
        values["out_of_scope_auroc"] = round(auroc(outcome.inside, outcome.outside), 4)
        values["out_of_scope_fpr95"] = round(false_positives(outcome.inside, outcome.outside), 4)
    return values


def macro_f1(predicted: Labels, labels: Labels) -> float:
    """Mean over the classes that occur of 2·tp / (2·tp + fp + fn)."""
    scores = []
    for name in np.unique(labels):
        hits = np.sum((predicted == name) & (labels == name))
        scores.append(2 * hits / (np.sum(predicted == name) + np.sum(labels == name)))
    return float(np.mean(scores))


def auroc(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """Probability that a line in scope scores above one that is not, ties counting half (Mann & Whitney 1947)."""
    ranked = np.sort(outside)
    below = np.searchsorted(ranked, inside, "left")
    through = np.searchsorted(ranked, inside, "right")
    return float(((below + through) / 2).mean() / len(ranked))


def false_positives(
    inside: NDArray[np.float64], outside: NDArray[np.float64], recall: float = _RECALL
) -> float:
    """Share of out-of-scope lines let in by the threshold that lets ``recall`` of the others in."""
    threshold = np.quantile(inside, 1 - recall)
    return float(np.mean(outside >= threshold))


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over ten bins (Guo et al. 2017)."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    return float(sum(abs((right[bins == b] - confidence[bins == b]).sum()) for b in range(10)) / len(right))


def latency(router: Router, lines: Sequence[Line]) -> dict[str, float]:
    """Milliseconds a message, all agents together: median and 99th percentile."""
    router.route(lines[0].text)
    times = []
    for line in lines:
        start = time.perf_counter()
        router.route(line.text)
        times.append((time.perf_counter() - start) * 1e3)
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def size_of(folder: Path) -> int:
    """Bytes of a model folder, without its card."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file() and path.suffix != ".md")


def encoder_of(place: str) -> tuple[Encodes, int]:
    """An encoder with its bytes.

    Args:
        place: an encoder's folder, a run of ``damso train teacher``, or any sentence-transformers model by folder or
            hub id (whose bytes are 0 when it is not a folder).

    Raises:
        ModelError: the folder's files are damaged.
    """
    folder = Path(place)
    if (folder / "encoder.safetensors").is_file():
        return open_encoder(folder), size_of(folder)
    from agents.train_student import SentenceTransformerEncoder, TeacherEncoder
    from agents.train_teacher import SENTENCES, TEACHER

    if (folder / TEACHER).is_file():
        return TeacherEncoder(folder, Encoder.load()), _bytes(folder / SENTENCES)
    return SentenceTransformerEncoder(place), _bytes(folder)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def judge_encoder(
    encoder: Encodes, size: int, data: Path, sets: Sequence[LabelledSet], tick: Progress = lambda _: None
) -> dict[str, Any]:
    """Figures of an encoder alone, with adapters that see its vector and nothing else.

    Args:
        encoder: the encoder.
        size: its bytes.
        data: the data folder, for KorSTS.
        sets: public sets.
        tick: told of every set done.

    Returns:
        ``name``, ``bytes``, ``p50_ms`` and ``p99_ms`` of encoding one message, ``korsts_dev_spearman``, and ``sets``
        with `figures` of each.
    """
    judged = {}
    for each in sets:
        judged[each.name] = figures(judge_set(each, encoder))
        tick(each.name)
    texts = [text for each in sets for text, _ in each.test[:100]]
    times = [_milliseconds(encoder, text) for text in texts]
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "name": encoder.name,
        "bytes": size,
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "korsts_dev_spearman": similarity_correlation(encoder.encode, data),
        "sets": judged,
    }


def _milliseconds(encoder: Encodes, text: str) -> float:
    start = time.perf_counter()
    encoder.encode([text])
    return (time.perf_counter() - start) * 1e3


def retained(teacher: dict[str, Any], student: dict[str, Any]) -> dict[str, float]:
    """What a student keeps of its teacher: the share of each set's accuracy, and of the bytes."""
    shares = {
        name: round(figures["accuracy"] / max(teacher["sets"][name]["accuracy"], 1e-9), 4)
        for name, figures in student["sets"].items()
    }
    return {**shares, "bytes": round(student["bytes"] / max(teacher["bytes"], 1), 4)}


def reliability_diagram(outcome: Outcome, path: Path) -> None:
    """Accuracy against confidence in ten bins, with the share of lines in each, as PNG."""
    plot = _plot()
    confidence, right = outcome.scores.max(axis=1), outcome.predicted == outcome.labels
    bins = np.minimum((confidence * 10).astype(int), 9)
    filled = [b for b in range(10) if (bins == b).any()]
    figure, axes = plot.subplots(figsize=(4.5, 4.5))
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    axes.bar([b / 10 + 0.05 for b in filled], [np.mean(bins == b) for b in filled], width=0.09, color="0.85")
    points = [(confidence[bins == b].mean(), right[bins == b].mean()) for b in filled]
    axes.plot(*zip(*points, strict=True), marker="o", color="#059669")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy (bars: share of lines)")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plot.close(figure)


def confusion_matrix(outcome: Outcome, path: Path) -> None:
    """Counts of predicted against right classes, shaded by row, as PNG."""
    plot = _plot()
    size = len(outcome.names)
    counts = np.zeros((size, size), dtype=int)
    np.add.at(counts, (outcome.labels, outcome.predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plot.subplots(figsize=(0.6 * size + 2, 0.6 * size + 2))
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        shade = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=shade)
    axes.set_xticks(range(size), outcome.names, rotation=45, ha="right")
    axes.set_yticks(range(size), outcome.names)
    axes.set(xlabel="predicted", ylabel="right")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plot.close(figure)


def _plot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
