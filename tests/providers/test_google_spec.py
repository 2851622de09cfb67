"""The descriptions of Google's two APIs: `aichat.providers.google`."""

from __future__ import annotations

import pytest
from attrs import evolve

from aichat.errors import ConfigError
from aichat.providers import Capability, ProviderSpec
from aichat.providers._google_models import gemini
from aichat.providers.google import SPEC, VERTEX
from aichat.transport import HTTPRequest
from aichat.types import ChatRequest

ASK = "/models/gemini-3.8-flash:streamGenerateContent"


def url(
    spec: ProviderSpec, path: str = ASK, base_url: str | None = None, **settings: str
) -> str:
    """Where a request goes."""
    known = {name: value or "" for name, value in spec.settings.items()}
    request = HTTPRequest(path, base_url=base_url or spec.base_url or "")
    ready = spec.prepare(request, {**known, **settings})
    return ready.base_url + ready.path


@pytest.mark.parametrize(
    ("base_url", "settings", "expected"),
    [
        (None, {}, "https://generativelanguage.googleapis.com/v1beta"),
        (None, {"api_version": "v1"}, "https://generativelanguage.googleapis.com/v1"),
        ("https://proxy.example/v1alpha", {}, "https://proxy.example/v1alpha"),
        ("http://127.0.0.1:8000/x", {}, "http://127.0.0.1:8000/x/v1beta"),
    ],
)
def test_the_version_is_a_setting(
    base_url: str | None, settings: dict[str, str], expected: str
) -> None:
    """There is one in the end, whether the base URL holds it or not."""
    assert url(SPEC, base_url=base_url, **settings) == expected + ASK


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"location": "europe-west1"},
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1",
        ),
        (
            {"location": "global"},
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global",
        ),
        (
            {"location": "eu", "api_version": "v1beta1"},
            "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/p/locations/eu",
        ),
    ],
)
def test_where_vertex_is(settings: dict[str, str], expected: str) -> None:
    """Each region has its host."""
    wanted = f"{expected}/publishers/google{ASK}"
    assert url(VERTEX, project="p", **settings) == wanted


def test_vertex_without_a_project() -> None:
    """Express mode: a shorter path and an API key."""
    short = url(VERTEX, project="", location="global")
    assert short == f"https://aiplatform.googleapis.com/v1/publishers/google{ASK}"
    ready = VERTEX.auth(HTTPRequest("/v1/publishers/google/models/x"), "key")
    assert ready.headers == {"x-goog-api-key": "key"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/endpoints/1:x", "/v1/projects/p/locations/us/endpoints/1:x"),
        (
            "/publishers/meta/models/a:x",
            "/v1/projects/p/locations/us/publishers/meta/models/a:x",
        ),
        (
            "/projects/q/locations/l/endpoints/1:x",
            "/v1/projects/q/locations/l/endpoints/1:x",
        ),
    ],
)
def test_models_of_others_at_vertex(path: str, expected: str) -> None:
    """A model may come with its path."""
    there = url(VERTEX, path, "https://proxy.example", project="p", location="us")
    assert there == f"https://proxy.example{expected}"


@pytest.mark.parametrize(
    "settings", [{"project": "p/../x"}, {"location": "evil.example/x", "project": "p"}]
)
def test_settings_that_would_lead_elsewhere(settings: dict[str, str]) -> None:
    """They become a part of the URL (X3)."""
    with pytest.raises(ConfigError, match="holds what no name holds"):
        url(VERTEX, **settings)


def test_the_key_goes_into_a_header() -> None:
    """And never into the URL (X1)."""
    request = SPEC.encode_request(ChatRequest("Hi", "google:gemini-3.8-flash"))
    ready = SPEC.auth(request, "AIza-secret")
    assert ready.headers == {"x-goog-api-key": "AIza-secret"}
    assert ready.query == {"alt": "sse"}
    assert "secret" not in repr(ready)
    token = VERTEX.auth(evolve(request, path=f"/v1/projects/p{ASK}"), "ya29.secret")
    assert token.headers == {"authorization": "Bearer ya29.secret"}


@pytest.mark.parametrize(
    ("spec", "settings", "expected"),
    [
        (SPEC, {}, "https://generativelanguage.googleapis.com/v1beta/models"),
        (
            VERTEX,
            {"project": "p"},
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/cachedContents",
        ),
    ],
)
def test_health_costs_nothing(
    spec: ProviderSpec, settings: dict[str, str], expected: str
) -> None:
    """It asks for one entry of a list."""
    check = spec.health_check
    assert check is not None
    assert (check.method, check.query) == ("GET", {"pageSize": "1"})
    assert url(spec, check.path, **settings) == expected


def test_it_may_think_in_silence() -> None:
    """There are no keep-alives, so a minute without a byte means nothing."""
    assert SPEC.deadlines.limit("first_byte") == 300
    assert SPEC.deadlines.limit("idle") == 300
    assert SPEC.deadlines.limit("connect") == 5


def test_its_models_are_known() -> None:
    """Each of them thinks, in one way or another."""
    assert all(gemini(name).thinking != "never" for name in SPEC.models)
    assert len(set(SPEC.models)) == len(SPEC.models)


def test_what_it_can_do() -> None:
    """It sees, hears and reads."""
    assert {Capability.AUDIO, Capability.IMAGES, Capability.DOCUMENTS} <= (
        SPEC.capabilities
    )


def test_vertex_needs_a_project() -> None:
    """And says so when it is set up: there is no usual one."""
    assert VERTEX.settings["project"] is None
    assert VERTEX.name != SPEC.name
