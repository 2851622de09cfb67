"""What makes two requests the same."""

from __future__ import annotations

import hashlib
from typing import Final

from .._version import __version__
from ..types import ChatRequest, dumps, json_converter

__all__ = ["cache_key", "digest"]

#: How long to wait and how often to try are no part of the question. All else is: what is
#: never sent (a user's id, notes) may be what tells one user's question from another's, and
#: *on_unsupported* shapes the warnings.
_NOT_ASKED: Final = ("deadlines", "max_retries")

#: Another aichat may ask for the same thing in another way, or read the answer better.
_VERSION: Final = f"aichat {__version__}".encode()


def cache_key(request: ChatRequest, namespace: str) -> str | None:
    """
    Name everything that shapes the answer to *request*, within *namespace*.

    Nothing is sorted: models read the properties of a schema in their order. The JSON is
    written by what writes the bodies of requests, so that what differs there differs here.
    ``None`` for a request that has no form in JSON: it cannot be sent either, and whoever
    tries says why.
    """
    try:
        asked = json_converter().unstructure(request)
        for name in _NOT_ASKED:
            asked.pop(name, None)
        return digest(_VERSION, namespace.encode(), dumps(asked))
    except (TypeError, ValueError, RecursionError):
        return None


def digest(*fields: bytes) -> str:
    """
    Hash *fields*, each behind its length: moving a byte to the next one is a difference.

    >>> digest(b"ab", b"c") == digest(b"a", b"bc")
    False
    """
    whole = hashlib.sha256()
    for text in fields:
        whole.update(len(text).to_bytes(8, "big"))
        whole.update(text)
    return whole.hexdigest()
