"""Texts as vectors: what goes in, what comes out."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypedDict, get_args

from attrs import field, frozen

from ..errors import InvalidRequestError
from ._deadlines import Deadlines
from ._options import OnUnsupported
from ._usage import Usage
from ._values import JSONObject, frozen_mapping

__all__ = [
    "EmbeddingOptions",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "InputType",
    "Vector",
]

#: What the vectors are for. A search finds more when questions and documents say so.
InputType: TypeAlias = Literal[
    "query",
    "document",
    "similarity",
    "classification",
    "clustering",
    "question_answering",
    "fact_verification",
    "code_query",
]
#: The numbers of one embedding. Made here it is an ``array('f')``: four bytes each, and
#: ``numpy.asarray`` takes it as it is.
Vector: TypeAlias = Sequence[float]

_INPUT_TYPES: Final = get_args(InputType)


def _to_inputs(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _to_deadlines(value: Deadlines | float | None) -> Deadlines | None:
    return Deadlines.of(value) if isinstance(value, (int, float)) else value


@frozen
class EmbeddingRequest:
    """
    Texts to be embedded, in order.

    Raises `InvalidRequestError` for what makes no sense.

    >>> EmbeddingRequest("Hello", "openai:text-embedding-3-small").inputs
    ('Hello',)
    """

    inputs: tuple[str, ...] = field(converter=_to_inputs)
    #: ``"provider:name"``; a bare name belongs to the client's default provider.
    model: str = ""
    #: How long the vectors shall be, for models that leave the choice.
    dimensions: int | None = field(default=None, kw_only=True)
    #: A stable, opaque id of the end user.
    user: str | None = field(default=None, kw_only=True)
    input_type: InputType | None = field(default=None, kw_only=True)
    #: For options that the provider does not take. ``None``: warn about *user* and
    #: *input_type*, raise for *dimensions*.
    on_unsupported: OnUnsupported | None = field(default=None, kw_only=True)
    deadlines: Deadlines | None = field(
        default=None, kw_only=True, converter=_to_deadlines
    )
    #: How many further attempts; ``None``: as the client has it. It holds for each request
    #: to the provider, of which many texts need several.
    max_retries: int | None = field(default=None, kw_only=True)
    provider_options: Mapping[str, JSONObject] = field(
        factory=dict, kw_only=True, converter=frozen_mapping, hash=False
    )

    def __attrs_post_init__(self) -> None:
        if not self.inputs:
            _refuse("There is nothing to embed.")
        for number, text in enumerate(self.inputs):
            if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
                _refuse(f"inputs[{number}] must be a text, got {type(text).__name__}.")
            if not text:
                _refuse(f"inputs[{number}] is empty, and providers refuse that.")
        for name, least in (("dimensions", 1), ("max_retries", 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                _refuse(
                    f"{name} must be a whole number, {least} or more, got {value!r}."
                )
        if self.input_type is not None and self.input_type not in _INPUT_TYPES:
            known = ", ".join(map(repr, _INPUT_TYPES))
            _refuse(f"input_type must be one of {known}; got {self.input_type!r}.")
        if self.on_unsupported not in (None, "warn", "raise", "ignore"):
            _refuse(
                "on_unsupported must be 'warn', 'raise', 'ignore' or None, got "
                f"{self.on_unsupported!r}."
            )
        for name, extras in self.provider_options.items():
            if not isinstance(extras, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
                _refuse(
                    f"provider_options[{name!r}] must be a mapping, got {extras!r}."
                )

    @property
    def provider_name(self) -> str | None:
        """The part of `model` before its first colon; ``None`` for a bare name."""
        provider, colon, _ = self.model.partition(":")
        return provider if colon else None

    @property
    def model_name(self) -> str:
        """The model as its provider calls it: what comes after the first colon."""
        provider, colon, name = self.model.partition(":")
        return name if colon else provider

    def extras(self, *providers: str) -> dict[str, Any]:
        """The `provider_options` under any of these names, merged in their order."""
        merged: dict[str, Any] = {}
        for name in providers:
            merged |= self.provider_options.get(name, {})
        return merged


def _to_vector(numbers: Iterable[float]) -> Vector:
    if isinstance(numbers, array) and numbers.typecode == "f":
        return numbers
    return array("f", numbers)


def _to_vectors(vectors: Iterable[Iterable[float]]) -> tuple[Vector, ...]:
    return tuple(map(_to_vector, vectors))


def _to_objects(values: Iterable[JSONObject]) -> tuple[JSONObject, ...]:
    return tuple(values)


@frozen(kw_only=True)
class EmbeddingResponse:
    """One vector per text, in the order of the texts."""

    #: In single precision, as the providers compute them.
    vectors: tuple[Vector, ...] = field(converter=_to_vectors, repr=False, hash=False)
    #: The model as the provider named it.
    model: str | None = None
    provider: str | None = None
    usage: Usage = field(factory=Usage)
    #: What the request asked for and this provider could not do.
    warnings: tuple[str, ...] = ()
    #: The provider's answers without their vectors, one for each request to it.
    raw: tuple[JSONObject, ...] = field(
        default=(), converter=_to_objects, repr=False, hash=False
    )

    @property
    def vector(self) -> Vector:
        """The only vector, of a single text. Raises `ValueError` if there are more."""
        if len(self.vectors) != 1:
            raise ValueError(f"There are {len(self.vectors)} vectors: see `vectors`.")
        return self.vectors[0]

    @property
    def dimensions(self) -> int:
        """How long the vectors are; 0 if there are none."""
        return len(self.vectors[0]) if self.vectors else 0


class EmbeddingOptions(TypedDict, total=False):
    """The keyword arguments of `Client.embed`; see `EmbeddingRequest`."""

    model: str
    dimensions: int | None
    user: str | None
    input_type: InputType | None
    on_unsupported: OnUnsupported | None
    deadlines: Deadlines | float | None
    timeout: float | None
    max_retries: int | None
    provider_options: Mapping[str, Mapping[str, Any]]


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="embed")
