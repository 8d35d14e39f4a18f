from __future__ import annotations

import numpy as np
import pytest
import torch

from compression.audio.export import to_onnx
from compression.audio.features import COEFFICIENTS, FRAMES
from compression.audio.model import CompactNet, Reversal, RoutingConvNet, parameters, squash
from compression.audio.train import Loss, Recipe, Scaling, Variant, build, margin_loss, predict, train
from compression.runtime import session


@pytest.mark.parametrize(("classes", "count"), [(7, 156_384), (8, 156_449), (4, 156_189)])
def test_routing_conv_net_has_the_papers_parameters(classes: int, count: int) -> None:
    assert parameters(RoutingConvNet(classes)) == count


@pytest.mark.parametrize("classes", [4, 7, 8])
def test_the_compact_network_stays_under_its_limit(classes: int) -> None:
    assert parameters(CompactNet(classes)) <= 100_000


@pytest.mark.parametrize("variant", Variant)
def test_networks_answer_every_clip_by_itself(variant: Variant) -> None:
    torch.manual_seed(0)
    network = build(variant, 8)
    clips = np.random.default_rng(0).standard_normal((5, FRAMES, COEFFICIENTS)).astype(np.float32)
    together = predict(network, clips)
    assert together.shape == (5, 8)
    np.testing.assert_allclose(together[3:4], predict(network, clips[3:4]), atol=1e-4)


def test_both_meanings_of_bidirectional_differ() -> None:
    """Each is blind to what it turns around: a clip that is symmetric along that axis has two equal halves."""
    clip = torch.randn(2, FRAMES, COEFFICIENTS)
    torch.manual_seed(0)
    time = RoutingConvNet(8, Reversal.time).eval()
    torch.manual_seed(0)
    coefficients = RoutingConvNet(8, Reversal.coefficients).eval()
    assert not torch.allclose(time(clip), coefficients(clip))
    symmetric = clip + clip.flip(1) + clip.flip(2) + clip.flip(1, 2)
    assert torch.allclose(time(symmetric), coefficients(symmetric), atol=1e-5)


def test_squash_keeps_the_direction_and_bounds_the_length() -> None:
    long, short = squash(torch.tensor([[300.0, 400.0], [0.003, 0.004]]))
    assert torch.allclose(long, torch.tensor([0.6, 0.8]), atol=1e-4) and short.norm() < 1e-4
    assert torch.isfinite(squash(torch.zeros(3))).all()


def beeps(count: int, frames: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Clips of two classes that differ in one coefficient."""
    chooser = np.random.default_rng(1)
    labels = chooser.integers(0, 2, count)
    features = chooser.standard_normal((count, 2, frames, COEFFICIENTS)).astype(np.float32)
    features[..., 4] += 2 * labels[:, None, None]
    return features, labels


def test_training_learns_and_repeats_itself() -> None:
    features, labels = beeps(48)
    recipe = Recipe(epochs=4, batch=8, rate=3e-3, loss=Loss.cross_entropy, mixup=0.2)
    ends = np.arange(40), np.arange(40, 48)
    first, second = (train(Variant.compact, features, labels, 2, *ends, recipe) for _ in range(2))
    assert first.curve[-1] >= 0.9 and len(first.curve) == 4
    np.testing.assert_array_equal(first.logits, second.logits)


def test_the_margin_loss_asks_for_no_more_than_its_margins() -> None:
    """With p(right) = .9 and .1 elsewhere only the .392 mean squared errors are left: 2 · .1² / 2 a clip."""
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    right = torch.eye(2)
    assert margin_loss(logits, right).item() == pytest.approx(0.392 * 0.01, rel=1e-4)
    # p(right) = .1 lacks .8, and .9 elsewhere is .8 too much, which counts half.
    assert margin_loss(logits, right.flip(0)).item() == pytest.approx(0.64 + 0.32 + 0.392 * 0.81, rel=1e-4)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_the_papers_network_trains(bfloat16: bool) -> None:
    features, labels = beeps(4, FRAMES)
    recipe = Recipe(epochs=2, batch=4, augment=False, bfloat16=bfloat16)
    done = train(Variant.routing, features, labels, 2, np.arange(4), np.arange(4), recipe)
    assert np.isfinite(done.logits).all() and len(done.curve) == 2


def test_the_export_is_the_network(tmp_path: object) -> None:
    features, labels = beeps(32)
    recipe = Recipe(epochs=2, batch=8, loss=Loss.cross_entropy)
    done = train(Variant.compact, features, labels, 2, np.arange(24), np.arange(24, 32), recipe)
    clips = features[24:, 0]
    for bits, tolerance in ((32, 1e-4), (8, 0.05)):
        (given,) = session(to_onnx(done.network, done.scaling, bits), 1).run(None, {"mfcc": clips})
        assert np.abs(given - done.logits).max() <= tolerance * np.abs(done.logits).max()
        assert (given.argmax(1) == done.logits.argmax(1)).all()
    assert len(to_onnx(done.network, done.scaling, 8)) < 150_000


def test_only_the_compact_network_is_exported() -> None:
    scaling = Scaling(np.zeros(COEFFICIENTS, np.float32), np.ones(COEFFICIENTS, np.float32))
    with pytest.raises(ValueError, match="CompactNet"):
        to_onnx(RoutingConvNet(8), scaling, 8)
    with pytest.raises(ValueError, match="8 or 32"):
        to_onnx(CompactNet(8), scaling, 4)
