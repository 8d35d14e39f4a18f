"""Pictures of a report: SVG drawn here, so that a page needs nothing but itself, and one PNG by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#64748b")
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def bars(series: Mapping[str, Sequence[float]], groups: Sequence[str]) -> str:
    """Grouped bars of values in [0, 1].

    Args:
        series: a label and one value a group.
        groups: labels below the bars.

    Returns:
        An ``<svg>`` element.
    """
    height, group, left, top = 180, 24 * max(len(series), 1) + 24, 36, 12
    width = left + group * len(groups) + 8
    parts = [_grid(left, top, width - left - 8, height)]
    for column, label in enumerate(groups):
        x = left + group * column + 12
        for row, values in enumerate(series.values()):
            tall = height * min(max(values[column], 0.0), 1.0)
            parts.append(
                f'<rect x="{x + 24 * row}" y="{top + height - tall:.1f}" width="20" height="{tall:.1f}" '
                f'fill="{COLOURS[row % len(COLOURS)]}"><title>{escape(label)} {values[column]:.3f}</title></rect>'
            )
        middle = x + 12 * len(series)
        parts.append(
            f'<text x="{middle}" y="{top + height + 18}" text-anchor="middle">{escape(label)}</text>'
        )
    return _svg(width, top + height + 28, parts)


def curve(points: Curve, mark: tuple[float, float] | None, labels: tuple[str, str]) -> str:
    """A curve in the unit square.

    Args:
        points: x and y, float64 [n] each.
        mark: a point to show on it.
        labels: of the x and the y axis.

    Returns:
        An ``<svg>`` element.
    """
    width, height, left, top = 320, 240, 48, 12
    line = " ".join(
        f"{left + width * x:.1f},{top + height * (1 - y):.1f}" for x, y in zip(*points, strict=True)
    )
    parts = [
        _grid(left, top, width, height),
        f'<polyline points="{line}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>',
        f'<text x="{left + width / 2}" y="{top + height + 34}" text-anchor="middle">{escape(labels[0])}</text>',
        f'<text x="14" y="{top + height / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {top + height / 2})">{escape(labels[1])}</text>',
        *(
            f'<text x="{left + width * x}" y="{top + height + 16}" text-anchor="middle">{x}</text>'
            for x in (0, 0.5, 1)
        ),
    ]
    if mark is not None:
        x, y = left + width * mark[0], top + height * (1 - mark[1])
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{COLOURS[1]}"/>')
    return _svg(left + width + 16, top + height + 44, parts)


def _grid(left: float, top: float, width: float, height: float) -> str:
    lines = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - share)
        lines.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#8884"/>')
        lines.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{share}</text>')
    return "".join(lines)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" role="img">{"".join(parts)}</svg>'
    )


def risk_coverage_png(path: Path, points: Curve, mark: tuple[float, float] | None, area: float) -> None:
    """Writes the risk–coverage curve as a picture of 1200 × 900 pixels; its labels are English for want of fonts.

    Args:
        path: of the PNG.
        points: coverage and risk, float64 [n] each.
        mark: where the present threshold stands.
        area: under the curve, for the title.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.plot(*points, color=COLOURS[0], drawstyle="steps-post", label="gate")
    axes.axhline(points[1][-1], color=COLOURS[-1], linestyle=":", label="answering everything")
    if mark is not None:
        axes.plot(*mark, "o", color=COLOURS[1], label="present threshold")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="coverage: share of questions answered")
    axes.set(ylabel="risk: share of answers on a wrong sentence", title=f"Risk–coverage, area {area:.3f}")
    axes.legend()
    figure.savefig(path)
