"""The report of a compression: JSON for programs, Markdown and a plot for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from compression.language.layout import LINEARS
from compression.language.tensors import full_disk_explained
from compression.methods.ranks import break_even

REPORT = "compression.json"


@dataclass(frozen=True)
class Layer:
    """One linear layer in the report.

    Attributes:
        name: full name, without ``.weight``.
        rows: output features.
        columns: input features.
        rank: of its factors; None where it stayed dense.
        parameters: that it has now.
        error: relative error of its weight or, when whitened, of its outputs on the calibration text.
    """

    name: str
    rows: int
    columns: int
    rank: int | None
    parameters: int
    error: float


@dataclass(frozen=True)
class Report:
    """What a compression did.

    Attributes:
        model: the name or folder that was asked for.
        method: ``svd`` or ``whitened``.
        allocation: ``pooled`` or ``uniform``.
        keep: wanted share of the linear layers' parameters.
        calibration_tokens: 0 without calibration.
        dense_parameters: of the linear layers before.
        parameters: of the linear layers now.
        bytes_before: of all tensors in the source's files.
        bytes_after: of all tensors in the written file.
        seconds: this run took; a resumed run counts from its own start.
        layers: every linear layer.
    """

    model: str
    method: str
    allocation: str
    keep: float
    calibration_tokens: int
    dense_parameters: int
    parameters: int
    bytes_before: int
    bytes_after: int
    seconds: float
    layers: tuple[Layer, ...]


def write_report(report: Report, folder: Path) -> None:
    """Write ``compression.json``, ``compression.md`` and ``compression.png``.

    Raises:
        ModelError: the disk is full.
    """
    text = json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n"
    with full_disk_explained():
        (folder / REPORT).write_text(text, encoding="utf-8")
        (folder / "compression.md").write_text(markdown(report), encoding="utf-8")
        _plot(report, folder / "compression.png")


def markdown(report: Report) -> str:
    """The report as a page."""
    share = report.parameters / report.dense_parameters
    lines = [
        f"# {report.model}: {report.method}, keep {report.keep:g}",
        "",
        f"- linear layers: {report.dense_parameters:,} → {report.parameters:,} parameters ({share:.1%})",
        f"- tensors: {report.bytes_before:,} → {report.bytes_after:,} bytes"
        f" ({report.bytes_after / report.bytes_before:.1%})",
        f"- ranks: {report.allocation}; calibration tokens: {report.calibration_tokens:,};"
        f" {report.seconds:,.0f} s",
        "",
        "| layer | shape | rank | break-even | parameters | relative error |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [_row(layer) for layer in report.layers]
    return "\n".join(lines) + "\n\n![ranks and errors](compression.png)\n"


def _row(layer: Layer) -> str:
    rank = "dense" if layer.rank is None else f"{layer.rank:,}"
    limit = break_even(layer.rows, layer.columns)
    return (
        f"| {layer.name.removeprefix('gpt_neox.layers.')} | {layer.rows} × {layer.columns} | {rank} | {limit:,} "
        f"| {layer.parameters:,} | {layer.error:.4f} |"
    )


def _plot(report: Report, file: Path) -> None:
    """Kept share of the parameters and relative error over the blocks, a line for each kind of layer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (kept, lost) = pyplot.subplots(1, 2, figsize=(10, 3.6))
    for kind in LINEARS:
        layers = [layer for layer in report.layers if layer.name.endswith(f".{kind}")]
        kept.plot([layer.parameters / (layer.rows * layer.columns) for layer in layers], "o-", label=kind)
        lost.plot([layer.error for layer in layers], "o-", label=kind)
    kept.axhline(report.keep, color="grey", linewidth=0.8)
    kept.set(xlabel="block", ylabel="kept share of parameters", ylim=(0, 1.05))
    lost.set(xlabel="block", ylabel="relative error", ylim=(0, None))
    kept.legend(fontsize="small")
    figure.suptitle(f"{report.model}: {report.method}, keep {report.keep:g}")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
