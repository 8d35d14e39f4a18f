"""Compresses a GPT-NeoX checkpoint: every linear layer of its blocks becomes a pair of factors, or stays dense.

The paper's method truncates the weights' SVD; the whitened form truncates with the inputs on Korean text in view
(see `compression.methods.svd`). Layers are decomposed once, one at a time; then one pool of all their directions
decides the ranks, and the result is written tensor by tensor. The embedding, the norms and the head stay.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from compression.errors import ModelCorruptError, ModelError, TrainingDataError
from compression.language.calibration import Rows, read_texts, text_rows
from compression.language.compress_report import Layer, Report, write_report
from compression.language.decomposition import DecomposedModel
from compression.language.layout import LINEARS, Shape, dense_shapes, linear_name
from compression.language.source import open_tokenizer
from compression.language.tensors import full_disk_explained, write_tensors
from compression.language.weights import Checkpoint
from compression.methods.ranks import Spectrum, kept_parameters, pooled_ranks, uniform_ranks
from compression.methods.svd import rank_for, relative_error

Floats = NDArray[np.float32]
Ranks = Mapping[str, int | None]

STATE = ".decomposition"
CALIBRATION_TOKENS, CALIBRATION_LENGTH = 32_768, 256


class Method(StrEnum):
    """How weights are factorised."""

    svd = "svd"
    whitened = "whitened"


class Allocation(StrEnum):
    """How a budget of parameters is shared among layers."""

    pooled = "pooled"
    uniform = "uniform"


def compress(
    source: Path,
    out: Path,
    keep: float,
    method: Method = Method.whitened,
    calibrate: Path | None = None,
    allocation: Allocation = Allocation.pooled,
    model: str = "",
    state: Path | None = None,
    tokens: int = CALIBRATION_TOKENS,
) -> Report:
    """Compress a checkpoint folder; a killed run goes on where it was when it is called again.

    Args:
        source: dense checkpoint: config.json, tokenizer.json and safetensors.
        out: folder for the factorised checkpoint and the report; the work in progress is kept in it too.
        keep: share of the linear layers' parameters to keep, in (0, 1].
        method: plain or whitened.
        calibrate: text for whitening, see `calibration.read_texts`; plain truncation needs none.
        allocation: pooled or uniform ranks.
        model: what the report calls the source.
        state: where the decomposition is kept, also afterwards: other shares of the same model then need no new
            one. By default it stands in ``out`` and is removed in the end.
        tokens: of the text that whitening uses; a few times the model's width at least.

    Returns:
        The report, which also stands in ``out`` as JSON, Markdown and PNG.

    Raises:
        ValueError: ``keep`` is outside (0, 1].
        ModelError: the source cannot be compressed, or there is no room for the result.
        TrainingDataError: the calibration text is missing, in another encoding or too short.
    """
    began = time.monotonic()
    rank_for(1, 1, keep)
    checkpoint = Checkpoint(source)
    shapes = dense_shapes(checkpoint)
    tokenizer = _tokenizer(source, checkpoint)
    rows = None if method is Method.svd else calibration_rows(calibrate, tokenizer, tokens)
    dtype = half_or_single(checkpoint)
    _check_place(source, out, checkpoint)
    decomposed = DecomposedModel(checkpoint, state or out / STATE, rows)
    decomposed.run(dtype)
    spectra = decomposed.spectra()
    ranks = choose_ranks(spectra, keep, method, allocation)
    write_checkpoint(source, checkpoint, shapes, decomposed, ranks, out, dtype)
    layers = tuple(_layer(name, spectrum, ranks[name]) for name, spectrum in spectra.items())
    report = Report(
        model=model or source.name,
        method=method.value,
        allocation=allocation.value,
        keep=keep,
        calibration_tokens=0 if rows is None else rows.tokens,
        dense_parameters=sum(spectrum.parameters for spectrum in spectra.values()),
        parameters=kept_parameters(spectra, ranks),
        bytes_before=checkpoint.nbytes,
        bytes_after=Checkpoint(out).nbytes,
        seconds=round(time.monotonic() - began, 1),
        layers=layers,
    )
    write_report(report, out)
    if state is None:
        decomposed.remove()
    return report


def calibration_rows(file: Path | None, tokenizer: Tokenizer, tokens: int = CALIBRATION_TOKENS) -> Rows:
    """The calibration file as rows of tokens.

    Raises:
        TrainingDataError: no file is given, or it cannot be used.
    """
    if file is None:
        raise TrainingDataError(
            "whitened 방식에는 보정할 한국어 글이 필요해요.", "--calibrate로 글 파일을 알려 주세요."
        )
    return text_rows(read_texts(file), tokenizer, max(1, tokens // CALIBRATION_LENGTH), CALIBRATION_LENGTH)


def choose_ranks(
    spectra: Mapping[str, Spectrum], keep: float, method: Method, allocation: Allocation
) -> dict[str, int | None]:
    """A rank for every layer; None stays dense."""
    if allocation is Allocation.uniform:
        return uniform_ranks(spectra, keep)
    return pooled_ranks(spectra, keep, relative=method is Method.svd)


def half_or_single(checkpoint: Checkpoint) -> type[np.floating]:
    """float16 for a checkpoint of 16-bit numbers, else float32."""
    numbers = sum(int(np.prod(shape)) for shape in checkpoint.shapes.values())
    return np.float16 if checkpoint.nbytes < 3 * numbers else np.float32


def write_checkpoint(
    source: Path,
    checkpoint: Checkpoint,
    shapes: Mapping[str, Shape],
    decomposed: DecomposedModel,
    ranks: Ranks,
    out: Path,
    dtype: type[np.floating],
) -> None:
    """Write the factorised checkpoint: ``X.down.weight`` and ``X.up.weight`` in the place of ``X.weight``.

    Args:
        source: folder of the dense checkpoint.
        checkpoint: its tensors.
        shapes: of the tensors to write or to factorise.
        decomposed: the factors, complete.
        ranks: of every linear layer, by full name.
        out: existing folder.
        dtype: float16 or float32.

    Raises:
        ModelError: the disk is full.
    """
    written = _written_shapes(shapes, ranks)
    write_tensors(out / "model.safetensors", written, _tensors(checkpoint, shapes, decomposed, ranks), dtype)
    config = {key: value for key, value in checkpoint.config.items() if key != "torch_dtype"}
    config["dtype"] = np.dtype(dtype).name
    with full_disk_explained():
        (out / "config.json").write_text(
            json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        shutil.copyfile(source / "tokenizer.json", out / "tokenizer.json")


def _written_shapes(shapes: Mapping[str, Shape], ranks: Ranks) -> dict[str, Shape]:
    written: dict[str, Shape] = {}
    for name, shape in shapes.items():
        linear = name.removesuffix(".weight")
        if (rank := ranks.get(linear)) is None:
            written[name] = shape
        else:
            written |= {f"{linear}.down.weight": (rank, shape[1]), f"{linear}.up.weight": (shape[0], rank)}
    return written


def _tensors(
    checkpoint: Checkpoint, shapes: Mapping[str, Shape], decomposed: DecomposedModel, ranks: Ranks
) -> Iterator[tuple[str, Floats]]:
    places = {
        linear_name(block, linear): (block, linear)
        for block in range(decomposed.blocks)
        for linear in LINEARS
    }
    for name in shapes:
        linear = name.removesuffix(".weight")
        if (rank := ranks.get(linear)) is None:
            yield name, checkpoint[name]
        else:
            down, up = decomposed.factors(*places[linear], rank)
            yield f"{linear}.down.weight", down
            yield f"{linear}.up.weight", up


def _layer(name: str, spectrum: Spectrum, rank: int | None) -> Layer:
    error = 0.0 if rank is None else relative_error(spectrum.energy, rank)
    parameters = kept_parameters({name: spectrum}, {name: rank})
    return Layer(name, spectrum.rows, spectrum.columns, rank, parameters, round(error, 5))


def _tokenizer(source: Path, checkpoint: Checkpoint) -> Tokenizer:
    tokenizer = open_tokenizer(source)
    if tokenizer.get_vocab_size() > checkpoint.config["vocab_size"]:
        raise ModelCorruptError("토크나이저가 모델과 맞지 않아요.", "체크포인트를 다시 받아 주세요.")
    return tokenizer


def _check_place(source: Path, out: Path, checkpoint: Checkpoint) -> None:
    """Refuses to overwrite the source, and a disk that cannot hold the factors and the result beside each other."""
    if out.resolve() == source.resolve():
        raise ModelError("원래 모델이 있는 폴더에는 쓸 수 없어요.", "--out으로 다른 폴더를 알려 주세요.")
    with full_disk_explained():
        out.mkdir(parents=True, exist_ok=True)
    needed, free = 2 * checkpoint.nbytes, shutil.disk_usage(out).free
    if free < needed and not (out / STATE).is_dir():
        raise ModelError(
            f"디스크에 자리가 모자라요({free / 1e9:.1f} GB 남음, {needed / 1e9:.1f} GB 필요).",
            "자리를 비우거나 --out으로 다른 디스크를 알려 주세요.",
        )
