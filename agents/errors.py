"""Errors of the agents' catalogue and their training."""

from __future__ import annotations

from compression.errors import DamsoError


class CatalogueError(DamsoError):
    """An agent's folder is malformed; the message names the file and the line."""


class UnknownAgentError(CatalogueError):
    """No agent has that name."""
