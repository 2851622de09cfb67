"""What people try first who have used another SDK: one clear error, before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aichat import (
    Client,
    ConfigError,
    InvalidRequestError,
    Message,
    StreamChunk,
    Tool,
    user,
)
from aichat.middleware import CostTracker, cache, retry
from aichat.testing import FakeProvider, reply

_KEY = "sk-very-secret"


def _client(**settings: Any) -> Client:
    return Client({"fake": FakeProvider(["Hi"])}, model="fake:any", **settings)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((_KEY,), "This is a str."),
        ((["openai"],), "This is a list."),
        ((None,), "This is a NoneType."),
        (({"openai": _KEY},), "The provider 'openai' is a str, and not an object that"),
        (({"openai": 3},), "The provider 'openai' is a int"),
        (({"fake": FakeProvider},), "is the class FakeProvider"),
        (({"fake": reply},), "is the function reply"),
        (({"a:b": FakeProvider([])},), "this is one with a colon"),
        (({"": FakeProvider([])},), "this is none"),
        (({3: FakeProvider([])},), "this is none"),
    ],
)
def test_providers_that_are_none(arguments: tuple[Any, ...], told: str) -> None:
    """It says what to do instead, and does not show what may be a key. (G4, X1)"""
    with pytest.raises(ConfigError) as caught:
        Client(*arguments)
    assert told in str(caught.value)
    assert "Client.from_env(provider='openai', api_key=…)" in str(caught.value)
    assert _KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({}, "'providers'"), ({"api_key": _KEY}, "'providers'|'api_key'")],
)
def test_a_client_of_another_sdk(settings: dict[str, Any], told: str) -> None:
    """`Client(api_key=…)`: it is a TypeError, with what to do."""
    with pytest.raises(TypeError, match=told) as caught:
        Client(**settings)
    assert "Client.from_env(provider='openai', api_key=…)" in str(caught.value)
    assert _KEY not in str(caught.value)


def test_what_is_wrong_within_stays_as_it_is() -> None:
    """A TypeError that has nothing to do with the arguments is not explained away."""

    class Odd(dict[str, Any]):
        def items(self) -> Any:
            raise TypeError("odd")

    with pytest.raises(TypeError, match=r"^odd$"):
        Client(Odd(a=1))


def test_the_signature_is_the_real_one() -> None:
    """For editors, and for help()."""
    assert list(inspect.signature(Client).parameters) == [
        "providers",
        "model",
        "middleware",
    ]


def test_a_single_provider_that_is_none() -> None:
    """By its name is not how it is given here."""
    with pytest.raises(ConfigError, match=r"This is a str.*from_env"):
        Client.with_provider("openai")  # type: ignore[arg-type]  # that is the point


def test_a_model_that_is_no_text() -> None:
    """When the client is made."""
    with pytest.raises(ConfigError, match=r"model must be a text.*got a int"):
        Client({"fake": FakeProvider([])}, model=3)  # type: ignore[arg-type]  # that is the point


async def _layer(request: Any, call_next: Any) -> AsyncGenerator[StreamChunk, None]:
    async for chunk in call_next(request):
        yield chunk


async def _short(request: Any) -> AsyncGenerator[StreamChunk, None]:
    yield request


@pytest.mark.parametrize(
    ("middleware", "told"),
    [
        (_layer, "must be a list of functions, got the function _layer"),
        (3, "must be a list of functions, got a int"),
        ([3], r"middleware\[0\] is a int, and must be a function of \(request, call_"),
        ("cache", r"middleware\[0\] is a str"),
        ([_layer, cache], r"middleware\[1\] is the function cache.*Call it: cache\("),
        ([retry], r"Call it: retry\("),
        ([CostTracker], r"is the class CostTracker.*Call it: CostTracker\("),
        ([_short], "is the function _short"),
    ],
)
def test_middleware_that_is_none(middleware: Any, told: str) -> None:
    """When the client is made, and not at its first call. (G4)"""
    with pytest.raises(ConfigError, match=told):
        _client(middleware=middleware)
    environ = {"AI_PROVIDER": "ollama"}
    with pytest.raises(ConfigError, match=told):
        Client.from_env(environ, middleware=middleware)
    if isinstance(middleware, list):
        with pytest.raises(ConfigError, match="middleware"):
            _client().use(*middleware)


async def test_middleware_of_every_kind() -> None:
    """Functions, objects and what has been called first."""

    class Counting:
        count = 0

        def __call__(self, request: Any, call_next: Any) -> Any:
            self.count += 1
            return call_next(request)

    counting = Counting()
    layers = [_layer, counting, cache(), lambda request, call_next: call_next(request)]
    assert (await _client(middleware=layers).complete("Hi")).text == "Hi"
    assert counting.count == 1


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [(None, "NoneType"), (3, "int"), (b"Hi", "bytes"), ({"role": "user"}, "dict")],
)
def test_a_prompt_that_is_none(prompt: Any, kind: str) -> None:
    """One error of ours, with what a prompt is. (G4)"""
    told = f"What is asked must be a text, messages or a ChatRequest; got a {kind}."
    with pytest.raises(InvalidRequestError, match=told):
        _client().stream(prompt)


def _tool() -> str:
    """Do nothing."""
    return ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"stop": 3}, "stop must be a text or several; got a int."),
        ({"stop": [3]}, "stop must hold texts, got a int."),
        ({"stop": {"a": 1}}, "stop must be a text or several; got a dict."),
        ({"tools": _tool}, "tools must be a list of them; got a function."),
        ({"tools": Tool("f")}, "tools must be a list of them; got a Tool."),
        ({"tools": [_tool]}, r"got a function. To have it called, use client.run\(\)"),
        ({"tools": [{"name": "f"}]}, r"got a dict. Make one: Tool\('name'"),
        ({"model": ""}, "model is empty: name one, or leave it out"),
    ],
)
def test_options_of_the_wrong_kind(options: dict[str, Any], told: str) -> None:
    """By their name, with what to do. (G4)"""
    with pytest.raises(InvalidRequestError, match=told):
        _client().stream("Hi", **options)


@pytest.mark.parametrize(("tools", "kind"), [(_tool, "function"), (3, "int")])
def test_a_run_with_a_tool_that_is_not_in_a_list(tools: Any, kind: str) -> None:
    """The list is easily forgotten."""
    with pytest.raises(ConfigError, match=f"list of functions; got a {kind}: tools="):
        _client().run_stream("Hi", tools=tools)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("stream", r"use client\.stream\(\)"),
        ("system", r"It is a message: \[system\('…'\)"),
        ("instructions", "It is a message"),
        ("messages", "What is asked comes first"),
        ("max_completion_tokens", "Use max_tokens"),
        ("response_model", "Use response_type"),
        ("stop_sequences", "Use stop"),
        ("api_key", r"Client\.from_env\(api_key=…\)"),
        ("num_retries", "Use max_retries"),
        ("temprature", "Did you mean 'temperature'\\?.*provider_options"),
        ("zzz", "There is no option 'zzz'. What only one provider knows"),
    ],
)
def test_options_as_others_call_them(name: str, told: str) -> None:
    """It says what to do here, not which of our names looks alike. (G4)"""
    options: dict[str, Any] = {name: _KEY}
    with pytest.raises(TypeError, match=told) as caught:
        _client().stream("Hi", **options)
    assert _KEY not in str(caught.value)


def test_names_of_elsewhere_are_none_of_ours() -> None:
    """Or nobody would ever read what is said about them."""
    from aichat._client_checks import _ELSEWHERE
    from aichat.types import RequestOptions

    assert not {*_ELSEWHERE} & {*RequestOptions.__annotations__}


@pytest.mark.parametrize("timeout", ["5s", -1, 0, True])
def test_a_timeout_that_is_none(timeout: Any) -> None:
    """It is called by the name under which it was given."""
    told = f"^timeout must be a number of seconds above 0, .*got {timeout!r}"
    with pytest.raises(ConfigError, match=told) as caught:
        _client().stream("Hi", timeout=timeout)
    assert ("'30s'" in str(caught.value)) is isinstance(timeout, str)


def test_a_message_of_something_else() -> None:
    """When it is made, and not when it is sent."""
    for content in ((3,), (None,), ("Hi", 3)):
        with pytest.raises(InvalidRequestError, match="holds text and parts"):
            user(*content)
    with pytest.raises(InvalidRequestError, match="not a int"):
        Message("user", 3)  # type: ignore[arg-type]  # that is the point
