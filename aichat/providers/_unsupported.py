"""What to do with an option that a provider or a model does not take."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from ..errors import InvalidRequestError
from ..types import ChatRequest, EmbeddingRequest, OnUnsupported

__all__ = ["Unsupported"]


@define
class Unsupported:
    """
    Collects the options of one request that cannot be sent, by the user's policy (G5).

    Left to itself it warns about *sampling*, which changes how an answer is drawn, and
    raises for *meaning*: tools, formats, media. Nothing is dropped without a word.
    """

    _request: ChatRequest | EmbeddingRequest
    #: Who does not take it, for the message.
    _who: str
    _warnings: list[str] = field(factory=list, init=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, in sentences, for `HTTPRequest.warnings`."""
        return tuple(self._warnings)

    def sampling(self, option: str, value: Any = True, why: str = "") -> None:
        """*option* shapes how the answer is drawn; no harm if *value* says nothing."""
        self._report(option, value, why, "warn")

    def meaning(self, option: str, value: Any = True, why: str = "") -> None:
        """*option* decides what the answer is; no harm if *value* says nothing."""
        self._report(option, value, why, "raise")

    def adjusted(self, what: str) -> None:
        """Say that something was sent in another form than it was asked for."""
        self._warnings.append(what)

    def _report(
        self, option: str, value: Any, why: str, default: OnUnsupported
    ) -> None:
        if value is None or value == () or value == {}:
            return
        policy = self._request.on_unsupported or default
        message = f"{self._who} does not take {option}"
        message += f": {why}" if why else ""
        if policy == "raise":
            raise InvalidRequestError(
                f"{message}. Leave it out, or pass on_unsupported='warn' to have it "
                "left out for you.",
                operation="chat" if isinstance(self._request, ChatRequest) else "embed",
                model=self._request.model_name or None,
            )
        if policy == "warn":
            self._warnings.append(f"{message}; it was left out.")
