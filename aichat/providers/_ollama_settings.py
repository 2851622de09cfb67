"""
What can be set for all requests to one Ollama: the context window, and how long a model
stays loaded.

Another ``num_ctx`` than the last request's loads the model anew, which takes seconds to
minutes: so it belongs to the configuration rather than to a request.

See: https://docs.ollama.com/faq
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import ConfigError

__all__ = ["SETTINGS", "configured"]

#: Empty: as the server has it.
SETTINGS: Final[Mapping[str, str | None]] = {"num_ctx": "", "keep_alive": ""}
# As Go reads durations.
_DURATION: Final = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+")
# Longer ones are nobody's.
_NUMBER: Final = re.compile(r"-?\d{1,12}", re.ASCII)


def configured(
    body: Mapping[str, Any], settings: Mapping[str, str]
) -> Mapping[str, Any]:
    """Fill *settings* into *body*; what a request says itself is stronger."""
    num_ctx, keep_alive = settings.get("num_ctx"), settings.get("keep_alive")
    if num_ctx:
        options = {"num_ctx": _window(num_ctx), **body.get("options", {})}
        body = {**body, "options": options}
    if keep_alive:
        body = {"keep_alive": _patience(keep_alive), **body}
    return body


def _window(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) < 1:
        raise ConfigError(
            f"settings: num_ctx must be a number of tokens, got {text!r}."
        )
    return int(text)


def _patience(text: str) -> str | int:
    if _NUMBER.fullmatch(text):
        # A text without a unit is refused; a number is one of seconds.
        return int(text)
    if not _DURATION.fullmatch(text):
        raise ConfigError(
            "settings: keep_alive must be a duration such as 10m or 1h30m, or a number "
            f"of seconds (below 0: for ever), got {text!r}."
        )
    return text
