from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compression.errors import TrainingDataError
from compression.vision.super_resolution.data import Patches, pair, read_picture, read_training, test_files
from compression.vision.super_resolution.metrics import luma, psnr, shaved, ssim
from compression.vision.super_resolution.resize import bicubic, bicubic_pixels, mod_crop
from tests.compression.vision.sr_pictures import drawing, pixels, write_pictures

test_files.__test__ = False  # type: ignore[attr-defined]
CUBIC = np.array([-0.0234375, -0.0703125, 0.2265625, 0.8671875])
"""Keys' cubic with a = −0.5 at 1.75, 1.25, 0.75 and 0.25, worked out by hand."""


def test_shrinking_stretches_the_cubic() -> None:
    spike = np.zeros((16, 1, 1))
    spike[8] = 1
    found = bicubic(spike, 0.5)[:, 0, 0]
    assert found[2:6] == pytest.approx(CUBIC[[0, 2, 3, 1]] / 2)


def test_enlarging_does_not() -> None:
    spike = np.zeros((8, 1, 1))
    spike[4] = 1
    assert bicubic(spike, 2)[5:13, 0, 0] == pytest.approx([*CUBIC[[0, 1, 2, 3]], *CUBIC[[3, 2, 1, 0]]])


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 2, 3, 4])
def test_a_plain_picture_stays_plain_and_sides_round_up(scale: float) -> None:
    found = bicubic_pixels(np.full((13, 10, 3), 77, np.uint8), scale)
    assert (found == 77).all() and found.shape == (np.ceil(13 * scale), np.ceil(10 * scale), 3)


def test_edges_mirror() -> None:
    ramp = np.arange(12.0)[:, None, None]
    doubled = np.concatenate([ramp[::-1], ramp, ramp[::-1]])
    assert bicubic(ramp, 0.5)[:, 0, 0] == pytest.approx(bicubic(doubled, 0.5)[6:12, 0, 0])


def test_metrics_on_known_pictures() -> None:
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert luma(ends).tolist() == [[16, 235]]
    assert luma(np.array([[[7]]], np.uint8)).tolist() == [[7]], "a grey picture is scored as it is"
    picture = luma(pixels(1))
    assert psnr(picture, picture + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(picture, picture) == float("inf") and ssim(picture, picture) == pytest.approx(1)
    assert 0 < ssim(picture, picture[::-1]) < 0.9
    assert shaved(picture, 4).shape == (72, 88) and mod_crop(pixels(1), 7).shape == (77, 91, 3)


def test_patches_match_are_turned_alike_and_repeat() -> None:
    patches = Patches([pixels(number) for number in range(3)], scale=2, side=16, seed=5)
    low, high = patches.batch(3, size=6)
    assert low.shape == (6, 3, 16, 16) and high.shape == (6, 3, 32, 32)
    for small, large in zip(low, high, strict=True):
        shrunk = bicubic(large.transpose(1, 2, 0), 0.5).transpose(2, 0, 1).clip(0, 1)
        assert np.abs(shrunk - small)[:, 3:-3, 3:-3].max() < 0.01
    again = Patches([pixels(number) for number in range(3)], scale=2, side=16, seed=5).batch(3, size=6)
    assert (again[0] == low).all() and not (patches.batch(4, size=6)[0] == low).all()


def test_pictures_are_read_without_the_leaks(tmp_path: Path) -> None:
    data = write_pictures(tmp_path)
    drawing(5).save(data / "train" / "302003.png")
    drawing(6).convert("L").save(data / "train" / "grey.png")
    found = read_training(data)
    assert len(found) == 5 and {picture.shape[2] for picture in found} == {3}
    assert len(read_training(data, most=2)) == 2
    assert [file.name for file in test_files(data)["Set5"]] == ["20.png", "21.png", "grey.png"]
    assert read_picture(data / "test" / "Set5" / "grey.png").shape == (80, 96, 1)


def test_what_is_missing_is_said_in_korean(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="사진 폴더"):
        read_training(tmp_path)
    with pytest.raises(TrainingDataError, match="너무 작아요"):
        Patches([pixels(1, 20, 20)], scale=4, side=16)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(TrainingDataError, match="a.png"):
        read_training(tmp_path)


def test_a_pair_in_single_precision_is_off_by_a_level_at_most() -> None:
    found, exact = pair(pixels(2), 4).low, bicubic_pixels(pixels(2), 0.25)
    assert np.abs(found.astype(int) - exact).max() <= 1
