"""Small pictures of our own: lines, discs and gradients, as sharp as a drawing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from compression.vision.super_resolution.architecture import Architecture
from compression.vision.super_resolution.model import Network, build
from compression.vision.super_resolution.resize import Pixels


def drawing(number: int, width: int = 96, height: int = 80) -> Image.Image:
    """A picture that depends on its number alone."""
    chooser = np.random.default_rng(number)
    image = Image.new("RGB", (width, height), tuple(map(int, chooser.integers(0, 256, 3))))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x0, x1 = sorted(map(int, chooser.integers(0, width, 2)))
        y0, y1 = sorted(map(int, chooser.integers(0, height, 2)))
        colour = tuple(map(int, chooser.integers(0, 256, 3)))
        draw.line((x0, y0, x1, y1), colour, 2) if chooser.random() < 0.5 else draw.ellipse(
            (x0, y0, x1, y1), colour
        )
    return image


def pixels(number: int, width: int = 96, height: int = 80) -> Pixels:
    return np.asarray(drawing(number, width, height))


def write_pictures(folder: Path) -> Path:
    """A data folder in little."""
    for part, numbers in (("train/a", range(4)), ("validation", range(10, 12)), ("test/Set5", range(20, 22))):
        (folder / part).mkdir(parents=True)
        for number in numbers:
            drawing(number).save(folder / part / f"{number}.png")
    drawing(30).convert("L").save(folder / "test" / "Set5" / "grey.png")
    return folder


def random_network(shape: Architecture, seed: int = 1) -> Network:
    """A network whose tails are not nothing, as after a training."""
    import torch

    network = build(shape, seed)
    for tail in network.tails.values():
        torch.nn.init.normal_(tail.last.weight, std=0.05)
    return network
