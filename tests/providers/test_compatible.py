"""The rows of the vendors that imitate OpenAI: `aichat.providers.compatible`."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

import attrs
import pytest

from aichat.errors import QuotaExceededError, RateLimitError
from aichat.providers import Capability, ProviderSpec
from aichat.providers._narrowing import ProfiledEncoder
from aichat.providers.compatible import ROWS, SPECS
from aichat.providers.openai_chat import SPEC, ChatCompletionsDecoder, Quirks
from aichat.types import ChatRequest, ImagePart, Tool, fold, system, user

from .openai_chat_streams import recording

LOCAL = {"vllm", "lmstudio", "llamacpp", "litellm", "openai-compatible"}
OPTIONS = {field.name for field in attrs.fields(ChatRequest)}


def quirks(spec: ProviderSpec) -> Quirks:
    assert isinstance(spec.encode_request, ProfiledEncoder)
    assert isinstance(spec.encode_request.encode, partial)
    found: Quirks = spec.encode_request.encode.keywords["quirks"]
    return found


def test_the_names() -> None:
    """
    Each vendor once, and whoever is not there has a name as well.
    """
    assert [*SPECS] == [spec.name for spec in ROWS]
    assert len(SPECS) == len(ROWS)
    assert {"openai-compatible", "groq", "openrouter", "vllm"} <= SPECS.keys()


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.name)
def test_a_row(spec: ProviderSpec) -> None:
    """
    Every row is complete, and makes a request and a decoder under its own name.
    """
    assert spec.title
    local = spec.name in LOCAL
    assert spec.requires_key is not local
    assert spec.api_key_env
    if spec.base_url is None:
        assert spec.base_url_env
    else:
        address = urlsplit(spec.base_url)
        assert address.scheme == ("http" if local else "https")
        assert not spec.base_url.endswith("/")
    decoder = spec.decoder()
    assert isinstance(decoder, ChatCompletionsDecoder)
    assert decoder.provider == spec.name
    request = ChatRequest(
        [system("Be brief."), user("Hi")],
        f"{spec.name}:m",
        max_tokens=5,
        provider_options={spec.name: {"x": 1}},
    )
    wire = spec.encode_request(request)
    assert wire.warnings == ()
    assert wire.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert wire.body["x"] == 1
    limits = wire.body.keys() & {"max_tokens", "max_completion_tokens"}
    assert len(limits) == 1


@pytest.mark.parametrize("spec", [SPEC, *ROWS], ids=lambda spec: spec.name)
def test_a_row_says_what_it_does(spec: ProviderSpec) -> None:
    """
    Capabilities and quirks agree, and quirks name options that exist.
    """
    q = quirks(spec)
    assert q.refuses <= OPTIONS
    assert (Capability.TOOLS in spec.capabilities) is q.tools
    assert (Capability.JSON_SCHEMA in spec.capabilities) is q.json_schema
    assert q.json_object or q.json_schema
    if Capability.DOCUMENTS in spec.capabilities:
        assert q.documents
    if q.cache:
        assert Capability.PROMPT_CACHING in spec.capabilities


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.name)
def test_any_vendor_reads_any_stream(spec: ProviderSpec) -> None:
    """
    No vendor needs to be known for its answer to be understood.
    """
    framing, decoder = spec.framing(), spec.decoder()
    events = framing.decode(recording("openrouter"))
    chunks = [chunk for event in events for chunk in decoder.decode(event)]
    assert fold([*chunks, *decoder.flush()]).text == "Looking."


def test_an_unknown_server() -> None:
    """
    Nothing is left out for fear of what it might refuse.
    """
    request = ChatRequest(
        user("Hi", ImagePart(url="https://x.example/")),
        "openai-compatible:m",
        top_k=5,
        temperature=1,
        seed=1,
        user="u",
        store=True,
        metadata={"a": "b"},
        reasoning_effort="low",
        tools=[Tool("f", strict=True)],
        tool_choice="required",
        response_format={"type": "object"},
    )
    wire = SPECS["openai-compatible"].encode_request(request)
    assert wire.warnings == ()
    assert wire.body.keys() >= {
        *("top_k", "temperature", "seed", "user", "store", "metadata"),
        *("reasoning_effort", "tools", "tool_choice", "response_format"),
    }


def test_headers_of_openrouter() -> None:
    """
    Its settings say who is asking.
    """
    spec = SPECS["openrouter"]
    wire = spec.encode_request(ChatRequest("Hi", "openrouter:m"))
    prepared = spec.prepare(wire, {"site_url": "https://me.example", "app_name": "Me"})
    assert prepared.headers == {
        "http-referer": "https://me.example",
        "x-title": "Me",
    }


def test_words_for_errors() -> None:
    """
    Some vendors have numbers where others have words.
    """
    assert SPECS["zai"].error_codes["1113"] is QuotaExceededError
    assert SPECS["cerebras"].error_codes["token_quota_exceeded"] is RateLimitError


def test_local_servers_are_patient() -> None:
    """
    A model that is loaded when it is asked for takes longer than a minute or two.
    """
    assert SPECS["lmstudio"].deadlines.limit("first_byte") == 600
