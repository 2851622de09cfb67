"""What a provider has to offer, and how much a prompt is to it."""

from __future__ import annotations

from attrs import field, frozen

from ._values import JSONObject, frozen_mapping

__all__ = ["ModelInfo", "TokenCount"]


@frozen
class ModelInfo:
    """A model, as its provider lists it. ``None``: it does not say."""

    #: What stands behind the colon of ``"provider:name"``.
    id: str
    #: As its makers write it.
    title: str | None = field(default=None, kw_only=True)
    provider: str | None = field(default=None, kw_only=True)
    #: Seconds since the epoch.
    created_at: float | None = field(default=None, kw_only=True)
    #: Tokens that fit, those of the answer included or not, as the provider counts.
    context_length: int | None = field(default=None, kw_only=True)
    max_output_tokens: int | None = field(default=None, kw_only=True)
    #: Everything that the provider says of it.
    raw: JSONObject = field(
        factory=dict, kw_only=True, converter=frozen_mapping, repr=False, hash=False
    )

    @property
    def address(self) -> str:
        """What to pass as ``model=``."""
        return f"{self.provider}:{self.id}" if self.provider else self.id


@frozen
class TokenCount:
    """How many tokens a prompt is."""

    input_tokens: int
    #: True if it was reckoned here; False if the provider counted.
    estimated: bool = field(default=False, kw_only=True)
    #: The provider's own answer.
    raw: JSONObject = field(
        factory=dict, kw_only=True, converter=frozen_mapping, repr=False, hash=False
    )
