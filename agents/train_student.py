"""Distils a student out of a teacher: ``damso train student --teacher RUN --data DIR --run DIR``.

A student learns the teacher's vector of a sentence (regression) and how alike the sentences of a batch are
(Kullback–Leibler divergence between softmaxes of the similarity matrices; Tung & Mori 2019, arXiv:1907.09682), each
also for prefixes of its vector (Matryoshka, Kusupati et al. 2022, arXiv:2205.13147). Students: the static rows alone
(the floor), or a narrow transformer over them, whose graph is exported to ONNX in int8.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn

from agents import encoder as static
from agents.contextual import DISTANCES, GRAPH, LONGEST, ContextualEncoder, open_encoder
from agents.encoder import Encoder
from agents.labelled import labelled_sets
from agents.train_encoder import colloquial, supervised
from agents.train_teacher import TEACHER, fit, load_teacher
from agents.transformer import (
    BALLAST,
    SentenceModel,
    Shape,
    bucket,
    padded,
    save_sentence_transformer,
    starting_rows,
)

Teach = Callable[[Sequence[str]], NDArray[np.float32]]
"""The teacher: texts → float32 [n, dimension], rows of length 1."""

ENCODER, FLOAT, SENTENCES = "encoder", "encoder-float", "sentence-transformer"
_SAMPLE = 20_000


@dataclass(frozen=True)
class StudentRecipe:
    """How a student is distilled.

    Attributes:
        shape: of the model; without layers it is static, and its width and dimension are the static encoder's.
        steps: optimiser steps.
        batch: sentences a step.
        longest: subwords of a sentence that are read in training.
        learning_rate: Adam's peak rate for the blocks; rows get a tenth.
        temperature: of the similarity matrices.
        prefixes: lengths of the vector's prefixes that learn too, beside the whole.
        seed: of everything random.
    """

    shape: Shape
    steps: int = 3000
    batch: int = 128
    longest: int = 48
    learning_rate: float = 2e-3
    temperature: float = 0.05
    prefixes: tuple[int, ...] = (64, 128)
    seed: int = 0


PRESETS = {
    "tiny": StudentRecipe(
        Shape(width=8, heads=2, layers=1, inner=16, dimension=8), steps=6, batch=8, prefixes=(4,)
    ),
    "static": StudentRecipe(Shape(width=257, heads=1, layers=0, dimension=257), learning_rate=5e-2),
    "small": StudentRecipe(Shape(width=128, heads=4, layers=2, inner=384, dimension=256)),
    "medium": StudentRecipe(Shape(width=192, heads=6, layers=2, inner=512, dimension=256)),
}


def train(
    data: Path, run: Path, encoder: Encoder, teach: Teach, recipe: StudentRecipe, minutes: float | None = None
) -> dict[str, Any]:
    """Distil a student, or go on with it, and export it.

    Args:
        data: the data folder; no held-out side of a labelled set is read.
        run: gets ``checkpoint.safetensors``, ``encoder`` (int8), ``encoder-float`` and ``sentence-transformer``.
        encoder: static; gives vocabulary and the start.
        teach: the teacher.
        recipe: sizes and rates.
        minutes: stop after so long; None goes to the end.

    Returns:
        ``step``, ``steps``, the last ``loss``, ``teacher_cosine`` (mean over held-back sentences), ``bytes``.

    Raises:
        TrainingDataError: a file of ``data`` is missing or malformed, or ``run`` has another model's checkpoint.
    """
    chooser = random.Random(recipe.seed)
    torch.manual_seed(recipe.seed)
    sentences = training_sentences(data, chooser)
    held_back, sentences = sentences[:256], sentences[256:]
    shape = recipe.shape
    rows = starting_rows(encoder, shape.width, sentences[:_SAMPLE])
    model = SentenceModel(rows, shape)
    lengths = [length for length in recipe.prefixes if length < shape.dimension]
    wanted = teach(sentences[:2]).shape[1]
    maps = nn.ModuleDict(
        {str(length): nn.Linear(length, wanted, bias=False) for length in [*lengths, shape.dimension]}
    )
    tokens = encoder.tokenize(sentences)

    def loss_of(step: int) -> Tensor:
        chosen = np.random.default_rng((recipe.seed, step)).integers(0, len(sentences), recipe.batch)
        target = torch.from_numpy(teach([sentences[n] for n in chosen]))
        vectors = model(*padded([tokens[n][: recipe.longest] for n in chosen]))
        return distillation(vectors, target, maps, recipe.temperature)

    figures: dict[str, Any] = fit(
        nn.ModuleDict({"model": model, "maps": maps}),
        run,
        recipe.steps,
        recipe.learning_rate,
        loss_of,
        minutes,
    )
    name = f"damso-student-{shape.width}x{shape.layers}"
    export(model.eval(), encoder, name, run)
    with torch.no_grad():
        vectors = open_encoder(run / ENCODER).encode(held_back)
        whole = np.pad(
            vectors, ((0, 0), (0, shape.dimension - vectors.shape[1]))
        )  # a static one has no ballast
        mapped = F.normalize(maps[str(shape.dimension)](torch.from_numpy(whole)), dim=1)
    cosine = (mapped.numpy() * teach(held_back)).sum(1).mean()
    size = sum(path.stat().st_size for path in (run / ENCODER).iterdir())
    return {**figures, "teacher_cosine": round(float(cosine), 4), "bytes": size}


def distillation(vectors: Tensor, target: Tensor, maps: Any, temperature: float) -> Tensor:
    """Regression through a linear map and divergence of similarities, for the vector and its prefixes.

    Args:
        vectors: float32 [n, dimension], of the student.
        target: float32 [n, teacher's dimension], rows of length 1.
        maps: length of a prefix → its linear map to the teacher's dimension.
        temperature: divides the cosines before the softmax.
    """
    itself = torch.eye(len(target), dtype=torch.bool)
    wanted = F.softmax((target @ target.T / temperature).masked_fill(itself, -1e4), 1)
    total = vectors.new_zeros(())
    for length, project in maps.items():
        head = F.normalize(vectors[:, : int(length)], dim=1)
        regression = (F.normalize(project(head), dim=1) - target).square().sum(1).mean()
        alike = F.log_softmax((head @ head.T / temperature).masked_fill(itself, -1e4), 1)
        total = total + regression + F.kl_div(alike, wanted, reduction="batchmean")
    return total / len(maps)


def training_sentences(data: Path, chooser: random.Random) -> list[str]:
    """Both sides of every pair, training utterances of the labelled sets, reviews and small talk, shuffled."""
    sets = labelled_sets(data)
    texts = [text for source in supervised(data, chooser) for text in (*source.anchors, *source.positives)]
    texts += [text for each in sets for text, _ in each.train]
    texts += [text for each in sets for text in each.outside[: len(each.outside) // 2]]
    texts += colloquial(data, chooser)
    held_out = {text for each in sets for text, _ in each.test}
    kept = sorted({text for text in texts if text} - held_out)
    chooser.shuffle(kept)
    return kept


def export(model: SentenceModel, encoder: Encoder, name: str, run: Path) -> None:
    """Write a student as an encoder in int8 and in float, and as a sentence-transformers folder.

    Args:
        model: the student.
        encoder: whose tokenizer it has.
        name: of the student.
        run: gets the three folders; a static one has no float form.
    """
    if not model.shape.layers:
        rows = model.rows.weight.detach()
        # What the last norm does to a row beside the ballast.
        rows = rows * torch.rsqrt(rows.square().sum(1, keepdim=True) + BALLAST**2)
        static.save(run / ENCODER, name, encoder.tokenizer, rows.numpy(), _unknown(encoder))
        save_static(rows, encoder, run / SENTENCES)
        return
    for folder, quantized in ((run / FLOAT, False), (run / ENCODER, True)):
        export_contextual(model, encoder, name, folder, quantized)
    save_sentence_transformer(model, encoder.tokenizer, run / SENTENCES)


def _unknown(encoder: Encoder) -> str:
    return str(encoder.tokenizer.id_to_token(0))


def export_contextual(
    model: SentenceModel, encoder: Encoder, name: str, folder: Path, quantized: bool
) -> ContextualEncoder:
    """Write a transformer for `agents.contextual`; its rows are 8-bit in any case.

    Args:
        model: at least one layer.
        encoder: whose tokenizer it has.
        name: of the model.
        folder: made when missing.
        quantized: whether the matrices are int8, a scale an output channel.
    """
    static.save(folder, name, encoder.tokenizer, model.rows.weight.detach().numpy(), _unknown(encoder))
    with torch.no_grad():
        apart = torch.arange(-LONGEST + 1, LONGEST)
        distances = model.distances(bucket(apart)).T.contiguous().numpy()
    save_file({"distances": distances}, folder / DISTANCES)
    plain = folder / (f"float-{GRAPH}" if quantized else GRAPH)
    _write_graph(model, plain)
    if quantized:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # Seven bits: processors without VNNI add pairs of products in sixteen.
        options: dict[str, Any] = {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True}
        with _quiet():
            quantize_dynamic(plain, folder / GRAPH, op_types_to_quantize=["MatMul"], **options)
        plain.unlink()
    return ContextualEncoder.load(folder)


class _Graph(nn.Module):
    """What the graph computes: `SentenceModel.read`."""

    def __init__(self, model: SentenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor, distances: Tensor, mask: Tensor) -> Tensor:
        return self.model.read(vectors, distances, mask)


def _write_graph(model: SentenceModel, path: Path) -> None:
    rows, length = 2, 6
    inputs = (
        torch.rand(rows, length, model.shape.width - 1),
        torch.rand(1, model.shape.heads, length, length),
        torch.ones(rows, length),
    )
    axes = {
        "vectors": {0: "n", 1: "length"},
        "distances": {2: "length", 3: "length"},
        "mask": {0: "n", 1: "length"},
        "vector": {0: "n"},
    }
    with _quiet():
        torch.onnx.export(
            _Graph(model).eval(), inputs, str(path), input_names=["vectors", "distances", "mask"],
            output_names=["vector"], dynamic_axes=axes, dynamo=False,
        )  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """The old exporter and the quantiser warn of newer ones, which need further packages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def save_static(rows: Tensor, encoder: Encoder, folder: Path) -> None:
    """Write static rows as a folder that ``sentence_transformers.SentenceTransformer(folder)`` loads."""
    from safetensors.torch import save_file as save_torch

    place = folder / "0_StaticEmbedding"
    place.mkdir(parents=True, exist_ok=True)
    save_torch({"embedding.weight": rows.contiguous()}, place / "model.safetensors")
    encoder.tokenizer.save(str(place / "tokenizer.json"))
    (folder / "1_Normalize").mkdir(exist_ok=True)
    names = (("0_StaticEmbedding", "StaticEmbedding"), ("1_Normalize", "Normalize"))
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (path, name) in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    (folder / "config_sentence_transformers.json").write_text("{}\n", encoding="utf-8")


def teacher_of(place: str, encoder: Encoder) -> Teach:
    """A teacher by its run's folder, or any sentence-transformers model by folder or hub id."""
    if (Path(place) / TEACHER).is_file():
        return TeacherEncoder(Path(place), encoder).encode
    return SentenceTransformerEncoder(place).encode


class TeacherEncoder:
    """A teacher out of its run's folder."""

    def __init__(self, run: Path, encoder: Encoder) -> None:
        """Load a teacher that started from ``encoder``, whose tokenizer it shares."""
        self._model, self._encoder = load_teacher(run), encoder
        self.name = run.name

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `Encoder.encode`."""
        return self._model.encode(self._encoder.tokenize(texts))


class SentenceTransformerEncoder:
    """Any sentence-transformers model as an encoder, for teaching and for evaluation beside the others."""

    def __init__(self, place: str) -> None:
        """Load a model by folder or hub id."""
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(place, device="cpu")
        self.name = Path(place).name
        self.dimension = int(self.encode(["가"]).shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `Encoder.encode`."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)
