"""
Pictures, as Ollama takes them: bare base64, and nothing else.

See: https://docs.ollama.com/capabilities/vision
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from ..errors import InvalidRequestError
from ..types import ImagePart
from ._unsupported import Unsupported

__all__ = ["image_text"]

_DATA_URL: Final = re.compile(r"data:[^,]*;base64,(.*)", re.DOTALL)


def image_text(part: ImagePart, unsupported: Unsupported) -> str | None:
    """The base64 of a picture; ``None`` for one that cannot be sent."""
    if part.detail not in (None, "auto"):
        unsupported.sampling("the detail of an image", part.detail)
    if part.data is not None:
        return base64.b64encode(part.data).decode("ascii")
    inline = _DATA_URL.fullmatch(part.url or "")
    if inline is None:
        why = "it fetches nothing: pass the bytes, ImagePart(data=…)"
        what = "images by file_id" if part.url is None else "images by URL"
        unsupported.meaning(what, why=why)
        return None
    try:
        base64.b64decode(inline[1], validate=True)
    except binascii.Error:
        raise InvalidRequestError(
            "A data: URL holds no valid base64.", operation="chat"
        ) from None
    return inline[1]
