"""Every error a person can meet. Lower packages raise their own; faces show `message` and `hint`.

DamsoError
├── ModelError
│   ├── ModelMissingError
│   ├── ModelCorruptError
│   └── UnsupportedModelError
├── TrainingDataError
├── AudioError
├── TrafficError
├── CatalogueError
│   └── UnknownAgentError
├── DocumentError
│   ├── UnsupportedFormatError
│   ├── UnreadableFileError
│   ├── EmptyDocumentError
│   ├── DocumentTooLargeError
│   └── DocumentNotFoundError
├── StoreError
│   ├── NewerDatabaseError
│   ├── CorruptDatabaseError
│   └── DiskFullError
├── MessageError
│   ├── EmptyMessageError
│   └── MessageTooLongError
├── ToolError
│   ├── MissingArgumentError
│   ├── PictureError
│   ├── ToolArgumentError
│   └── UnknownToolError
├── BusyError
├── SettingsError
└── UnsupportedMachineError
"""

from __future__ import annotations

from agents.errors import CatalogueError, UnknownAgentError
from compression.audio.errors import AudioError
from compression.errors import (
    DamsoError,
    ModelCorruptError,
    ModelError,
    ModelMissingError,
    TrainingDataError,
    UnsupportedMachineError,
    UnsupportedModelError,
)
from compression.iot.errors import TrafficError
from retrieval.errors import (
    CorruptDatabaseError,
    DiskFullError,
    DocumentError,
    DocumentNotFoundError,
    DocumentTooLargeError,
    EmptyDocumentError,
    NewerDatabaseError,
    StoreError,
    UnreadableFileError,
    UnsupportedFormatError,
)

__all__ = [
    "AudioError",
    "BusyError",
    "CatalogueError",
    "CorruptDatabaseError",
    "DamsoError",
    "DiskFullError",
    "DocumentError",
    "DocumentNotFoundError",
    "DocumentTooLargeError",
    "EmptyDocumentError",
    "EmptyMessageError",
    "MessageError",
    "MessageTooLongError",
    "MissingArgumentError",
    "ModelCorruptError",
    "ModelError",
    "ModelMissingError",
    "NewerDatabaseError",
    "PictureError",
    "SettingsError",
    "StoreError",
    "ToolArgumentError",
    "ToolError",
    "TrafficError",
    "TrainingDataError",
    "UnknownAgentError",
    "UnknownToolError",
    "UnreadableFileError",
    "UnsupportedFormatError",
    "UnsupportedMachineError",
    "UnsupportedModelError",
]


class MessageError(DamsoError):
    """A message cannot be answered as it is."""


class EmptyMessageError(MessageError):
    """The message has no text."""


class MessageTooLongError(MessageError):
    """The message is over the length limit."""


class ToolError(DamsoError):
    """A tool cannot be called like this."""


class UnknownToolError(ToolError):
    """No tool has that name."""


class PictureError(ToolError):
    """A file is no picture that the tool can work on."""


class ToolArgumentError(ToolError):
    """An argument has a value that the tool does not take."""


class MissingArgumentError(ToolError):
    """The tool needs one more thing, and asks for it.

    Attributes:
        name: the argument.
        question: a short question in Korean.
        answered: how the person's answer joins the message so far; ``{}`` stands for the answer.
    """

    def __init__(self, name: str, question: str, answered: str = "{}") -> None:
        super().__init__(question, "")
        self.name, self.question, self.answered = name, question, answered


class BusyError(DamsoError):
    """Every slot and the queue are full."""


class SettingsError(DamsoError):
    """A setting has a value that cannot work."""
