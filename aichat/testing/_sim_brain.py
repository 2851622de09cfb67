"""
What the simulator answers: a pure function from a question to an answer.

It is no model, says so in its first sentence, and always says the same to the same
question. Dialects turn requests into a `Question` and an `Answer` into their own words.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from attrs import define, evolve, field, frozen

from ._sim_schema import instance

__all__ = [
    "Answer",
    "Call",
    "Memory",
    "OfferedTool",
    "Question",
    "count_tokens",
    "pieces",
    "think",
]

_HELLO: Final = "This is aichat's built-in simulator: no model was asked."
#: Verbs and fillers that say nothing about what a tool is for.
_FILLERS: Final = frozenset({
    "a", "an", "and", "are", "be", "by", "call", "can", "do", "for", "from", "get",
    "give", "given", "has", "have", "in", "is", "it", "its", "list", "look", "make",
    "me", "of", "on", "or", "return", "returns", "set", "show", "that", "the",
    "their", "this", "to", "tool", "up", "use", "used", "what", "which", "with",
    "you", "your",
})  # fmt: skip
#: Counting further than this is nobody's test.
_COUNT_LIMIT: Final = 100_000
#: How many prefixes of prompts are remembered.
_MEMORY: Final = 10_000


@frozen
class OfferedTool:
    """A function that may be called."""

    name: str
    description: str
    #: Of its arguments; ``None`` for one that takes free text.
    schema: Any


@frozen(kw_only=True)
class Question:
    """A request, freed of its dialect."""

    model: str = ""
    #: What the user said last.
    prompt: str
    system: str = ""
    #: The whole prompt in pieces, as far as it is counted and cached.
    segments: tuple[str, ...]
    #: How many of the segments may be read from, and written to, the cache.
    cacheable: int = 0
    #: What the tools answered, with their names, if it is their turn that was the last.
    results: tuple[tuple[str, str], ...] = ()
    tools: tuple[OfferedTool, ...] = ()
    #: Whether to call: as it seems fit, not at all, or in any case.
    choice: Literal["auto", "none", "required"] = "auto"
    parallel: bool = True
    #: Answer with JSON.
    json: bool = False
    #: The schema that it has to follow.
    schema: Any = None
    reason: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """How long the prompt is."""
        return sum(map(count_tokens, self.segments))


@frozen
class Call:
    """A tool call; its arguments are cut off if the answer is."""

    name: str
    #: JSON text, or free text.
    arguments: str
    custom: bool = False


@frozen(kw_only=True)
class Answer:
    """What is answered, in the order in which it is said."""

    reasoning: str = ""
    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: Literal["stop", "length", "tool_calls", "stop_sequence"] = "stop"
    stop_sequence: str | None = None

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


def count_tokens(text: str) -> int:
    """About four characters make a token, in English."""
    return (len(text) + 3) // 4


def pieces(text: str) -> list[str]:
    """
    Cut *text* as a stream would: at words, and within very long ones.

    >>> pieces("Hello, world!")
    ['Hello,', ' world!']
    """
    return re.findall(r"\s*\S{1,16}|\s+", text)


@define
class Memory:
    """Remembers which beginnings of prompts were seen before, as a provider's cache does."""

    _seen: dict[bytes, None] = field(factory=dict, init=False)

    def recall(
        self, model: str, segments: Sequence[str], cacheable: int
    ) -> tuple[int, int]:
        """Tokens that are read from the *model*'s cache, and that are written to it now."""
        running = hashlib.sha256(model.encode(errors="replace"))
        read = known = 0
        for segment in segments[:cacheable]:
            running.update(f"{len(segment)}:{segment}".encode(errors="replace"))
            known += count_tokens(segment)
            key = running.digest()
            if key in self._seen:
                read = known
            self._seen[key] = None
        while len(self._seen) > _MEMORY:
            del self._seen[next(iter(self._seen))]
        # The end of a prompt is always computed, if only its last token.
        total = sum(map(count_tokens, segments))
        return min(read, max(total - 1, 0)), known - read

    def clear(self) -> None:
        """Forget everything."""
        self._seen.clear()


def think(question: Question, memory: Memory) -> Answer:
    """Answer *question*. Raises `ValueError` for a schema that makes no sense."""
    read, written = memory.recall(question.model, question.segments, question.cacheable)
    answer = evolve(
        _cut(question, _speak(question)),
        input_tokens=question.tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
    thought = count_tokens(answer.reasoning)
    said = sum(count_tokens(c.name) + count_tokens(c.arguments) for c in answer.calls)
    output = thought + count_tokens(answer.text) + said
    if answer.finish == "length" and question.max_tokens is not None:
        output = question.max_tokens
    return evolve(answer, output_tokens=output, reasoning_tokens=min(thought, output))


def _speak(question: Question) -> Answer:
    reasoning = _reasoning(question) if question.reason else ""
    if not question.results and (calls := _calls(question)):
        names = " and ".join(call.name for call in calls)
        text = f"{_HELLO} Let me call {names}." if question.choice == "auto" else ""
        return Answer(reasoning=reasoning, text=text, calls=calls, finish="tool_calls")
    return Answer(reasoning=reasoning, text=_text(question))


def _reasoning(question: Question) -> str:
    words = len(question.prompt.split())
    if question.results:
        return f"There are {len(question.results)} tool results. I shall report them."
    tools = f" There are {len(question.tools)} tools." if question.tools else ""
    plural = "" if words == 1 else "s"
    return f"The user wrote {words} word{plural}.{tools} I am a simulator, so I repeat them."


# -- calling tools ---------------------------------------------------------------------


def _calls(question: Question) -> tuple[Call, ...]:
    if not question.tools or question.choice == "none":
        return ()
    fitting = [tool for tool in question.tools if _fits(tool, question.prompt)]
    if question.choice == "required" and not fitting:
        fitting = [question.tools[0]]
    if not question.parallel:
        fitting = fitting[:1]
    return tuple(_call(tool, question.prompt) for tool in fitting)


def _call(tool: OfferedTool, prompt: str) -> Call:
    if tool.schema is None:
        return Call(tool.name, prompt, custom=True)
    return Call(tool.name, _json(instance(tool.schema, prompt)))


def _fits(tool: OfferedTool, prompt: str) -> bool:
    """Whether the prompt holds a telling word of the name, or two of the description."""
    said = _telling(prompt)
    named = _telling(re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", tool.name))
    described = _telling(tool.description)
    return bool(said & named) or len(said & described) >= 2


def _telling(text: str) -> set[str]:
    words = re.findall(r"[^\W_]+", text.lower())
    return {word.removesuffix("s") for word in words if word not in _FILLERS}


# -- saying something ------------------------------------------------------------------


def _text(question: Question) -> str:
    if question.schema is not None:
        return _json(instance(question.schema, question.prompt))
    if question.json:
        words = question.prompt.split()
        said: dict[str, Any] = {
            "simulator": True,
            "you_said": question.prompt,
            "words": len(words),
        }
        if question.results:
            said["results"] = [text for _, text in question.results]
        return _json(said)
    return "\n\n".join([_HELLO, *_sentences(question)])


def _sentences(question: Question) -> Iterator[str]:
    if question.results:
        lines = "".join(f"\n- {name}: {text}" for name, text in question.results)
        yield f"The tools answered:\n{lines}"
        return
    prompt = question.prompt
    if counting := re.search(r"\bcount (?:up )?to (\d{1,9})", prompt, re.IGNORECASE):
        yield "I count:"
        yield (
            ", ".join(map(str, range(1, min(int(counting[1]), _COUNT_LIMIT) + 1))) + "."
        )
        return
    yield f"You said: “{prompt}”"
    if question.system:
        yield f"Before that I was told: “{question.system}”"
    words = re.findall(r"\w+", prompt)
    longest = max(words, key=len, default="")
    yield (
        "What I can say about it:\n\n"
        f"- It has **{len(words)}** words and {len(prompt)} characters.\n"
        f"- Its longest word is *{longest}*.\n"
        f"- Read backwards it begins with “{' '.join(words[:-4:-1])}”."
    )
    if re.search(r"\b(code|python|function|program|script)\b", prompt, re.IGNORECASE):
        yield f"```python\ndef answer() -> str:\n    return {json.dumps(longest)}\n```"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- ending where one has to -----------------------------------------------------------


def _cut(question: Question, answer: Answer) -> Answer:
    """Stop at a stop sequence, or when the tokens are used up, whichever comes first."""
    found = [(answer.text.find(stop), stop) for stop in question.stop]
    for at, stop in sorted(each for each in found if each[0] >= 0)[:1]:
        answer = evolve(
            answer,
            text=answer.text[:at],
            calls=(),
            finish="stop_sequence",
            stop_sequence=stop,
        )
    if question.max_tokens is None:
        return answer
    left = question.max_tokens
    reasoning, left = _spend(answer.reasoning, left)
    text, left = _spend(answer.text, left)
    calls: list[Call] = []
    for call in answer.calls:
        left -= count_tokens(call.name)
        if left <= 0:
            break
        arguments, left = _spend(call.arguments, left)
        calls.append(evolve(call, arguments=arguments))
    short = evolve(answer, reasoning=reasoning, text=text, calls=tuple(calls))
    if short == answer:
        return answer
    return evolve(short, finish="length", stop_sequence=None)


def _spend(text: str, tokens: int) -> tuple[str, int]:
    tokens = max(tokens, 0)
    return text[: 4 * tokens], tokens - min(count_tokens(text), tokens)
