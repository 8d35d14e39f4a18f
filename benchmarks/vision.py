"""Enlarging pictures: time of a small one, time and memory of a large one, and what the fast network saves.

``python -m benchmarks.vision``; the last line is one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from compression.vision.super_resolution.infer import SCALES, Speed, Upscaler

SMALL, LARGE = (320, 180), (4000, 3000)
REPEATS = 5
_ONE_TOOL_CALL = """
import json, resource, sys, time
from pathlib import Path
from assistant.tools.vision import Vision
begun = time.perf_counter()
Vision(Path(sys.argv[2])).upscale_image(Path(sys.argv[1]), 2, sys.argv[3])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
print(json.dumps([round(time.perf_counter() - begun, 1), round(peak)]))
"""


def main() -> None:
    """Measure and print."""
    figures: dict[str, object] = {"benchmark": "vision"}
    for scale in SCALES:
        for speed in Speed:
            figures[f"x{scale}_{speed}_320x180_s"] = round(small_seconds(scale, speed), 3)
    for speed in Speed:
        seconds, megabytes = large_call(speed)
        figures |= {f"x2_{speed}_12mp_s": seconds, f"x2_{speed}_12mp_peak_mb": megabytes}
    for name, value in figures.items():
        print(f"{name:>24}  {value}")
    print(json.dumps(figures))


def small_seconds(scale: int, speed: Speed) -> float:
    """Median seconds for a small picture, the network loaded."""
    upscaler = Upscaler.load(scale, speed)
    picture = scene(*SMALL)
    times = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        upscaler(picture)
        times.append(time.perf_counter() - begun)
    return float(np.median(times[1:]))


def large_call(speed: Speed) -> tuple[float, int]:
    """Seconds and peak resident megabytes of the whole tool on 12 megapixels, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.jpg"
        Image.fromarray(scene(*LARGE)).save(file, quality=90)
        command = [sys.executable, "-c", _ONE_TOOL_CALL, str(file), folder, speed.value]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, megabytes = json.loads(answer.splitlines()[-1])
    return seconds, megabytes


def scene(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Waves in three colours; time and memory do not depend on what is seen."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(x / 9 + colour) * np.cos(y / (7 + colour)) for colour in range(3)]
    return np.uint8(127 + 120 * np.stack(waves, axis=2))


if __name__ == "__main__":
    main()
