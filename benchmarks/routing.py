"""Routing: latency, memory, accuracy on the catalogue's held-out lines, and teaching an agent of one's own.

``python -m benchmarks.routing``; the last line is one JSON object. Times depend on what else the machine does: the
``cpu`` figures are processor time of this process, the others the clock's.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from agents import train_personal
from agents.catalogue import load_catalogue
from agents.encoder import Encoder
from agents.personal import PersonalAgents
from agents.router import Router
from agents.train_router import catalogue_lines, evaluate
from tests.agents.test_personal import write_librarian

REPEATS = 3
_MEGABYTE = 2**20


def main() -> None:
    """Load the embedded encoder and router, measure, print."""
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    encoder = Encoder.load()
    router = Router.load(encoder)
    load_ms = (time.perf_counter() - start) * 1e3
    router.route("안녕하세요")
    memory = psutil.Process().memory_info().rss - before
    lines = catalogue_lines(load_catalogue(), "test")
    times = np.array([_milliseconds(router, line.text) for line in lines * REPEATS])
    (p50, cpu_p50), (p99, cpu_p99) = np.percentile(times, [50, 99], axis=0)
    figures = {
        "benchmark": "routing",
        "load_ms": round(load_ms, 1),
        "memory_mb": round(memory / _MEGABYTE, 1),
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "cpu_p50_ms": round(float(cpu_p50), 3),
        "cpu_p99_ms": round(float(cpu_p99), 3),
        **evaluate(router, lines),
        **_new_agent(encoder),
    }
    for name, value in figures.items():
        print(f"{name:>24}  {value}")
    print(json.dumps(figures))


def _milliseconds(router: Router, text: str) -> tuple[float, float]:
    """Of one message, all agents together: by the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    router.route(text)
    return (time.perf_counter() - clock) * 1e3, (time.process_time() - processor) * 1e3


def _new_agent(encoder: Encoder) -> dict[str, float]:
    """Teaching a librarian of five intents with twenty utterances each."""
    with tempfile.TemporaryDirectory() as folder:
        agents = PersonalAgents(Path(folder) / "agents", encoder)
        agents.add(write_librarian(Path(folder) / "source"))
        clock, processor = time.perf_counter(), time.process_time()
        trained = train_personal.train(agents, "librarian")
        return {
            "new_agent_seconds": round(time.perf_counter() - clock, 2),
            "new_agent_cpu_seconds": round(time.process_time() - processor, 2),
            "new_agent_held_out": trained.held_out,
            "new_agent_intent_accuracy": round(trained.intent_accuracy, 4),
            "new_agent_recognised": round(trained.recognised, 4),
        }


if __name__ == "__main__":
    main()
