"""Errors of recordings."""

from __future__ import annotations

from compression.errors import DamsoError


class AudioError(DamsoError):
    """A recording cannot be read as speech."""
