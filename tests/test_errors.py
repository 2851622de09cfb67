"""The tree of errors, their codes, and how they travel."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from copy import copy, deepcopy

import pytest

from aichat import errors
from aichat.errors import (
    AIChatError,
    BadRequestError,
    ClosedError,
    ConflictError,
    ContextLengthError,
    DeadlineError,
    ErrorCode,
    ProviderError,
    RateLimitError,
    ServerError,
    StreamClosedError,
    StreamError,
    StreamInterruptedError,
)
from aichat.types import Accumulator, ChatResponse, TextDelta

#: promises.md, E: class, code, retried before output.
TABLE = [
    ("ConfigError", "config_invalid", False),
    ("InvalidRequestError", "invalid_input", False),
    ("BadRequestError", "invalid_input", False),
    ("ConflictError", "invalid_input", True),
    ("ContextLengthError", "context_length_exceeded", False),
    ("AuthenticationError", "authentication_failed", False),
    ("PermissionDeniedError", "permission_denied", False),
    ("ModelNotFoundError", "model_unsupported", False),
    ("ContentFilteredError", "content_filtered", False),
    ("RateLimitError", "rate_limit", True),
    ("QuotaExceededError", "quota_exceeded", False),
    ("DeadlineError", "request_timeout", True),
    ("ProviderUnavailableError", "provider_unavailable", True),
    ("TLSError", "tls_failed", False),
    ("ServerError", "server_error", True),
    ("StreamInterruptedError", "stream_interrupted", True),
    ("StreamError", "stream_error", False),
    ("ProtocolError", "protocol_error", False),
    ("ResponseTooLargeError", "response_too_large", False),
    ("RedirectError", "redirect_refused", False),
    ("CircuitOpenError", "circuit_open", False),
    ("SpendLimitError", "spend_limit", False),
    ("ToolLoopError", "tool_loop", False),
    ("StreamClosedError", "stream_closed", False),
    ("ClosedError", "client_closed", False),
]


def family(cls: type[AIChatError]) -> Iterator[type[AIChatError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


CLASSES = sorted(set(family(AIChatError)), key=lambda cls: cls.__name__)


def with_all_facts(cls: type[AIChatError]) -> AIChatError:
    so_far = Accumulator()
    so_far.add(TextDelta("Half an ans"))
    return cls(
        "It broke.",
        operation="chat",
        provider="openai",
        model="gpt",
        status=500,
        provider_code="boom",
        request_id="req_1",
        retry_after=1.5,
        retryable=True,
        attempts=3,
        phase="idle",
        partial=so_far.response(),
        context={"limit": "max_line"},
    )


@pytest.mark.parametrize(("name", "code", "retryable"), TABLE)
def test_class_and_code_belong_together(name: str, code: str, retryable: bool) -> None:
    """
    The class is what you catch, the code is what you count.  # E
    """
    cls = getattr(errors, name)
    assert cls.code == code
    assert cls("…").retryable is retryable


def test_the_table_knows_every_class_and_code() -> None:
    """
    One closed list, the same for all providers.  # E
    """
    bases = {"AIChatError", "ProviderError"}
    assert {cls.__name__ for cls in CLASSES} == {name for name, *_ in TABLE} | bases
    assert {code for _, code, _ in TABLE} == set(ErrorCode)
    assert set(errors.__all__) == {cls.__name__ for cls in CLASSES} | {"ErrorCode"}


def test_what_is_caught_together() -> None:
    for cls, parent in [
        (ProviderError, AIChatError),
        (BadRequestError, ProviderError),
        (ConflictError, BadRequestError),
        (ContextLengthError, BadRequestError),
        (StreamError, ProviderError),
        (StreamInterruptedError, StreamError),
        (StreamClosedError, ClosedError),
    ]:
        assert issubclass(cls, parent)
    assert not issubclass(errors.ConfigError, ProviderError)
    assert not issubclass(errors.InvalidRequestError, ProviderError)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    "send",
    [
        lambda error: pickle.loads(pickle.dumps(error)),
        lambda error: pickle.loads(pickle.dumps(error, protocol=2)),
        copy,
        deepcopy,
    ],
    ids=["pickle", "pickle-2", "copy", "deepcopy"],
)
def test_errors_arrive_with_all_their_facts(
    cls: type[AIChatError], send: Callable[[AIChatError], AIChatError]
) -> None:
    """
    Workers send them home.  # E
    """
    error = with_all_facts(cls).given_up()
    error.add_note("while translating chapter 3")
    arrived = send(error)
    assert type(arrived) is cls
    assert vars(arrived) == vars(error)
    assert arrived.args == error.args
    assert (str(arrived), repr(arrived)) == (str(error), repr(error))
    assert isinstance(arrived.partial, ChatResponse)
    assert arrived.partial.text == "Half an ans"


class TenantError(RateLimitError):
    """Somebody else's subclass, with parameters of its own."""

    def __init__(self, tenant: str) -> None:
        super().__init__(f"{tenant} is too fast.", context={"tenant": tenant})


def test_a_subclass_with_other_parameters_travels_too() -> None:
    arrived = pickle.loads(pickle.dumps(TenantError("acme")))
    assert type(arrived) is TenantError
    assert arrived.context == {"tenant": "acme"}
    assert str(arrived) == "acme is too fast."


def test_facts_are_filled_in_and_never_overwritten() -> None:
    """
    Who is nearer to where it happened knows better.
    """
    error = ServerError("Broke.", model="inner").note(
        provider="openai", model="outer", attempts=2
    )
    assert (error.provider, error.model, error.attempts) == ("openai", "inner", 2)
    error.note(attempts=5, status=503)
    assert (error.attempts, error.status) == (2, 503)
    zero = ServerError("Broke.", attempts=0, retry_after=0.0)
    assert zero.note(attempts=1, retry_after=9.0).attempts == 0
    assert zero.retry_after == 0.0


def test_a_fact_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(AttributeError):
        ServerError("Broke.").note(reqest_id="req_1")


def test_given_up_is_final() -> None:
    """
    Stacked retries do not multiply attempts.  # R2
    """
    error = RateLimitError("Slow down.", retry_after=1)
    assert error.retryable
    assert error.given_up() is error
    assert not error.retryable
    assert not RateLimitError("Slow down.", retryable=False).retryable
    assert BadRequestError("Try again.", retryable=True).retryable


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "Broke."),
        ({"provider": "openai"}, "openai: Broke."),
        ({"model": "gpt"}, "gpt: Broke."),
        ({"provider": "openai", "model": "gpt"}, "openai:gpt: Broke."),
        ({"status": 500}, "[500]: Broke."),
        (
            {"provider": "openai", "model": "gpt", "status": 500},
            "openai:gpt [500]: Broke.",
        ),
        ({"request_id": "r", "attempts": 3, "context": {"a": 1}}, "Broke."),
    ],
)
def test_the_text_says_who_and_what(facts: dict[str, object], text: str) -> None:
    """
    As asked for: provider, model, status, message.  # E
    """
    error = ServerError("Broke.", **facts)  # type: ignore[arg-type]  # a table of facts
    assert str(error) == text
    assert error.message == "Broke."


def test_a_web_page_does_not_fill_the_log() -> None:
    """
    The text is bounded, and stays what it is on its way.  # E
    """
    error = ServerError("x" * 100_000)
    assert len(str(error)) < 2100
    assert str(error).endswith("… (100000 characters)")
    twice = pickle.loads(pickle.dumps(deepcopy(error)))
    assert str(twice) == str(error)
    assert repr(twice) == repr(error)
    assert len(repr(error)) < 2200
    assert ServerError("x" * 2000).message == "x" * 2000


def test_context_is_the_errors_own() -> None:
    """
    A later change of what was given changes nothing.
    """
    facts = {"limit": "max_line"}
    error = StreamError("Too long.", context=facts)
    facts["limit"] = "other"
    assert error.context == {"limit": "max_line"}
    assert StreamError("…").context == {}


def test_the_phase_of_a_deadline() -> None:
    """
    Which of the six it was.  # D4
    """
    assert DeadlineError("Too slow.", phase="first_byte").phase == "first_byte"


def test_an_error_without_a_message() -> None:
    assert str(AIChatError()) == ""
    assert pickle.loads(pickle.dumps(AIChatError())).args == ("",)


def test_a_copy_has_notes_of_its_own() -> None:
    """
    What is found out about a copy is no fact about the original.
    """
    error = RateLimitError("Slow down.", context={"deadline": 1})
    copied = copy(error)
    copied.context["gave_up"] = "enough"
    assert error.context == {"deadline": 1}
    assert copied.context == {"deadline": 1, "gave_up": "enough"}
