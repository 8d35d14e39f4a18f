"""What a network looks like, apart from its weights; what the export and the manifest of a model need too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Architecture:
    """The shape of a network.

    Attributes:
        kind: ``edsr`` has residual blocks; ``span`` has blocks whose result weighs itself.
        scale: factor of enlargement.
        channels: width.
        blocks: depth.
        exits: depths before the last at which a picture can be had too.
        staged: enlarge in steps of two, as EDSR does; else in one step, which costs a fraction.
    """

    kind: Literal["edsr", "span"]
    scale: int
    channels: int
    blocks: int
    exits: tuple[int, ...] = ()
    staged: bool = False

    @property
    def depths(self) -> tuple[int, ...]:
        """All depths with a picture, the deepest last."""
        return (*self.exits, self.blocks)

    @property
    def taps(self) -> tuple[int, int, int]:
        """Three depths whose features are compared with another network's."""
        third = self.blocks / 3
        return max(1, round(third)), max(1, round(2 * third)), self.blocks

    @property
    def radius(self) -> int:
        """How far, in pixels of the input, a pixel of the result looks at most."""
        convolutions = {"edsr": 2, "span": 3}[self.kind]
        # Head, tail's first and last; a staged tail looks less far with each step, so this is its bound as well.
        return 3 + convolutions * self.blocks + (2 if self.staged else 0)
