from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.artefacts import write_manifest
from compression.errors import ModelCorruptError, ModelMissingError
from compression.iot.errors import TrafficError
from compression.iot.features import ColumnChoice, Records, encode, learn_schema
from compression.iot.infer import Detector
from compression.iot.learn import FEWEST_RECORDS, learn, split
from compression.iot.profiles import (
    EXAMPLE,
    Profile,
    checked_name,
    load,
    load_all,
    profiles_folder,
    read,
    save,
    write,
)
from compression.iot.tables import read_table
from compression.iot.watch import Growing, watch
from tests.compression.iot_traffic import QUICK, normal_rows, odd_rows, write_csv

CHOICE = ColumnChoice(time="time")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    columns = read_table(write_csv(tmp_path_factory.mktemp("normal") / "a.csv", normal_rows(3000)))
    schema = learn_schema([columns], CHOICE)
    return learn("거실 카메라", [encode(columns, schema)], schema, CHOICE, QUICK)


@pytest.fixture
def mixed(tmp_path: Path, profile: Profile) -> Records:
    """A hundred odd records among normal ones."""
    rows = np.concatenate([normal_rows(300, 1), odd_rows(100, 2), normal_rows(300, 3)])
    return encode(read_table(write_csv(tmp_path / "mixed.csv", rows)), profile.schema)


def test_a_profile_finds_what_is_odd_and_says_why(profile: Profile, mixed: Records) -> None:
    findings = Detector(profile).examine(mixed)
    odd = np.arange(700) // 100 == 3
    assert findings.above[odd].mean() > 0.5 and findings.above[~odd].mean() <= 0.03
    worst = findings.windows[0]
    assert 1450 <= worst.start <= 2000 and worst.end <= 2030 and worst.records > 3
    assert worst.score == findings.scores[300:400].max() > profile.threshold
    assert {driver.feature for driver in worst.drivers} <= set(profile.schema.features)
    assert worst.drivers[0].share >= worst.drivers[-1].share > 0
    assert profile.figures["false_positive_rate"] <= 0.03
    assert profile.figures["bytes"] <= 0.085 * profile.figures["float_bytes"]


def test_single_records_score_as_in_a_batch(profile: Profile, mixed: Records) -> None:
    detector = Detector(profile)
    singles = [detector.scores(row[None])[0] for row in mixed.values[290:310]]
    np.testing.assert_allclose(singles, detector.scores(mixed.values)[290:310], rtol=1e-3)


def test_a_profile_survives_its_disk(tmp_path: Path, profile: Profile, mixed: Records) -> None:
    folder = save(profile, tmp_path)
    loaded = load("거실  카메라", tmp_path)
    assert (loaded.name, loaded.threshold, loaded.schema) == (profile.name, profile.threshold, profile.schema)
    np.testing.assert_array_equal(
        Detector(loaded).scores(mixed.values), Detector(profile).scores(mixed.values)
    )
    assert sorted(file.suffix for file in folder.iterdir()) == [".json", ".z"]
    save(replace(profile, model=profile.model + b"\x72\x01 ", threshold=2.0), tmp_path)
    assert load(profile.name, tmp_path).threshold == 2.0
    assert len(list(folder.iterdir())) == 2 and len(load_all(tmp_path)) == 1


def test_a_profile_nobody_learnt(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="프로필이 없어요.*damso iot learn"):
        load("냉장고", tmp_path)
    assert load_all(tmp_path) == []


def test_the_embedded_example_is_found_by_its_name(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAMSO_MODELS", str(tmp_path / "models"))
    write(replace(profile, name=EXAMPLE), tmp_path / "models" / "iot-anomaly")
    write_manifest(tmp_path / "models")
    assert load(EXAMPLE, tmp_path).threshold == profile.threshold
    save(replace(profile, name=EXAMPLE, threshold=3.0), tmp_path)
    assert load(EXAMPLE, tmp_path).threshold == 3.0


def test_the_embedded_example_runs() -> None:
    example = read(ROOT / "models" / "iot-anomaly")
    assert example.name == EXAMPLE and len(example.schema.features) == 9
    usual = np.array([[20, 109, 64, 53, 62, 172, 224, 224, 39]], np.float32)
    covert = np.array([[20, 66, 64, 50, 62, 64, 100, 255, 255]], np.float32)
    scores = Detector(example).scores(np.concatenate([usual, covert]))
    assert scores[0] < example.threshold < scores[1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda json_file, model: json_file.write_bytes(b"{"),
        lambda json_file, model: json_file.write_text("[]"),
        lambda json_file, model: json_file.write_text("[" * 100_000),
        lambda json_file, model: model.unlink(),
        lambda json_file, model: model.write_bytes(model.read_bytes()[:-1]),
        lambda json_file, model: model.write_bytes(
            bytes([model.read_bytes()[0] ^ 1]) + model.read_bytes()[1:]
        ),
    ],
)
def test_a_damaged_profile_is_said_and_the_others_stay(
    tmp_path: Path, profile: Profile, damage: object
) -> None:
    folder = save(profile, tmp_path)
    save(replace(profile, name="냉장고"), tmp_path)
    damage(folder / "profile.json", next(folder.glob("model-*")))  # type: ignore[operator]
    with pytest.raises(ModelCorruptError, match="다시 배워 주세요"):
        load(profile.name, tmp_path)
    good, bad = load_all(tmp_path)
    assert isinstance(good, Profile) and good.name == "냉장고" and isinstance(bad, ModelCorruptError)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2), ("scale", [0, 0, 0, 0, 0, 0]), ("center", [1]), ("spread", [-1] * 6), ("threshold", "x"),
        ("threshold", float("nan")), ("vote", {"window": 2, "needed": 3}), ("vote", {"window": 2}), ("numbers", None),
        ("model", {"file": "../../secret", "sha256": ""}), ("name", "\n"), ("categories", []),
    ],
)  # fmt: skip
def test_a_profile_with_values_that_cannot_be(
    tmp_path: Path, profile: Profile, key: str, value: object
) -> None:
    file = save(profile, tmp_path) / "profile.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {key: value}), encoding="utf-8")
    with pytest.raises((ModelCorruptError, TrafficError)):
        load(profile.name, tmp_path)


def test_a_network_of_another_width_is_refused(profile: Profile) -> None:
    numbers = profile.schema.numbers
    with pytest.raises(ModelCorruptError, match="맞지 않아요"):
        Detector(replace(profile, schema=replace(profile.schema, numbers=numbers[:-1]), spread=np.ones(5)))
    with pytest.raises(ModelCorruptError):
        Detector(replace(profile, model=b"no model"))


@given(
    st.text(max_size=120)
    | st.sampled_from(["..", "../../etc", "a/b", "a\\b", "C:\\x", "%2e%2e", "\0", "가" * 100])
)
def test_names_never_become_paths(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    home = tmp_path_factory.getbasetemp() / "names"
    with pytest.raises((ModelMissingError, TrafficError)):
        load(name, home)
    try:
        name = checked_name(name)
    except TrafficError:
        return
    from compression.iot.profiles import _folder_name

    assert len(_folder_name(name)) == 32 and _folder_name(name).isalnum()
    assert not home.exists()


def test_decomposed_hangul_is_the_same_name(tmp_path: Path, profile: Profile) -> None:
    import unicodedata

    save(profile, tmp_path)
    assert load(unicodedata.normalize("NFD", profile.name), tmp_path).name == profile.name


def test_a_write_that_fails_leaves_the_old_profile(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(profile, tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        save(replace(profile, threshold=9.0, model=profile.model + b"\x72\x01 "), tmp_path)
    assert load(profile.name, tmp_path).threshold == profile.threshold
    assert not list(profiles_folder(tmp_path).rglob("*.tmp"))


def test_too_few_records_are_refused() -> None:
    with pytest.raises(TrafficError, match="너무 적어요"):
        split(normal_rows(FEWEST_RECORDS - 1))


@pytest.mark.parametrize("count", [FEWEST_RECORDS, 5001, 45_000])
def test_every_record_has_one_part_in_every_stretch(count: int) -> None:
    parts = split(np.arange(count, dtype=np.float32)[:, None])
    dealt = [parts.training, parts.validation, parts.threshold, parts.check]
    assert sorted(np.concatenate(dealt)[:, 0].tolist()) == list(range(count))
    assert all(len(part) >= 0.09 * count for part in dealt)


def events(profile: Profile, content: bytes) -> list[str]:
    return [event.event for event in watch(Detector(profile), Growing(io.BytesIO(content), follow=False))]


def test_watching_tells_alarm_and_clear(tmp_path: Path, profile: Profile) -> None:
    rows = np.concatenate([normal_rows(50, 1), odd_rows(40, 2), normal_rows(50, 3)])
    content = write_csv(tmp_path / "a.csv", rows).read_bytes()
    found = list(watch(Detector(profile), Growing(io.BytesIO(content), follow=False)))
    assert sum(event.event == "record" for event in found) == 140
    turns = [event for event in found if event.event in ("alarm", "clear")]
    assert turns[0].event == "alarm" and 51 <= turns[0].record <= 90 and turns[0].drivers
    assert turns[-1].event == "clear" and turns[0].time == 5 * (turns[0].record - 1)


def test_a_bad_line_is_skipped_and_said(tmp_path: Path, profile: Profile) -> None:
    lines = write_csv(tmp_path / "a.csv", normal_rows(4)).read_text("utf-8").splitlines()
    lines[2:2] = ["1,2", "0,a,1,1,1,1,1", "0,,1,1,1,1,1", '0,"1', "", "0,\xff,1,1,1,1,1"]
    found = events(profile, "\n".join(lines).encode("latin-1"))
    assert found == ["record"] + ["skipped"] * 5 + ["record"] * 3


def test_watching_the_wrong_thing(tmp_path: Path, profile: Profile) -> None:
    for content, message in (
        (b"\xd4\xc3\xb2\xa1", "표.*로 배웠는데"), (b"time,bytes\n1,2\n", "필요한 열이 없어요"), (b"", "비어"),
        (b"a" * 2_000_000, "너무 길어요"),
    ):  # fmt: skip
        with pytest.raises(TrafficError, match=message):
            events(profile, content)


def test_a_growing_file_is_followed(tmp_path: Path, profile: Profile) -> None:
    whole = write_csv(tmp_path / "a.csv", normal_rows(30)).read_bytes()
    growing = tmp_path / "b.csv"
    growing.write_bytes(whole[:700])
    done = threading.Event()

    def grow() -> None:
        time.sleep(0.3)
        with growing.open("ab") as file:
            file.write(whole[700:])
        time.sleep(0.5)
        done.set()

    thread = threading.Thread(target=grow)
    thread.start()
    with growing.open("rb") as file:
        found = list(watch(Detector(profile), Growing(file, follow=True, stopped=done.is_set)))
    thread.join()
    assert sum(event.event == "record" for event in found) == 30


def test_judging_needs_neither_torch_nor_the_onnx_package() -> None:
    code = (
        "import sys, compression.iot.infer, compression.iot.learn, compression.iot.watch, assistant.tools.iot\n"
        "heavy = {'torch', 'onnx', 'scipy', 'sklearn', 'matplotlib', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
