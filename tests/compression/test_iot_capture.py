from __future__ import annotations

import io
import struct
from pathlib import Path

import dpkt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.iot import capture
from compression.iot.capture import CAPTURE_FEATURES, is_capture, packets, read_capture
from compression.iot.damped import DAMPED_FEATURES, LAMBDAS, Channel, DampedStatistics, Recent, Stream
from compression.iot.errors import TrafficError
from tests.compression.iot_traffic import (
    CAMERA,
    CLOUD,
    chatter,
    frame,
    scan,
    write_pcap,
    write_pcapng,
)


def column(records: capture.Records, name: str) -> np.ndarray:
    return records.values[:, records.features.index(name)]


def test_there_are_115_damped_features() -> None:
    assert len(DAMPED_FEATURES) == len(set(DAMPED_FEATURES)) == 115
    assert len(CAPTURE_FEATURES) == 128


def test_pcap_and_pcapng_tell_the_same(tmp_path: Path) -> None:
    sent = chatter(2)
    old, new = (
        read_capture(write_pcap(tmp_path / "a.pcap", sent)),
        read_capture(write_pcapng(tmp_path / "a.pcapng", sent)),
    )
    assert len(old.values) == len(sent) and old.features == tuple(CAPTURE_FEATURES)
    np.testing.assert_allclose(old.values, new.values, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(old.times, [time for time, _ in sent], atol=1e-5)


def test_flow_features_count_both_ways(tmp_path: Path) -> None:
    there, back = frame(CAMERA, CLOUD, (50_000, 443), 100), frame(CLOUD, CAMERA, (443, 50_000), 20)
    records = read_capture(write_pcap(tmp_path / "a.pcap", [(0, there), (1, back), (3, there)]))
    assert column(records, "flow_packets").tolist() == [1, 1, 2]
    assert column(records, "flow_packets_back").tolist() == [0, 1, 1]
    assert column(records, "flow_mean_size").tolist() == [140, 60, 140]
    assert column(records, "flow_mean_size_back").tolist() == [0, 140, 60]
    assert column(records, "flow_seconds").tolist() == [0, 1, 3]
    assert column(records, "low_port").tolist() == [443, 443, 443]
    assert column(records, "tcp").tolist() == [1, 1, 1] and column(records, "ttl").tolist() == [64, 64, 64]


def test_long_connections_do_not_grow_for_ever(tmp_path: Path) -> None:
    data = frame(CAMERA, CLOUD, (50_000, 443), 100)
    records = read_capture(write_pcap(tmp_path / "a.pcap", [(2.0 * n, data) for n in range(150)]))
    assert column(records, "flow_seconds").max() == 60 and column(records, "flow_packets").max() == 100


def test_restarts_forget(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", chatter(110))
    packets_so_far = column(read_capture(path, restart=True), "flow_packets")
    # A fresh start at 0, 20 and 100 seconds.
    assert (
        int((packets_so_far + column(read_capture(path, restart=True), "flow_packets_back") == 1).sum()) == 3
    )
    assert int((column(read_capture(path), "H_L0.01_weight") == 1).sum()) == 2


def test_a_scan_shows_in_the_weights(tmp_path: Path) -> None:
    calm = read_capture(write_pcap(tmp_path / "a.pcap", chatter(5)))
    loud = read_capture(write_pcap(tmp_path / "b.pcap", scan(0, 400)))
    assert column(loud, "H_L5_weight")[-1] > 2 * column(calm, "H_L5_weight").max()
    assert column(loud, "HpHp_L5_weight")[-1] == 1 and column(loud, "syn").all()


def test_a_stream_is_the_weighted_moments_of_its_past() -> None:
    random = np.random.default_rng(0)
    times, values = np.cumsum(random.exponential(0.5, 30)), random.uniform(1, 9, 30)
    stream = Stream()
    for time, value in zip(times, values, strict=True):
        stream.add(value, time)
    weights = np.exp2(-LAMBDAS[:, None] * (times[-1] - times))
    mean = (weights * values).sum(1) / weights.sum(1)
    variance = (weights * values**2).sum(1) / weights.sum(1) - mean**2
    for got, expected in zip(stream.moments(), (weights.sum(1), mean, variance), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e5), st.floats(-1e6, 1e6)), max_size=20))
def test_statistics_stay_finite_whatever_the_clock_does(steps: list[tuple[bool, float, float]]) -> None:
    channel, statistics = Channel(), DampedStatistics()
    for back, size, time in steps:
        assert all(np.isfinite(part).all() for part in channel.add(back, size, time))
        found = statistics.add(time, size, b"m", b"a" if back else b"b", b"b" if back else b"a", (1, 2))
        assert found.shape == (115,) and np.isfinite(found).all()


def test_memory_is_bounded() -> None:
    recent: Recent[list[int]] = Recent(list, limit=3)
    for key in "abcabd":
        recent[key].append(1)
    assert len(recent) == 3 and recent["a"] == [1, 1] and recent["d"] == [1]
    assert recent["c"] == []


def raw_pcap(link: int, data: bytes) -> io.BytesIO:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return io.BytesIO(head + struct.pack("<IIII", 1, 0, len(data), len(data)) + data)


def test_links_with_other_headers() -> None:
    whole = frame(CAMERA, CLOUD, (1, 2), 10)
    ip6 = bytes(
        dpkt.ip6.IP6(
            src=b"\1" * 16, dst=b"\2" * 16, nxt=17, hlim=9, plen=8, data=dpkt.udp.UDP(sport=5, dport=6)
        )
    )
    cooked = struct.pack(">HHH8sH", 0, 1, 6, b"\3" * 8, 0x0800) + whole[14:]
    assert [p.ports for p in packets(raw_pcap(1, whole))] == [(1, 2)]
    assert [p.ports for p in packets(raw_pcap(101, whole[14:]))] == [(1, 2)]
    assert [p.ports for p in packets(raw_pcap(113, cooked))] == [(1, 2)]
    (v6,) = packets(raw_pcap(101, ip6))
    assert (v6.protocol, v6.ttl, v6.size, v6.ports) == (17, 9, 48, (5, 6))
    (arp,) = packets(raw_pcap(1, bytes(dpkt.ethernet.Ethernet(type=0x0806, data=dpkt.arp.ARP()))))
    assert arp.protocol == -1
    with pytest.raises(TrafficError, match="연결 종류"):
        list(packets(raw_pcap(105, whole)))


@pytest.mark.parametrize(
    "content", [b"", b"\xd4\xc3\xb2\xa1", b"hello, this is no capture at all", b"\n\r\r\n" + b"\0" * 40]
)
def test_a_file_that_is_no_capture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pcap").write_bytes(content)
    with pytest.raises(TrafficError, match="비어|캡처"):
        read_capture(tmp_path / "a.pcap")
    with pytest.raises(TrafficError, match="파일이 없어요"):
        read_capture(tmp_path / "b.pcap")


def test_an_empty_capture(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match="읽을 수 있는 패킷이 없어요"):
        read_capture(write_pcap(tmp_path / "a.pcap", []))
    with pytest.raises(TrafficError, match="읽을 수 있는 패킷이 없어요"):
        read_capture(write_pcapng(tmp_path / "a.pcapng", []))


def test_a_capture_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    sent = chatter(1)
    for write, name in ((write_pcap, "a.pcap"), (write_pcapng, "a.pcapng")):
        whole = write(tmp_path / name, sent).read_bytes()
        (tmp_path / name).write_bytes(whole[:-100])
        assert len(sent) - 2 <= len(read_capture(tmp_path / name).values) <= len(sent)


def test_a_header_that_lies_about_lengths(tmp_path: Path) -> None:
    whole = bytearray(write_pcap(tmp_path / "a.pcap", chatter(1)).read_bytes())
    whole[24 + 8 : 24 + 12] = struct.pack("<I", 0xFFFFFFF0)
    (tmp_path / "a.pcap").write_bytes(whole)
    assert len(read_capture(tmp_path / "a.pcap").values) == 1


def test_too_many_packets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_MOST_PACKETS", 5)
    with pytest.raises(TrafficError, match="5개를 넘어요"):
        read_capture(write_pcap(tmp_path / "a.pcap", chatter(1)))


@settings(max_examples=60)
@given(st.data())
def test_damaged_captures_never_end_in_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.pcap"
    writer = data.draw(st.sampled_from([write_pcap, write_pcapng]))
    content = bytearray(writer(path, chatter(0.3)).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert np.isfinite(read_capture(path).values).all()
    except TrafficError as error:
        assert error.hint


def test_captures_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    assert is_capture(write_pcap(tmp_path / "a", []).read_bytes()[:4])
    assert is_capture(write_pcapng(tmp_path / "b", []).read_bytes()[:4])
    assert is_capture(b"\xa1\xb2\x3c\x4d") and not is_capture(b"time") and not is_capture(b"")
