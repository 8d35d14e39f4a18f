"""Routing: latency of one message and accuracy on the catalogue's held-out lines.

``python -m benchmarks.routing``; the last line is one JSON object.
"""

from __future__ import annotations

import json
import time

import numpy as np

from agents.catalogue import load_catalogue
from agents.encoder import Encoder
from agents.router import Router
from agents.train_router import catalogue_lines, evaluate

REPEATS = 3


def main() -> None:
    """Load the embedded encoder and router, measure, print."""
    start = time.perf_counter()
    router = Router.load(Encoder.load())
    load_ms = (time.perf_counter() - start) * 1e3
    lines = catalogue_lines(load_catalogue(), "test")
    router.route(lines[0].text)
    p50, p99 = np.percentile([_milliseconds(router, line.text) for line in lines * REPEATS], [50, 99])
    figures = {
        "benchmark": "routing",
        "load_ms": round(load_ms, 1),
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        **evaluate(router, lines),
    }
    for name, value in figures.items():
        print(f"{name:>18}  {value}")
    print(json.dumps(figures))


def _milliseconds(router: Router, text: str) -> float:
    start = time.perf_counter()
    router.route(text)
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()
