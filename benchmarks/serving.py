"""What a person waits for over HTTP: `python -m benchmarks.serving`.

Starts the real daemon (`damso serve`) on a free port with the sample documents, asks sample questions through
`/v1/chat/completions` as a stream, one after the other, and times the first piece of text and the end as the
client sees them. Memory is the daemon's resident set (Linux: ``VmHWM`` is its peak). The first question warms
caches and is not counted. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=int, default=30)
    count = arguments.parse_args().questions
    with tempfile.TemporaryDirectory(prefix="damso-") as home, daemon(Path(home)) as (url, process, start_s):
        with httpx.Client(base_url=url, timeout=120) as client:
            add_samples(client)
            idle_mb = resident_mb(process)
            turns = [ask(client, question) for question in questions(count + 1)][1:]
        peak_mb = peak_resident_mb(process)
    result = {
        "benchmark": "serving",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "questions": len(turns),
        "start_s": round(start_s, 2),
        **spread("first_token_ms", [turn["first_token_ms"] for turn in turns]),
        **spread("total_ms", [turn["total_ms"] for turn in turns]),
        "idle_resident_mb": round(idle_mb),
        "peak_resident_mb": round(peak_mb),
    }
    for name, value in result.items():
        print(f"{name:>20}  {value}")
    print(json.dumps(result, ensure_ascii=False))


@contextmanager
def daemon(home: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """A daemon of its own over an empty data folder: address, process, seconds until it answered."""
    port = free_port()
    environment = {**os.environ, "DAMSO_HOME": str(home), "DAMSO_TOKEN": ""}
    began = time.perf_counter()
    command = [sys.executable, "-m", "assistant.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, process)
        yield url, psutil.Process(process.pid), time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port that nobody uses right now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait for the daemon's first sign of life."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit("the daemon ended before it answered")
        try:
            httpx.get(f"{url}/healthz", timeout=30).raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the daemon did not answer within a minute")


def add_samples(client: httpx.Client) -> None:
    """Upload the sample documents."""
    for path in sorted((SAMPLES / "documents").iterdir()):
        client.post("/v1/documents", files={"file": (path.name, path.read_bytes())}).raise_for_status()


def questions(count: int) -> list[str]:
    """The first answerable sample questions that stand alone."""
    lines = (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    return [case["question"] for case in cases if case["answerable"] and not case["history"]][:count]


def ask(client: httpx.Client, question: str) -> dict[str, float]:
    """Milliseconds until the first text and until the end of one answer."""
    body = {"model": "damso", "stream": True, "messages": [{"role": "user", "content": question}]}
    began, first = time.perf_counter(), 0.0
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not first and has_text(line):
                first = time.perf_counter()
    ended = time.perf_counter()
    return {"first_token_ms": ((first or ended) - began) * 1000, "total_ms": (ended - began) * 1000}


def has_text(line: str) -> bool:
    """Whether a line of the stream carries a piece of the answer."""
    if not line.startswith("data: {"):
        return False
    frame: dict[str, Any] = json.loads(line.removeprefix("data: "))
    return any(choice["delta"].get("content") for choice in frame.get("choices", ()))


def resident_mb(process: psutil.Process) -> float:
    """Resident memory now, in MB."""
    return float(process.memory_info().rss) / 1e6


def peak_resident_mb(process: psutil.Process) -> float:
    """The highest resident memory so far, in MB; the present one where the system does not tell."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return resident_mb(process)
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return {f"{name}_p50": round(statistics.median(ordered), 1), f"{name}_p95": round(high, 1)}


if __name__ == "__main__":
    main()
