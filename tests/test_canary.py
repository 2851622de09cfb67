"""
A key like no other, and a server that says it wherever it can (X1, E).

Whatever a call comes to, the key must not be in anything that a program shows, logs, stores
or sends on by itself; and what was said to the model only in the values that are there to
hold it.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import gc
import html
import json
import logging as standard
import pickle
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import quote

import attrs
import pytest

import aichat
from aichat import ChatStream, Client, ClientConfig, Deadlines, Secret, system, user
from aichat.errors import AIChatError, ConfigError
from aichat.middleware._logging import logging
from aichat.providers import Capability, HTTPProvider
from aichat.testing import FaultKind, Simulator
from aichat.types import ChatRequest

from .simulated import TARGETS, Target
from .transport.servers import CHUNKED, LAST, Server, Visit, chunk

KEY: Final = "sk-canary-9c04b7f15e2ad863f0"
#: Everything in it is written differently somewhere: in JSON, in URLs, in HTML, by `repr`.
AWKWARD: Final = "sk-'canary'\\\"9c<04>&b7/f1%5e+2a==d8 63f0#?\\n"
PROMPT: Final = "My diary: canary birds do not talk in 7319 languages."

_OURS: Final = str(Path(aichat.__file__).parent)
_TESTS: Final = str(Path(__file__).parent)
_KEYS: Final = [pytest.param(KEY, id="plain"), pytest.param(AWKWARD, id="awkward")]
#: What is there to hold a conversation, and shows it. Only these may: the request and what
#: it is made of, and what the logging middleware knows of a call under way.
_HOLDERS: Final = (
    *("ChatRequest", "EmbeddingRequest", "Message", "TextPart"),
    "aichat.middleware._logging._Call",
)
#: What the user calls has what the user says, as it was said.
_ARGUMENTS: Final = ("prompt", "inputs")
#: Found, and not mended yet: a request id that a server made of the key.
_ELSEWHERE: Final[set[tuple[str, str]]] = set()


# --- looking -------------------------------------------------------------------------


def _forms(key: str) -> set[str]:
    """How a key may be written."""
    raw = key.encode()
    whole = {
        key,
        key[::-1],
        json.dumps(key)[1:-1],
        repr(key)[1:-1],
        repr(repr(key))[2:-2],
        html.escape(key),
        quote(key),
        quote(key, safe=""),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        raw.hex(),
    }
    # More than its first twelve letters is more than anybody needs to recognise it.
    return {form[:12] for form in whole}


def _look(where: str, text: str | bytes, key: str) -> None:
    """Fail if *text* says the key, or the prompt."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    for form in _forms(key):
        assert form not in text, f"the key is in {where}: {text[:3000]}"
    assert PROMPT not in text, f"the prompt is in {where}: {text[:3000]}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """*error*, and every exception that can be reached from it, shown or not."""
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [e for e in (one.__cause__, one.__context__) if e is not None]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


def _frames(error: BaseException) -> Iterator[FrameType]:
    """The frames that *error* went through, but for those of the tests."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith(_TESTS):
            yield frame


def _look_at_frame(frame: FrameType, key: str) -> None:
    """What an error reporter that shows local variables would send home."""
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    at_the_door = frame.f_code.co_filename.endswith("/aichat/_client.py")
    for name, value in frame.f_locals.items():
        text = repr(value)
        if PROMPT in text and (
            _may_hold(value) or (at_the_door and name in _ARGUMENTS)
        ):
            text = text.replace(PROMPT, "")
        if (frame.f_code.co_name, name) in _ELSEWHERE:
            continue
        _look(f"{name} of {place}", text, key)


def _may_hold(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_may_hold(item) or PROMPT not in repr(item) for item in value)
    kind = type(value)
    return (
        kind.__name__ in _HOLDERS
        or f"{kind.__module__}.{kind.__qualname__}" in _HOLDERS
    )


def _look_at_error(error: BaseException, key: str, *, frames: bool = True) -> None:
    for one in _chain(error):
        name = type(one).__name__
        _look(f"str of {name}", str(one), key)
        _look(f"repr of {name}", repr(one), key)
        _look(f"args of {name}", repr(one.args), key)
        facts = {k: v for k, v in vars(one).items() if k != "partial"}
        _look(f"dict of {name}", repr(facts), key)
        for frame in _frames(one) if frames else ():
            _look_at_frame(frame, key)
    assert isinstance(error, AIChatError)
    _look("its JSON", json.dumps(error.context, default=repr), key)
    _look("its pickle", pickle.dumps(error), key)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    for other in (again, copy.copy(error), copy.deepcopy(error)):
        _look("a copy", f"{other!s} {other!r} {vars(other)!r}", key)
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(shown.format_exception_only())
    _look("the last line of the traceback", text, key)


def _look_at_log(records: list[standard.LogRecord], key: str) -> None:
    for record in records:
        _look(f"the log of {record.name}", record.getMessage(), key)
        _look(f"the log of {record.name}", repr(vars(record)), key)
        formatted = standard.Formatter("%(message)s").format(record)
        _look(f"the log of {record.name}", formatted, key)


def _look_at_tasks(key: str) -> None:
    """What a debugger shows of everything that is under way."""
    for task in asyncio.all_tasks():
        _look("a task", repr(task), key)
        for frame in task.get_stack():
            if frame.f_code.co_filename.startswith(_OURS):
                _look_at_frame(frame, key)


def _look_at_values(values: Mapping[str, Any], key: str) -> None:
    """What a debugger, a log line or a careless ``asdict`` shows of our objects."""
    for name, value in values.items():
        for text in (repr(value), str(value), f"{value}", repr([value])):
            _look(name, text, key)
        if attrs.has(type(value)):
            with suppress(TypeError):  # something in it refuses to be copied
                _look(f"asdict of {name}", repr(attrs.asdict(value)), key)
        for how in (copy.copy, copy.deepcopy):
            with suppress(TypeError):
                _look(f"a copy of {name}", repr(how(value)), key)
        try:
            stored = pickle.dumps(value)
        except (TypeError, AttributeError, pickle.PicklingError) as refusal:
            _look(f"why {name} is not pickled", str(refusal), key)
        else:
            _look(f"the pickle of {name}", stored, key)


# --- a server that says the key ---------------------------------------------------------


def _heard(visit: Visit) -> str:
    """The key, as the server got it."""
    for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key", "x-team"):
        value = visit.headers.get(name, "")
        if "canary" in value:
            return value.removeprefix("Bearer ")
    raise AssertionError(f"no key in {visit.headers}")


def _answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", "")
    return "\r\n".join(lines).encode("latin-1") + body


_Says = Callable[[str], bytes]


def _error(
    key: str, message: str = "Incorrect API key provided: {}."
) -> dict[str, Any]:
    said = message.format(key)
    error = {
        "message": said,
        "code": key,
        "type": f"t_{key}",
        "param": key,
        "status": key,
    }
    details = [
        {"reason": key, "violations": [{"quotaId": key}]},
        {"violations": [{"quotaId": key}]},
    ]
    return {"error": {**error, "details": details}, "request_id": key, key: key}


def _json(key: str) -> bytes:
    return json.dumps(_error(key)).encode()


def _event(data: str | bytes, name: str = "") -> bytes:
    data = data.encode() if isinstance(data, str) else data
    head = f"event: {name}\n".encode() if name else b""
    return CHUNKED + chunk(head + b"data: " + data + b"\n\n") + LAST


def _document(value: Any) -> bytes:
    return _answer(
        "200 OK", json.dumps(value).encode(), "content-type: application/json"
    )


_SAYS: Final[Mapping[str, _Says]] = {
    "status text": lambda key: _answer(f"401 No {key}"),
    "status text of an answer": lambda key: _answer(f"200 {key}"),
    "headers": lambda key: _answer(
        "429 Slow down", b"", f"x-request-id: {key}", f"retry-after: {key}", f"x-{1}: {key}"
    ),
    "headers of an answer": lambda key: _answer(
        "200 OK", b"data: x\n\n", f"x-request-id: {key}", f"content-type: {key}"
    ),
    "json": lambda key: _answer("401 No", _json(key)),
    "json of a 500": lambda key: _answer("500 No", _json(key)),
    "json in a text": lambda key: _answer(
        "400 No", json.dumps({"error": json.dumps(_error(key))}).encode()
    ),
    "json of no known shape": lambda key: _answer(
        "400 No", json.dumps({"what": [key, {"k": key}]}).encode()
    ),
    "json cut off": lambda key: _answer("400 No", _json(key)[:-40]),
    "text": lambda key: _answer("403 No", f"who is {key}?".encode()),
    "text, cut within the key": lambda key: _answer("403 No", b"x" * 485 + key.encode()),
    "message, cut within the key": lambda key: _answer(
        "403 No", json.dumps(_error(key, "x" * 1984 + "{}")).encode()
    ),
    "URL": lambda key: _answer(
        "403 No", f"GET https://a/b?key={quote(key, safe='')}&x=1 {quote(key)}".encode()
    ),
    "base64": lambda key: _answer("403 No", base64.b64encode(key.encode())),
    "page": lambda key: _answer(
        "502 No", f"<html><title>{html.escape(key)}</title></html>".encode()
    ),
    "page for an answer": lambda key: _answer(
        "200 OK", f"<html><body>{html.escape(key)} {'x' * 185}{key}</body></html>".encode()
    ),
    "error event": lambda key: _event(json.dumps(_error(key)), "error"),
    "error event of text": lambda key: _event(f"no {key}", "error"),
    "flat error event": lambda key: _event(
        json.dumps({"type": "error", "code": key, "message": key})
    ),
    "event of no JSON": lambda key: _event(f'{{"key": "{key}'),
    "event of no JSON and no UTF-8": lambda key: _event(
        f'{{"key": "{key}'.encode() + b"\xff"
    ),
    "event of another kind": lambda key: _event(json.dumps({"choices": key, "type": key})),
    "event of a wrong shape": lambda key: _event(
        json.dumps({"type": "content_block_delta", "index": key, "delta": key})
    ),
    "event name": lambda key: _event("{", key.replace("\n", " ")),
    "document of no JSON": lambda key: _answer("200 OK", f'{{"key": "{key}'.encode()),
    "document of a wrong shape": lambda key: _document(
        {"choices": key, "output": key, "content": key, "candidates": key, "message": key}
    ),
    "document of another kind": lambda key: _document([key]),
    "document of an error": lambda key: _document(_error(key)),
    "redirect": lambda key: _answer("302 Found", b"", f"location: https://a.test/?k={quote(key)}"),
    "redirect to a host": lambda key: _answer(
        "307 Go", b"", f"location: https://{quote(key, safe='')}.test/"
    ),
    "redirect with a user": lambda key: _answer(
        "307 Go", b"", f"location: https://u:{quote(key, safe='')}@a.test/"
    ),
    "no HTTP": lambda key: f"SSH-2.0-{key}\r\n\r\n".encode(),
    "a bad header": lambda key: f"HTTP/1.1 200 OK\r\n{key}\r\n\r\n".encode(),
    "a long header": lambda key: _answer("200 OK", b"", f"x-a: {key * 2000}"),
    "a bad length": lambda key: f"HTTP/1.1 200 OK\r\ncontent-length: {key}\r\n\r\n".encode(),
    "a bad chunk": lambda key: CHUNKED + f"{key}\r\n".encode(),
    "a bad coding": lambda key: _answer("200 OK", b"abc", f"content-encoding: gzip {key}"),
    "cookies": lambda key: _answer("401 No", b"", f"set-cookie: k={key}"),
    "nothing": lambda key: b"",
    "half a head": lambda key: f"HTTP/1.1 200 OK\r\nx-a: {key}".encode(),
    "half an event": lambda key: CHUNKED + chunk(f'data: {{"x": "{key}'.encode()),
    "a long body of an error": lambda key: _answer("400 No", key.encode() * 5000),
}  # fmt: skip


def _client(target: Target, url: str, key: Any, **options: Any) -> Client:
    usual: dict[str, Any] = {
        "deadlines": Deadlines(idle=0.3, first_byte=0.3),
        "settings": target.settings,
    }
    config = ClientConfig(
        provider=target.provider,
        base_url=url,
        api_key=key,
        model=target.model,
        max_retries=0,
        **usual | options,
    )
    return Client.from_config(config, middleware=[logging(level="debug")], environ={})


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[list[standard.LogRecord]]:
    """Everything that anybody logs."""
    with caplog.at_level(standard.DEBUG):
        yield caplog.records


@pytest.fixture
async def debug() -> AsyncIterator[None]:
    """asyncio tells all that it knows."""
    asyncio.get_running_loop().set_debug(True)
    yield
    asyncio.get_running_loop().set_debug(False)


async def _outcome(call: Awaitable[Any]) -> BaseException | None:
    try:
        await call
    except Exception as error:
        return error
    return None


async def _consume(stream: ChatStream) -> None:
    async with stream:
        async for _ in stream:
            pass


# --- the table -------------------------------------------------------------------------


#: One of each dialect is enough for the key that is hard to recognise.
_CALLERS: Final = [
    pytest.param(target, key, id=f"{target}-{name}")
    for name, key in (("plain", KEY), ("awkward", AWKWARD))
    for target in TARGETS
    if key == KEY or target.provider in ("openai", "openai-chat", "anthropic", "ollama")
]


@pytest.mark.parametrize("says", _SAYS)
@pytest.mark.parametrize(("target", "key"), _CALLERS)
async def test_a_server_that_says_the_key(
    target: Target,
    says: str,
    key: str,
    records: list[standard.LogRecord],
    debug: None,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Nothing that comes of a call says it after the server."""  # X1, E
    heard: list[str] = []

    async def behave(visit: Visit) -> None:
        heard.append(_heard(visit))
        _look_at_tasks(key)
        await visit.send(_SAYS[says](heard[-1]))
        visit.writer.close()

    async with Server(behave) as server, _client(target, server.url, key) as client:
        stream = client.stream([system(PROMPT), user(PROMPT)])
        error = await _outcome(_consume(stream))
        whole = await _outcome(client.complete(PROMPT))
        _look("the stream", repr(stream), key)
        _look("the client", repr(client), key)
    assert heard == [key, key]
    for one in (error, whole):
        assert one is not None
        _look_at_error(one, key)
    _look_at_log(records, key)
    for warning in recwarn:
        _look("a warning", str(warning.message), key)


@pytest.mark.parametrize("says", ["json", "page for an answer", "document of no JSON", "no HTTP", "status text"])  # fmt: skip
@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_other_calls_to_a_server_that_says_the_key(
    target: Target, says: str, records: list[standard.LogRecord]
) -> None:
    """Embeddings, counting, listing, batches and health are as careful."""  # X1

    async def behave(visit: Visit) -> None:
        await visit.send(_SAYS[says](_heard(visit)))
        visit.writer.close()

    async with Server(behave) as server, _client(target, server.url, KEY) as client:
        calls: list[Awaitable[Any]] = [client.health(), client.count_tokens(PROMPT)]
        if Capability.EMBEDDINGS in target.spec.capabilities:
            calls.append(client.embed([PROMPT]))
        for call in calls:
            outcome = await _outcome(call)
            if outcome is not None:
                _look_at_error(outcome, KEY)
        _look("the health", repr(await client.health()), KEY)
    _look_at_log(records, KEY)


@pytest.mark.parametrize(
    "kind",
    ["error_event", "hang_up", "truncate", "garbage", "drop", "html", "empty", "overloaded",
     "quota", "context_length", "stall", "bad_arguments"],
)  # fmt: skip
@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_a_server_that_fails(
    target: Target, kind: FaultKind, records: list[standard.LogRecord]
) -> None:
    """Nor when it fails in the middle of an answer."""  # X1, E
    async with Simulator() as server:
        server.fail(kind, after=1)
        url = server.base_url(target.dialect)
        async with _client(target, url, KEY) as client:
            stream = client.stream("Hello")
            error = await _outcome(_consume(stream))
            _look("the stream", repr(stream), KEY)
    if error is not None:
        _look_at_error(error, KEY)
    _look_at_log(records, KEY)


async def test_nobody_there(records: list[standard.LogRecord]) -> None:
    """A connection that is refused holds a request as well."""  # X1, E
    async with Server(_nothing) as server:
        url = server.url
    for target in TARGETS:
        async with _client(target, url, KEY) as client:
            error = await _outcome(client.complete(PROMPT))
            assert error is not None
            _look_at_error(error, KEY)
        async with _client(target, "https://127.0.0.1:1", KEY) as client:
            error = await _outcome(client.complete(PROMPT))
            assert error is not None
            _look_at_error(error, KEY)
    _look_at_log(records, KEY)


async def _nothing(_: Visit) -> None: ...


# --- however the key is given -----------------------------------------------------------


async def _fetched() -> str:
    return KEY


@pytest.mark.parametrize("says", ["json", "event of no JSON", "no HTTP", "nothing"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"api_key": KEY}, id="text"),
        pytest.param({"api_key": Secret(KEY)}, id="secret"),
        pytest.param({"api_key": _fetched}, id="function"),
        pytest.param({"headers": {"x-api-key": KEY}}, id="header"),
        pytest.param({"headers": {"Authorization": f"Bearer {KEY}"}}, id="bearer"),
    ],
)
async def test_however_the_key_is_given(
    options: dict[str, Any], says: str, records: list[standard.LogRecord]
) -> None:
    """A text, a `Secret`, a function, a header: it is a key all the same."""  # X1
    target = next(t for t in TARGETS if t.provider == "openai-compatible")
    options = {"api_key": None, **options}

    async def behave(visit: Visit) -> None:
        _look_at_tasks(KEY)
        await visit.send(_SAYS[says](_heard(visit)))
        visit.writer.close()

    async with (
        Server(behave) as server,
        _client(target, server.url, options.pop("api_key"), **options) as client,
    ):
        error = await _outcome(client.complete(PROMPT))
    assert error is not None
    _look_at_error(error, KEY)
    _look_at_log(records, KEY)


@pytest.mark.parametrize("key", _KEYS)
@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_what_our_objects_show(target: Target, key: str) -> None:
    """Neither by themselves, nor through ``asdict``, ``copy`` and ``pickle``."""  # X1, G1
    config = ClientConfig(
        provider=target.provider,
        base_url="http://localhost:1",
        api_key=key,
        model=target.model,
        settings=target.settings,
    )
    with_headers = attrs.evolve(config, headers={"x-secret-token": key})
    # `asdict` shows the headers: they are a mapping of texts.
    _look("a config with headers", f"{with_headers!r} {with_headers}", key)
    async with Client.from_config(config, environ={}) as client:
        stream = client.stream(PROMPT)
        provider = client._providers[target.provider]
        assert isinstance(provider, HTTPProvider)
        _look_at_values(
            {
                "the config": config,
                "its evolved copy": attrs.evolve(config, max_retries=1),
                "the client": client,
                "the provider": provider,
                "the transport": provider.transport,
                "the stream": stream,
                "the builder": client.request().user("x"),
            },
            key,
        )
        wire = target.spec.auth(
            target.spec.encode_request(ChatRequest([user(PROMPT)], target.model)), key
        )
        _look("the request on the wire", repr(wire), key)
        await stream.aclose()
    with pytest.raises(TypeError):
        pickle.dumps(config)


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": f"{KEY}\r\nx-evil: 1"},
        {"api_key": f"{KEY}ü"},
        {"api_key": f"{KEY}\0"},
        {"headers": {"x-api-key": f"{KEY}\n"}},
        {"base_url": f"https://user:{KEY}@example.com/v1"},
        {"base_url": f"https://user:{KEY}/@example.com/v1"},
        {"base_url": f"https://{KEY}@example.com"},
        {"base_url": f"https://example.com/v1?key={KEY}"},
        {"base_url": f"https://example.com/v1#{KEY}"},
        {"base_url": f"http://user:{KEY}\\@example.com"},
        {"base_url": f"https://user:{KEY}@[::1/v1"},
        {"base_url": f"user:{KEY}@example.com"},
        {"base_url": "http://example.com"},
        {"base_url": f"https://a:b@{KEY}@example.com"},
        {"headers": KEY},
        {"settings": {"no_such_setting": KEY}},
    ],
    ids=repr,
)
async def test_a_configuration_that_is_wrong(wrong: dict[str, Any]) -> None:
    """Refused when the client is made, or before anything is sent, without saying the key."""  # X1, X3
    error: BaseException | None = None
    try:
        options = {
            "provider": "openai",
            "base_url": "http://localhost:1",
            "api_key": KEY,
            "model": "gpt-6-sol",
            **wrong,
        }
        client = Client.from_config(ClientConfig(**options), environ={})
    except AIChatError as refusal:
        error = refusal
    else:
        async with client:
            error = await _outcome(client.complete(PROMPT))
    assert isinstance(error, ConfigError)
    # Whoever calls has the key in hand, and so have the frames of attrs below.
    _look_at_error(error, KEY, frames=False)


async def test_a_function_that_cannot_fetch_the_key() -> None:
    """What it raises is the user's own, and passes as it is."""  # X1

    async def fetch() -> str:
        raise LookupError("the vault is closed")

    target = next(t for t in TARGETS if t.provider == "anthropic")
    async with _client(target, "http://localhost:1", fetch) as client:
        with pytest.raises(LookupError, match="the vault is closed"):
            await client.complete(PROMPT)


async def test_a_client_that_is_dropped(records: list[standard.LogRecord]) -> None:
    """A client that was never closed warns without the key."""  # X1, C4
    target = next(t for t in TARGETS if t.provider == "openai-chat")
    async with Simulator() as server:
        client = _client(target, server.base_url(target.dialect), KEY)
        await client.complete("Hi")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
    assert any(w.category is ResourceWarning for w in caught)
    for warning in caught:
        _look("a warning", str(warning.message), KEY)
    _look_at_log(records, KEY)
