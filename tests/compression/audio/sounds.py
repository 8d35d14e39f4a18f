"""Sounds of our own: tones, and the recordings that people and attackers make of them."""

from __future__ import annotations

import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 22_050
Floats = NDArray[np.float32]

CODECS = {
    "wav": ("wav", "pcm_s16le", "s16", RATE),
    "flac": ("flac", "flac", "s16", RATE),
    "ogg": ("ogg", "libopus", "flt", 48_000),
    "mp3": ("mp3", "libmp3lame", "s16p", RATE),
    "m4a": ("ipod", "aac", "fltp", RATE),
}
"""Container, codec, its sample format and its rate."""


def voice(seconds: float = 3.0, rate: int = RATE, pitch: float = 160.0, level: float = 0.3) -> Floats:
    """Harmonics under a swelling level, with a little noise: float32 [seconds · rate]."""
    time = np.arange(int(seconds * rate)) / rate
    sung = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 8))
    swelling = 0.6 + 0.4 * np.sin(2 * np.pi * 1.5 * time)
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    return np.asarray(level * swelling * sung / 2 + noise, np.float32)


def write_wav(path: Path, samples: Floats, rate: int = RATE, channels: int = 1) -> Path:
    """A 16-bit WAV; every channel holds the samples."""
    levels = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(levels, channels).tobytes())
    return path


def write_long_wav(path: Path, samples: Floats, times: int) -> Path:
    """The samples again and again, written piece by piece."""
    levels = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for _ in range(times):
            file.writeframes(levels)
    return path


def write_encoded(path: Path, samples: Floats, kind: str) -> Path:
    """The samples as one of `CODECS`."""
    container, codec, form, rate = CODECS[kind]
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout="mono")
        size = stream.frame_size or 1024
        resampler = av.AudioResampler(format=form, layout="mono", rate=rate, frame_size=size)
        for frame in (*_frames(samples), None):
            for given in resampler.resample(frame):
                file.mux(stream.encode(given))
        file.mux(stream.encode(None))
    return path


def with_field(path: Path, offset: int, form: str, value: int) -> Path:
    """The file with a number of its header changed."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, value)
    path.write_bytes(content)
    return path


def _frames(samples: Floats) -> Iterator[Any]:
    for start in range(0, len(samples), 4096):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 4096], format="fltp", layout="mono")
        frame.rate, frame.pts = RATE, start
        yield frame
