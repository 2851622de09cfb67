"""The front desk: builds requests, sends them on their way, folds what comes back."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, final, overload

import anyio
import anyio.lowlevel
from attrs import evolve, fields, frozen

from ._client_checks import (
    check_names,
    check_provider,
    check_providers,
    checked_middleware,
    explained,
)
from ._closing import AsyncClosing
from ._stream import ChatStream, UnderWay
from .errors import AIChatError, ClosedError, ConfigError, InvalidRequestError
from .middleware import Middleware, compose
from .middleware._compose import ClosableMiddleware
from .middleware._telemetry import telemetry_among
from .middleware._watching import outermost_watchers
from .types import ChatRequest, ChatResponse, Deadlines, Prompt, StreamChunk

# What makes clients from configurations, and what not every application does, is imported in
# the methods that need it: it is more than half of what `import aichat` would take.
if TYPE_CHECKING:
    from ._batches import Batches
    from ._builder import RequestBuilder
    from ._config import ClientConfig
    from ._feed import Flow
    from ._many import MapResult, OnError, Progress, Prompts
    from ._registry import Registry
    from .providers import ModelProfile, Provider
    from .structured import (
        Expected,
        Form,
        ObjectStream,
        TypedRequestOptions,
        TypedResponse,
    )
    from .tools import (
        RunOptions,
        RunResult,
        RunStream,
        TypedRunOptions,
        TypedRunResult,
    )
    from .transport import Send
    from .types import (
        EmbeddingOptions,
        EmbeddingRequest,
        EmbeddingResponse,
        ModelInfo,
        RequestOptions,
        TokenCount,
    )

__all__ = ["Client", "Health"]

T = TypeVar("T")

#: Of the loop, for what has been interrupted to end. Who is elsewhere is not waited for.
_TURNS = 10


@frozen(kw_only=True)
class Health:
    """How a provider is."""

    #: ``None``: it has no way to tell.
    ok: bool | None
    #: Seconds that it took to find out.
    latency: float
    error: AIChatError | None = None


@final
class Client(AsyncClosing):
    """
    Talks to language models, through any number of providers.

    Making one touches neither the network nor an event loop; a web application may do it
    at import. The connection pool opens with the first request, in the running loop. The
    client may be used by several loops, one after the other or in threads of their own.

    Whoever makes a client closes it, with ``async with`` or `aclose`.

    >>> from aichat.testing import FakeProvider, reply
    >>> client = Client({"fake": FakeProvider([reply("Hello!")])}, model="fake:any")
    >>> async def main() -> None:
    ...     async with client:
    ...         print((await client.complete("Say hello.")).text)
    >>> anyio.run(main)
    Hello!
    """

    @explained
    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        model: str | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        """
        Bundle *providers*; the model of a request names one of them.

        *model* is the default. Its provider, or else the first of *providers*, is the one
        that bare model names belong to. The first of *middleware* is the outermost; around
        it is a `telemetry`, unless there is one among them.
        """
        check_providers(providers)
        if not providers:
            raise ConfigError("A client needs at least one provider.")
        if model is not None and not isinstance(model, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
            raise ConfigError(
                f"model must be a text, 'provider:name'; got a {type(model).__name__}."
            )
        self._providers = providers
        self._middleware = checked_middleware(middleware)
        self._telemetry, placed = telemetry_among(self._middleware)
        layers: Sequence[Middleware] = self._middleware
        if not placed:
            layers = (self._telemetry, *layers)
        self._watchers, layers = outermost_watchers(layers)
        self._layers = compose(layers, self._dispatch)
        self._closed = False
        self._under_way = set[UnderWay]()
        self._default_provider = next(iter(providers))
        self._model = self._address(model) if model else None
        if self._model and self._model.partition(":")[0] in providers:
            self._default_provider = self._model.partition(":")[0]

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        middleware: Sequence[Middleware] = (),
        registry: Registry | None = None,
        profiles: Mapping[str, ModelProfile] = MappingProxyType({}),
        send: Send | None = None,
        **settings: Any,
    ) -> Client:
        """
        Configure a client from ``AI_PROVIDER``, ``AI_API_KEY`` and the like.

        *settings* are fields of `ClientConfig` and win over the environment. Models of
        other providers work as well if their own key variables are set. *profiles* and
        *send* are as in `from_config`. Raises `ConfigError`.
        """
        from ._config import ClientConfig

        config = ClientConfig.from_env(environ, **settings)
        return cls.from_config(
            config,
            middleware=middleware,
            registry=registry,
            profiles=profiles,
            environ=environ,
            send=send,
        )

    @classmethod
    def from_config(
        cls,
        config: ClientConfig,
        *,
        middleware: Sequence[Middleware] = (),
        registry: Registry | None = None,
        profiles: Mapping[str, ModelProfile] = MappingProxyType({}),
        environ: Mapping[str, str] = os.environ,
        send: Send | None = None,
    ) -> Client:
        """
        Make a client after *config*.

        *profiles*, by ``"provider:model"``, say what models accept, where aichat cannot
        know it or is wrong: see `ModelProfile`. *send* takes the place of the connection
        pool, which is then never opened: a recording, or an HTTP client of your own, with
        connections that you look after. Raises `ConfigError`.
        """
        from ._connect import Directory
        from ._registry import Registry

        directory = Directory(
            config, registry or Registry(), environ, profiles, send=send
        )
        return cls(directory, model=config.address, middleware=middleware)

    @classmethod
    def with_provider(cls, provider: Provider, *, model: str | None = None) -> Client:
        """Make a client of a single provider, under the provider's own name."""
        check_provider(provider, "This")
        return cls({provider.name: provider}, model=model)

    def use(self, *middleware: Middleware) -> Client:
        """
        Return a client that has *middleware* around everything that this one does.

        Each one wraps what was there before it, so the last one named is the outermost.
        Both clients share their providers: closing one closes both.
        """
        return Client(
            self._providers,
            model=self._model,
            middleware=(*reversed(middleware), *self._middleware),
        )

    def stream(
        self, prompt: Prompt, /, **options: Unpack[RequestOptions]
    ) -> ChatStream:
        """
        Ask, and get the answer chunk by chunk. Nothing is sent before the first pull.

        *options* are the fields of `ChatRequest`; ``timeout=30`` is short for deadlines.
        Raises `InvalidRequestError` at once for a request that makes no sense; the stream
        raises `AIChatError`.
        """
        request = self._request(prompt, dict(options))
        return self._open(request)

    @overload
    async def complete(
        self, prompt: Prompt, /, **options: Unpack[RequestOptions]
    ) -> ChatResponse: ...
    @overload
    async def complete(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: type[T],
        **options: Unpack[TypedRequestOptions],
    ) -> TypedResponse[T]: ...
    @overload
    async def complete(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: object,
        **options: Unpack[TypedRequestOptions],
    ) -> TypedResponse[Any]: ...
    async def complete(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: Any = None,
        **options: Unpack[TypedRequestOptions],
    ) -> ChatResponse:
        """
        Ask, and await the whole answer: the fold of `stream`. Raises `AIChatError`.

        With *response_type*, a type or a JSON Schema, the answer is a `TypedResponse`, whose
        ``parsed`` is one. What does not fit is a `StructuredOutputError`; it goes back to
        the model with what is wrong as often as *repair* says: 0 by default. The provider
        enforces the schema: all of it, or with ``strict=False`` as far as it can. A model
        that knows no schemas refuses, unless *schema_via* is ``"prompt"``, which says the
        schema in a system message, or ``"auto"``, which does so for those, and for those that
        know none beside tools.
        """
        asked = dict(options)
        return await self._complete(prompt, _form_of(response_type, asked), asked)

    async def _complete(
        self, prompt: Prompt, form: Form[Any] | None, options: dict[str, Any]
    ) -> ChatResponse:
        if form is None:
            return await self._open(self._request(prompt, options)).response()
        # Reading types takes its time to import, and not everybody asks for one.
        from .structured import complete_typed

        request, expected = self._expecting(prompt, form, options)
        ask = self._again(request)

        async def send(request: ChatRequest) -> ChatResponse:
            return await ask(request).response()

        return await complete_typed(send, request, expected, repair=form.repair)

    @overload
    def stream_object(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: type[T],
        **options: Unpack[TypedRequestOptions],
    ) -> ObjectStream[T]: ...
    @overload
    def stream_object(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: object,
        **options: Unpack[TypedRequestOptions],
    ) -> ObjectStream[Any]: ...
    def stream_object(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: Any,
        **options: Unpack[TypedRequestOptions],
    ) -> ObjectStream[Any]:
        """
        Ask for a *response_type*, and get it while it grows: see `ObjectStream`.

        Nothing is sent before the first pull. The rest is as with `complete`; with *repair*
        the value begins anew when its answer does not fit.
        """
        from .structured import Form, ObjectStream

        asked = dict(options)
        form = _form_of(response_type, asked) or Form[Any](response_type)
        request, expected = self._expecting(prompt, form, asked)
        return ObjectStream(self._again(request), request, expected, repair=form.repair)

    @overload
    def run_stream(
        self, prompt: Prompt, /, **options: Unpack[RunOptions]
    ) -> RunStream[RunResult]: ...
    @overload
    def run_stream(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: type[T],
        **options: Unpack[TypedRunOptions],
    ) -> RunStream[TypedRunResult[T]]: ...
    @overload
    def run_stream(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: object,
        **options: Unpack[TypedRunOptions],
    ) -> RunStream[TypedRunResult[Any]]: ...
    def run_stream(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: Any = None,
        **options: Unpack[TypedRunOptions],
    ) -> RunStream[Any]:
        """
        Ask, call the *tools* that the model wants called, give it the results, and so on.

        *tools* are typed functions, or what `aichat.tools.tool` makes of them. Yields the
        chunks of every answer, and what is done between them. Other *options* are those of
        `stream`, for each request, and of the loop: see `aichat.tools.Settings`. So a *total*
        deadline is that of each request; for the whole, tools and all, there is
        ``asyncio.timeout``. Raises `ConfigError` and `InvalidRequestError` at once.

        With *response_type* the last answer is read into it, as in `complete`, and may be
        asked for again within *max_rounds*. Not every model can both call tools and be kept
        to a schema: Gemini before 3 refuses, and most of Ollama's then call nothing, which is
        a warning. For them there is ``schema_via="auto"``.
        """
        # Shapes, schemas and the loop take their time to import, and not everybody has tools.
        from .tools import RunStream, split_options

        settings, asked = split_options(options)
        form = _form_of(response_type, asked)
        if form is None:
            return RunStream(self._open, self._request(prompt, asked), settings)
        request, expected = self._expecting(prompt, form, asked)
        return RunStream(
            self._open, request, settings, expected=expected, repair=form.repair
        )

    @overload
    async def run(
        self, prompt: Prompt, /, **options: Unpack[RunOptions]
    ) -> RunResult: ...
    @overload
    async def run(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: type[T],
        **options: Unpack[TypedRunOptions],
    ) -> TypedRunResult[T]: ...
    @overload
    async def run(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: object,
        **options: Unpack[TypedRunOptions],
    ) -> TypedRunResult[Any]: ...
    async def run(
        self,
        prompt: Prompt,
        /,
        *,
        response_type: Any = None,
        **options: Unpack[TypedRunOptions],
    ) -> RunResult:
        """
        Ask, call tools until the model needs no more, and await the last answer.

        As `run_stream`. Raises `ToolLoopError` when it takes more than *max_rounds*.
        """
        stream: RunStream[RunResult] = self.run_stream(
            prompt, response_type=response_type, **options
        )
        return await stream.result()

    def request(self) -> RequestBuilder:
        """Begin a request that is said step by step."""
        from ._builder import RequestBuilder

        return RequestBuilder(self)

    @overload
    def map(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        ordered: bool = False,
        errors: OnError = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        **options: Unpack[RequestOptions],
    ) -> Flow[MapResult[ChatResponse]]: ...
    @overload
    def map(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        ordered: bool = False,
        errors: OnError = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        response_type: type[T],
        **options: Unpack[TypedRequestOptions],
    ) -> Flow[MapResult[TypedResponse[T]]]: ...
    @overload
    def map(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        ordered: bool = False,
        errors: OnError = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        response_type: object,
        **options: Unpack[TypedRequestOptions],
    ) -> Flow[MapResult[TypedResponse[Any]]]: ...
    def map(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        ordered: bool = False,
        errors: OnError = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        response_type: Any = None,
        **options: Unpack[TypedRequestOptions],
    ) -> Flow[Any]:
        """
        Ask many *requests*, *concurrency* at a time, and get results as they complete.

        *requests* may be endless or asynchronous: they are read as they are needed, no more
        than *concurrency* ahead of what you have taken (twice that when *ordered*), and
        closed at the end if they are an async generator. The first error ends everything, or
        with ``errors="return"`` is a result. Leaving cancels what is under way::

            async with client.map(prompts, concurrency=50) as results:
                async for result in results:
                    print(result.index, result.response.text)

        *response_type* and the other *options* are those of `complete`, for each request.
        """
        from ._many import map_prompts

        asked = dict(options)
        form = _form_of(response_type, asked)
        check_names(asked, _names_of(ChatRequest, "messages"))
        if form is not None:
            # A type that will not do is no reason to ask anybody.
            form.expected(lambda: True)
        return map_prompts(
            lambda prompt: self._complete(prompt, form, dict(asked)),
            requests,
            concurrency=concurrency,
            ordered=ordered,
            errors=errors,
            on_progress=on_progress,
        )

    @overload
    async def complete_many(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        errors: Literal["raise"] = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        **options: Unpack[RequestOptions],
    ) -> list[ChatResponse]: ...
    @overload
    async def complete_many(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        errors: Literal["return"],
        on_progress: Callable[[Progress], object] | None = None,
        **options: Unpack[RequestOptions],
    ) -> list[MapResult[ChatResponse]]: ...
    @overload
    async def complete_many(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        errors: Literal["raise"] = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        response_type: type[T],
        **options: Unpack[TypedRequestOptions],
    ) -> list[TypedResponse[T]]: ...
    @overload
    async def complete_many(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        errors: Literal["return"],
        on_progress: Callable[[Progress], object] | None = None,
        response_type: type[T],
        **options: Unpack[TypedRequestOptions],
    ) -> list[MapResult[TypedResponse[T]]]: ...
    @overload
    async def complete_many(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        errors: Literal["raise"] = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        response_type: object,
        **options: Unpack[TypedRequestOptions],
    ) -> list[TypedResponse[Any]]: ...
    @overload
    async def complete_many(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        errors: Literal["return"],
        on_progress: Callable[[Progress], object] | None = None,
        response_type: object,
        **options: Unpack[TypedRequestOptions],
    ) -> list[MapResult[TypedResponse[Any]]]: ...
    async def complete_many(
        self,
        requests: Prompts,
        /,
        *,
        concurrency: int = 20,
        errors: OnError = "raise",
        on_progress: Callable[[Progress], object] | None = None,
        response_type: Any = None,
        **options: Unpack[TypedRequestOptions],
    ) -> list[Any]:
        """
        Ask many *requests* as `map` does, and await all answers, in their order.

        With ``errors="return"`` it returns a `MapResult` for each, and raises none.
        """
        results: Flow[MapResult[Any]] = self.map(
            requests,
            concurrency=concurrency,
            errors=errors,
            on_progress=on_progress,
            response_type=response_type,
            **options,
        )
        async with results:
            found = [result async for result in results]
        found.sort(key=attrgetter("index"))
        return found if errors == "return" else [each.response for each in found]

    async def embed(
        self,
        inputs: str | Iterable[str] | EmbeddingRequest,
        /,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """
        Make a vector of each text, in the order of the texts.

        *options* are the fields of `EmbeddingRequest`. More texts than the provider takes at
        once are sent in several requests, one after the other. Does not pass the middleware.
        Raises `AIChatError`.
        """
        request = self._embedding_request(inputs, dict(options))
        name = request.provider_name or ""
        provider = self._open_provider(name, "embed")
        from ._abilities import embedder_for

        embedder = embedder_for(name, provider, self._providers)
        return await self._telemetry.embedding(request, embedder.embed)

    async def count_tokens(
        self, prompt: Prompt, /, **options: Unpack[RequestOptions]
    ) -> TokenCount:
        """
        Tell how many tokens *prompt* is, with the tools and all that *options* add to it.

        The provider counts if it can, which is free. Otherwise it is estimated here; with
        the extra ``tokens`` by a real tokenizer. Does not pass the middleware. Raises
        `AIChatError`.
        """
        request = self._request(prompt, dict(options))
        provider = self._open_provider(request.provider_name or "", "count_tokens")
        from .providers import counter_of, estimated_count

        counter = counter_of(provider)
        if counter is None:
            return await estimated_count(request)
        return await counter.count_tokens(request)

    async def list_models(self, provider: str | None = None, /) -> list[ModelInfo]:
        """
        List the models of *provider*, or of the default one, in its own order.

        Raises `AIChatError`.
        """
        name = self._default_provider if provider is None else provider
        found = self._open_provider(name, "list_models")
        from ._abilities import lister_for

        return list(await lister_for(name, found, self._providers).list_models())

    def capabilities(self, model: str | None = None) -> ModelProfile:
        """
        Tell what *model* accepts, or the client's own one. Asks nobody and needs no key.

        Raises `InvalidRequestError` for a provider that there is not.
        """
        model = model or self._model
        if not model:
            raise InvalidRequestError("No model is named: pass 'provider:name'.")
        name, _, model = self._address(model).partition(":")
        from ._connect import Directory, profile_of

        if isinstance(self._providers, Directory) and name in self._providers:
            return self._providers.profile_of(name, model)
        return profile_of(self._provider(name), model)

    @property
    def batches(self) -> Batches:
        """Jobs of many requests, for half the price and within a day."""
        from ._batches import Batches

        return Batches(
            find=self._batch_provider,
            build=self._request,
            default=self._default_provider,
        )

    async def health(self, *names: str) -> dict[str, Health]:
        """
        Ask each provider whether it is there and takes the key, all at the same time.

        Without *names*: the providers that this client was given, or has used so far.
        What is wrong stands in `Health.error`; only an unknown name raises.
        """
        found: dict[str, Health] = {}

        async def check(name: str, provider: Provider) -> None:
            found[name] = await _health(provider)

        asked = {n: self._provider(n) for n in names or tuple(self._providers)}
        async with anyio.create_task_group() as group:
            for name, provider in asked.items():
                group.start_soon(check, name, provider)
        return {name: found[name] for name in asked}

    async def aclose(self) -> None:
        """
        Refuse new calls, end the streams under way with `ClosedError`, and free the pool.

        Closes the middleware that owns something, too: what this client was made with. (Of
        two that share providers, each closes its own.) Harmless when done twice.
        """
        from .providers import Closable

        self._closed = True
        for provider in tuple(self._providers.values()):
            if isinstance(provider, Closable):
                await provider.aclose()
        if isinstance(self._providers, Closable):
            await self._providers.aclose()
        # Their providers have told those that wait for an answer. Others wait in a middleware.
        for stream in tuple(self._under_way):
            stream.end(ClosedError("The client was closed while this was under way."))
        for layer in self._middleware:
            if isinstance(layer, ClosableMiddleware):
                await self._leaving()
                await layer.aclose()

    async def _leaving(self) -> None:
        """Let those that have been told to end do so, and say last things to a middleware."""
        for _ in range(_TURNS):
            if not self._under_way:
                break
            await anyio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        names = ", ".join(self._providers)
        return f"<Client of {names}{' (closed)' if self._closed else ''}>"

    def _open(self, request: ChatRequest) -> ChatStream:
        return ChatStream(self._handler, request, self._under_way, self._watchers)

    def _handler(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        """Let all the middleware answer, which may know the answer without asking anybody."""
        self._check_open("chat")
        return self._layers(request)

    def _dispatch(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        """Let the provider that the model names answer: the innermost handler."""
        self._check_open("chat")
        model = self._address(request.model)
        if model != request.model:
            request = evolve(request, model=model)
        return self._provider(request.provider_name or "").stream(request)

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise ClosedError("This client is closed.", operation=operation)

    def _batch_provider(self, name: str) -> Provider:
        self._check_open("batch")
        return self._provider(name)

    def _open_provider(self, name: str, operation: str) -> Provider:
        self._check_open(operation)
        return self._provider(name, operation)

    def _provider(self, name: str, operation: str = "chat") -> Provider:
        if name in self._providers:
            return self._providers[name]
        known = sorted({*self._providers, *_registered(self._providers)})
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise InvalidRequestError(
            f"There is no provider {name!r} here. {hint}If the colon belongs to the name "
            f"of the model, write {self._default_provider}:{name}:…; there are: "
            f"{', '.join(known)}.",
            operation=operation,
        )

    def _address(self, model: str) -> str:
        """Complete a bare model name with the provider that it belongs to."""
        return model if ":" in model else f"{self._default_provider}:{model}"

    def _request(self, prompt: Prompt, options: dict[str, Any]) -> ChatRequest:
        check_names(options, _names_of(ChatRequest, "messages"))
        _expand_timeout(options)
        known = prompt.model if isinstance(prompt, ChatRequest) else ""
        model = options.get("model")
        if model == "":
            # As a variable that is not set, and not as somebody's wish.
            raise InvalidRequestError(
                "model is empty: name one, or leave it out for the client's own.",
                operation="chat",
            )
        model = model or known or self._model
        if not model:
            raise InvalidRequestError(
                "No model is named: pass model='provider:name', or set AI_MODEL.",
                operation="chat",
            )
        # Made once, with all that is known: checking a request takes its time.
        if isinstance(model, str):  # what is none, the request refuses
            options["model"] = self._address(model)
        if not isinstance(prompt, ChatRequest):
            return ChatRequest(prompt, **options)
        if options == {"model": prompt.model}:
            return prompt
        return evolve(prompt, **options)

    def _expecting(
        self, prompt: Prompt, form: Form[Any], options: dict[str, Any]
    ) -> tuple[ChatRequest, Expected[Any]]:
        request = self._request(prompt, options)

        def knows_schemas() -> bool:
            profile = self.capabilities(request.model)
            return profile.json_schema and (
                profile.json_schema_with_tools or not request.tools
            )

        expected = form.expected(knows_schemas)
        return expected.asked(request), expected

    def _again(self, request: ChatRequest) -> Callable[[ChatRequest], ChatStream]:
        """Ask what *request* asks, and perhaps again, within its one *total* deadline."""
        from .middleware._remaining import Remaining

        remaining: Remaining | None = None

        def ask(asked: ChatRequest) -> ChatStream:
            nonlocal remaining
            # It begins with the first one.
            remaining = remaining or Remaining(request)
            return self._open(remaining.of(asked))

        return ask

    def _embedding_request(
        self, inputs: str | Iterable[str] | EmbeddingRequest, options: dict[str, Any]
    ) -> EmbeddingRequest:
        from .types import EmbeddingRequest

        check_names(options, _names_of(EmbeddingRequest, "inputs"))
        _expand_timeout(options)
        if isinstance(inputs, EmbeddingRequest):
            request = evolve(inputs, **options)
        else:
            request = EmbeddingRequest(inputs, **options)
        model = request.model or self._model
        if not model:
            raise InvalidRequestError(
                "No model is named: pass model='provider:name'.", operation="embed"
            )
        return evolve(request, model=self._address(model))


def _registered(providers: Mapping[str, Provider]) -> Iterable[str]:
    """Those that could be made as well, if somebody asked for them."""
    registry: Iterable[str] = getattr(providers, "registry", ())
    return registry


def _form_of(kind: Any, options: dict[str, Any]) -> Form[Any] | None:
    """Take what is about a response type out of *options*."""
    names = ("repair", "schema_via", "strict")
    said = {name: options.pop(name) for name in names if name in options}
    if kind is None:
        if said:
            raise TypeError(
                "repair, schema_via and strict are about a response_type: pass one."
            )
        return None
    from .structured import Form

    return Form[Any](kind, **said)


def _over(deadlines: Deadlines | float | None, timeout: Deadlines) -> Deadlines:
    if isinstance(deadlines, (int, float)):
        deadlines = Deadlines.of(deadlines)
    return deadlines.over(timeout) if deadlines else timeout


def _expand_timeout(options: dict[str, Any]) -> None:
    if "timeout" in options:
        timeout = Deadlines.of(options.pop("timeout"))
        options["deadlines"] = _over(options.get("deadlines"), timeout)


@lru_cache
def _names_of(kind: type[Any], positional: str) -> frozenset[str]:
    """What may be said by keyword to make a *kind*."""
    return frozenset({f.name for f in fields(kind)} - {positional} | {"timeout"})


async def _health(provider: Provider) -> Health:
    began = time.perf_counter()
    from .providers import HealthChecker

    if not isinstance(provider, HealthChecker):
        return Health(ok=None, latency=0.0)
    try:
        checked = await provider.health()
    except AIChatError as error:
        return Health(ok=False, latency=time.perf_counter() - began, error=error)
    return Health(ok=True if checked else None, latency=time.perf_counter() - began)
