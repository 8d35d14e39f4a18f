"""Errors of reading, storing and searching documents."""

from __future__ import annotations

from compression.errors import DamsoError


class DocumentError(DamsoError):
    """A file cannot become a document."""


class UnsupportedFormatError(DocumentError):
    """No reader knows this kind of file."""


class UnreadableFileError(DocumentError):
    """The file is missing, not readable, or not what its name says."""


class EmptyDocumentError(DocumentError):
    """The file holds no text."""


class DocumentTooLargeError(DocumentError):
    """The file is over a size limit."""


class DocumentNotFoundError(DocumentError):
    """No document of that id or name is in the store."""


class StoreError(DamsoError):
    """The database cannot be used."""


class NewerDatabaseError(StoreError):
    """The database was written by a newer version of Damso."""


class CorruptDatabaseError(StoreError):
    """The file is not a database or is damaged."""


class DiskFullError(StoreError):
    """There was no room to write."""
