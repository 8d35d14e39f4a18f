"""Recordings as people have them, and as attackers make them."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from compression.audio.decoding import blocks
from compression.audio.errors import AudioError
from tests.compression.audio.sounds import (
    CODECS,
    RATE,
    Floats,
    voice,
    with_field,
    write_encoded,
    write_long_wav,
    write_wav,
)  # fmt: skip


def read(path: Path) -> Floats:
    return np.concatenate([np.zeros(0, np.float32), *blocks(path)])


def loudest_pitch(samples: Floats) -> float:
    """The frequency with the most power, in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples))


@pytest.mark.parametrize("kind", CODECS)
def test_every_format_gives_the_sound_that_was_written(kind: str, tmp_path: Path) -> None:
    found = read(write_encoded(tmp_path / f"a.{kind}", voice(2), kind))
    assert found.dtype == np.float32 and len(found) == pytest.approx(2 * RATE, abs=3000)
    assert loudest_pitch(found) == pytest.approx(160, abs=2)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(np.sqrt(np.mean(voice(2) ** 2)), rel=0.1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 192_000])
def test_every_rate_gives_the_networks_rate(rate: int, tmp_path: Path) -> None:
    found = read(write_wav(tmp_path / "a.wav", voice(1, rate), rate))
    assert len(found) == pytest.approx(RATE, abs=RATE // 50)
    assert loudest_pitch(found) == pytest.approx(160, abs=3)


@pytest.mark.parametrize("channels", [2, 3, 6, 8, 9, 24])
def test_channels_are_averaged(channels: int, tmp_path: Path) -> None:
    found = read(write_wav(tmp_path / "a.wav", voice(1), channels=channels))
    np.testing.assert_allclose(found, voice(1)[: len(found)], atol=2e-3)


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    flac = write_encoded(tmp_path / "a.flac", voice(1), "flac")
    assert len(read(flac.rename(tmp_path / "녹음.mp3"))) == pytest.approx(RATE, abs=100)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"%PDF-1.7\n" + bytes(200),
        "안녕하세요. 소리가 아니라 글이에요.".encode(),
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"RIFF\x00\x01\x00\x00AVI LIST" + bytes(200),
        b"MZ" + bytes(300),
    ],
    ids=["png", "pdf", "text", "playlist", "concat", "avi", "exe"],
)
def test_a_disguised_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "노래.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match="소리 파일이 아니에요"):
        read(path)


@pytest.mark.parametrize(
    "magic", [b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90\x00", b"\x00\x00\x00\x20ftypM4A "]
)
def test_the_right_first_bytes_alone_are_not_enough(magic: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(magic + np.random.default_rng(0).bytes(5_000))
    with pytest.raises(AudioError):
        assert not len(read(path))
        raise AudioError("no sound came out, which is as good")


def test_no_file_and_an_empty_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="열 수 없어요: 없음.wav"):
        read(tmp_path / "없음.wav")
    (tmp_path / "a.wav").touch()
    with pytest.raises(AudioError, match="비어 있어요"):
        read(tmp_path / "a.wav")


def test_a_wav_without_samples_gives_none(tmp_path: Path) -> None:
    assert len(read(write_wav(tmp_path / "a.wav", np.zeros(0, np.float32)))) == 0


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (22, "<H", 0),
        (22, "<H", 65_535),
        (24, "<I", 0),
        (24, "<I", 4_000_000_000),
        (34, "<H", 0),
        (34, "<H", 999),
    ],
    ids=["no channels", "many channels", "no rate", "absurd rate", "no bits", "many bits"],
)
def test_a_header_that_cannot_be_is_refused(offset: int, form: str, value: int, tmp_path: Path) -> None:
    path = with_field(write_wav(tmp_path / "a.wav", voice(0.5)), offset, form, value)
    with pytest.raises(AudioError):
        read(path)


def test_a_header_that_promises_four_gigabytes_costs_no_memory(tmp_path: Path) -> None:
    path = with_field(write_wav(tmp_path / "a.wav", voice(1)), 40, "<I", 0xFFFFFFF0)
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == pytest.approx(RATE, abs=100) and peak < 20e6


def test_a_file_cut_short_gives_what_is_there(tmp_path: Path) -> None:
    path = write_encoded(tmp_path / "a.mp3", voice(3), "mp3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert RATE // 2 < len(read(path)) < 2 * RATE


def test_numbers_that_are_none_become_silence(tmp_path: Path) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1e30] * 2_000, "<f4").tobytes()
    fields = (16, 3, 1, RATE, RATE * 4, 4, 32)
    size = len(values)
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", *fields, b"data", size)
    (tmp_path / "a.wav").write_bytes(head + values)
    found = read(tmp_path / "a.wav")
    assert np.isfinite(found).all() and np.abs(found).max() <= 1


def test_an_hour_takes_the_memory_of_a_block(tmp_path: Path) -> None:
    path = write_long_wav(tmp_path / "a.wav", voice(60), 60)
    tracemalloc.start()
    seconds = sum(len(block) for block in blocks(path)) / RATE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds == pytest.approx(3600, abs=1) and peak < 5e6


def test_a_recording_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compression.audio.decoding.MOST_HOURS", 1 / 3600)
    with pytest.raises(AudioError, match="길어요"):
        read(write_wav(tmp_path / "a.wav", voice(2)))
