"""The root of every error people see, and the errors of models and artefacts.

`assistant/errors.py` draws the whole tree.
"""

from __future__ import annotations


class DamsoError(Exception):
    """What happened and what to do, in Korean.

    Attributes:
        message: one Korean sentence saying what happened.
        hint: one Korean sentence saying what to do; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class ModelError(DamsoError):
    """A model or one of its files cannot be used."""


class ModelMissingError(ModelError):
    """A model or one of its files is not there."""


class ModelCorruptError(ModelError):
    """A model file does not match its checksum or its declared shape."""


class UnsupportedModelError(ModelError):
    """A checkpoint has another architecture than GPT-NeoX, or another format than safetensors and ONNX."""


class TrainingDataError(DamsoError):
    """The data folder or one of its files is missing or malformed."""


class UnsupportedMachineError(DamsoError):
    """The processor lacks what the runtime needs."""
