"""OpenAI's specs, and how to make another one: `aichat.providers.openai_chat`."""

from __future__ import annotations

import pytest

from aichat.errors import BadRequestError
from aichat.providers import Capability
from aichat.providers._openai_models import OPENAI_MODELS, openai_model
from aichat.providers.openai_chat import (
    SPEC,
    ChatCompletionsDecoder,
    Quirks,
    chat_spec,
)
from aichat.transport import HTTPRequest, SSEDecoder
from aichat.types import ChatRequest


def test_the_spec_of_openai() -> None:
    """
    Its older API has a name of its own: ``openai`` is the Responses API.
    """
    assert SPEC.name == "openai-chat"
    assert SPEC.base_url == "https://api.openai.com/v1"
    assert SPEC.base_url_env == ("OPENAI_BASE_URL",)
    assert SPEC.api_key_env == ("OPENAI_API_KEY",)
    assert SPEC.requires_key
    assert SPEC.health_check == HTTPRequest("/models", method="GET")
    assert isinstance(SPEC.framing(), SSEDecoder)
    assert SPEC.models[0] == "gpt-6-sol"


def test_its_settings_are_headers() -> None:
    """
    Organization and project may be set; what is not set is not sent.
    """
    assert SPEC.settings == {"organization": "", "project": ""}
    request = HTTPRequest("/chat/completions", headers={"x": "y"})
    settings = {"organization": "org_1", "project": ""}
    assert SPEC.prepare(request, settings).headers == {
        "x": "y",
        "openai-organization": "org_1",
    }
    assert SPEC.prepare(request, {}) == request


def test_a_header_of_the_callers_own_wins() -> None:
    """
    Whoever sets it by hand has a reason.
    """
    request = HTTPRequest("/", headers={"openai-project": "mine"})
    prepared = SPEC.prepare(request, {"project": "theirs"})
    assert prepared.headers["openai-project"] == "mine"


def test_one_more_server() -> None:
    """
    A name and a title are enough; capabilities are added and taken away.
    """
    spec = chat_spec(
        name="mine",
        title="My server",
        quirks=Quirks(think_tags=True),
        error_codes={"odd": BadRequestError},
        adds={Capability.IMAGES},
        lacks={Capability.TOOLS},
    )
    assert spec.base_url is None
    assert Capability.IMAGES in spec.capabilities
    assert Capability.TOOLS not in spec.capabilities
    assert Capability.STREAMING in spec.capabilities
    assert spec.encode_request(ChatRequest("Hi", "mine:m")).body["model"] == "m"
    decoder = spec.decoder()
    assert isinstance(decoder, ChatCompletionsDecoder)
    assert (decoder.provider, decoder.think_tags) == ("mine", True)
    assert decoder.error_codes == spec.error_codes


def test_each_answer_has_its_own_decoder() -> None:
    """
    Nothing of one answer is left for the next.
    """
    assert SPEC.decoder() is not SPEC.decoder()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("gpt-5.4", "gpt-5.4"),
        ("gpt-5.4-2026-03-05", "gpt-5.4"),
        ("gpt-5.4-mini-2026-03-17", "gpt-5.4-mini"),
        ("gpt-5.4-pro", "gpt-5.4-pro"),
        ("gpt-5-mini", "gpt-5"),
        ("gpt-5.9", None),
        ("gpt-5.6-astra", "gpt-5.6"),
        ("gpt-4.1-nano", "gpt-4.1"),
        ("gpt-4", "gpt-4"),
        ("gpt-45", None),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "gpt-4o-mini"),
        ("ft:", None),
        ("llama-4", None),
        ("", None),
    ],
)
def test_the_row_of_a_model(name: str, row: str | None) -> None:
    """
    The longest name counts, up to a dash; another version is another model.
    """
    found = openai_model(name)
    assert (found.name if found else None) == row


def test_the_rows() -> None:
    """
    Names are unique, and levels fit what is said about reasoning.
    """
    names = [row.name for row in OPENAI_MODELS]
    assert len({*names}) == len(names)
    for row in OPENAI_MODELS:
        assert bool(row.efforts) is (row.reasons != "never")
        assert ("none" in row.efforts) is (row.reasons in ("if_asked", "unless_told"))
