"""What models accept, for all providers, and that the encoders think the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from aichat import (
    AudioPart,
    Capability,
    ChatRequest,
    Client,
    ClientConfig,
    ConfigError,
    DocumentPart,
    Effort,
    HTTPProvider,
    ImagePart,
    InvalidRequestError,
    Modality,
    ModelProfile,
    ProviderSpec,
    ProviderState,
    Registry,
    TextPart,
    Tool,
    ToolChoice,
    assistant,
    connect,
    tool_result,
    user,
)
from aichat.providers import ModelDescriber
from aichat.providers._anthropic_models import _CLAUDES, claude
from aichat.providers._google_models import _GEMINIS
from aichat.providers._narrowing import narrowed
from aichat.providers._ollama_models import _THINKERS
from aichat.providers._openai_models import OPENAI_MODELS
from aichat.testing import FakeProvider, Simulator, reply
from aichat.transport import HTTPRequest, Pool, SSEDecoder
from aichat.types import OpaquePart, ToolCallPart, ToolResultPart

REGISTRY = Registry(installed=lambda: ())
#: Those whose encoders look the model up, and refuse what it does not take.
TABLES = {"openai", "openai-chat", "anthropic", "google", "vertex"}
#: For those who name no models: some of everybody's.
SOME = ("some-model", "gpt-6-sol", "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash")
PNG = b"\x89PNG\r\n\x1a\n"
TOOLS = [Tool("look", parameters={"type": "object"}), Tool("listen")]
ONE = ToolChoice("required", ("look",))
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def specs() -> Iterator[ProviderSpec]:
    for name in REGISTRY:
        spec = REGISTRY[name]
        assert isinstance(spec, ProviderSpec)
        yield spec


def pairs() -> Iterator[Any]:
    for spec in specs():
        for model in spec.models or SOME:
            yield pytest.param(spec, model, id=f"{spec.name}:{model}")


every_model = pytest.mark.parametrize(("spec", "model"), list(pairs()))


def spec_of(name: str) -> ProviderSpec:
    spec = REGISTRY[name]
    assert isinstance(spec, ProviderSpec)
    return spec


def encode(spec: ProviderSpec, model: str, **options: Any) -> HTTPRequest:
    return spec.encode_request(
        ChatRequest("Answer in JSON.", f"{spec.name}:{model}", **options)
    )


# -- the facts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "facts"),
    [
        (
            "openai:gpt-5.4-mini-2026-03-17",
            {
                "context_tokens": 400_000,
                "max_output_tokens": 128_000,
                "reasoning": "if_asked",
                "efforts": ("none", "low", "medium", "high", "xhigh"),
                "sampling": "without_reasoning",
                "prefill": False,
                "reasoning_budget": False,
                "known": True,
            },
        ),
        (
            "openai:ft:gpt-4o-2024-08-06:acme::abc",
            {"context_tokens": 128_000, "reasoning": "never", "sampling": "always"},
        ),
        ("openai:o3-mini", {"inputs": {"text"}, "parallel_tools": False}),
        ("openai:gpt-5-pro", {"efforts": (Effort.HIGH,), "sampling": "never"}),
        # The Responses API has no audio.
        ("openai:gpt-audio", {"inputs": {"text"}}),
        ("openai-chat:gpt-audio", {"inputs": {"text", "audio"}}),
        # Over Chat Completions it reasons or calls functions, and it always reasons.
        ("openai:gpt-6.1-sol", {"tools": True}),
        ("openai-chat:gpt-6.1-sol", {"tools": False, "forced_tool_choice": False}),
        ("openai-chat:gpt-6-sol", {"tools": True}),
        ("azure:gpt-4o", {"inputs": {"text", "image"}, "max_output_tokens": 16_384}),
        (
            "anthropic:claude-opus-5-5",
            {
                "max_output_tokens": 128_000,
                "reasoning": "always",
                "sampling": "never",
                "forced_tool_choice": False,
                "json": False,
                "json_schema": True,
                "prefill": False,
                "inputs": {"text", "image", "document"},
            },
        ),
        (
            "anthropic:claude-sonnet-4-5-20250929",
            {
                "context_tokens": 200_000,
                "max_output_tokens": 64_000,
                "reasoning": "if_asked",
                "reasoning_budget": True,
                "sampling": "without_reasoning",
                "prefill": True,
            },
        ),
        ("anthropic:claude-sonnet-4-20250514", {"max_output_tokens": 64_000}),
        ("anthropic:claude-3-5-haiku-latest", {"reasoning": "never", "efforts": ()}),
        ("anthropic:claude-opus-5", {"reasoning": "unless_told"}),
        (
            "google:models/gemini-2.5-flash-lite",
            {"reasoning": "if_asked", "reasoning_budget": True, "prefill": True},
        ),
        ("google:gemini-2.5-pro", {"reasoning": "always", "sampling": "always"}),
        ("google:gemini-2.5-flash", {"reasoning": "unless_told"}),
        ("google:gemini-3-pro-preview", {"efforts": (Effort.LOW, Effort.HIGH)}),
        ("google:gemini-2.0-flash", {"reasoning": "never", "efforts": ()}),
        (
            "vertex:gemini-3.5-flash",
            {"context_tokens": 1_048_576, "provider": "vertex"},
        ),
        (
            "ollama:gpt-oss:20b",
            {
                "reasoning": "always",
                "efforts": (Effort.LOW, Effort.MEDIUM, Effort.HIGH),
                "forced_tool_choice": False,
            },
        ),
        ("ollama:llama3.2-vision", {"inputs": {"text", "image"}, "tools": False}),
        ("ollama:qwen3:8b", {"efforts": (Effort.NONE, Effort.MEDIUM)}),
        (
            "groq:openai/gpt-oss-120b",
            {
                "context_tokens": 131_072,
                "max_output_tokens": 65_536,
                "inputs": {"text"},
                "efforts": (Effort.LOW, Effort.MEDIUM, Effort.HIGH),
            },
        ),
        ("cerebras:gpt-oss-120b", {"max_output_tokens": 32_768}),
        ("perplexity:sonar-pro", {"tools": False, "context_tokens": 200_000}),
        ("deepseek:deepseek-v4-pro", {"json": True, "json_schema": False}),
        ("openrouter:x-ai/grok-4.7", {"reasoning_budget": True, "prefill": True}),
    ],
)
def test_what_is_known(address: str, facts: dict[str, Any]) -> None:
    """
    By the longest row that fits, whatever is around the name.
    """
    provider, _, model = address.partition(":")
    profile = spec_of(provider).profile_of(model)
    assert (profile.provider, profile.known) == (provider, True)
    assert {name: getattr(profile, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("provider", "unknown", "newest"),
    [
        ("openai", "gpt-9", "gpt-6-sol"),
        ("openai-chat", "gpt-9", "gpt-6-sol"),
        ("anthropic", "claude-opus-9", "claude-opus-5-5"),
        ("google", "gemini-9-pro", "gemini-4-argon"),
    ],
)
def test_what_is_not_known(provider: str, unknown: str, newest: str) -> None:
    """
    It is taken for one of the newest generation, and says so.
    """
    spec = spec_of(provider)
    profile = spec.profile_of(unknown)
    assert not profile.known
    assert profile == evolve(spec.profile_of(newest), model=unknown, known=False)


@pytest.mark.parametrize("provider", ["anthropic", "ollama", "groq", "vllm", "local"])
def test_what_is_somebody_elses(provider: str) -> None:
    """
    A model that nobody has heard of takes everything that the server has.
    """
    profile = spec_of(provider).profile_of("my-own")
    assert not profile.known
    assert (profile.tools, profile.sampling) == (True, "without_reasoning") or (
        profile.sampling == "always"
    )
    assert profile.context_tokens is profile.max_output_tokens is None


def test_the_spec_alone() -> None:
    """
    Without a table the capabilities of the provider tell.
    """
    spec = ProviderSpec(
        name="plain",
        title="Plain",
        encode_request=lambda _: HTTPRequest("/chat"),
        framing=SSEDecoder,
        decoder=spec_of("groq").decoder,
        capabilities={Capability.STREAMING, Capability.TOOLS, Capability.IMAGES},
    )
    assert spec.profile_of("m") == ModelProfile(
        "m",
        "plain",
        inputs={"text", "image"},
        parallel_tools=False,
        json=False,
        json_schema=False,
        reasoning="never",
        efforts=(),
        reasoning_budget=False,
        known=False,
    )


@pytest.mark.parametrize(
    ("reasoning", "reasons"),
    [
        ("never", [False, False, False]),
        ("if_asked", [False, False, True]),
        ("unless_told", [True, False, True]),
        ("always", [True, True, True]),
    ],
)
def test_whether_it_reasons(reasoning: Any, reasons: list[bool]) -> None:
    """
    Not asked, asked not to, asked to.
    """
    profile = ModelProfile("m", reasoning=reasoning)
    asked = [None, Effort.NONE, Effort.LOW]
    assert [profile.reasons_at(effort) for effort in asked] == reasons


# -- the encoders think the same -------------------------------------------------------


@every_model
def test_sampling_is_as_the_profile_says(spec: ProviderSpec, model: str) -> None:
    """
    A temperature is sent if it may be, and only then.
    """
    profile = spec.profile_of(model)
    if not profile.known:
        return
    for effort in (None, *profile.efforts):
        wire = encode(spec, model, temperature=0.3, reasoning_effort=effort)
        plain = encode(spec, model, reasoning_effort=effort)
        takes = profile.sampling == "always" or (
            profile.sampling == "without_reasoning" and not profile.reasons_at(effort)
        )
        assert (wire.body != plain.body) == takes
        assert (wire.warnings != plain.warnings) == (not takes)


@every_model
def test_efforts_are_as_the_profile_says(spec: ProviderSpec, model: str) -> None:
    """
    Those that it names are sent without a word, and all of them differ.
    """
    profile = spec.profile_of(model)
    wires = [encode(spec, model, reasoning_effort=e) for e in profile.efforts]
    between = "between tool calls"  # what Sonnet 5.5 says of "none"
    assert [w for wire in wires for w in wire.warnings if between not in w] == []
    if profile.known:
        bodies = [wire.body for wire in wires]
        assert all(body not in bodies[:n] for n, body in enumerate(bodies))
    if profile.reasoning == "never" and spec.name in TABLES:
        assert encode(spec, model, reasoning_effort="high").warnings


@every_model
def test_the_rest_is_as_the_profile_says(spec: ProviderSpec, model: str) -> None:
    """
    What the profile denies is refused; what it grants is not.
    """
    profile = spec.profile_of(model)
    refused = set()
    asked: dict[str, dict[str, Any]] = {
        "tools": {"tools": TOOLS},
        "forced_tool_choice": {"tools": TOOLS, "tool_choice": ONE},
        "json": {"response_format": "json"},
        "json_schema": {"response_format": SCHEMA},
    }
    for name, options in asked.items():
        try:
            # Over Chat Completions some call functions only while they do not reason.
            none = Effort.NONE if Effort.NONE in profile.efforts else None
            encode(spec, model, reasoning_effort=none, **options)
        except InvalidRequestError:
            refused.add(name)
    denied = {name for name in asked if not getattr(profile, name)}
    # Some are refused by their servers, which know better than we do.
    theirs = {"tools", "forced_tool_choice", "json_schema"}
    assert refused - denied == set()
    assert (denied - refused) <= theirs


# -- nothing is dropped in silence -----------------------------------------------------

#: Each with a value that says something to every provider.
SAMPLING: dict[str, Any] = {
    "max_tokens": 5_000,
    "temperature": 0.3,
    "top_p": 0.5,
    "top_k": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 3,
    "seed": 7,
    "stop": "END",
    "reasoning_effort": "low",
    "reasoning_budget": 2_000,
    "verbosity": "low",
    "user": "somebody",
    "metadata": {"a": "b"},
    "service_tier": "flex",
    "store": True,
    "truncation": "auto",
}


@pytest.mark.parametrize("policy", [None, "warn", "raise"])
@every_model
def test_no_option_is_dropped_in_silence(
    spec: ProviderSpec, model: str, policy: Any
) -> None:
    """
    It is in the body, or in the warnings, or an error that names it.
    """
    # G5
    plain = encode(spec, model, on_unsupported=policy)
    for option, value in SAMPLING.items():
        refused: InvalidRequestError | None = None
        wire = plain
        try:
            wire = encode(spec, model, on_unsupported=policy, **{option: value})
        except InvalidRequestError as error:
            refused = error
        said = set(wire.warnings) - set(plain.warnings)
        if refused is not None:
            assert policy != "warn", option
            assert option in refused.message
        else:
            assert wire.body != plain.body or said, option
            assert not (policy == "raise" and said), option


@pytest.mark.parametrize("policy", [None, "warn"])
@every_model
def test_no_meaning_is_dropped_in_silence(
    spec: ProviderSpec, model: str, policy: Any
) -> None:
    """
    The same of tools and forms.
    """
    # G5
    asked: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"tools": TOOLS}),
        ({"tools": TOOLS}, {"tool_choice": "required"}),
        ({"tools": TOOLS}, {"parallel_tool_calls": False}),
        ({}, {"response_format": "json"}),
        ({}, {"response_format": SCHEMA}),
    ]
    for base, more in asked:
        try:
            plain = encode(spec, model, on_unsupported=policy, **base)
        except InvalidRequestError:
            continue
        try:
            wire = encode(spec, model, on_unsupported=policy, **base, **more)
        except InvalidRequestError:
            continue
        no_tools = [warning for warning in plain.warnings if "tools" in warning]
        assert (
            no_tools
            or wire.body != plain.body
            or set(wire.warnings) - set(plain.warnings)
        )


# -- what the user knows better --------------------------------------------------------


@pytest.mark.parametrize("row", OPENAI_MODELS, ids=lambda row: row.name)
def test_openais_rows_are_like_themselves(row: Any) -> None:
    """
    A profile that says nothing new changes nothing.
    """
    assert row.like(row.profile()) == row


@pytest.mark.parametrize("name", [*_CLAUDES, "no-claude"])
def test_claudes_are_like_themselves(name: str) -> None:
    """
    A profile that says nothing new changes nothing.
    """
    row = claude(name)
    assert row.like(row.profile(name)) == row


@pytest.mark.parametrize("name", _GEMINIS)
def test_geminis_are_like_themselves(name: str) -> None:
    """
    A profile that says nothing new changes nothing.
    """
    row = _GEMINIS[name]
    assert row.like(row.profile(name)) == row


@pytest.mark.parametrize("name", _THINKERS)
def test_ollamas_are_like_themselves(name: str) -> None:
    """
    A profile that says nothing new changes nothing.
    """
    row = _THINKERS[name]
    assert row.like(row.profile(name)) == row


@every_model
def test_the_own_profile_changes_nothing(spec: ProviderSpec, model: str) -> None:
    """
    What a model is said to accept anyway may be said again.
    """
    profile = spec.profile_of(model)
    if not profile.known:
        return
    told = spec.with_profiles({model: profile})
    assert told.profile_of(model) == profile
    # Of models elsewhere it is the server that knows whether they reason.
    thinks = {"reasoning_effort"} if profile.reasoning != "never" else set[str]()
    for option in {"temperature", "max_tokens"} | thinks:
        options = {option: SAMPLING[option]}
        assert encode(told, model, **options) == encode(spec, model, **options) or (
            # Rounded already, on the way there.
            encode(told, model, **options).body == encode(spec, model, **options).body
        )


def told(address: str, like: str | None = None, **changes: Any) -> ProviderSpec:
    """The spec of *address*, of whose model the user says that it is *like* another one."""
    provider, _, model = address.partition(":")
    spec = spec_of(provider)
    profile = evolve(spec.profile_of(like or model), **changes)
    return spec.with_profiles({model: profile})


@pytest.mark.parametrize(
    ("address", "changes", "options", "key"),
    [
        (
            "openai:gpt-6-sol",
            {"sampling": "always"},
            {"temperature": 0.3},
            "temperature",
        ),
        ("openai-chat:o3", {"sampling": "always"}, {"top_p": 0.3}, "top_p"),
        (
            "anthropic:claude-opus-4-8",
            {"sampling": "without_reasoning"},
            {"temperature": 0.3},
            "temperature",
        ),
        (
            "anthropic:claude-opus-4-6",
            {"sampling": "always"},
            {"temperature": 0.3, "reasoning_effort": "high"},
            "temperature",
        ),
        (
            "anthropic:claude-opus-5-5",
            {"forced_tool_choice": True},
            {"tools": TOOLS, "tool_choice": "required"},
            "tool_choice",
        ),
        (
            "anthropic:claude-opus-4",
            {"json_schema": True},
            {"response_format": SCHEMA},
            "output_config",
        ),
        (
            "openai:o3",
            {"parallel_tools": True},
            {"tools": TOOLS, "parallel_tool_calls": False},
            "parallel_tool_calls",
        ),
        (
            "openai:gpt-4o",
            {"reasoning": "if_asked", "efforts": "low high"},
            {"reasoning_effort": "high"},
            "reasoning",
        ),
        (
            "anthropic:claude-3-5-sonnet",
            {"reasoning": "if_asked", "efforts": "low high", "reasoning_budget": True},
            {"reasoning_budget": 2_000},
            "thinking",
        ),
        (
            "anthropic:claude-3-5-sonnet",
            {"reasoning": "always", "efforts": "low high"},
            {"reasoning_effort": "high"},
            "thinking",
        ),
        (
            "anthropic:claude-opus-5",
            {"reasoning_budget": True},
            {"reasoning_budget": 2_000},
            "thinking",
        ),
    ],
)
def test_what_is_granted_is_sent(
    address: str, changes: dict[str, Any], options: dict[str, Any], key: str
) -> None:
    """
    What our tables deny and the user does not reaches the wire, without a warning.
    """
    provider, _, model = address.partition(":")
    wire = encode(told(address, **changes), model, **options)
    assert key in wire.body
    assert wire.warnings == ()
    try:
        before = encode(spec_of(provider), model, **options)
    except InvalidRequestError:
        return
    assert wire.body != before.body


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        (
            {
                "reasoning": "if_asked",
                "efforts": "none high",
                "reasoning_budget": False,
            },
            {"reasoning_effort": "high"},
        ),
        (
            {"reasoning": "always", "efforts": "high", "reasoning_budget": True},
            {"reasoning_budget": 2_000},
        ),
    ],
)
def test_a_gemini_that_thinks_after_all(
    changes: dict[str, Any], options: dict[str, Any]
) -> None:
    """
    By a level or by a budget, as the profile says.
    """
    wire = encode(
        told("google:gemini-2.0-flash", **changes), "gemini-2.0-flash", **options
    )
    assert wire.body["generationConfig"]["thinkingConfig"]
    assert wire.warnings == ()


def test_an_ollama_model_that_cannot_be_kept_from_thinking() -> None:
    """
    It is asked for the least instead.
    """
    spec = told("ollama:qwen3", reasoning="always", efforts="medium")
    wire = encode(spec, "qwen3", reasoning_effort="none")
    assert wire.body["think"] is True
    assert len(wire.warnings) == 1


def test_the_longest_answer_is_the_default_where_one_is_needed() -> None:
    """
    Anthropic wants to be told.
    """
    model = "claude-opus-5"
    spec = told(f"anthropic:{model}", max_output_tokens=9_000)
    assert encode(spec, model).body["max_tokens"] == 9_000
    spec = told(f"anthropic:{model}", max_output_tokens=None)
    assert encode(spec, model).body["max_tokens"] == 128_000


def test_a_deployment_is_like_a_model() -> None:
    """
    All that is known of the model counts for the name that it goes by.
    """
    spec = told("azure:prod", like="gpt-5.4")
    wire = encode(spec, "prod", tools=TOOLS, temperature=0.5)
    assert wire.body["model"] == "prod"
    # gpt-5.4 may refuse tools otherwise.
    assert wire.body["reasoning_effort"] == "none"
    with pytest.raises(InvalidRequestError, match="while it reasons"):
        encode(spec, "prod", tools=TOOLS, reasoning_effort="low")
    # Of others nothing is known.
    assert "reasoning_effort" not in encode(spec, "other", tools=TOOLS).body


#: A profile that denies one thing, and what to ask for.
DENIED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"sampling": "never"}, {"temperature": 0.3}, "temperature"),
    ({"sampling": "never"}, {"logit_bias": {"5": 1}}, "logit_bias"),
    (
        {"sampling": "without_reasoning", "reasoning": "always"},
        {"top_p": 0.3},
        "top_p: not while it reasons",
    ),
    (
        {"sampling": "without_reasoning", "reasoning": "if_asked"},
        {"top_k": 3, "reasoning_budget": 2_000},
        "top_k: not while it reasons",
    ),
    ({"reasoning": "never"}, {"reasoning_effort": "low"}, "reasoning_effort"),
    ({"reasoning": "never"}, {"reasoning_budget": 2_000}, "reasoning_budget"),
    ({"reasoning_budget": False}, {"reasoning_budget": 2_000}, "reasoning_budget"),
    ({"efforts": ()}, {"reasoning_effort": "low"}, "reasoning_effort"),
    ({"efforts": "low"}, {"reasoning_effort": "max"}, "reasoning_effort='max'"),
    ({"tools": False}, {"tools": TOOLS, "tool_choice": "auto"}, "tools"),
    (
        {"forced_tool_choice": False},
        {"tools": TOOLS, "tool_choice": "required"},
        "tool_choice='required'",
    ),
    (
        {"parallel_tools": False},
        {"tools": TOOLS, "parallel_tool_calls": True},
        "parallel_tool_calls",
    ),
    ({"json": False}, {"response_format": "json"}, "response_format='json'"),
    ({"json_schema": False}, {"response_format": SCHEMA}, "a JSON Schema"),
]


@pytest.mark.parametrize("provider", ["groq", "openai", "anthropic", "google", "mine"])
@pytest.mark.parametrize(("changes", "options", "what"), DENIED)
def test_what_is_denied_is_not_sent(
    provider: str, changes: dict[str, Any], options: dict[str, Any], what: str
) -> None:
    """
    In any dialect, and in one that has never heard of profiles: left out, with a warning.
    """
    # G5
    plain = spec_of("vllm")
    mine = evolve(plain, name="mine", encode_request=lambda r: plain.encode_request(r))
    spec = mine if provider == "mine" else spec_of(provider)
    known = {"anthropic": "claude-sonnet-4-5", "google": "gemini-2.5-flash"}
    profile = ModelProfile(known.get(provider, "m"), **changes)
    spec = spec.with_profiles({"m": profile})
    assert spec.profile_of("m").model == profile.model
    asked = ChatRequest("JSON", "x:m", on_unsupported="warn", **options)
    left, warnings = narrowed(asked, profile)
    assert any(what in warning for warning in warnings)
    assert left != asked
    wire = spec.encode_request(asked)
    assert set(warnings) <= set(wire.warnings)
    ignoring = evolve(asked, on_unsupported="ignore")
    assert narrowed(ignoring, profile)[1] == ()
    with pytest.raises(InvalidRequestError) as caught:
        spec.encode_request(evolve(asked, on_unsupported="raise"))
    assert what.partition(":")[0] in caught.value.message


def test_what_says_nothing_is_taken_out_in_silence() -> None:
    """
    Those who cannot need not be told not to.
    """
    profile = ModelProfile("m", reasoning="never", parallel_tools=False)
    request = ChatRequest(
        "Hi",
        "x:m",
        tools=TOOLS,
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning_effort="none",
        reasoning_budget=0,
        response_format="text",
        on_unsupported="raise",
    )
    left, warnings = narrowed(request, profile)
    assert warnings == ()
    given = (left.parallel_tool_calls, left.reasoning_effort, left.reasoning_budget)
    assert given == (None, None, None)
    assert left.tools == request.tools


def test_a_choice_that_cannot_be_forced_is_still_a_choice() -> None:
    """
    The tools that were named are the ones that it may call.
    """
    request = ChatRequest(
        "Hi",
        "x:m",
        tools=TOOLS,
        tool_choice=ToolChoice("required", ("look",)),
        on_unsupported="warn",
    )
    left, _ = narrowed(request, ModelProfile("m", forced_tool_choice=False))
    assert left.tool_choice == ToolChoice("auto", ("look",))


CALL = ToolCallPart("c1", "look", "{}")


@pytest.mark.parametrize(
    ("inputs", "messages", "what"),
    [
        (
            "text",
            [user("Look:", ImagePart(data=PNG, media_type="image/png"))],
            "image input",
        ),
        (
            "text image",
            [user("x", AudioPart(data=b"RIFF", media_type="audio/wav"))],
            "audio input",
        ),
        (
            "text",
            [user("x", DocumentPart(data=b"%PDF", media_type="application/pdf"))],
            "document",
        ),
        (
            "text",
            [
                user("x"),
                assistant(CALL),
                tool_result(
                    "c1", [TextPart("x"), ImagePart(data=PNG, media_type="image/png")]
                ),
            ],
            r"image input \(message 2\)",
        ),
    ],
)
def test_media_that_the_model_cannot_take(
    inputs: str, messages: list[Any], what: str
) -> None:
    """
    It is refused by any policy: the text around it would make no sense.
    """
    # G4
    profile = ModelProfile("m", inputs=inputs.split())
    request = ChatRequest(messages, "x:m", on_unsupported="ignore")
    with pytest.raises(InvalidRequestError, match=what):
        narrowed(request, profile)
    assert narrowed(request, ModelProfile("m")) == (request, ())


def test_half_an_answer_that_it_does_not_continue() -> None:
    """
    Left out, it would be another request.
    """
    request = ChatRequest([user("Hi"), assistant("He")], "x:m", prefill=True)
    with pytest.raises(InvalidRequestError, match="prefill"):
        narrowed(request, ModelProfile("m", prefill=False))


# -- the client ------------------------------------------------------------------------


def client(provider: str = "openai", **more: Any) -> Client:
    config = ClientConfig(provider=provider, api_key="sk-test", model="gpt-5.4")
    return Client.from_config(config, environ={}, **more)


def test_the_client_tells() -> None:
    """
    Of its own model, of others, and of other providers' without a key of theirs.
    """
    mine = client()
    assert mine.capabilities().model == "gpt-5.4"
    assert mine.capabilities("gpt-4o").reasoning == "never"
    opus = mine.capabilities("anthropic:claude-opus-5")
    assert (opus.provider, opus.sampling) == ("anthropic", "never")
    assert Modality.IMAGE in opus.inputs
    with pytest.raises(InvalidRequestError, match="Did you mean 'anthropic'"):
        mine.capabilities("anthropc:x")


def test_a_client_without_a_model() -> None:
    """
    There is nothing to tell of.
    """
    mine = Client({"fake": FakeProvider([reply("Hi")])})
    with pytest.raises(InvalidRequestError, match="No model is named"):
        mine.capabilities()


async def test_providers_made_by_hand() -> None:
    """
    One over HTTP knows its spec; of another one nothing is known.
    """
    spec = spec_of("groq")
    config = ClientConfig(provider="groq", api_key="sk-test")
    groq = connect(config, spec, pool=Pool(), environ={})
    mine = Client({"fake": FakeProvider([reply("Hi")]), "groq": groq})
    assert mine.capabilities("fake:any") == ModelProfile("any", "fake", known=False)
    model = "openai/gpt-oss-20b"
    assert mine.capabilities(f"groq:{model}") == spec.profile_of(model)


async def test_a_profile_for_a_client() -> None:
    """
    It is told again, and kept to when something is asked.
    """
    async with Simulator() as sim:
        config = ClientConfig(
            provider="openai-chat",
            api_key="sk-test",
            model="my-model",
            base_url=sim.base_url("openai-chat"),
        )
        like = spec_of("openai-chat").profile_of("gpt-4o")
        no_heat = evolve(like, sampling="never")
        profiles = {"my-model": no_heat, "anthropic:mine": like}
        async with Client.from_config(config, profiles=profiles, environ={}) as mine:
            assert mine.capabilities() == no_heat
            assert mine.capabilities("anthropic:mine").context_tokens == 128_000
            response = await mine.complete("Hi", temperature=0.3)
            assert any("temperature" in warning for warning in response.warnings)
            other = await mine.complete("Hi", model="gpt-4o", temperature=0.3)
            assert other.warnings == ()


def test_a_profile_from_the_environment() -> None:
    """
    `from_env` takes them as well.
    """
    environ = {"AI_PROVIDER": "openai", "AI_API_KEY": "sk-test", "AI_MODEL": "mine"}
    profile = ModelProfile("gpt-4o", "openai", max_output_tokens=5)
    mine = Client.from_env(environ, profiles={"openai:mine": profile})
    assert mine.capabilities().max_output_tokens == 5


def test_a_profile_for_nobody() -> None:
    """
    A provider that there is not, or one that cannot use it, is an error at once.
    """
    with pytest.raises(ConfigError, match="opnai"):
        client(profiles={"opnai:gpt-4o": ModelProfile("gpt-4o")})
    registry = Registry(installed=lambda: ())
    registry.register(lambda _: FakeProvider([reply("Hi")]), name="made")
    with pytest.raises(ConfigError, match="no use for profiles"):
        client("made", registry=registry, profiles={"made:m": ModelProfile("m")})
    plain = client("made", registry=registry)
    assert plain.capabilities("made:m").known is False


def test_opaque_parts_pass() -> None:
    """
    Whatever its provider understands is its provider's business.
    """
    trace = OpaquePart("trace", ProviderState("x", {}))
    request = ChatRequest([user("Hi"), assistant("Hm", trace), user("So?")], "x:m")
    result = ToolResultPart("c", "text")
    assert result.text == "text"
    assert narrowed(request, ModelProfile("m", inputs=["text"])) == (request, ())


def test_a_provider_over_http_describes_its_models() -> None:
    """
    It is a `ModelDescriber`.
    """
    assert issubclass(HTTPProvider, ModelDescriber)
