"""Every error a person can meet. Lower packages raise their own; faces show `message` and `hint`.

DamsoError
├── ModelError
│   ├── ModelMissingError
│   ├── ModelCorruptError
│   └── UnsupportedModelError
├── TrainingDataError
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
├── BusyError
├── SettingsError
└── UnsupportedMachineError
"""

from __future__ import annotations

from agents.errors import CatalogueError, UnknownAgentError
from compression.errors import (
    DamsoError,
    ModelCorruptError,
    ModelError,
    ModelMissingError,
    TrainingDataError,
    UnsupportedMachineError,
    UnsupportedModelError,
)
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
    "ModelCorruptError",
    "ModelError",
    "ModelMissingError",
    "NewerDatabaseError",
    "SettingsError",
    "StoreError",
    "TrainingDataError",
    "UnknownAgentError",
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


class BusyError(DamsoError):
    """Every slot and the queue are full."""


class SettingsError(DamsoError):
    """A setting has a value that cannot work."""
