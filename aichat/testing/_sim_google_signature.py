"""Thought signatures: opaque, each of them belonging to the part that it came in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ._sim_dialect import Refused
from ._sim_seal import seal, unseal

__all__ = ["check_signature", "sign", "signed_by_default"]

#: What Google documents for calls that its model did not make.
_PLACEHOLDER: Final = "skip_thought_signature_validator"


def signed_by_default(model: str) -> bool:
    """
    Whether *model* always thinks, and wants its signatures back.

    >>> signed_by_default("gemini-3.8-flash"), signed_by_default("gemini-2.5-pro")
    (True, False)
    """
    found = re.match(r"(?:models/)?gemini-(\d+)", model)
    return found is not None and int(found[1]) >= 3


def sign(part: Mapping[str, Any]) -> str:
    """Make the signature of *part*."""
    return seal(_meant(part))


def check_signature(part: Mapping[str, Any]) -> None:
    """Raises `Refused` for a signature that is altered, or in another part's place."""
    signature = part.get("thoughtSignature")
    if signature is None or signature == _PLACEHOLDER:
        return
    # It may come back in either alphabet of base64.
    plain = str(signature).replace("-", "+").replace("_", "/")
    signed = unseal(plain)
    if signed is None:
        raise Refused("Corrupted thought signature.")
    if signed != _meant(part):
        raise Refused("Thought signature is not valid.")


def _meant(part: Mapping[str, Any]) -> str:
    call = part.get("functionCall")
    if call is None:
        # Streamed, it comes after the text.
        return "text"
    # A whole number may have become another kind of number on its way.
    arguments = json.dumps(call.get("args") or {}, sort_keys=True)
    return f"{call['name']} {arguments}"
