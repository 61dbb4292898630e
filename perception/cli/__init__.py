"""``perceive``: one program with verbs. Heavy imports live inside the commands, so that ``--help`` is instant."""

from __future__ import annotations

from perception.cli.app import main

__all__ = ["main"]
