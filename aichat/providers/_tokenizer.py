"""
The optional package ``bpe-openai``: OpenAI's tokenizers, with their vocabularies in the wheel.

tiktoken fetches them from the network when they are first needed, so it is not used.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Final

from ..types import CountText, estimate_text_tokens

__all__ = ["tokenizer_for"]

#: The models of before GPT-4o. All later ones have ``o200k_base``; and for other makers'
#: models that one is the best guess that there is.
_OLDER: Final = re.compile(r"(gpt-4(?!o|\.)|gpt-3\.5|gpt-35|text-embedding-)")
#: Characters at a time. The package refuses a million of them, or 200,000 tokens; each cut
#: costs a token, at most.
_PIECE: Final = 50_000
_PACKAGE: Final = "bpe_openai"


def tokenizer_for(model: str, *, package: str = _PACKAGE) -> CountText | None:
    """What counts the tokens of a text for *model*; ``None`` without the package."""
    name = "cl100k_base" if _OLDER.match(model) else "o200k_base"
    encode = _encoder(package, name)
    if encode is None:
        return None
    return lambda text: _count(encode, text)


def _count(encode: Callable[[str], list[int]], text: str) -> int:
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return sum(_count_piece(encode, piece) for piece in pieces)


def _count_piece(encode: Callable[[str], list[int]], text: str) -> int:
    try:
        return len(encode(text))
    except Exception:
        # It is an estimate: what it stumbles over is estimated in another way.
        return estimate_text_tokens(text)


@cache
def _encoder(package: str, name: str) -> Callable[[str], list[int]] | None:
    try:
        with warnings.catch_warnings():
            # It reads its vocabularies in a way that Python frowned upon for a while.
            warnings.simplefilter("ignore", DeprecationWarning)
            encoding = import_module(package).get_encoding(name)
    except Exception:
        # Not installed, or not for this platform.
        return None
    encode: Callable[[str], list[int]] = encoding.encode_ordinary
    return encode
