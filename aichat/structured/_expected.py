"""What an answer is to be: asked for in a request, read from a response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from attrs import evolve

from ..errors import InvalidRequestError
from ..schemas import ConversionError, Problem, convert, schema_of
from ..types import (
    UNSET,
    ChatRequest,
    ChatResponse,
    FinishReason,
    Role,
    dumps,
    json_schema,
    system,
    user,
)
from ..types._codec import loads_exact
from ._errors import Shortfall, StructuredOutputError
from ._json_schema import checked, follow
from ._partial_json import InvalidJSON, PartialJSON

__all__ = ["Expected", "SchemaVia"]

T = TypeVar("T")

#: How the model learns of the schema: as its API has it, in words, or whichever it knows.
SchemaVia: TypeAlias = Literal["native", "prompt", "auto"]

#: Not every API takes a list, a union or a number for the whole: they go in an object.
_WRAP: Final = "value"

_INSTRUCTION: Final = (
    "Answer with JSON that follows this JSON Schema, and with nothing else:\n"
)
_AGAIN: Final = (
    "That answer cannot be used. {problems}\n"
    "Answer again with the whole JSON, corrected, and with nothing else."
)
_UNFINISHED: Final = (FinishReason.PAUSED, FinishReason.ERROR, None)
_REPAIRABLE: Final = ("not_json", "mismatch")


class Expected(Generic[T]):
    """
    A type that an answer shall have, or a JSON Schema that it shall follow.

    *strict* has the provider enforce the schema, where that is a choice. If *prompted*, the
    schema is said in a system message instead, for models that know no other way; the answer
    may then stand in a Markdown code block. Raises `ConfigError` for a type that JSON has no
    form for, and for a schema that makes no sense.

    >>> Expected(list[int]).schema["properties"]
    {'value': {'type': 'array', 'items': {'type': 'integer'}}}
    """

    def __init__(
        self,
        kind: type[T] | Mapping[str, Any] | Any,
        *,
        strict: bool = True,
        prompted: bool = False,
    ) -> None:
        #: The type, or the schema.
        self.kind = checked(kind) if isinstance(kind, Mapping) else kind
        self._strict, self._prompted = strict, prompted
        inner = self.kind if isinstance(self.kind, dict) else schema_of(kind)
        self._wrapped = inner.get("type") != "object"
        #: What is sent: always of an object.
        self.schema: dict[str, Any] = _wrap(inner) if self._wrapped else inner
        #: What it is called in errors.
        self.name = _name(self.kind)

    def __repr__(self) -> str:
        return f"<Expected {self.name}>"

    def asked(self, request: ChatRequest) -> ChatRequest:
        """
        Return *request* with the schema in it.

        Raises `InvalidRequestError` if it asks for another form already.
        """
        if request.prefill:
            _refuse(
                "prefill begins the answer with what is no JSON of ours: leave it out."
            )
        form = request.response_format
        if form is not None and (not self._prompted or form.type == "json_schema"):
            _refuse("Pass response_format or response_type, not both.")
        if not self._prompted:
            label = re.sub(r"[^a-zA-Z0-9_-]+", "_", self.name)[:64].strip("_")
            wanted = json_schema(
                self.schema, name=label or "response", strict=self._strict
            )
            return evolve(request, response_format=wanted)
        said = system(_INSTRUCTION + dumps(self.schema).decode())
        messages = list(request.messages)
        at = 0
        while at < len(messages) and messages[at].role is Role.SYSTEM:
            at += 1
        return evolve(request, messages=(*messages[:at], said, *messages[at:]))

    def read(self, response: ChatResponse) -> T:
        """
        Return the value that *response* is.

        Raises `StructuredOutputError` for a response that is none, for whatever reason.
        """
        self._check_end(response)
        value, problem = self._parse(response.text)
        if problem is not None:
            raise self.unreadable(response, problem)
        problems: tuple[Problem, ...] = ()
        if self._wrapped:
            if not isinstance(value, dict) or value.keys() != {_WRAP}:
                problems = (
                    Problem("$", f"an object with the key {_WRAP!r} is expected"),
                )
            else:
                value = value[_WRAP]
        if not problems:
            try:
                if isinstance(self.kind, dict):
                    return cast("T", follow(self.kind, value))
                return cast("T", convert(self.kind, value))
            except ConversionError as error:
                problems = error.problems
        told = "; ".join(map(str, ConversionError(problems).problems))
        raise self._error(response, "mismatch", f"What does not fit: {told}", problems)

    def again(
        self, request: ChatRequest, error: StructuredOutputError
    ) -> ChatRequest | None:
        """Return *request* with the answer and what is wrong with it; ``None``: no use."""
        answer = error.partial
        if error.reason not in _REPAIRABLE or answer is None or not answer.text.strip():
            return None
        problems = error.message
        if error.problems and self._wrapped:
            # As the model sees it.
            inside = (
                Problem(p.path.replace("$", f"$.{_WRAP}", 1), p.message)
                for p in error.problems
            )
            problems = str(ConversionError(inside))
        told = user(_AGAIN.format(problems=problems))
        return evolve(request, messages=(*request.messages, answer.message, told))

    def parser(self) -> PartialJSON:
        """Make a parser for the text as it arrives."""
        return PartialJSON(fences=self._prompted)

    def within(self, value: Any) -> Any:
        """What is known of the answer, in the *value* of a parser; or `UNSET`."""
        if not self._wrapped or value is UNSET:
            return value
        return value.get(_WRAP, UNSET) if isinstance(value, dict) else UNSET

    def unreadable(self, response: ChatResponse, problem: str) -> StructuredOutputError:
        """The error for a *response* that is not JSON, or not all of it."""
        match response.finish_reason:
            case FinishReason.LENGTH:
                return self._error(
                    response,
                    "cut_off",
                    "It ran into a token limit: raise max_tokens, or ask for less.",
                )
            case finish if finish in _UNFINISHED and finish is not None:
                return self._error(
                    response, "unfinished", f"It ended with {finish!s}, in the middle."
                )
            case _:
                return self._error(response, "not_json", f"It is no JSON: {problem}.")

    def _check_end(self, response: ChatResponse) -> None:
        if response.refusal is not None:
            raise self._error(response, "refused", "The model refused to answer.")
        if response.finish_reason is FinishReason.CONTENT_FILTER:
            raise self._error(response, "filtered", "A content filter stopped it.")
        if response.message.tool_calls:
            names = ", ".join(call.name for call in response.message.tool_calls)
            raise self._error(
                response, "tool_calls", f"The model called tools instead: {names}."
            )

    def _parse(self, text: str) -> tuple[Any, str | None]:
        """The value of *text*, or what is wrong with it."""
        if not text.strip():
            return None, "it holds no text"
        try:
            if not self._prompted:
                return loads_exact(text), None
            parser = self.parser()
            parser.feed(text)
            return parser.finish(), None
        except InvalidJSON as error:
            return None, str(error)
        except ValueError as error:
            # Only the words: the error has the text with it.
            return None, str(error)

    def _error(
        self,
        response: ChatResponse,
        reason: Shortfall,
        why: str,
        problems: tuple[Problem, ...] = (),
    ) -> StructuredOutputError:
        return StructuredOutputError(
            f"The answer is no {self.name}. {why}",
            reason=reason,
            problems=problems,
            partial=response,
            provider=response.provider,
            model=response.model,
            request_id=response.request_id,
        )


def _name(kind: Any) -> str:
    """What people call *kind*."""
    origin, inner = get_origin(kind), get_args(kind)
    match kind:
        case dict():
            title = kind.get("title")
            return title if isinstance(title, str) and title else "JSON of that schema"
        case None:
            return "None"
        case _ if origin is Annotated:
            return _name(inner[0])
        case _ if origin in (Union, UnionType):
            return " | ".join(map(_name, inner))
        case _ if origin is Literal:
            return " | ".join(map(repr, inner))
        case _ if inner:
            return f"{_name(origin)}[{', '.join(map(_name, inner))}]"
        case type():
            return "None" if kind is NoneType else kind.__name__
        case _:
            return str(kind)


def _wrap(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object that holds what *schema* says, with its definitions on top."""
    top = {k: v for k, v in schema.items() if k in ("$schema", "$defs", "definitions")}
    inner = {k: v for k, v in schema.items() if k not in top}
    return {
        "type": "object",
        "properties": {_WRAP: _moved(inner)},
        "required": [_WRAP],
        "additionalProperties": False,
        **{name: _moved(value) for name, value in top.items()},
    }


def _moved(node: Any) -> Any:
    """*node* with its references to the whole schema pointing to where that is now."""
    match node:
        case list():
            return [_moved(item) for item in node]
        case Mapping():
            moved = {key: _moved(value) for key, value in node.items()}
            reference = node.get("$ref")
            if (
                isinstance(reference, str)
                and reference.startswith("#")
                and not reference.startswith(("#/$defs/", "#/definitions/"))
            ):
                moved["$ref"] = f"#/properties/{_WRAP}{reference[1:]}"
            return moved
        case _:
            return node


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="chat")
