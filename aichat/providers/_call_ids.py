"""Ids for tool calls whose provider gives none."""

from __future__ import annotations

import secrets

__all__ = ["new_call_id"]


def new_call_id() -> str:
    """Make an id that no provider makes: it shows that it is ours."""
    return f"call_aichat_{secrets.token_hex(12)}"
