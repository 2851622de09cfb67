"""
Pictures and documents, as Anthropic takes them.

See: https://platform.claude.com/docs/en/build-with-claude/vision
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from ..errors import InvalidRequestError
from ..types import DocumentPart, ImagePart
from ..types._messages import sniff_media_type
from ._unsupported import Unsupported

__all__ = ["document_block", "image_block"]

_IMAGES: Final = {"image/jpeg", "image/png", "image/gif", "image/webp"}
#: Kinds of documents that are text, whatever they call themselves.
_TEXTS: Final = {"application/json", "application/xml", "application/yaml"}
_DATA_URL: Final = re.compile(r"data:([^;,]*)[^,]*;base64,(.*)", re.DOTALL)


def image_block(part: ImagePart, unsupported: Unsupported) -> dict[str, Any] | None:
    """The block of a picture; ``None`` for one that cannot be sent."""
    if part.detail not in (None, "auto"):
        unsupported.sampling("the detail of an image", part.detail)
    source = _source(part)
    kind = source.get("media_type")
    if kind is not None and kind not in _IMAGES:
        unsupported.meaning(f"{kind} images", why="only JPEG, PNG, GIF and WebP")
        return None
    return {"type": "image", "source": source}


def document_block(
    part: DocumentPart, unsupported: Unsupported
) -> dict[str, Any] | None:
    """The block of a document; ``None`` for one that cannot be sent."""
    source = _source(part)
    kind = source.get("media_type")
    if kind is not None and (kind.startswith("text/") or kind in _TEXTS):
        try:
            text = base64.b64decode(source["data"]).decode()
        except UnicodeDecodeError:
            raise InvalidRequestError(
                f"A document of type {kind} has to be in UTF-8.", operation="chat"
            ) from None
        source = {"type": "text", "media_type": "text/plain", "data": text}
    elif kind not in (None, "application/pdf"):
        unsupported.meaning(f"{kind} documents", why="only PDF and text")
        return None
    title = {} if part.name is None else {"title": part.name}
    return {"type": "document", "source": source, **title}


def _source(part: ImagePart | DocumentPart) -> dict[str, Any]:
    if part.file_id is not None:
        return {"type": "file", "file_id": part.file_id}
    data, declared = part.data, part.media_type
    if part.url is not None:
        inline = _DATA_URL.fullmatch(part.url)
        if inline is None:
            return {"type": "url", "url": part.url}
        try:
            data = base64.b64decode(inline[2], validate=True)
        except binascii.Error:
            raise InvalidRequestError(
                "A data: URL holds no valid base64.", operation="chat"
            ) from None
        declared = inline[1] or declared
    assert data is not None
    # What is declared has to be true: the bytes know best.
    kind = sniff_media_type(data) or declared or part.require_media_type()
    text = base64.b64encode(data).decode("ascii")
    return {"type": "base64", "media_type": kind, "data": text}
