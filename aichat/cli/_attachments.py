"""What is given to a question besides its words: pictures, and the form of the answer."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..types import ImagePart, loads

if TYPE_CHECKING:
    from ..structured import Expected

__all__ = ["picture", "wanted_form"]


def picture(source: str) -> ImagePart:
    """Make a part of a picture's file, or of its address. Raises `ConfigError`."""
    if source.startswith(("http://", "https://", "data:")):
        return ImagePart(url=source)
    image = ImagePart(data=read(source))
    kind = image.media_type or mimetypes.guess_type(source)[0] or "something unknown"
    if not kind.startswith("image/"):
        raise ConfigError(
            f"{source} is {kind}, not a picture: PNG, JPEG, GIF and WebP are understood."
        )
    return ImagePart(data=image.data, media_type=kind)


def wanted_form(file: str) -> Expected[Any]:
    """Read the JSON Schema that the answer shall follow. Raises `ConfigError`."""
    # Postponed: not everybody wants JSON.
    from ..structured import Expected

    try:
        schema = loads(read(file))
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON: {error}.") from None
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise ConfigError(
            f'{file} is no JSON Schema of an object: {{"type": "object", "properties": …}}.'
        )
    return Expected(schema)


def read(file: str) -> bytes:
    """The bytes of *file*. Raises `ConfigError` that names it."""
    try:
        return Path(file).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from None
