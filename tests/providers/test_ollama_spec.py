"""The description of Ollama, its address and its settings: `aichat.providers.ollama`."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from aichat.errors import ConfigError
from aichat.providers import Capability
from aichat.providers.ollama import SPEC, base_url_of, encode_request, prepare
from aichat.transport import HTTPRequest, check_base_url
from aichat.types import ChatRequest


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("localhost", "http://localhost:11434"),
        (" gpu.local ", "http://gpu.local:11434"),
        ("gpu.local:", "http://gpu.local:11434"),
        ("gpu.local:8080", "http://gpu.local:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("gpu.local/ollama/", "http://gpu.local:11434/ollama"),
        ("gpu.local:8080/ollama", "http://gpu.local:8080/ollama"),
        # Where a server listens is not where one finds it.
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        # With a scheme, its own port applies.
        ("http://gpu.local", "http://gpu.local"),
        ("https://gpu.example/x", "https://gpu.example/x"),
        ("https://ollama.com", "https://ollama.com"),
    ],
)
def test_what_a_host_may_look_like(host: str, url: str) -> None:
    """It becomes a URL that passes our checks, and stays the one that it is."""
    assert base_url_of(host) == url
    assert check_base_url(url) == url
    assert base_url_of(url) == url


@pytest.mark.parametrize(
    "host", ["http://u:p@gpu.local", "gpu.local?x=1", "a b", "gpu.local:port"]
)
def test_what_is_no_host(host: str) -> None:
    """It stays as it is, and is refused by those who check it (X3)."""
    with pytest.raises(ConfigError):
        check_base_url(base_url_of(host))


@pytest.mark.parametrize("suffix", ["", "/api", "/v1"])
@pytest.mark.parametrize("base", ["http://127.0.0.1:11434", "https://gpu.example/x"])
def test_ways_to_write_the_address(base: str, suffix: str) -> None:
    """Whether it is written for the native API, for OpenAI's, or for none."""
    request = HTTPRequest("/api/chat", base_url=base + suffix)
    assert prepare(request, {}).base_url == base


def test_an_address_to_listen_at() -> None:
    """A base URL may have been copied from there."""
    request = HTTPRequest("/api/chat", base_url="http://0.0.0.0:11434")
    assert prepare(request, {}).base_url == "http://127.0.0.1:11434"


# -- settings ------------------------------------------------------------------------


def configured(settings: dict[str, str], **options: Any) -> Any:
    wire = encode_request(ChatRequest("Hi", "ollama:m", **options))
    wire = evolve(wire, base_url="http://localhost:11434")
    known = {name: value or "" for name, value in SPEC.settings.items()}
    return prepare(wire, {**known, **settings}).body


def test_without_settings_nothing_is_added() -> None:
    """The server has its own."""
    assert configured({}) == encode_request(ChatRequest("Hi", "ollama:m")).body


def test_settings_fill_what_a_request_leaves_open() -> None:
    """The window is an option among others; a request is stronger."""
    settings = {"num_ctx": "16384", "keep_alive": "10m"}
    body = configured(settings, temperature=0.5)
    assert body["options"] == {"num_ctx": 16384, "temperature": 0.5}
    assert body["keep_alive"] == "10m"
    own = {"ollama": {"num_ctx": 4096, "keep_alive": 0}}
    body = configured(settings, provider_options=own)
    assert body["options"] == {"num_ctx": 4096}
    assert body["keep_alive"] == 0


@pytest.mark.parametrize(
    ("text", "wire"),
    [("1h30m", "1h30m"), ("1.5h", "1.5h"), ("-1m", "-1m"), ("300", 300), ("-1", -1)],
)
def test_how_long_a_model_stays(text: str, wire: str | int) -> None:
    """A number is one of seconds, and has to be sent as one."""
    assert configured({"keep_alive": text})["keep_alive"] == wire


@pytest.mark.parametrize(
    "settings",
    [
        {"num_ctx": "many"},
        {"num_ctx": "0"},
        {"num_ctx": "-1"},
        {"num_ctx": "1.5"},
        {"num_ctx": "9" * 5000},
        {"keep_alive": "for ever"},
        {"keep_alive": "10 m"},
        {"keep_alive": "9" * 5000},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, str]) -> None:
    """One clear error before anything is sent (G1)."""
    [name] = settings
    with pytest.raises(ConfigError, match=f"settings: {name}"):
        configured(settings)


def test_requests_without_a_body_have_no_settings() -> None:
    """Such as the one for its health, which costs nothing."""
    check = SPEC.health_check
    assert check is not None
    assert (check.method, check.path) == ("GET", "/api/version")
    assert prepare(check, {"num_ctx": "16384"}).body is None


# -- the rest ------------------------------------------------------------------------


def test_a_key_is_welcome_but_not_needed() -> None:
    """At home there is none; the cloud takes it as a bearer (X1)."""
    assert not SPEC.requires_key
    ready = SPEC.auth(HTTPRequest("/api/chat", {"a": 1}), "secret-key")
    assert ready.headers == {"authorization": "Bearer secret-key"}
    assert "secret" not in repr(ready)


def test_models_take_their_time_to_load() -> None:
    """Nothing comes meanwhile, not even a keep-alive (D1)."""
    assert SPEC.deadlines.limit("first_byte") == 600
    assert SPEC.deadlines.limit("connect") == 5


def test_what_it_can_do() -> None:
    """No sound, no documents, no cache that one could ask for."""
    assert {Capability.JSON, Capability.JSON_SCHEMA, Capability.IMAGES} < (
        SPEC.capabilities
    )
    assert not {
        Capability.AUDIO,
        Capability.DOCUMENTS,
        Capability.PROMPT_CACHING,
        Capability.CITATIONS,
    } & (SPEC.capabilities)
