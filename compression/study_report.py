"""The study's report: JSON for programs, a Markdown table and a plot for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Results = Mapping[str, Mapping[str, Any]]

NOTES = (
    "FP16 and FP8 are storage only: weights are widened for each product. FP8 is E4M3 with scale amax / 448.",
    "On a CPU bitsandbytes widens an NF4 weight for every product of more than one row, and its INT8 product needs"
    " AVX-512 to be integer arithmetic; without it the product is done in floating point. Both save memory there,"
    " not time. Its paged optimisers and its kernels for 4-bit products need a GPU.",
    "Peak memory is the process's own high-water mark; training memory is what lies above an interpreter with its"
    " libraries loaded. Freed memory is given back at once (glibc's MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_"
    " of 64 KiB, one arena), for every variant alike; with glibc's defaults what it keeps hides the savings.",
)


def write_report(folder: Path, labels: Mapping[str, str], results: Results, about: Mapping[str, Any]) -> None:
    """Write ``study.json``, ``study.md`` and ``study.png``.

    Args:
        folder: existing folder.
        labels: variant → Korean label; all are compared with the first.
        results: variant → figures of `study_run.Result`, or ``{"error": …}``.
        about: the settings.
    """
    rows = {variant: compared(found, results[next(iter(labels))]) for variant, found in results.items()}
    text = json.dumps({"about": about, "results": results, "compared": rows}, ensure_ascii=False, indent=1)
    (folder / "study.json").write_text(text + "\n", encoding="utf-8")
    (folder / "study.md").write_text(markdown(labels, results, about), encoding="utf-8")
    _plot(folder / "study.png", {name: found for name, found in results.items() if "error" not in found})


def compared(found: Mapping[str, Any], full: Mapping[str, Any]) -> dict[str, float]:
    """A variant beside full tuning: share of training memory saved, and of loss added at equal steps and time."""
    if "error" in found or "error" in full:
        return {}
    return {
        "memory_saved": 1 - found["training_bytes"] / full["training_bytes"],
        "loss_added_at_steps": found["loss_at_steps"] / full["loss_at_steps"] - 1,
        "loss_added_at_time": found["loss_at_time"] / full["loss_at_time"] - 1,
    }


def markdown(labels: Mapping[str, str], results: Results, about: Mapping[str, Any]) -> str:
    """The table as a page."""
    full = results[next(iter(labels))]
    lines = [
        "# LoRA × quantisation",
        "",
        ", ".join(f"{name} {value}" for name, value in about.items()),
        "",
        "| variant | tuned | weights MB | training MB | saved | peak MB | s a step | loss before | equal steps | "
        "Δ | equal time | Δ |",
        "|---|" + "---:|" * 11,
        *(_row(labels[variant], found, compared(found, full), about) for variant, found in results.items()),
        "",
        *(f"- {note}" for note in NOTES),
        "",
        "![loss and memory](study.png)",
    ]
    return "\n".join(lines) + "\n"


def _row(label: str, found: Mapping[str, Any], beside: Mapping[str, float], about: Mapping[str, Any]) -> str:
    if "error" in found:
        return f"| {label} | {found['error']} |" + " |" * 10
    cells = [
        label,
        f"{found['tuned']:,}",
        f"{found['weight_bytes'] / 1e6:,.1f}",
        f"{found['training_bytes'] / 1e6:,.1f}",
        f"{beside['memory_saved']:.1%}" if beside else "–",
        f"{found['peak_bytes'] / 1e6:,.1f}",
        f"{found['seconds'] / about['steps']:.2f}",
        f"{found['loss_before']:.4f}",
        f"{found['loss_at_steps']:.4f}",
        f"{beside['loss_added_at_steps']:+.1%}" if beside else "–",
        f"{found['loss_at_time']:.4f} ({found['steps_in_time']})",
        f"{beside['loss_added_at_time']:+.1%}" if beside else "–",
    ]
    return "| " + " | ".join(cells) + " |"


def _plot(file: Path, results: Results) -> None:
    """Held-out loss over steps and over time, and training memory, a colour for each variant."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.8))
    for number, (name, found) in enumerate(results.items()):
        steps, seconds, losses = zip(*found["curve"], strict=True)
        axes[0].plot(steps, losses, label=name)
        axes[1].plot(seconds, losses, label=name)
        axes[2].barh(number, found["training_bytes"] / 1e6)
    axes[0].set(xlabel="step", ylabel="held-out loss (nats a token)")
    axes[1].set(xlabel="training time (s)", ylabel="held-out loss (nats a token)")
    axes[2].set(xlabel="training memory (MB)", yticks=range(len(results)), yticklabels=list(results))
    axes[2].invert_yaxis()
    if results:
        axes[0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
