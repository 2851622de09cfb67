"""
What a provider is: a name and a `stream`, or a `ProviderSpec` that `HTTPProvider` runs.

A spec is a description with a few pure functions in it. Keys, retries, limits, deadlines
and closing are somebody else's business, and `encode_request` could not leak a key if it
tried: it never sees one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from attrs import evolve, field, frozen

from ..errors import AIChatError, ConfigError
from ..transport import ChatDecoder, Decoder, Dialect, HTTPRequest, Transport
from ..transport._observation import observed_headers
from ..types import (
    DEFAULT_DEADLINES,
    ChatRequest,
    Deadlines,
    ResponseStart,
    Secret,
    StreamChunk,
)
from ._batching import BatchesAPI, HTTPBatches
from ._counting import CountingAPI, HTTPTokenCounter
from ._embedding import EmbeddingsAPI, HTTPEmbedder
from ._listing import HTTPModelLister, ListingAPI
from ._narrowing import ProfiledEncoder
from ._profiles import Modality, ModelProfile

__all__ = [
    "APIKey",
    "Auth",
    "Capability",
    "Engine",
    "HTTPProvider",
    "ProviderSpec",
    "bearer",
    "header",
    "settings_as_headers",
]

#: A key, or an async function that fetches one: from a secret manager, or a token that rotates.
APIKey: TypeAlias = str | Secret | Callable[[], Awaitable[str]]
#: Puts a key into a request.
Auth: TypeAlias = Callable[[HTTPRequest, str], HTTPRequest]


class Engine(Protocol):
    """What has to run before there is somebody to send to: see `ProviderSpec.engine`."""

    async def start(self, request: HTTPRequest, /) -> HTTPRequest:
        """
        Start what answers *request*, unless it runs already, and address it to that.

        Awaited for every attempt, which waits for its first byte meanwhile. Raises
        `AIChatError`.
        """
        ...

    async def aclose(self) -> None:
        """Stop whatever runs; harmless when done twice."""
        ...


class Capability(StrEnum):
    """What a provider can do, for those who choose one."""

    STREAMING = "streaming"
    TOOLS = "tools"
    PARALLEL_TOOLS = "parallel_tools"
    IMAGES = "images"
    AUDIO = "audio"
    DOCUMENTS = "documents"
    JSON = "json"
    JSON_SCHEMA = "json_schema"
    REASONING = "reasoning"
    CITATIONS = "citations"
    PROMPT_CACHING = "prompt_caching"
    EMBEDDINGS = "embeddings"
    TOKEN_COUNTING = "token_counting"
    BATCHES = "batches"


def bearer(request: HTTPRequest, key: str) -> HTTPRequest:
    """``Authorization: Bearer …`` (RFC 6750, section 2.1)."""
    return header("authorization", "Bearer ")(request, key)


def header(name: str, prefix: str = "") -> Auth:
    """Make an `Auth` that puts the key into the header *name*."""

    def auth(request: HTTPRequest, key: str) -> HTTPRequest:
        return evolve(request, headers={**request.headers, name: prefix + key})

    return auth


def settings_as_headers(
    names: Mapping[str, str],
) -> Callable[[HTTPRequest, Mapping[str, str]], HTTPRequest]:
    """Make a `ProviderSpec.prepare` that puts settings into the headers of *names*."""

    def prepare(request: HTTPRequest, settings: Mapping[str, str]) -> HTTPRequest:
        headers = {h: settings[name] for name, h in names.items() if settings.get(name)}
        # A header that was set by hand has its reason.
        return evolve(request, headers={**headers, **request.headers})

    return prepare


def _keep(request: HTTPRequest, _: Mapping[str, str]) -> HTTPRequest:
    return request


def _no_hint(_: AIChatError) -> None:
    return None


#: Capabilities that a spec has with a field of it, and not without.
_BY_FIELD: Mapping[Capability, str] = {
    Capability.EMBEDDINGS: "embeddings",
    Capability.TOKEN_COUNTING: "counting",
    Capability.BATCHES: "batches",
}


#: What a message may consist of, by the capability that it takes.
_MODALITIES: Mapping[Modality, Capability] = {
    Modality.IMAGE: Capability.IMAGES,
    Modality.AUDIO: Capability.AUDIO,
    Modality.DOCUMENT: Capability.DOCUMENTS,
}


def _to_capabilities(value: Iterable[Capability]) -> frozenset[Capability]:
    return frozenset(value)


@frozen(kw_only=True)
class ProviderSpec:
    """Everything that aichat needs to know about a provider."""

    #: Unique; what stands before the colon of a model. Lower case, as in ``"openai"``.
    name: str
    #: As its makers write it.
    title: str
    description: str = ""
    #: Where its API is documented.
    docs: str = ""

    #: ``None`` if there is no usual one: the user has to say.
    base_url: str | None = None
    #: Environment variables that may hold another base URL; the first one set wins.
    base_url_env: tuple[str, ...] = ()
    #: Completes what those variables hold, where it is not a URL yet: a bare host.
    base_url_of: Callable[[str], str] = str
    #: Environment variables that may hold the key; the first one set wins.
    api_key_env: tuple[str, ...] = ()
    requires_key: bool = True
    auth: Auth = bearer
    headers: Mapping[str, str] = field(factory=dict, hash=False)
    #: Settings of its own, with their defaults; ``None`` means that the user has to say.
    settings: Mapping[str, str | None] = field(factory=dict, hash=False)
    #: Environment variables that may hold a setting; the first one set wins.
    settings_env: Mapping[str, tuple[str, ...]] = field(factory=dict, hash=False)
    #: Applies the settings to an encoded request: an API version, a deployment.
    prepare: Callable[[HTTPRequest, Mapping[str, str]], HTTPRequest] = _keep

    encode_request: Callable[[ChatRequest], HTTPRequest]
    #: What a model accepts, by its name; ``None``: whatever `capabilities` say. See
    #: `profile_of`.
    profile: Callable[[str], ModelProfile] | None = None
    #: Makes what has to be started before there is somebody to send to, from the settings.
    engine: Callable[[Mapping[str, str]], Engine] | None = None
    #: Makes the decoder from bytes to events.
    framing: Callable[[], Decoder[bytes, Any]]
    #: Makes the decoder from events to chunks.
    decoder: Callable[[], ChatDecoder[Any]]
    #: The provider's own words for errors, where the usual ones do not do.
    error_codes: Mapping[str, type[AIChatError]] = field(factory=dict, hash=False)
    #: What to try about an error whose own words do not say it.
    hint: Callable[[AIChatError], str | None] = _no_hint
    deadlines: Deadlines = DEFAULT_DEADLINES
    #: An authenticated request that costs nothing; ``None`` if there is no such thing.
    health_check: HTTPRequest | None = None
    #: Many requests as one job; ``None`` if there is no such thing.
    batches: BatchesAPI | None = None
    #: Texts as vectors; ``None`` if there is no such thing.
    embeddings: EmbeddingsAPI | None = None
    #: How much a prompt is, by the provider's own count.
    counting: CountingAPI | None = None
    #: Which models there are.
    listing: ListingAPI | None = None

    capabilities: frozenset[Capability] = field(
        default=frozenset({Capability.STREAMING}), converter=_to_capabilities
    )
    #: Some of its models, newest first; not a complete list.
    models: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", self.name):
            raise ConfigError(
                f"The provider name {self.name!r} will not do: lower-case letters, "
                "digits, '-', '_' and '.', and no colon."
            )
        # So that they tell the truth, whatever the spec was copied from.
        for capability, name in _BY_FIELD.items():
            has = {capability} if getattr(self, name) is not None else set()
            capabilities = self.capabilities - {capability} | has
            object.__setattr__(self, "capabilities", capabilities)

    def profile_of(self, model: str) -> ModelProfile:
        """What *model* accepts, as far as this API lets it."""
        if self.profile is None:
            profile = ModelProfile(model, known=False)
        else:
            profile = self.profile(model)
        can = self.capabilities
        refused = {m for m, needed in _MODALITIES.items() if needed not in can}
        tools = profile.tools and Capability.TOOLS in can
        reasons = Capability.REASONING in can
        return evolve(
            profile,
            provider=self.name,
            inputs=profile.inputs - refused,
            tools=tools,
            forced_tool_choice=tools and profile.forced_tool_choice,
            parallel_tools=tools
            and profile.parallel_tools
            and Capability.PARALLEL_TOOLS in can,
            json=profile.json and Capability.JSON in can,
            json_schema=profile.json_schema and Capability.JSON_SCHEMA in can,
            reasoning=profile.reasoning if reasons else "never",
            efforts=profile.efforts if reasons else (),
            reasoning_budget=profile.reasoning_budget and reasons,
            streaming=profile.streaming and Capability.STREAMING in can,
        )

    def with_profiles(self, profiles: Mapping[str, ModelProfile]) -> ProviderSpec:
        """
        Return a spec for which *profiles*, by the names of models, are the truth.

        What a profile denies is left out of requests, or refused, by `on_unsupported`; what
        it grants is sent. A profile of one model may stand for another.
        """
        encoder, described = self.encode_request, self.profile_of
        if not isinstance(encoder, ProfiledEncoder):
            plain = encoder
            encoder = ProfiledEncoder(lambda request, _: plain(request))
        return evolve(
            self,
            encode_request=evolve(encoder, profiles={**encoder.profiles, **profiles}),
            profile=lambda model: profiles.get(model) or described(model),
        )

    @property
    def dialect(self) -> Dialect:
        """What the transport needs for reading its answers."""
        return Dialect(
            framing=self.framing, decoder=self.decoder, error_codes=self.error_codes
        )


async def reveal(key: APIKey | None) -> str | None:
    """Get at the text of a key, asking for it if it is a function."""
    if key is None or isinstance(key, str):
        return key
    if isinstance(key, Secret):
        return key.reveal()
    # A plain function is an easy mistake, and does no harm.
    value: Any = key()
    text: str = await value if inspect.isawaitable(value) else value
    return text


@frozen(kw_only=True)
class HTTPProvider:
    """Runs a `ProviderSpec` over a `Transport`. Made by `aichat.connect`."""

    spec: ProviderSpec
    transport: Transport
    #: Without a slash at its end, and checked.
    base_url: str
    api_key: APIKey | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    settings: Mapping[str, str] = field(factory=dict)
    #: What the transport starts before it sends.
    engine: Engine | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name of the spec."""
        return self.spec.name

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        """Answer *request*; see `Provider.stream`."""
        try:
            wire = await self._address(self.spec.encode_request(request))
            reads = self.transport.stream(
                wire,
                self.spec.dialect,
                deadlines=request.deadlines,
                max_retries=request.max_retries,
                cost=self.transport.expect(request),
            )
            warnings = wire.warnings
            del wire  # and with it the key, and the prompt once more, while it lasts
            async with aclosing(reads):
                introduced = False
                async for chunks in reads:
                    if not introduced:
                        introduced = True
                        chunks = self._introduce(chunks, warnings)
                    for chunk in chunks:
                        yield chunk  # noqa: ASYNC119 -- closed by the chain
        except AIChatError as error:
            error.note(operation="chat", provider=self.name, model=request.model_name)
            error.suggest(self.spec.hint(error))
            raise

    @property
    def batches(self) -> HTTPBatches | None:
        """What takes many requests at once, if the spec has it; see `BatchSubmitter`."""
        return HTTPBatches(self.spec.batches, self) if self.spec.batches else None

    @property
    def embedder(self) -> HTTPEmbedder | None:
        """What makes embeddings, if the spec has it; see `Embedder`."""
        return (
            HTTPEmbedder(self.spec.embeddings, self) if self.spec.embeddings else None
        )

    @property
    def token_counter(self) -> HTTPTokenCounter | None:
        """What counts tokens, if the spec has it; see `TokenCounter`."""
        return (
            HTTPTokenCounter(self.spec.counting, self) if self.spec.counting else None
        )

    @property
    def model_lister(self) -> HTTPModelLister | None:
        """What lists the models, if the spec has it; see `ModelLister`."""
        return HTTPModelLister(self.spec.listing, self) if self.spec.listing else None

    async def health(self) -> bool:
        """Ask for something that costs nothing; see `HealthChecker.health`."""
        check = self.spec.health_check
        if check is None:
            return False
        try:
            await self.transport.fetch(
                await self._address(check), error_codes=self.spec.error_codes
            )
        except AIChatError as error:
            error.note(operation="health", provider=self.name)
            error.suggest(self.spec.hint(error))
            raise
        return True

    def profile(self, model: str) -> ModelProfile:
        """What *model* accepts; see `ModelDescriber.profile`."""
        return self.spec.profile_of(model)

    async def aclose(self) -> None:
        """End the streams under way and refuse new ones. The pool is its owner's."""
        await self.transport.aclose()
        if self.engine is not None:
            await self.engine.aclose()

    async def _address(self, request: HTTPRequest) -> HTTPRequest:
        request = evolve(
            request,
            base_url=self.base_url,
            headers=observed_headers(self.spec.headers, self.headers, request.headers),
        )
        # After the address is known: it may have to be completed.
        request = self.spec.prepare(request, self.settings)
        key = await reveal(self.api_key)
        return self.spec.auth(request, key) if key else request

    def _introduce(
        self, chunks: list[StreamChunk], warnings: tuple[str, ...]
    ) -> list[StreamChunk]:
        """Make sure that the stream begins with a `ResponseStart` that names us."""
        match chunks:
            case [ResponseStart() as start, *rest]:
                start = evolve(start, provider=self.name, warnings=warnings)
                return [start, *rest]
            case _:
                start = ResponseStart(provider=self.name, warnings=warnings)
                return [start, *chunks]
