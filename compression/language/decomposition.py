"""Decomposes every linear layer of a checkpoint once, block by block, into a folder that a killed run goes on from.

For each block there is ``block-N.safetensors`` with the factors at break-even rank (no more than the dense layer
holds) and ``block-N.json`` with their energies, written last. ``hidden-N.safetensors`` are the calibration tokens
after that block. ``job.json`` says what the folder belongs to.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from tqdm import tqdm

from compression.language.calibration import BlockWalk, Moment, Rows
from compression.language.layout import LINEARS, Shape, linear_name
from compression.language.tensors import full_disk_explained, write_tensors
from compression.language.weights import Checkpoint
from compression.methods.ranks import Spectrum, break_even
from compression.methods.svd import Decomposition, decompose

Floats = NDArray[np.float32]


class DecomposedModel:
    """The factors and energies in a folder, complete or in the making.

    Attributes:
        folder: where they are.
        blocks: how many blocks the model has.
    """

    def __init__(self, checkpoint: Checkpoint, folder: Path, rows: Rows | None) -> None:
        """Opens the folder; what another job left there is removed.

        Args:
            checkpoint: dense, of a layout that `layout.dense_shapes` accepts.
            folder: made when it is missing.
            rows: calibration tokens for whitening; None for plain truncation.
        """
        self._checkpoint, self._rows = checkpoint, rows
        self.folder, self.blocks = folder, int(checkpoint.config["num_hidden_layers"])
        self._claim(_job(checkpoint, rows))

    def run(self, dtype: type[np.floating]) -> None:
        """Decomposes the blocks that are not there yet.

        Args:
            dtype: float32 or float16, in which factors are kept.

        Raises:
            ModelError: the disk is full; what is there stays, and the next run goes on from it.
        """
        first = self._first_missing()
        if first == self.blocks:
            return
        walk = None if self._rows is None else BlockWalk(self._checkpoint, self._rows)
        if walk is not None and first:
            walk.skip_to(self._read_hidden(first - 1))
        bar = tqdm(total=self.blocks * len(LINEARS), initial=first * len(LINEARS), unit="층", desc="분해")
        with bar, full_disk_explained():
            for block in range(first, self.blocks):
                moments = {} if walk is None else walk.through(block)
                self._decompose_block(block, moments, dtype, bar)
                if walk is not None and block + 1 < self.blocks:
                    self._write_hidden(block, walk.hidden)

    def spectra(self) -> dict[str, Spectrum]:
        """Shapes and energies of all linear layers by full name."""
        found = {}
        for block in range(self.blocks):
            energies = json.loads(self._energies(block).read_text(encoding="utf-8"))
            for linear in LINEARS:
                name = linear_name(block, linear)
                rows, columns = self._checkpoint.shapes[f"{name}.weight"]
                found[name] = Spectrum(rows, columns, np.array(energies[linear], np.float64))
        return found

    def factors(self, block: int, linear: str, rank: int) -> tuple[Floats, Floats]:
        """``down`` [rank, in] and ``up`` [out, rank] of a layer."""
        with safe_open(str(self._factors(block)), "numpy") as file:
            down = file.get_slice(f"{linear}.down")[:rank]
            up = file.get_slice(f"{linear}.up")[:, :rank]
        return down, up

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _claim(self, job: str) -> None:
        file = self.folder / "job.json"
        if file.is_file() and file.read_text(encoding="utf-8") == job:
            return
        self.remove()
        with full_disk_explained():
            self.folder.mkdir(parents=True)
            file.write_text(job, encoding="utf-8")

    def _first_missing(self) -> int:
        done = 0
        while done < self.blocks and self._energies(done).is_file():
            done += 1
        # Without the hidden states after it, the last block is run again.
        if self._rows is not None and 0 < done < self.blocks and not self._hidden(done - 1).is_file():
            return max(done - 1, 0)
        return done

    def _decompose_block(
        self, block: int, moments: dict[str, Moment], dtype: type[np.floating], bar: tqdm[None]
    ) -> None:
        shapes: dict[str, Shape] = {}
        energies: dict[str, list[float]] = {}
        for linear in LINEARS:
            rows, columns = self._checkpoint.shapes[f"{linear_name(block, linear)}.weight"]
            rank = break_even(rows, columns)
            shapes |= {f"{linear}.down": (rank, columns), f"{linear}.up": (rows, rank)}

        def tensors() -> Iterator[tuple[str, Floats]]:
            for linear in LINEARS:
                weight = self._checkpoint[f"{linear_name(block, linear)}.weight"]
                found = factorise(weight, moments.get(linear))
                energies[linear] = found.energy.tolist()
                yield f"{linear}.down", found.down
                yield f"{linear}.up", found.up
                bar.update()

        write_tensors(self._factors(block), shapes, tensors(), dtype)
        partial = self._energies(block).with_suffix(".partial")
        partial.write_text(json.dumps(energies), encoding="utf-8")
        partial.replace(self._energies(block))

    def _write_hidden(self, block: int, hidden: Floats) -> None:
        write_tensors(self._hidden(block), {"hidden": hidden.shape}, [("hidden", hidden)], np.float32)
        if block:
            self._hidden(block - 1).unlink(missing_ok=True)

    def _read_hidden(self, block: int) -> Floats:
        with safe_open(str(self._hidden(block)), "numpy") as file:
            hidden: Floats = file.get_tensor("hidden")
        return hidden

    def _factors(self, block: int) -> Path:
        return self.folder / f"block-{block}.safetensors"

    def _energies(self, block: int) -> Path:
        return self.folder / f"block-{block}.json"

    def _hidden(self, block: int) -> Path:
        return self.folder / f"hidden-{block}.safetensors"


def factorise(weight: Floats, moment: Moment | None) -> Decomposition:
    """A layer's factors at break-even rank, whitened where there is a moment."""
    rank = break_even(*weight.shape)
    return decompose(weight, rank) if moment is None else moment.decompose(weight, rank)


def _job(checkpoint: Checkpoint, rows: Rows | None) -> str:
    """What decides the factors: the weights' files (by size and time, as make does) and the calibration tokens."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files]
    tokens = None if rows is None else sha256(rows.ids.tobytes() + rows.counted.tobytes()).hexdigest()
    return json.dumps({"config": checkpoint.config, "files": files, "tokens": tokens}, sort_keys=True)
