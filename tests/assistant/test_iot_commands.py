from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import compression.iot.evaluate
import compression.iot.learn
from assistant import cli
from assistant.settings import Settings
from assistant.tools.iot import examine
from compression.errors import ModelMissingError
from compression.iot.profiles import load
from compression.iot.train import Recipe
from tests.compression.iot_traffic import (
    QUICK,
    chatter,
    normal_rows,
    odd_rows,
    scan,
    write_csv,
    write_pcap,
)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of the test's own, and training in a second."""
    monkeypatch.setenv("DAMSO_HOME", str(tmp_path / "home"))
    learn = compression.iot.learn.learn
    monkeypatch.setattr(compression.iot.learn, "learn", lambda *a, **k: learn(*a, **{**k, "recipe": QUICK}))


def damso(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)


@pytest.fixture
def learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A camera learnt from two tables."""
    files = [write_csv(tmp_path / f"{n}.csv", normal_rows(1000, n)) for n in range(2)]
    assert damso("iot", "learn", "거실 카메라", *files, "--time", "time") == 0
    said = capsys.readouterr().out
    assert "'거실 카메라'의 평소 모습을 기록 2,000개로 배웠어요." in said
    return "거실 카메라"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    rows = np.concatenate([normal_rows(200, 7), odd_rows(60, 8), normal_rows(200, 9)])
    return write_csv(tmp_path / "odd.csv", rows)


def test_check_shows_where_and_why(
    learnt: str, odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert damso("iot", "check", learnt, odd, "--picture", tmp_path / "a.png") == 0
    said = capsys.readouterr().out
    assert "평소와 다른 구간이 있어요" in said and "점수" in said and "(time)" in said
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert damso("iot", "check", learnt, odd, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["records"] == 460 and result["windows"][0]["drivers"] and "picture" not in result


def test_check_of_normal_traffic_is_calm(
    learnt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert damso("iot", "check", learnt, write_csv(tmp_path / "b.csv", normal_rows(300, 5))) == 0
    assert "이어진 이상은 없어요" in capsys.readouterr().out


def test_profiles_are_listed(learnt: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert damso("iot", "profiles") == 0
    assert "거실 카메라  표  특징 6개  기록 2,000개" in capsys.readouterr().out
    home = Settings.load().home
    next(home.glob("iot/*/model-*")).unlink()
    assert damso("iot", "profiles", "--json") == 0
    assert "손상" in json.loads(capsys.readouterr().out)[0]["error"]


def test_without_profiles(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert damso("iot", "profiles") == 0
    assert "아직 배운 기기가 없어요" in capsys.readouterr().out
    assert damso("iot", "check", "냉장고", tmp_path / "a.csv") == 1
    assert "'냉장고' 기기의 프로필이 없어요." in capsys.readouterr().err


def test_captures_are_learnt_and_a_scan_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calm = write_pcap(tmp_path / "calm.pcap", chatter(130))
    assert damso("iot", "learn", "카메라", calm) == 0
    quiet = write_pcap(tmp_path / "quiet.pcap", chatter(30, 2))
    attacked = write_pcap(tmp_path / "odd.pcap", [*chatter(30, 1), *scan(1_700_000_030, 300)])
    shares = []
    for file in (quiet, attacked):
        assert damso("iot", "check", "카메라", file, "--json") == 0
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        shares.append(result["conspicuous"] / result["records"])
    # A capture that starts cold is still normal; the scan is 300 of 1,500 packets.
    assert shares[0] < 0.1 and shares[1] > 0.15
    assert result["windows"][0]["end"] > 1_700_000_030
    assert damso("iot", "check", "카메라", attacked) == 0
    assert "초 · 기록" in capsys.readouterr().out
    assert damso("iot", "check", "카메라", write_csv(tmp_path / "a.csv", normal_rows(5))) == 1
    assert "캡처(pcap)로 배웠는데" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--map", "bytes"], "--map 값을 읽을 수 없어요"),
        (["--map", "x=y"], "필요한 열이 없어요: x"),
        (["--category", "bytes"], "분류로 쓸 수 없어요"),
        (["--ignore", "없는 열"], "필요한 열이 없어요: 없는 열"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_csv(tmp_path / "a.csv", normal_rows(400))
    assert damso("iot", "learn", "카메라", file, *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "home" / "iot").exists()


def test_files_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_csv(tmp_path / "a.csv", normal_rows(10))
    capture = write_pcap(tmp_path / "a.pcap", chatter(1))
    for files, message in (
        ([table, capture], "함께 배울 수는 없어요"),
        ([tmp_path / "없음.csv"], "파일을 열 수 없어요"),
        ([table], "너무 적어요"),
    ):  # fmt: skip
        assert damso("iot", "learn", "카메라", *files) == 1
        assert message in capsys.readouterr().err
    assert damso("iot", "learn", "\n", table) == 1
    assert "기기 이름으로 쓸 수 없어요" in capsys.readouterr().err


def test_a_failed_lesson_leaves_the_old_profile(
    learnt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load(learnt, Settings.load().home)
    constant = write_csv(tmp_path / "flat.csv", np.ones((500, 6)))
    assert damso("iot", "learn", learnt, constant, "--ignore", "time") == 1
    assert "값이 하나뿐" in capsys.readouterr().err
    assert load(learnt, Settings.load().home).threshold == before.threshold


def test_a_full_disk_is_one_message(
    learnt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert damso("iot", "learn", learnt, tmp_path / "0.csv", "--ignore", "time") == 1
    assert "프로필을 저장하지 못했어요" in capsys.readouterr().err
    assert damso("iot", "profiles") == 0


def test_a_table_under_other_names_is_learnt_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "src_bytes,pkts,dur,ports,rate,gap"
    file = write_csv(tmp_path / "a.csv", normal_rows(500), names)
    assert damso("iot", "learn", "허브", file, "--map", "src_bytes=bytes", "--ignore", "time") == 0
    assert damso("iot", "check", "허브", file) == 0
    assert damso("iot", "check", "허브", write_csv(tmp_path / "b.csv", normal_rows(50))) == 0
    assert "쓰지 않은 열: time" in capsys.readouterr().out


def test_watch_writes_one_json_a_line(
    learnt: str, odd: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(odd.read_bytes())))
    assert damso("iot", "watch", learnt) == 0
    turns = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert turns[0]["event"] == "alarm" and turns[0]["drivers"][0]["share"] > 0
    assert damso("iot", "watch", learnt, odd, "--all", "--no-follow") == 0
    every = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert every.count("record") == 460
    assert damso("iot", "watch", learnt, odd.parent / "없음.csv") == 1
    assert "파일을 열 수 없어요" in capsys.readouterr().err


def test_watch_ends_on_an_interrupt(learnt: str, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("compression.iot.watch.time.sleep", interrupted)
    assert damso("iot", "watch", learnt, odd) == 0


def test_the_tool_gives_text_series_windows_and_picture(learnt: str, odd: Path) -> None:
    result = examine(load(learnt, Settings.load().home), odd)
    assert result.device == learnt and result.file == "odd.csv" and result.records == 460
    assert len(result.series) == 460 and max(score for _, score in result.series) > result.threshold
    assert result.windows and result.picture.startswith(b"\x89PNG") and learnt in result.text
    with pytest.raises(ModelMissingError):
        load("냉장고", Settings.load().home)


def test_the_tool_works_without_matplotlib(learnt: str, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load(learnt, Settings.load().home)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert examine(profile, odd).picture == b""
    assert damso("iot", "check", learnt, odd, "--picture", odd.with_suffix(".png")) == 1


@pytest.fixture
def collections(tmp_path: Path) -> Path:
    """The public collections in little."""
    folder = tmp_path / "data" / "iot"
    folder.mkdir(parents=True)
    for number, day in enumerate(
        ("clean_23", "clean_24", "clean_25", "clean_26", "case1_27", "case1_28", "case1_29")
    ):
        odd = odd_rows if day.startswith("case1") else normal_rows
        rows = np.concatenate([normal_rows(240, number), odd(60, number)])
        verdicts = ["No"] * 240 + ["Yes" if odd is odd_rows else "No"] * 60
        text = "timestamp,a,b,c,d,e,f,attack\n" + "".join(
            f"{5 * n}," + ",".join(f"{v:.4f}" for v in row) + f",{verdict}\n"
            for n, (row, verdict) in enumerate(zip(rows, verdicts, strict=True))
        )
        _write_xz(folder / f"jiis23_{day}.csv.xz", text)
    names = ["honey4optimized", "honey5optimized", "honey7optimized", *(f"label_{n}" for n in range(10))]
    for number, name in enumerate(names):
        rows = (normal_rows if number < 4 else odd_rows)(200 if number < 4 else 20, number)
        text = "dur,size,pkts,x,y,z,proto,service,conn_state,label,detailed-label\n" + "".join(
            ",".join(f"{v:.4f}" for v in row) + f",{n % 2},{n % 3}.0,,0,0\n" for n, row in enumerate(rows)
        )
        _write_xz(folder / f"iot23_{name}.csv.xz", text)
    lines = []
    for verdict, rows in (("normal", normal_rows(500, 1)), ("neptune", odd_rows(80, 2))):
        for row in rows:
            cells = [f"{v:.3f}" for v in np.tile(row, 7)[:41]]
            cells[1:4] = ["tcp", "http", "SF"]
            lines.append(",".join([*cells, verdict, "20"]) + "\n")
    _write_xz(folder / "nslkdd_train20.csv.xz", "".join(lines))
    return folder.parent


def _write_xz(path: Path, text: str) -> None:
    import lzma

    path.write_bytes(lzma.compress(text.encode(), preset=0))


def test_training_writes_tables_and_an_example(
    collections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = compression.iot.evaluate.run
    quick = Recipe(epochs=2, prune_steps=1, last_epochs=2, least_steps=2)
    monkeypatch.setattr(compression.iot.evaluate, "run", lambda data, out: run(data, out, quick, (0,)))
    monkeypatch.setattr(compression.iot.evaluate, "_BATCH", 500)
    monkeypatch.setattr(compression.iot.evaluate, "_SINGLE", 3)
    assert damso("train", "iot", "--data", collections, "--out", tmp_path / "model") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["collection"] for row in rows} == {"JIIS23", "IoT-23", "NSL-KDD"}
    assert {row["detector"] for row in rows} == {
        "float", "pruned", "pruned int8", "units", "int8", "PCA", "forest",
    }  # fmt: skip
    table = (tmp_path / "model" / "BENCHMARK.md").read_text("utf-8")
    assert "## IoT-23" in table and "| int8 |" in table
    assert (tmp_path / "model" / "profile.json").is_file()


def test_training_without_a_collection_names_it(
    collections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (collections / "iot" / "iot23_label_3.csv.xz").unlink()
    assert damso("train", "iot", "--data", collections, "--out", tmp_path / "model") == 1
    assert "iot23_label_3.csv.xz" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
