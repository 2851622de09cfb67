"""Values for property tests: streams that keep to the grammar, and all that can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import fields
from hypothesis import strategies as st

from aichat.types import (
    AudioPart,
    CacheHint,
    ChatRequest,
    ChatResponse,
    Citation,
    CitationDelta,
    Deadlines,
    DocumentPart,
    Effort,
    FinishReason,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    ReasoningPart,
    RefusalDelta,
    RefusalPart,
    ResponseEnd,
    ResponseFormat,
    ResponseStart,
    ResultPart,
    Role,
    StreamChunk,
    TextDelta,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    UsageUpdate,
    Whole,
    fold,
)

# Lone surrogates have no UTF-8, and so no JSON that could travel.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
some_words = words.filter(bool)
names = st.from_regex(r"[a-z][a-z0-9_]{0,7}", fullmatch=True)
tokens = st.none() | st.integers(0, 2**31)
seconds = st.floats(0.001, 1e6) | st.integers(1, 10**6)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
json_objects: st.SearchStrategy[Mapping[str, Any]] = st.dictionaries(
    words, json_values, max_size=3
)

states = st.builds(ProviderState, names, json_values, model=st.none() | names)
maybe_states = st.none() | states
caches = st.none() | st.builds(CacheHint, st.sampled_from([None, "short", "long"]))
usages = st.builds(
    Usage,
    input_tokens=tokens,
    output_tokens=tokens,
    cache_read_tokens=tokens,
    cache_write_tokens=tokens,
    reasoning_tokens=tokens,
    complete=st.booleans(),
    raw=json_objects,
)
citations = st.builds(
    Citation,
    url=st.none() | words,
    title=st.none() | words,
    cited_text=st.none() | words,
    start=st.none() | st.integers(0, 99),
    end=st.none() | st.integers(0, 99),
    provider_state=maybe_states,
)


@st.composite
def _media(draw: st.DrawFn, /, cls: type[Any], **own: st.SearchStrategy[Any]) -> Any:
    source = draw(
        st.sampled_from([
            ("data", st.binary(max_size=20)),
            ("url", words),
            ("file_id", words),
        ])
    )
    given = {source[0]: draw(source[1])}
    kind = draw(st.none() | st.sampled_from(["image/png", "application/pdf"]))
    mine = {name: draw(values) for name, values in own.items()}
    return cls(
        **given,
        media_type=kind,
        cache=draw(caches),
        provider_state=draw(maybe_states),
        **mine,
    )


images: st.SearchStrategy[ImagePart] = _media(
    ImagePart, detail=st.sampled_from([None, "auto", "low", "high", "original"])
)
recordings: st.SearchStrategy[AudioPart] = _media(
    AudioPart, transcript=st.none() | words
)
documents: st.SearchStrategy[DocumentPart] = _media(
    DocumentPart, name=st.none() | words
)
opaques = st.builds(OpaquePart, names, states)
wholes: st.SearchStrategy[Whole] = st.one_of(images, recordings, documents, opaques)

texts = st.builds(
    TextPart,
    words,
    citations=st.lists(citations, max_size=2),
    cache=caches,
    provider_state=maybe_states,
)
result_parts: st.SearchStrategy[ResultPart] = st.one_of(texts, images, documents)
calls = st.builds(
    ToolCallPart,
    some_words,
    names,
    words,
    invalid=st.none() | words,
    kind=st.sampled_from(["function", "custom"]),
    provider_state=maybe_states,
)
results = st.builds(
    ToolResultPart,
    some_words,
    st.lists(result_parts, max_size=2),
    name=st.none() | names,
    is_error=st.booleans(),
    cache=caches,
    provider_state=maybe_states,
)
parts: st.SearchStrategy[Part] = st.one_of(
    texts,
    st.builds(ReasoningPart, words, provider_state=maybe_states),
    st.builds(RefusalPart, words, provider_state=maybe_states),
    wholes,
    calls,
    results,
)
messages = st.builds(
    Message,
    st.sampled_from(Role),
    st.lists(parts, max_size=3),
    name=st.none() | names,
    metadata=json_objects,
    provider_state=maybe_states,
)

# -- streams -------------------------------------------------------------------------

starts = st.builds(
    ResponseStart,
    id=st.none() | words,
    model=st.none() | words,
    provider=st.none() | names,
    created_at=st.none() | st.floats(0, 2e9),
    request_id=st.none() | words,
    warnings=st.lists(words, max_size=2).map(tuple),
    from_cache=st.booleans(),
    rerouted_to=st.none() | names,
)
ends = st.builds(
    ResponseEnd,
    st.sampled_from(FinishReason),
    st.none() | words,
    stop_sequence=st.none() | words,
    provider_state=maybe_states,
    metadata=json_objects,
)
#: Good arguments, and all sorts of bad ones.
arguments = st.sampled_from([
    "",
    " ",
    "{}",
    '{"city": "Paris"}',
    '{"a": [1, {"b": null}]}',
    '{"n": 123456789012345678901234567890}',
    '{"city": "Par',
    "[1]",
    "{}{}",
    '{"a": NaN}',
    "null",
    "Paris",
])


@st.composite
def _part_chunks(draw: st.DrawFn, index: int) -> list[StreamChunk]:
    """The chunks of one part, in their order."""
    chunks: list[StreamChunk] = []
    fragments = st.lists(words, min_size=1, max_size=3)
    match draw(st.sampled_from(["text", "reasoning", "refusal", "call", "whole"])):
        case "text":
            chunks += [TextDelta(text, index) for text in draw(fragments)]
            chunks += [
                CitationDelta(c, index) for c in draw(st.lists(citations, max_size=2))
            ]
        case "reasoning":
            chunks += [ReasoningDelta(text, index) for text in draw(fragments)]
        case "refusal":
            chunks += [RefusalDelta(text, index) for text in draw(fragments)]
        case "call":
            kind: Literal["function", "custom"] = draw(
                st.sampled_from(["function", "custom"])
            )
            text = draw(arguments)
            cut = draw(st.integers(0, len(text)))
            name = draw(st.none() | names)
            first = ToolCallDelta(index, f"call_{index}", name, text[:cut], kind)
            chunks += [first, ToolCallDelta(index, arguments=text[cut:], kind=kind)]
        case _:
            chunks.append(PartAdded(draw(wholes), index))
    if draw(st.booleans()):
        chunks.append(PartEnd(index, draw(maybe_states)))
    return chunks


@st.composite
def _interleaved(draw: st.DrawFn, queues: list[list[StreamChunk]]) -> list[StreamChunk]:
    """Each queue in its own order, and between queues in any."""
    merged: list[StreamChunk] = []
    queues = [list(queue) for queue in queues]
    while queues := [queue for queue in queues if queue]:
        merged.append(draw(st.sampled_from(queues)).pop(0))
    return merged


@st.composite
def streams(draw: st.DrawFn) -> list[StreamChunk]:
    """A whole stream that keeps to the grammar, its parts interleaved."""
    count = draw(st.integers(0, 4))
    queues = [draw(_part_chunks(index)) for index in range(count)]
    queues.append([UsageUpdate(u) for u in draw(st.lists(usages, max_size=2))])
    start: list[StreamChunk] = [draw(starts)] if draw(st.booleans()) else []
    return [*start, *draw(_interleaved(queues)), draw(ends)]


responses: st.SearchStrategy[ChatResponse] = streams().map(fold)
chunks: st.SearchStrategy[StreamChunk] = st.one_of(
    starts,
    st.builds(TextDelta, words, st.integers(0, 9)),
    st.builds(ReasoningDelta, words, st.integers(0, 9)),
    st.builds(RefusalDelta, words, st.integers(0, 9)),
    st.builds(
        ToolCallDelta,
        st.integers(0, 9),
        st.none() | words,
        st.none() | names,
        words,
        st.sampled_from(["function", "custom"]),
    ),
    st.builds(CitationDelta, citations, st.integers(0, 9)),
    st.builds(PartAdded, wholes, st.integers(0, 9)),
    st.builds(PartEnd, st.integers(0, 9), maybe_states),
    st.builds(UsageUpdate, usages),
    ends,
)

# -- requests ------------------------------------------------------------------------

deadlines = st.fixed_dictionaries(
    {}, optional={f.name: st.none() | seconds for f in fields(Deadlines)}
).map(lambda limits: Deadlines(**limits))

TOOL = Tool("lookup", "Look it up.", {"type": "object", "properties": {}}, strict=True)

_options: dict[str, st.SearchStrategy[Any]] = {
    "model": words,
    "max_tokens": st.none() | st.integers(1, 10**6),
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.none() | st.floats(0, 1),
    "top_k": st.none() | st.integers(1, 100),
    "stop": st.lists(some_words, max_size=2),
    "seed": st.none() | st.integers(),
    "presence_penalty": st.none() | st.floats(-2, 2),
    "frequency_penalty": st.none() | st.floats(-2, 2),
    "logit_bias": st.dictionaries(names, st.integers(-100, 100), max_size=2),
    "logprobs": st.none() | st.booleans(),
    "top_logprobs": st.none() | st.integers(0, 20),
    "n": st.none() | st.just(1),
    "tools": st.lists(
        st.builds(
            Tool,
            names,
            st.none() | words,
            st.just({"type": "object", "properties": {"x": {"type": "string"}}}),
            strict=st.none() | st.booleans(),
            cache=caches,
        ),
        max_size=2,
        unique_by=lambda tool: tool.name,
    ),
    "tool_choice": st.none() | st.builds(ToolChoice, st.sampled_from(["auto", "none"])),
    "parallel_tool_calls": st.none() | st.booleans(),
    "response_format": st.none()
    | st.sampled_from(["text", "json"])
    | st.builds(
        ResponseFormat,
        st.just("json_schema"),
        json_objects,
        name=names,
        description=st.none() | words,
        strict=st.none() | st.booleans(),
    ),
    "reasoning_effort": st.none() | st.sampled_from(Effort),
    "reasoning_budget": st.none() | st.integers(0, 10**5),
    "include_reasoning": st.none() | st.booleans(),
    "verbosity": st.sampled_from([None, "low", "medium", "high"]),
    "user": st.none() | words,
    "metadata": st.dictionaries(names, words, max_size=2),
    "service_tier": st.none() | words,
    "store": st.none() | st.booleans(),
    "truncation": st.sampled_from([None, "auto", "disabled"]),
    "cache": caches,
    "cache_key": st.none() | words,
    "prefill": st.booleans(),
    "on_unsupported": st.sampled_from([None, "warn", "raise", "ignore"]),
    "deadlines": st.none() | deadlines,
    "max_retries": st.none() | st.integers(0, 9),
    "provider_options": st.dictionaries(names, json_objects, max_size=2),
}


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Messages in an order that makes sense."""
    turns: list[Message] = [Message(Role.USER, [draw(texts), TextPart("?")])]
    if draw(st.booleans()):
        call = draw(calls)
        turns += [
            Message(Role.ASSISTANT, [ReasoningPart(draw(words)), call]),
            Message(Role.TOOL, [ToolResultPart(call.id, draw(st.lists(result_parts)))]),
        ]
    turns.append(Message(Role.USER, [draw(images), draw(documents)], name=draw(names)))
    return turns


#: Requests with any of their options; a test holds the list against the class.
_given: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"messages": conversations()}, optional=_options
)
requests = _given.map(lambda given: ChatRequest(**given))
REQUEST_OPTIONS = frozenset(_options)
