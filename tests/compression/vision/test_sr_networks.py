from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from compression.errors import ModelCorruptError  # noqa: E402
from compression.vision.super_resolution import losses  # noqa: E402
from compression.vision.super_resolution.architecture import Architecture  # noqa: E402
from compression.vision.super_resolution.data import Patches, pair  # noqa: E402
from compression.vision.super_resolution.evaluate import BICUBIC, candidates  # noqa: E402
from compression.vision.super_resolution.export import to_onnx  # noqa: E402
from compression.vision.super_resolution.infer import CONFIG, Speed, Upscaler, cut, file_name  # noqa: E402
from compression.vision.super_resolution.model import build, parameters  # noqa: E402
from compression.vision.super_resolution.publish import (  # noqa: E402
    MOST_PARAMETERS,
    TABLE,
    beats_bicubic,
    fast_one,
    publish,
    write,
)
from compression.vision.super_resolution.recipe import PRESETS, Recipe  # noqa: E402
from compression.vision.super_resolution.study import Clock, OutOfTime  # noqa: E402
from compression.vision.super_resolution.train import (  # noqa: E402
    CHECKPOINT,
    LOG,
    enlarge,
    learner,
    rate_factor,
    train,
)
from tests.compression.vision.sr_pictures import pixels, random_network, write_pictures  # noqa: E402

SHAPES = [
    Architecture("edsr", 2, 6, 3, exits=(1, 2)),
    Architecture("edsr", 4, 4, 2, staged=True),
    Architecture("edsr", 3, 4, 2, staged=True),
    Architecture("span", 4, 6, 2),
]


def test_edsr_baseline_has_the_published_number_of_parameters() -> None:
    assert parameters(build(replace(PRESETS["gpu"].teacher, scale=4), 0)) == 1_517_571


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("scale", [2, 4])
def test_modern_students_keep_within_their_bound(preset: Any, scale: int) -> None:
    assert parameters(build(replace(preset.modern, scale=scale), 0)) <= MOST_PARAMETERS


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fresh_network_repeats_pixels(shape: Architecture) -> None:
    low = pixels(1, 12, 10)
    for image in enlarge(build(shape, 0), low):
        assert (image == low.repeat(shape.scale, axis=0).repeat(shape.scale, axis=1)).all()


def test_an_exit_is_the_shallower_network() -> None:
    shape = SHAPES[0]
    found = {one.name: one.parameters for one in candidates({"exits": build(shape, 0)})}
    assert found == {
        f"exits@{n}": parameters(build(replace(shape, blocks=n, exits=()), 0)) for n in (1, 2, 3)
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_no_network_looks_further_than_it_says(shape: Architecture) -> None:
    network = random_network(shape)
    low = torch.rand(1, 3, 41, 41)
    changed = low.clone()
    changed[0, :, 20, 20] = 1 - changed[0, :, 20, 20]
    with torch.no_grad():
        rows = (network(low) != network(changed)).any(dim=1)[0].any(dim=1).nonzero()
    reach = max(20 - int(rows.min()) // shape.scale, int(rows.max()) // shape.scale - 20)
    assert 0 < reach <= shape.radius


@pytest.mark.parametrize("shape", SHAPES)
def test_the_export_enlarges_as_the_network_does(shape: Architecture) -> None:
    network, low = random_network(shape), pixels(2, 30, 22)
    for depth, wanted in zip(shape.depths, enlarge(network, low), strict=True):
        found = Upscaler(to_onnx(network, depth), shape.scale, shape.radius, threads=1)(low)
        # Weights in half precision move a pixel by a level now and then.
        assert np.abs(found.astype(int) - wanted).max() <= 1 and (found == wanted).mean() > 0.95
    with pytest.raises(ValueError, match="no picture after block 99"):
        to_onnx(network, 99)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3]])
def test_tiles_leave_no_seams(shape: Architecture) -> None:
    picture = pixels(3, 500, 260)
    model = to_onnx(random_network(shape))
    tiled = Upscaler(model, shape.scale, shape.radius, threads=1)(picture)
    whole = Upscaler(model, shape.scale, radius=1000, threads=1)._run(picture)
    assert np.abs(tiled.astype(int) - whole).max() <= 1 and (tiled == whole).mean() > 0.9999
    narrow = Upscaler(model, shape.scale, radius=0, threads=1)(picture)
    assert np.abs(narrow.astype(int) - whole).max() > 1, (
        "tiles that see nothing of their surroundings have seams"
    )


def test_every_pixel_is_in_one_tile() -> None:
    count = np.zeros((450, 230), int)
    for tile in cut(450, 230, radius=9, side=100):
        count[slice(*tile.rows), slice(*tile.columns)] += 1
        assert tile.seen_rows[0] == max(0, tile.rows[0] - 9) and tile.seen_columns[1] == min(
            230, tile.columns[1] + 9
        )
    assert (count == 1).all()


def test_a_grey_picture_stays_grey() -> None:
    shape = SHAPES[3]
    grey = pixels(4, 20, 20)[:, :, :1]
    network = random_network(shape)
    found = Upscaler(to_onnx(network), shape.scale, shape.radius, threads=1)(grey)
    assert found.shape == (80, 80, 1)
    assert np.abs(found.astype(int) - enlarge(network, grey)[0]).max() <= 1


def test_another_model_is_refused() -> None:
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(ModelCorruptError, match="키우는 모델이 아니에요"):
        Upscaler(model.SerializeToString(), 2, 5)


def test_contrast_is_zero_at_the_teacher_and_grows_away_from_it() -> None:
    teacher = [torch.rand(4, 5, 6, 6) for _ in range(3)]
    assert losses.contrast(teacher, teacher).tolist() == [0, 0, 0, 0]
    near, far = ([tap + size * torch.rand_like(tap) for tap in teacher] for size in (0.1, 1.0))
    assert (losses.contrast(near, teacher) < losses.contrast(far, teacher)).all()
    taken = [tap.roll(1, dims=0) for tap in teacher]
    assert (losses.contrast(taken, teacher) > losses.contrast(far, teacher)).all(), (
        "another patch's is the worst"
    )


def test_only_patches_on_which_the_teacher_is_better_teach() -> None:
    truth = torch.zeros(2, 3, 4, 4)
    student, teacher = torch.stack([truth[0] + 0.1, truth[1] + 0.3]), truth + 0.2
    assert losses.teacher_is_better(student, teacher, truth).tolist() == [0, 1]


def test_a_student_learns_from_taps_where_the_teacher_is_better() -> None:
    teacher = random_network(Architecture("edsr", 2, 6, 3))
    one = learner(random_network(Architecture("span", 2, 4, 3), seed=2), "contrast", teacher)
    low = torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        look = teacher.look(low)
    for truth, learns in ((look.images[-1], True), (one.network(low).detach(), False)):
        one.bridges.zero_grad()
        one.loss(low, truth, look, contrast=1.0).backward()
        assert all(bool(bridge.weight.grad.abs().sum() > 0) is learns for bridge in one.bridges)


def test_the_deepest_exit_does_not_learn_from_the_others() -> None:
    images = [torch.zeros(1, 3, 2, 2, requires_grad=True), torch.ones(1, 3, 2, 2, requires_grad=True)]
    losses.exits(images, torch.full((1, 3, 2, 2), 2.0)).backward()
    assert images[1].grad is not None and images[0].grad is not None
    assert images[1].grad.sum() == pytest.approx(-1) and images[0].grad.sum() == pytest.approx(-2)


def test_the_rate_rises_and_falls() -> None:
    assert (
        rate_factor(0, 100) == pytest.approx(0.2)
        and rate_factor(5, 100) == 1
        and rate_factor(99, 100) < 0.001
    )


def _trained(folder: Path, stop_after: int | None = None) -> dict[str, Any]:
    teacher = random_network(Architecture("edsr", 2, 6, 3), seed=9)
    shape = Architecture("edsr", 2, 4, 3)
    learners = {row: learner(build(shape, 0), row, teacher) for row in ("truth", "teacher", "contrast")}  # type: ignore[arg-type]
    patches = Patches([pixels(number) for number in range(3)], 2, 8)
    steps = 0

    def note() -> None:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            raise OutOfTime

    checked = [pair(pixels(11), 2)]
    recipe = Recipe(6, batch=4, side=8, check=2)
    train(learners, patches, recipe, folder, checked, teacher, contrast=0.1, note=note)
    return {name: one.network.state_dict() for name, one in learners.items()}


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    wanted = _trained(tmp_path / "whole")
    with pytest.raises(OutOfTime):
        _trained(tmp_path / "parts", stop_after=3)
    found = _trained(tmp_path / "parts")
    for name, weights in wanted.items():
        for key, value in weights.items():
            assert torch.allclose(found[name][key], value, atol=1e-5), (name, key)
    assert not torch.equal(wanted["truth"]["head.weight"], wanted["teacher"]["head.weight"])
    lines = [json.loads(line) for line in (tmp_path / "parts" / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6] and set(lines[0]["psnr"]) == set(wanted)
    assert (tmp_path / "parts" / CHECKPOINT).is_file()


def test_a_few_steps_lower_the_loss(tmp_path: Path) -> None:
    shape = Architecture("edsr", 2, 8, 2)
    one = learner(build(shape, 0), "truth")
    patches = Patches([pixels(number) for number in range(3)], 2, 12)
    train(
        {"a": one},
        patches,
        Recipe(40, batch=4, side=12, rate=3e-3, check=20),
        tmp_path,
        [pair(pixels(11), 2)],
    )
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert lines[-1]["psnr"]["a"][0] > lines[0]["psnr"]["a"][0] - 0.05
    fresh = enlarge(build(shape, 0), pair(pixels(11), 2).low)[0].astype(int)
    trained = enlarge(one.network, pair(pixels(11), 2).low)[0].astype(int)
    assert np.square(trained - pixels(11)).mean() < np.square(fresh - pixels(11)).mean()


def test_a_preset_can_be_made_longer() -> None:
    longer = PRESETS["cpu"].longer(2.5)
    assert [longer.teaching.steps, longer.learning.steps] == [1500, 1000]
    assert longer.second_scale().learning.steps == 500


def test_the_clock_stops_a_run() -> None:
    Clock(None)()
    with pytest.raises(OutOfTime):
        Clock(-1)()


def test_pictures_become_rows_and_a_worse_model_is_not_written(tmp_path: Path) -> None:
    data, said = write_pictures(tmp_path / "data"), list[str]()
    rows = publish(data, tmp_path / "run", tmp_path / "out", PRESETS["tiny"], say=said.append)
    assert (
        list(rows) == [4, 2]
        and BICUBIC in rows[4]
        and "exits@1" in rows[2]
        and "modern contrastive" in rows[4]
    )
    assert "| bicubic | – |" in (tmp_path / "run" / TABLE).read_text()
    assert "쓰지 않았어요" in said[-1] and not (tmp_path / "out").exists(), "six steps do not beat bicubic"
    before = (tmp_path / "run" / "x2" / "exits" / CHECKPOINT).stat().st_mtime_ns
    again = publish(data, tmp_path / "run", tmp_path / "out", PRESETS["tiny"])
    assert again == rows and before == (tmp_path / "run" / "x2" / "exits" / CHECKPOINT).stat().st_mtime_ns


def test_what_beats_bicubic_does_so_on_every_set_in_both_measures() -> None:
    rows: Any = {BICUBIC: {"a": (20, 0.5), "b": (30, 0.9)}, "x": {"a": (21, 0.6), "b": (31, 0.91)}}
    assert beats_bicubic(rows, "x")
    rows["x"]["b"] = (31, 0.89)
    assert not beats_bicubic(rows, "x")


def test_written_networks_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compression.artefacts import write_manifest

    shape = Architecture("edsr", 2, 4, 3, exits=(1, 2))
    twin = replace(shape, blocks=2, exits=())
    exported = candidates({"exits": random_network(shape), "twin 2": build(twin, 0)})
    early = fast_one(exported, [pixels(1)])
    assert early.name == "twin 2", "repeated pixels are nearer than random ones"
    folder = tmp_path / "super-resolution"
    write({(Speed.fast, 2): early}, folder)
    write_manifest(tmp_path)
    monkeypatch.setenv("DAMSO_MODELS", str(tmp_path))
    assert Upscaler.load(2, Speed.fast)(pixels(1, 9, 7)).shape == (14, 18, 3)
    with pytest.raises(ModelCorruptError):
        Upscaler.load(4, Speed.fast)
    (folder / CONFIG).write_text("{}")
    (folder / file_name(Speed.fast, 2)).write_bytes(b"nothing")
    write_manifest(tmp_path)
    with pytest.raises(ModelCorruptError):
        Upscaler.load(2, Speed.fast)
