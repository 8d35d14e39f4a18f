"""Speed and memory of text generation, against what the machine's memory allows.

A decoding step reads every weight once, so on one machine its speed cannot exceed bandwidth / bytes per token
unless the weights stay in the processor's caches. Run it on an idle machine::

    python -m benchmarks.generation [--model DIR] [--threads N] [--runs N]

The last line is one JSON object; rates are medians over the runs, with the 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from assistant.engine.engine import Engine, Usage
from assistant.engine.sampler import Floats, GenerationOptions
from compression.runtime import physical_cores

_BUFFER_BYTES = 512 << 20  # far above any cache


def read_bandwidth(threads: int, repeats: int = 7) -> float:
    """Bytes per second that all threads together read from memory, best of several passes.

    memchr for a byte that never comes is the plainest vectorised read there is, and ctypes frees the GIL.
    """
    memchr = ctypes.CDLL(None).memchr
    memchr.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    memchr.restype = ctypes.c_void_p
    parts = np.array_split(np.ones(_BUFFER_BYTES, np.uint8), threads)

    def read(part: np.ndarray) -> None:
        assert memchr(part.ctypes.data, 2, part.nbytes) is None

    best = np.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            began = time.perf_counter()
            list(pool.map(read, parts))
            best = min(best, time.perf_counter() - began)
    return _BUFFER_BYTES / best


def measure(engine: Engine, runs: int, prompt_tokens: int, new_tokens: int) -> list[Usage]:
    """Generate from fresh random prompts, after one run that warms up."""
    options = GenerationOptions(max_tokens=new_tokens)
    usages = []
    for run in range(runs + 1):
        ids = np.random.default_rng(run).integers(len(engine.special_tokens), 300, prompt_tokens)
        generation = engine.stream(ids.tolist(), options, constrain=_never_end(engine))
        for _ in generation:
            pass
        usages.append(generation.usage)
    return usages[1:]


def bytes_per_token(engine: Engine, context: int) -> int:
    """Weights and cached keys and values that one step reads at a context length."""
    config = engine.config
    cache = 2 * config.layers * config.heads * config.head_dim * 4 * context
    return config.bytes_per_token + cache


def spread(values: list[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile."""
    low, median, high = np.percentile(values, [10, 50, 90])
    return {"median": round(float(median), 1), "p10": round(float(low), 1), "p90": round(float(high), 1)}


def processor() -> str:
    """The processor's name, as well as the platform tells."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def main() -> None:
    """Measure, print a table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="exported model; the embedded generator by default")
    parser.add_argument("--threads", type=int, help="of the runtime; physical cores by default")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to generate")
    arguments = parser.parse_args()

    began = time.perf_counter()
    engine = Engine.load(arguments.model, arguments.threads)
    load_ms = 1000 * (time.perf_counter() - began)
    usages = measure(engine, arguments.runs, arguments.prompt, arguments.tokens)
    # Before the bandwidth's buffer is allocated.
    resident = psutil.Process().memory_info().rss
    threads = arguments.threads or physical_cores()
    bandwidth = read_bandwidth(threads)
    step_bytes = bytes_per_token(engine, arguments.prompt + arguments.tokens // 2)
    decode = spread([usage.tokens_per_second for usage in usages])
    result = {
        "benchmark": "generation",
        "processor": processor(),
        "threads": threads,
        "load_average": round(psutil.getloadavg()[0], 2),
        "bits": engine.config.bits,
        "load_ms": round(load_ms, 1),
        "prompt_tokens": arguments.prompt,
        "new_tokens": arguments.tokens,
        "first_token_ms": spread([usage.first_token_ms for usage in usages]),
        "prefill_tokens_per_s": spread([1000 * arguments.prompt / usage.first_token_ms for usage in usages]),
        "decode_tokens_per_s": decode,
        "bandwidth_gb_per_s": round(bandwidth / 1e9, 2),
        "weight_mb_per_token": round(engine.config.bytes_per_token / 1e6, 3),
        "read_mb_per_token": round(step_bytes / 1e6, 3),
        "decode_limit_tokens_per_s": round(bandwidth / step_bytes, 1),
        "share_of_limit": round(decode["median"] * step_bytes / bandwidth, 3),
        "resident_mb": round(resident / 1e6, 1),
    }
    for name, value in result.items():
        print(f"{name:>26}  {value}")
    print(json.dumps(result, ensure_ascii=False))


def _never_end(engine: Engine) -> Callable[[list[int], Floats], None]:
    ends = list(engine.config.eos_token_ids)

    def ban(_: list[int], logits: Floats) -> None:
        logits[ends] = -np.inf

    return ban


if __name__ == "__main__":
    main()
