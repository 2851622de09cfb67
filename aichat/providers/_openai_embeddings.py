"""
Embeddings, as OpenAI and those who imitate it make them.

See: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import binascii
import sys
from array import array
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from attrs import frozen

from ..errors import ProtocolError
from ..transport import HTTPRequest
from ..types import EmbeddingRequest, EmbeddingResponse, Usage, Vector
from ._asking import items_in, number_in, object_of
from ._embedding import EmbeddingsAPI
from ._unsupported import Unsupported

__all__ = ["OPENAI_EMBEDDINGS", "EmbeddingQuirks", "embeddings_api"]

#: The name under which `provider_options` reach every server of this dialect.
DIALECT = "openai"


@frozen(kw_only=True)
class EmbeddingQuirks:
    """
    What a vendor takes, where that is not what everybody does.

    The defaults are those of an unknown server.
    """

    #: ``base64`` is a quarter of the size. ``None``: not to say so, which means floats and
    #: is understood by all.
    encoding: Literal["base64"] | None = None
    #: Its name for the length of the vectors; ``None`` if there is no choice.
    dimensions: str | None = "dimensions"
    user: bool = True
    #: Texts in one request. As text, 256 long vectors are some 20 MB.
    max_inputs: int = 256
    #: Tokens in one request.
    max_tokens: int | None = None


#: OpenAI itself, and its models at Azure.
OPENAI_EMBEDDINGS = EmbeddingQuirks(
    encoding="base64", max_inputs=2048, max_tokens=300_000
)


def embeddings_api(provider: str, title: str, quirks: EmbeddingQuirks) -> EmbeddingsAPI:
    """Describe the embeddings of a server that speaks this dialect."""
    return EmbeddingsAPI(
        encode=partial(
            encode_embeddings, provider=provider, title=title, quirks=quirks
        ),
        decode=decode_embeddings,
        max_inputs=quirks.max_inputs,
        max_tokens=quirks.max_tokens,
    )


def encode_embeddings(
    request: EmbeddingRequest, *, provider: str, title: str, quirks: EmbeddingQuirks
) -> HTTPRequest:
    """
    Write *request* down.

    ``provider_options["openai"]`` goes over the rest, and so does what stands under the
    provider's own name.
    """
    unsupported = Unsupported(request, title)
    why = "it makes no such difference"
    unsupported.sampling("input_type", request.input_type, why)
    body: dict[str, Any] = {"model": request.model_name, "input": list(request.inputs)}
    if quirks.dimensions is None:
        unsupported.meaning("dimensions", request.dimensions)
    elif request.dimensions is not None:
        body[quirks.dimensions] = request.dimensions
    if quirks.encoding is not None:
        body["encoding_format"] = quirks.encoding
    if not quirks.user:
        unsupported.sampling("user", request.user)
    elif request.user is not None:
        body["user"] = request.user
    body |= request.extras(DIALECT, provider)
    body = {key: value for key, value in body.items() if value is not None}
    return HTTPRequest("/embeddings", body, warnings=unsupported.warnings)


def decode_embeddings(value: Any) -> EmbeddingResponse:
    """Read an answer. Vectors may be lists or base64, whatever was asked for."""
    answer = object_of(value, "list of embeddings")
    data = _in_order(items_in(answer, "data"))
    tokens = number_in(answer, "usage.prompt_tokens", "usage.total_tokens")
    model, usage = answer.get("model"), answer.get("usage")
    return EmbeddingResponse(
        vectors=tuple(_vector(item.get("embedding")) for item in data),
        model=model if isinstance(model, str) and model else None,
        usage=Usage(
            input_tokens=tokens,
            # There are none; but who does not count does not say so.
            output_tokens=None if tokens is None else 0,
            raw=usage if isinstance(usage, dict) else {},
        ),
        raw=({key: item for key, item in answer.items() if key != "data"},),
    )


def _in_order(data: list[Any]) -> list[Mapping[str, Any]]:
    """The items in the order of the texts, which need not be that of the answer."""
    items = [object_of(item, "list of embeddings") for item in data]
    places = [item.get("index") for item in items]
    if len(set(map(str, places))) == 1:
        # A single one, or a server that numbers nothing.
        return items
    ordered: dict[Any, Mapping[str, Any]] = dict(zip(places, items, strict=True))
    try:
        return [ordered[place] for place in range(len(items))]
    except KeyError as missing:
        place = missing.args[0]
    raise ProtocolError(f"There is no embedding of the text {place}.")


def _vector(value: Any) -> Vector:
    if isinstance(value, list):
        return array("f", value)
    if not isinstance(value, str):
        raise ProtocolError("There is an embedding that is neither a list nor a text.")
    data = None
    with suppress(ValueError):
        data = binascii.a2b_base64(value, strict_mode=True)
    if not data or len(data) % 4:
        raise ProtocolError("There is an embedding that is no base64 of numbers.")
    return little_endian(data)


def little_endian(data: bytes, here: str = sys.byteorder) -> Vector:
    """The numbers in *data*; *here* is how this machine has them."""
    vector = array("f", data)
    if here == "big":
        vector.byteswap()
    return vector
