"""OpenAI's dialects at Azure: `aichat.providers.azure`."""

from __future__ import annotations

from typing import Any

import pytest

from aichat import ClientConfig, connect
from aichat.errors import (
    AIChatError,
    AuthenticationError,
    ConfigError,
    ContentFilteredError,
    InvalidRequestError,
    ModelNotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from aichat.providers import HTTPProvider, ProviderSpec
from aichat.providers.azure import RESPONSES, SPEC
from aichat.testing import check_stream
from aichat.transport import HTTPRequest, Pool
from aichat.types import (
    ChatRequest,
    ChatResponse,
    DocumentPart,
    ReasoningPart,
    Secret,
    assistant,
    collect,
    user,
)

from ..transport.toys import ScriptedAnswer, refusal, transport, wire
from .openai_chat_streams import recording as chat_recording
from .responses_streams import recording

ENDPOINT = "https://mine.openai.azure.com"
KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"


def url(spec: ProviderSpec, path: str, base_url: str = ENDPOINT, **said: str) -> str:
    """Where a request goes."""
    request = HTTPRequest(path, {"model": "my deployment"}, base_url=base_url)
    ready = spec.prepare(request, {"api_version": "", "auth": "", **said})
    version = ready.query.get("api-version")
    return f"{ready.base_url}{ready.path}" + (f"?{version}" if version else "")


def headers(key: str, **said: str) -> dict[str, str]:
    """What a key becomes."""
    request = SPEC.prepare(HTTPRequest("/models"), {"api_version": "", **said})
    return dict(SPEC.auth(request, key).headers)


def provider(
    *answers: ScriptedAnswer, spec: ProviderSpec = SPEC, key: Any = KEY, **said: str
) -> HTTPProvider:
    return HTTPProvider(
        spec=spec,
        transport=transport(*answers),
        base_url=ENDPOINT,
        api_key=key,
        settings={"api_version": "", "auth": "", **said},
    )


async def ask(of: HTTPProvider, **options: Any) -> ChatResponse:
    request = ChatRequest("Hi", f"{of.name}:my-gpt", **options)
    return await collect(check_stream(of.stream(request)))


# -- addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "version", "expected"),
    [
        (SPEC, "", "/openai/v1/chat/completions"),
        (SPEC, "v1", "/openai/v1/chat/completions?v1"),
        (SPEC, "preview", "/openai/v1/chat/completions?preview"),
        (
            SPEC,
            "2024-10-21",
            "/openai/deployments/my%20deployment/chat/completions?2024-10-21",
        ),
        (RESPONSES, "", "/openai/v1/responses"),
        (RESPONSES, "2025-04-01-preview", "/openai/responses?2025-04-01-preview"),
    ],
)
def test_the_version_decides_on_the_address(
    spec: ProviderSpec, version: str, expected: str
) -> None:
    """
    A dated one names the deployment in the path, where there is a path for it.
    """
    path = "/chat/completions" if spec is SPEC else "/responses"
    assert url(spec, path, api_version=version) == ENDPOINT + expected


@pytest.mark.parametrize("version", ["", "2024-10-21"])
def test_the_list_of_models(version: str) -> None:
    """
    It belongs to no deployment.
    """
    wanted = "/openai/models?2024-10-21" if version else "/openai/v1/models"
    assert url(SPEC, "/models", api_version=version) == ENDPOINT + wanted


@pytest.mark.parametrize(
    "suffix", ["", "/openai", "/openai/v1", "/openai/deployments/other"]
)
@pytest.mark.parametrize("root", [ENDPOINT, "https://gateway.example/team/azure"])
def test_what_is_copied_from_the_portal(root: str, suffix: str) -> None:
    """
    The endpoint may be given with more of the path; a gateway's own path stays.
    """
    assert url(SPEC, "/models", base_url=root + suffix) == f"{root}/openai/v1/models"


@pytest.mark.parametrize("said", [{"api_version": "2024"}, {"auth": "bearer"}])
def test_settings_that_will_not_do(said: dict[str, str]) -> None:
    """
    They are refused before anything is sent.
    """
    (name,) = said
    with pytest.raises(ConfigError, match=name):
        url(SPEC, "/models", **said)


# -- keys --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "auth", "header"),
    [
        (KEY, "", {"api-key": KEY}),
        (TOKEN, "", {"authorization": f"Bearer {TOKEN}"}),
        (KEY, "token", {"authorization": f"Bearer {KEY}"}),
        (TOKEN, "key", {"api-key": TOKEN}),
        ("eyJ.x", "", {"api-key": "eyJ.x"}),
    ],
)
def test_keys_and_tokens(key: str, auth: str, header: dict[str, str]) -> None:
    """
    They tell by themselves which they are, if no setting does; never are both sent.
    """
    assert headers(key, auth=auth) == header


async def test_a_token_that_is_fetched() -> None:
    """
    The function is asked for every request, since tokens last for an hour.
    """
    tokens = iter([TOKEN, f"{TOKEN}2"])

    async def fetch() -> str:
        return next(tokens)

    answers = [ScriptedAnswer(chat_recording("azure")) for _ in range(2)]
    of = provider(*answers, key=fetch)
    for _ in answers:
        await ask(of)
    sent = [request.headers for request in wire(of.transport).requests]
    assert [h["authorization"] for h in sent] == [
        f"Bearer {TOKEN}",
        f"Bearer {TOKEN}2",
    ]
    assert not any("api-key" in h for h in sent)


async def test_what_the_environment_says() -> None:
    """
    Endpoint, key and version have variables; a token wins over a key.
    """
    # G1
    environ = {
        "AZURE_OPENAI_ENDPOINT": f"{ENDPOINT}/",
        "AZURE_OPENAI_API_KEY": KEY,
        "AZURE_OPENAI_AD_TOKEN": TOKEN,
        "OPENAI_API_VERSION": " 2024-10-21 ",
    }
    pool = Pool()
    of = connect(ClientConfig(provider="azure"), SPEC, pool=pool, environ=environ)
    assert of.base_url == ENDPOINT
    assert of.api_key == Secret(TOKEN)
    assert of.settings == {"api_version": "2024-10-21", "auth": ""}
    said = ClientConfig(provider="azure", settings={"api_version": ""})
    of = connect(said, SPEC, pool=pool, environ=environ)
    assert of.settings["api_version"] == ""
    # Older than this API, as often as not.
    config = ClientConfig(provider="azure-responses")
    of = connect(config, RESPONSES, pool=pool, environ=environ)
    assert of.settings["api_version"] == ""
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        connect(config, RESPONSES, pool=pool, environ={})
    await pool.aclose()


# -- answers -----------------------------------------------------------------------------


async def test_chat_completions() -> None:
    """
    Azure's first chunk has no choices and no names; what its filter says is kept.
    """
    # S1, S10
    of = provider(ScriptedAnswer(chat_recording("azure")), api_version="2024-10-21")
    response = await ask(of)
    (sent,) = wire(of.transport).requests
    assert sent.path == "/openai/deployments/my-gpt/chat/completions"
    assert sent.query == {"api-version": "2024-10-21"}
    assert sent.headers["api-key"] == KEY
    assert "authorization" not in sent.headers
    assert response.provider == "azure"
    assert response.text
    assert "prompt_filter_results" in response.metadata


async def test_responses() -> None:
    """
    Its thoughts go back to this provider, and to no other.
    """
    # S1, S9
    of = provider(ScriptedAnswer(recording("encrypted")), spec=RESPONSES)
    response = await ask(of)
    (sent,) = wire(of.transport).requests
    assert (sent.path, sent.query) == ("/openai/v1/responses", {})
    assert sent.body["model"] == "my-gpt"
    thought = response.message.content[0]
    assert isinstance(thought, ReasoningPart)
    assert thought.provider_state is not None
    assert thought.provider_state.provider == "azure-responses"
    again = [user("Hi"), assistant(*response.message.content), user("Go on.")]
    request = ChatRequest(again, "azure-responses:my-gpt")
    first = RESPONSES.encode_request(request).body["input"][1]
    assert first["encrypted_content"] == "gAAAAfirst"


def test_options() -> None:
    """
    Those of the dialect reach it, and its own go over them; deployments may be called
    like models, and then what is known about those counts.
    """
    # G5
    extras = {"openai-chat": {"a": 1, "b": 1}, "azure": {"b": 2}}
    request = ChatRequest("Hi", "azure:o3", user="u", provider_options=extras)
    body = SPEC.encode_request(request).body
    assert (body["a"], body["b"], body["user"]) == (1, 2, "u")
    thinking = ChatRequest("Hi", "azure:o3", temperature=1)
    assert "Azure OpenAI's o3" in SPEC.encode_request(thinking).warnings[0]
    document = user(DocumentPart(data=b"%PDF-"))
    with pytest.raises(InvalidRequestError, match="documents"):
        SPEC.encode_request(ChatRequest(document, "azure:my-gpt"))
    RESPONSES.encode_request(ChatRequest(document, "azure-responses:my-gpt"))


# -- errors ------------------------------------------------------------------------------

FILTERED = b"""{"error":{"code":"content_filter","message":"The response was filtered.",
"type":null,"param":"prompt","status":400,"innererror":{
"code":"ResponsibleAIPolicyViolation",
"content_filter_result":{"jailbreak":{"filtered":true,"detected":true}}}}}"""


def said(code: str, message: str = "No.") -> bytes:
    return f'{{"error":{{"code":"{code}","message":"{message}"}}}}'.encode()


@pytest.mark.parametrize("spec", [SPEC, RESPONSES], ids=["chat", "responses"])
@pytest.mark.parametrize(
    ("status", "body", "error", "hint"),
    [
        (400, FILTERED, ContentFilteredError, None),
        (401, said("401"), AuthenticationError, None),
        (401, b'{"statusCode":401,"message":"No."}', AuthenticationError, None),
        (401, said("PermissionDenied"), PermissionDeniedError, None),
        (404, said("DeploymentNotFound"), ModelNotFoundError, "some minutes"),
        (404, said("404", "Resource not found"), ModelNotFoundError, "api_version"),
        (404, b"", ModelNotFoundError, "api_version"),
        (400, said("OperationNotSupported"), ModelNotFoundError, None),
        (429, said("429", "Please retry after 7 seconds."), RateLimitError, None),
    ],
)
async def test_errors(
    spec: ProviderSpec,
    status: int,
    body: bytes,
    error: type[AIChatError],
    hint: str | None,
) -> None:
    """
    Azure's own words, and what to do about those that do not explain themselves.
    """
    # S5, R1
    with pytest.raises(error) as caught:
        await ask(provider(refusal(status, body), spec=spec), max_retries=0)
    assert type(caught.value) is error
    assert caught.value.status == status
    assert ("(" in caught.value.message) is bool(hint)
    assert (hint or "") in caught.value.message
    if status == 429:
        assert caught.value.retry_after == 7
