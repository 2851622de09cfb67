"""
Opaque state that must come back as it was: it holds what it belongs to, and says so.

Providers encrypt it. Here it is only sealed, which is as good for finding out whether a
client has kept it.
"""

from __future__ import annotations

import base64
import hashlib

__all__ = ["seal", "unseal"]


def seal(text: str) -> str:
    """Make a token of *text* that cannot be mistaken for another, nor changed by accident."""
    data = text.encode()
    return base64.b64encode(
        hashlib.sha256(b"simulator" + data).digest() + data
    ).decode()


def unseal(token: object) -> str | None:
    """
    What was sealed, or ``None`` if *token* is not as it was.

    >>> unseal(seal("a thought"))
    'a thought'
    """
    try:
        text = base64.b64decode(str(token), validate=True)[32:].decode()
    except ValueError:
        return None
    return text if seal(text) == token else None
