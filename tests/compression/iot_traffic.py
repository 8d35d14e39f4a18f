"""Traffic of a device that does not exist: tables and captures, normal and odd."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import dpkt
import numpy as np

from compression.iot.train import Recipe

QUICK = Recipe(epochs=6, prune_steps=2, tune_epochs=1, last_epochs=6, least_steps=10)
"""Trains in a second."""
CAMERA, CLOUD, BOT = "192.168.0.7", "203.0.113.9", "198.51.100.66"


def normal_rows(count: int, seed: int = 0) -> np.ndarray:
    """Six columns that hang together: two hidden causes and a little noise."""
    random = np.random.default_rng(seed)
    causes = random.gamma(2.0, 1.0, (count, 2))
    mixing = np.array([[1.0, 0.5, 2.0, 0.0, 1.0, 0.3], [0.0, 1.0, 0.5, 2.0, 1.0, 0.7]])
    return (causes @ mixing + 0.05 * random.standard_normal((count, 6))) * [100, 1, 10, 5, 1000, 1]


def odd_rows(count: int, seed: int = 0) -> np.ndarray:
    """Values as usual, but in combinations that do not occur."""
    rows = normal_rows(count, seed)
    random = np.random.default_rng(seed + 1)
    return np.stack([random.permutation(column) for column in rows.T], axis=1) * [1, 1, 4, 1, 1, 6]


def write_csv(path: Path, rows: np.ndarray, names: str = "bytes,pkts,dur,ports,rate,gap") -> Path:
    """A table with the time in front."""
    lines = [
        f"time,{names}",
        *(f"{5 * n}," + ",".join(f"{v:.5f}" for v in row) for n, row in enumerate(rows)),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def frame(source: str, target: str, ports: tuple[int, int], size: int, flags: int = dpkt.tcp.TH_ACK) -> bytes:
    """An Ethernet frame with a TCP segment."""
    segment = dpkt.tcp.TCP(sport=ports[0], dport=ports[1], flags=flags, data=bytes(size))
    packet = dpkt.ip.IP(src=socket.inet_aton(source), dst=socket.inet_aton(target), p=6, ttl=64, data=segment)
    packet.len = len(packet)
    return bytes(dpkt.ethernet.Ethernet(src=b"\x02" * 6, dst=b"\x04" * 6, data=packet))


def chatter(seconds: float, seed: int = 0) -> list[tuple[float, bytes]]:
    """A camera that talks to its cloud: twenty packets a second, answers in turn."""
    random = np.random.default_rng(seed)
    time, packets = 1_700_000_000.0, []
    while time < 1_700_000_000 + seconds:
        time += float(random.uniform(0.03, 0.07))
        packets.append((time, frame(CAMERA, CLOUD, (50_000, 443), int(random.integers(500, 700)))))
        packets.append((time + 0.01, frame(CLOUD, CAMERA, (443, 50_000), int(random.integers(40, 60)))))
    return packets


def scan(start: float, count: int) -> list[tuple[float, bytes]]:
    """The camera asks one port after another at another host, two hundred a second."""
    return [
        (start + n / 200, frame(CAMERA, BOT, (40_000 + n, 1 + n), 0, dpkt.tcp.TH_SYN)) for n in range(count)
    ]


def write_pcap(path: Path, packets: Iterable[tuple[float, bytes]]) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for time, data in packets:
            writer.writepkt(data, time)
    return path


def write_pcapng(path: Path, packets: Iterable[tuple[float, bytes]]) -> Path:
    """Section header, Ethernet interface, enhanced packets; times in microseconds."""

    def block(kind: int, body: bytes) -> bytes:
        length = 12 + len(body)
        return struct.pack("<II", kind, length) + body + struct.pack("<I", length)

    content = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(
        1, struct.pack("<HHI", 1, 0, 0)
    )
    for time, data in packets:
        ticks = round(time * 1e6)
        head = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        content += block(6, head + data + bytes(-len(data) % 4))
    path.write_bytes(content)
    return path
