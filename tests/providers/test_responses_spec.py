"""OpenAI's spec, and how to make another one: `aichat.providers.openai`."""

from __future__ import annotations

import copy
import pickle

import pytest

from aichat.errors import BadRequestError, ModelNotFoundError, ProviderError
from aichat.providers import Capability, HTTPProvider, ProviderSpec
from aichat.providers.openai import SPEC, ResponsesDecoder, responses_spec
from aichat.testing import check_stream
from aichat.transport import HTTPRequest, SSEDecoder
from aichat.types import ChatRequest, ChatResponse, collect

from ..transport.toys import ScriptedAnswer, refusal, transport, wire
from .responses_streams import recording

KEY = "sk-canary-0f6e2d"


def provider(answer: ScriptedAnswer, spec: ProviderSpec = SPEC) -> HTTPProvider:
    return HTTPProvider(
        spec=spec,
        transport=transport(answer),
        base_url=spec.base_url or "https://example.com/v1",
        api_key=KEY,
        settings={"organization": "org_1", "project": ""},
    )


async def ask(of: HTTPProvider) -> ChatResponse:
    return await collect(check_stream(of.stream(ChatRequest("Hi", "openai:gpt-6-sol"))))


def test_the_spec_of_openai() -> None:
    """
    Where it is, what it wants, and what it has; audio is at the older API.
    """
    assert SPEC.name == "openai"
    assert SPEC.base_url == "https://api.openai.com/v1"
    assert SPEC.base_url_env == ("OPENAI_BASE_URL",)
    assert SPEC.api_key_env == ("OPENAI_API_KEY",)
    assert SPEC.requires_key
    assert SPEC.health_check == HTTPRequest("/models", method="GET")
    assert isinstance(SPEC.framing(), SSEDecoder)
    assert SPEC.models[0] == "gpt-6-sol"
    assert "gpt-audio" not in SPEC.models
    assert Capability.AUDIO not in SPEC.capabilities
    assert Capability.REASONING in SPEC.capabilities


def test_its_settings_are_headers() -> None:
    """
    Organization and project may be set; a header of the caller's own wins.
    """
    assert SPEC.settings == {"organization": "", "project": ""}
    request = HTTPRequest("/responses", headers={"openai-project": "mine"})
    settings = {"organization": "org_1", "project": "theirs"}
    assert SPEC.prepare(request, settings).headers == {
        "openai-project": "mine",
        "openai-organization": "org_1",
    }
    assert SPEC.prepare(request, {}) == request


def test_one_more_server() -> None:
    """
    A name and a title are enough; its words for errors reach the decoder.
    """
    spec = responses_spec(
        name="mine", title="My server", error_codes={"odd": BadRequestError}
    )
    decoder = spec.decoder()
    assert isinstance(decoder, ResponsesDecoder)
    assert decoder.provider == "mine"
    assert decoder.error_codes == spec.error_codes
    assert spec.decoder() is not decoder
    assert spec.encode_request(ChatRequest("Hi", "mine:m")).body["model"] == "m"
    request = HTTPRequest("/responses")
    assert spec.prepare(request, {"any": "thing"}) == request


async def test_a_whole_call() -> None:
    """
    The request goes where it should, with the key in its header and nowhere else.
    """
    # S2, X1
    of = provider(ScriptedAnswer(recording("thinking_and_tools")))
    response = await ask(of)
    (sent,) = wire(of.transport).requests
    assert (sent.base_url, sent.path) == ("https://api.openai.com/v1", "/responses")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["openai-organization"] == "org_1"
    assert "openai-project" not in sent.headers
    assert KEY not in str(sent.body)
    assert response.provider == "openai"
    assert len(response.tool_calls) == 2


@pytest.mark.parametrize(
    ("status", "body", "helps"),
    [
        (404, b"404 page not found", True),
        (404, b'{"detail":"Not Found"}', True),
        (405, b"", True),
        (404, b'{"error":{"code":"model_not_found","message":"No."}}', False),
        (400, b'{"error":{"message":"No."}}', False),
    ],
)
async def test_a_server_that_only_chats(status: int, body: bytes, helps: bool) -> None:
    """
    Where this API is not there the error says what to try; it is still the same error.
    """
    with pytest.raises(ProviderError) as caught:
        await ask(provider(refusal(status, body)))
    error = caught.value
    assert error.status == status
    assert ("openai-compatible" in str(error)) is helps
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(twin) == str(error)


async def test_health() -> None:
    """
    One cheap request, whose failure comes with the same help.
    """
    of = provider(ScriptedAnswer(b"{}"))
    await of.health()
    (sent,) = wire(of.transport).requests
    assert (sent.method, sent.path) == ("GET", "/models")
    with pytest.raises(ModelNotFoundError, match="openai-compatible"):
        await provider(refusal(404)).health()


def test_a_hint_is_given_once() -> None:
    """
    However many pass the error on.
    """
    error = ProviderError("No.")
    for _ in range(2):
        error.suggest("Try this.")
    assert error.message == "No. (Try this.)"
    assert str(error.suggest(None)) == "No. (Try this.)"
