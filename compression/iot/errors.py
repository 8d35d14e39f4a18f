"""Errors of traffic files and device profiles."""

from __future__ import annotations

from compression.errors import DamsoError


class TrafficError(DamsoError):
    """A capture or a table cannot be read as traffic records."""
