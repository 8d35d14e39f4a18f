"""Captures (pcap, pcapng) → one record a packet: its flow so far and the damped statistics of its streams."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from math import inf
from pathlib import Path
from typing import Any, Protocol

import dpkt
import numpy as np
from numpy.typing import NDArray

from compression.iot.damped import DAMPED_FEATURES, DampedStatistics, Recent
from compression.iot.errors import TrafficError
from compression.iot.features import Records

FLOW_FEATURES = [
    "size", "ttl", "tcp", "udp", "icmp", "syn", "rst", "low_port",
    "flow_seconds", "flow_packets", "flow_packets_back", "flow_mean_size", "flow_mean_size_back",
]  # fmt: skip
CAPTURE_FEATURES = [*FLOW_FEATURES, *DAMPED_FEATURES]

_MOST_PACKETS = 1_000_000
_LONGEST_FLOW, _MOST_COUNTED = 60.0, 100  # seconds and packets
_RESTARTS = (20.0, 80.0, 320.0, 1280.0)  # seconds
_PCAPNG = b"\n\r\r\n"
_BROKEN = (
    dpkt.Error,
    struct.error,
    ValueError,
    IndexError,
    AttributeError,
    TypeError,
    OverflowError,
    ArithmeticError,
)
"""What dpkt raises on bytes that are no packet."""
_NO_HEADER = {dpkt.pcap.DLT_RAW, 14, 101}  # bare IP under the numbers of different systems
_LINKS: dict[int, Callable[[bytes], Any]] = {
    dpkt.pcap.DLT_EN10MB: dpkt.ethernet.Ethernet,
    dpkt.pcap.DLT_LINUX_SLL: dpkt.sll.SLL,
    276: dpkt.sll2.SLL2,
    dpkt.pcap.DLT_NULL: dpkt.loopback.Loopback,
    dpkt.pcap.DLT_LOOP: dpkt.loopback.Loopback,
}


class Readable(Protocol):
    """Bytes in a row: a file, or a pipe that is still being written."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; fewer only at the end."""


@dataclass(frozen=True)
class Packet:
    """What a packet tells without its content.

    Attributes:
        time: in seconds.
        size: in bytes, from the IP header where there is one, so that a capture of headers only counts the same.
        mac: of the sender; empty where the link has none.
        source: address of the sender: IP, else MAC.
        target: address of the receiver.
        ports: of the sender and of the receiver; 0 without TCP or UDP.
        protocol: IP protocol number; −1 without IP.
        ttl: time to live or hop limit; 0 without IP.
        syn: a TCP connection is asked for.
        rst: a TCP connection is refused or broken off.
    """

    time: float
    size: int
    mac: bytes
    source: bytes
    target: bytes
    ports: tuple[int, int] = (0, 0)
    protocol: int = -1
    ttl: int = 0
    syn: bool = False
    rst: bool = False


class PacketFeatures:
    """Turns packets, in their order, into the features `CAPTURE_FEATURES`; memory stays bounded."""

    def __init__(self) -> None:
        self._damped = DampedStatistics()
        self._flows: Recent[_Flow] = Recent(_Flow)

    def add(self, packet: Packet) -> NDArray[np.float32]:
        """The features of the next packet, float32 [128]."""
        source, target = (packet.source, packet.ports[0]), (packet.target, packet.ports[1])
        back = source > target
        flow = self._flows[packet.protocol, *((target, source) if back else (source, target))]
        head = [
            packet.size, packet.ttl, packet.protocol == dpkt.ip.IP_PROTO_TCP, packet.protocol == dpkt.ip.IP_PROTO_UDP,
            packet.protocol in (dpkt.ip.IP_PROTO_ICMP, dpkt.ip.IP_PROTO_ICMP6), packet.syn, packet.rst,
            min(packet.ports), *flow.add(packet, back),
        ]  # fmt: skip
        damped = self._damped.add(
            packet.time, packet.size, packet.mac, packet.source, packet.target, packet.ports
        )
        return np.concatenate([np.array(head, np.float64), damped]).astype(np.float32)


class _Flow:
    """Packets there and back between two sockets.

    Age and counts end at a limit, and sizes are means: what only ever grows would make every long-lived connection an
    anomaly some day.
    """

    def __init__(self) -> None:
        self._start: float | None = None
        self._packets, self._bytes = [0, 0], [0, 0]

    def add(self, packet: Packet, back: bool) -> list[float]:
        self._start = packet.time if self._start is None else self._start
        self._packets[back] += 1
        self._bytes[back] += packet.size
        ways = (back, not back)
        return [
            min(max(0.0, packet.time - self._start), _LONGEST_FLOW),
            *(min(self._packets[way], _MOST_COUNTED) for way in ways),
            *(self._bytes[way] / max(1, self._packets[way]) for way in ways),
        ]


def is_capture(start: bytes) -> bool:
    """Whether a file that begins with these four bytes is a pcap or pcapng file."""
    numbers = {int.from_bytes(start[:4], order) for order in ("little", "big")}  # type: ignore[arg-type]
    return start[:4] == _PCAPNG or bool(numbers & {0xA1B2C3D4, 0xA1B23C4D})


def read_capture(path: Path, restart: bool = False) -> Records:
    """All packets of a capture as records.

    Args:
        path: a pcap or pcapng file.
        restart: forget everything after 20 seconds, after 80 more, 320, 1,280 and again from the beginning. Statistics
            start cold in every file that is checked, so a profile has to know cold starts as normal.

    Returns:
        Records with the features `CAPTURE_FEATURES`; a file that breaks off gives what came before, with a note.

    Raises:
        TrafficError: no such file, no capture, no readable packet, another link type, or too many packets.
    """
    if not path.is_file():
        raise TrafficError(f"파일이 없어요: {path.name}", "경로를 확인해 주세요.")
    if not path.stat().st_size:
        raise TrafficError(f"{path.name}이(가) 비어 있어요.", "패킷이 들어 있는 캡처 파일을 주세요.")
    features, rows, times, notes = PacketFeatures(), list[NDArray[np.float32]](), list[float](), list[str]()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        # A mapped file never gives more bytes than it has, however many a lying header asks for.
        spans, until = cycle(_RESTARTS), -inf
        for packet in packets(mapped, notes.append):
            if restart and packet.time >= until:
                features, until = PacketFeatures(), packet.time + next(spans)
            if len(rows) >= _MOST_PACKETS:
                raise TrafficError(
                    f"{path.name}의 패킷이 {_MOST_PACKETS:,}개를 넘어요.",
                    "기간을 나누어 여러 파일로 저장해 주세요.",
                )
            rows.append(features.add(packet))
            times.append(packet.time)
    if not rows:
        raise TrafficError(
            f"{path.name}에 읽을 수 있는 패킷이 없어요.", "패킷이 들어 있는 캡처 파일을 주세요."
        )
    return Records(np.stack(rows), tuple(CAPTURE_FEATURES), np.array(times), tuple(notes))


def packets(file: Readable, note: Callable[[str], None] = lambda _: None) -> Iterator[Packet]:
    """The packets of a capture as they come; bytes that are no packet are left out and noted at the end.

    Args:
        file: the capture from its first byte.
        note: is told, in Korean, what was left out.

    Raises:
        TrafficError: no capture, or of another kind of link.
    """
    reader = _reader(file)
    parse = _parser(reader.datalink())
    unreadable = 0
    frames = iter(reader)
    while True:
        try:
            time, data = next(frames)
        except StopIteration:
            break
        except _BROKEN:
            note("캡처 파일이 중간에 끊겼어요. 그 앞까지만 읽었어요.")
            break
        try:
            yield _packet(float(time), parse(data), len(data))
        except _BROKEN:
            unreadable += 1
    if unreadable:
        note(f"읽을 수 없는 패킷 {unreadable:,}개는 뺐어요.")


class _Peeked:
    """A file whose first bytes have been looked at, so that a pipe needs no seek."""

    def __init__(self, start: bytes, file: Readable) -> None:
        self._start, self._file = start, file

    def read(self, size: int) -> bytes:
        if size < 0:
            raise ValueError("a length below zero")
        head, self._start = self._start[:size], self._start[size:]
        return head + (self._file.read(size - len(head)) if len(head) < size else b"")


def _reader(file: Readable) -> Any:
    start = file.read(4)
    try:
        kind = dpkt.pcapng.Reader if start == _PCAPNG else dpkt.pcap.Reader
        return kind(_Peeked(start, file))
    except _BROKEN as error:
        raise TrafficError(
            "pcap이나 pcapng 캡처 파일이 아니에요.", "tcpdump나 Wireshark로 저장한 파일을 주세요."
        ) from error


def _parser(link: int) -> Callable[[bytes], Any]:
    if link in _NO_HEADER:
        return _bare
    if link not in _LINKS:
        raise TrafficError(
            f"이 캡처의 연결 종류({link})는 읽을 수 없어요.",
            "이더넷이나 리눅스 'any' 장치에서 캡처해 주세요.",
        )
    return _LINKS[link]


@dataclass(frozen=True)
class _Frame:
    """A packet without a link header."""

    data: Any


def _bare(data: bytes) -> _Frame:
    return _Frame(dpkt.ip6.IP6(data) if data[0] >> 4 == 6 else dpkt.ip.IP(data))


def _packet(time: float, frame: Any, length: int) -> Packet:
    mac = bytes(getattr(frame, "src", b"") or getattr(frame, "hdr", b""))
    inner = frame.data
    if not isinstance(inner, dpkt.ip.IP | dpkt.ip6.IP6):
        return Packet(time, length, mac, mac, bytes(getattr(frame, "dst", b"")))
    old = isinstance(inner, dpkt.ip.IP)
    size = inner.len if old else inner.plen + 40
    segment = inner.data
    tcp = isinstance(segment, dpkt.tcp.TCP)
    ports = (segment.sport, segment.dport) if tcp or isinstance(segment, dpkt.udp.UDP) else (0, 0)
    flags = segment.flags if tcp else 0
    return Packet(
        time, size, mac, inner.src, inner.dst, ports, inner.p, inner.ttl if old else inner.hlim,
        syn=bool(flags & dpkt.tcp.TH_SYN), rst=bool(flags & dpkt.tcp.TH_RST),
    )  # fmt: skip
