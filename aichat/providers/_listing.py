"""
Lists of models: what a provider has, or what the key may use.

A spec whose API lists them carries a `ListingAPI`, and `HTTPModelLister` runs that over the
provider's transport. Whoever does not use our transport implements `ModelLister`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import evolve, frozen

from ..errors import ProtocolError, ResponseTooLargeError
from ..transport import HTTPRequest
from ..types import ModelInfo
from ._asking import Asking, read

if TYPE_CHECKING:
    from ._base import HTTPProvider

__all__ = ["HTTPModelLister", "ListingAPI", "ModelLister", "lister_of"]

#: Pages of up to 1,000 models each: far beyond what anybody has.
_MOST_PAGES = 100


@runtime_checkable
class ModelLister(Protocol):
    """Who lists models. A provider is one, or has one as ``model_lister``."""

    async def list_models(self) -> Sequence[ModelInfo]:
        """
        List all models, in the provider's order.

        Raises `AIChatError` and nothing else.
        """
        ...


def lister_of(provider: object) -> ModelLister | None:
    """Find out whether *provider* lists its models, and who does it for it."""
    found = getattr(provider, "model_lister", provider)
    return found if isinstance(found, ModelLister) else None


def _no_more(_: Any) -> None:
    return None


@frozen(kw_only=True)
class ListingAPI:
    """How one dialect lists models. Nothing in it does any I/O."""

    request: HTTPRequest
    #: The models on a page.
    decode: Callable[[Any], Iterable[ModelInfo]]
    #: What the query of the next page has in addition; ``None`` after the last one.
    following: Callable[[Any], dict[str, str] | None] = _no_more


@frozen
class HTTPModelLister:
    """The `ModelLister` of an `HTTPProvider` whose spec has a `ListingAPI`."""

    _api: ListingAPI
    _provider: HTTPProvider

    async def list_models(self) -> Sequence[ModelInfo]:
        """List all models, page by page; each one once."""
        api, provider = self._api, self._provider
        asking = Asking(provider, "list_models")
        models: dict[str, ModelInfo] = {}
        request = api.request
        with asking.explained():
            for _ in range(_MOST_PAGES):
                page = await asking.fetch(request)
                for model in read(lambda page: tuple(api.decode(page)), page):
                    named = evolve(model, provider=provider.name)
                    models.setdefault(model.id, named)
                following = read(api.following, page)
                if following is None:
                    return list(models.values())
                query = {**request.query, **following}
                if query == request.query:
                    raise ProtocolError("The next page of models is the same again.")
                request = evolve(request, query=query)
            raise ResponseTooLargeError(
                f"There are more than {_MOST_PAGES} pages of models."
            )
