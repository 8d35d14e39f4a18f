"""Reads recordings as mono samples at 22,050 Hz, block by block: FFmpeg's decoders through PyAV.

A file's first bytes choose the one container it may be read as. FFmpeg never guesses: among what it would guess are
playlists, which name other files and addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from compression.audio.errors import AudioError
from compression.audio.features import RATE, Floats

FORMATS = "WAV, FLAC, OGG, MP3, M4A"
MOST_HOURS = 6
_SLOWEST, _FASTEST = 4_000, 768_000  # samples a second that a recorder can have written
_MOST_CHANNELS = 64
_MOST_BAD_PACKETS = 100
_SNIFFED = 16


def blocks(path: Path) -> Iterator[Floats]:
    """A recording's samples, all channels averaged, in blocks of float32 [n].

    Memory stays the same however long the recording is.

    Args:
        path: WAV, FLAC, OGG, MP3 or M4A, whatever its name ends in.

    Raises:
        AudioError: no such file, not one of the formats, damaged, or longer than 6 hours.
    """
    import av

    container = _container(path)
    left = MOST_HOURS * 3600 * RATE
    try:
        with av.open(str(path), format=container, options={"protocol_whitelist": "file"}) as opened:
            for block in _resampled(opened, path):
                left -= len(block)
                if left < 0:
                    raise AudioError(
                        f"{path.name}이(가) {MOST_HOURS}시간보다 길어요.", "나누어서 다시 보내 주세요."
                    )
                yield block
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise _broken(path) from error


def _resampled(opened: Any, path: Path) -> Iterator[Floats]:
    """The first sound stream at the networks' rate; a broken packet is skipped like a player does."""
    import av

    if not opened.streams.audio:
        raise AudioError(f"{path.name}에 소리가 없어요.", f"소리가 든 파일({FORMATS})을 주세요.")
    stream = opened.streams.audio[0]
    _require_plausible(stream, path)
    # Packed samples lie in one plane. PyAV 18 reads past the planes of eight channels and brings the process down.
    resampler = av.AudioResampler(format="flt", rate=RATE)
    bad = 0
    for packet in opened.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            bad += 1
            if bad > _MOST_BAD_PACKETS:
                raise
            continue
        for frame in frames:
            for given in resampler.resample(frame):
                yield _mono(given)
    for given in resampler.resample(None):
        yield _mono(given)


def _mono(frame: Any) -> Floats:
    samples = np.asarray(frame.to_ndarray(), np.float32).reshape(frame.samples, -1)
    # Float files may hold anything; what is no number is silence, what is louder than full scale is clipped.
    averaged: Floats = np.clip(np.nan_to_num(samples, nan=0.0), -1, 1).mean(axis=1)
    return averaged


def _require_plausible(stream: Any, path: Path) -> None:
    if stream.codec_context is None:  # the header names a codec that there is none of
        raise _broken(path)
    rate, channels = int(stream.rate or 0), int(stream.channels or 0)
    if not (_SLOWEST <= rate <= _FASTEST and 1 <= channels <= _MOST_CHANNELS):
        raise AudioError(
            f"{path.name}의 머리말이 이상해요(초당 표본 {rate:,}개, 채널 {channels}개).",
            "파일을 다시 만들거나 다른 형식으로 저장해 주세요.",
        )


def _container(path: Path) -> str:
    """FFmpeg's name of the container that a file's first bytes show.

    Raises:
        AudioError: it cannot be read, is empty, or is of no format that is taken.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_SNIFFED)
    except OSError as error:
        raise AudioError(f"파일을 열 수 없어요: {path.name}", "경로와 권한을 확인해 주세요.") from error
    if not start:
        raise AudioError(f"{path.name}이(가) 비어 있어요.", "소리가 든 파일을 주세요.")
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        return "wav"
    for magic, name in ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3")):
        if start.startswith(magic):
            return name
    if start[4:8] == b"ftyp":
        return "mov"
    # Eleven set bits start a frame of MPEG audio, and its layer is never 0.
    if len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0 and start[1] & 0x06:
        return "mp3"
    raise AudioError(f"{path.name}은(는) 소리 파일이 아니에요.", f"{FORMATS} 파일을 주세요.")


def _broken(path: Path) -> AudioError:
    return AudioError(
        f"{path.name}을(를) 풀 수 없어요. 파일이 손상된 것 같아요.",
        "다시 저장하거나 다른 형식으로 바꿔 주세요.",
    )
