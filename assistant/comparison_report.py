"""The comparison's report: JSON for programs, Markdown with answers side by side and a plot for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

_COLUMNS = (
    "| keep | recipe | bits | MB | of original | perplexity | F1 | of original | ROUGE-L | SacreBLEU | faithful "
    "| tok/s | × original |"
)


def write_report(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write ``comparison.json``, ``comparison.md`` and ``comparison.png``.

    Args:
        folder: existing folder.
        rows: of `comparison.compare`, with ``answers``; the original at every bit width is among them.
        about: the settings.
    """
    text = json.dumps({"about": about, "rows": list(rows)}, ensure_ascii=False, indent=1) + "\n"
    (folder / "comparison.json").write_text(text, encoding="utf-8")
    (folder / "comparison.md").write_text(markdown(rows, about), encoding="utf-8")
    _plot(folder / "comparison.png", rows)


def markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """Table, and answers side by side."""
    lines = [
        f"# {about['source']}: compressed, tuned, quantised",
        "",
        f"Linear layers are compressed; {about['steps']} steps of tuning; {about['turns']} held-out questions;"
        " speed and bytes beside the original at the same bit width, F1 beside the original tuned alike.",
        "",
        _COLUMNS,
        "|---:|---|" + "---:|" * 11,
        *(_line(row, rows) for row in rows),
        "",
        "![F1 and perplexity by size](comparison.png)",
        "",
        "## Answers side by side",
        "",
        *_answers(rows),
    ]
    return "\n".join(lines) + "\n"


def original(row: Row, rows: Sequence[Row], tuned: bool) -> Row:
    """The uncompressed model at a row's bit width: as it is, or tuned (fully where that was done) if the row is."""
    alike = [
        other for other in rows if other["recipe"].startswith("original") and other["bits"] == row["bits"]
    ]
    if tuned and "+" in row["recipe"]:
        wanted = [f"original+{row['recipe'].partition('+')[2]}", "original+full", "original+lora"]
        found = {other["recipe"]: other for other in alike}
        return next((found[name] for name in wanted if name in found), alike[0])
    return alike[0]


def _line(row: Row, rows: Sequence[Row]) -> str:
    plain, tuned = original(row, rows, False), original(row, rows, True)
    cells = [
        f"{row['keep']:g}", row["recipe"], str(row["bits"]), f"{row['bytes'] / 1e6:.2f}",
        f"{row['bytes'] / plain['bytes']:.1%}", f"{row['perplexity']:.1f}", f"{row['grounded_f1']:.4f}",
        f"{row['grounded_f1'] / max(tuned['grounded_f1'], 1e-9):.1%}", f"{row['rouge_l']:.4f}",
        f"{row['sacrebleu']:.4f}", f"{row['faithfulness']:.4f}", f"{row['decode_tokens_per_s']:.1f}",
        f"{row['decode_tokens_per_s'] / max(plain['decode_tokens_per_s'], 1e-9):.2f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _answers(rows: Sequence[Row]) -> list[str]:
    """The first questions with every model's answer at the widest bits."""
    widest = max(row["bits"] for row in rows)
    shown = [row for row in rows if row["bits"] == widest]
    lines = []
    for number, asked in enumerate(shown[0]["answers"]):
        lines += [f"**{asked['question']}**", "", f"- *gold*: {asked['gold']}"]
        lines += [f"- {row['keep']:g} {row['recipe']}: {row['answers'][number]['answer']}" for row in shown]
        lines.append("")
    return lines


def _plot(file: Path, rows: Sequence[Row]) -> None:
    """Grounded F1 and perplexity over the file's size, a line for each recipe and bit width."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2))
    lines = dict.fromkeys((row["recipe"], row["bits"]) for row in rows)
    for number, (recipe, bits) in enumerate(lines):
        own = sorted(
            (row for row in rows if (row["recipe"], row["bits"]) == (recipe, bits)), key=lambda r: r["bytes"]
        )
        style = {"marker": "o", "linestyle": "-" if bits == 8 else "--", "color": f"C{number // 2 % 10}"}
        for place, figure_name in zip(axes, ("grounded_f1", "perplexity"), strict=True):
            sizes, values = [row["bytes"] / 1e6 for row in own], [row[figure_name] for row in own]
            place.plot(sizes, values, label=f"{recipe} {bits} bit", **style)
    axes[0].set(xlabel="MB", ylabel="grounded F1")
    axes[1].set(xlabel="MB", ylabel="perplexity", yscale="log")
    axes[0].legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
