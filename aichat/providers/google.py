"""
Google's Gemini, at the Gemini API and at Vertex AI.

Both speak one dialect at different addresses, with different keys. What a model accepts
differs from generation to generation and stands in `_google_models`.

See: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from attrs import evolve

from ..errors import ConfigError
from ..transport import HTTPRequest
from ..types import DEFAULT_DEADLINES
from ._base import Capability, ProviderSpec, bearer, header
from ._google_batches import GOOGLE_BATCHES
from ._google_counting import COUNTING, VERTEX_COUNTING
from ._google_decoder import ERROR_CODES, GenerateContentDecoder
from ._google_embeddings import EMBEDDINGS, VERTEX_EMBEDDINGS
from ._google_framing import GoogleEvents
from ._google_listing import LISTING
from ._google_models import gemini_profile
from ._google_request import encode_request
from ._narrowing import ProfiledEncoder

__all__ = ["SPEC", "VERTEX", "GenerateContentDecoder", "GoogleEvents", "encode_request"]

_VERTEX: Final = "https://aiplatform.googleapis.com"
_ENDS_IN_VERSION: Final = re.compile(r"/v\d[a-z0-9]*$")
_ONE: Final = {"pageSize": "1"}


def prepare(request: HTTPRequest, settings: Mapping[str, str]) -> HTTPRequest:
    """Put the version of the API into the address, unless it is there already."""
    return _versioned(request, settings["api_version"])


def prepare_vertex(request: HTTPRequest, settings: Mapping[str, str]) -> HTTPRequest:
    """
    Complete the address: region, project and publisher.

    With ``project=""`` the key is an API key, of what Google calls express mode.
    """
    project, location = settings["project"], settings["location"]
    for name, value in (("project", project), ("location", location)):
        # They become a part of the host and of the path.
        if not re.fullmatch(r"[A-Za-z0-9.:-]*", value):
            raise ConfigError(f"settings: {name} {value!r} holds what no name holds.")
    path = request.path
    if path.startswith("/models/"):
        path = f"/publishers/google{path}"
    if project and not path.startswith("/projects/"):
        path = f"/projects/{project}/locations/{location}{path}"
    base_url = request.base_url
    if project and base_url == _VERTEX:
        base_url = _host(location)
    wire = evolve(request, base_url=base_url, path=path)
    return _versioned(wire, settings["api_version"])


def _host(location: str) -> str:
    match location:
        case "global":
            return _VERTEX
        case "us" | "eu":
            return f"https://aiplatform.{location}.rep.googleapis.com"
        case _:
            return f"https://{location}-aiplatform.googleapis.com"


def _versioned(request: HTTPRequest, version: str) -> HTTPRequest:
    if _ENDS_IN_VERSION.search(request.base_url):
        return request
    return evolve(request, path=f"/{version}{request.path}")


def vertex_auth(request: HTTPRequest, key: str) -> HTTPRequest:
    """An access token for a project; an API key where there is none."""
    in_project = "/projects/" in request.path
    return (bearer if in_project else header("x-goog-api-key"))(request, key)


SPEC: Final = ProviderSpec(
    name="google",
    title="Google Gemini",
    description="The Gemini models, at the Gemini API (AI Studio).",
    docs="https://ai.google.dev/api/generate-content",
    base_url="https://generativelanguage.googleapis.com",
    base_url_env=("GOOGLE_GEMINI_BASE_URL",),
    # Google's own SDK prefers the second one.
    api_key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    # Never as ?key=…, which ends up in logs.
    auth=header("x-goog-api-key"),
    # v1 knows fewer models: no previews, no aliases.
    settings={"api_version": "v1beta"},
    prepare=prepare,
    encode_request=ProfiledEncoder(encode_request),
    profile=gemini_profile,
    framing=GoogleEvents,
    decoder=GenerateContentDecoder,
    error_codes=ERROR_CODES,
    # It thinks for minutes without a byte, and sends no keep-alives.
    deadlines=evolve(DEFAULT_DEADLINES, first_byte=300, idle=300),
    health_check=HTTPRequest("/models", method="GET", query=_ONE),
    batches=GOOGLE_BATCHES,
    embeddings=EMBEDDINGS,
    counting=COUNTING,
    listing=LISTING,
    capabilities=frozenset({
        Capability.STREAMING,
        Capability.TOOLS,
        Capability.PARALLEL_TOOLS,
        Capability.IMAGES,
        Capability.AUDIO,
        Capability.DOCUMENTS,
        Capability.JSON,
        Capability.JSON_SCHEMA,
        Capability.REASONING,
        Capability.CITATIONS,
        Capability.PROMPT_CACHING,
        Capability.BATCHES,
    }),
    models=(
        "gemini-4-argon",
        "gemini-4-carbon",
        "gemini-3.8-flash",
        "gemini-3.7-flash",
        "gemini-3.6-flash",
        "gemini-3.5-flash",
        "gemini-3.5-flash-lite",
        "gemini-3.1-pro-preview",
        "gemini-3.1-flash-lite",
        "gemini-3-flash-preview",
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
    ),
)

#: The same models in Google Cloud. Signatures of one are worth nothing to the other.
VERTEX: Final = evolve(
    SPEC,
    name="vertex",
    title="Google Vertex AI",
    description="The Gemini models, in Google Cloud.",
    docs="https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
    base_url=_VERTEX,
    base_url_env=("GOOGLE_VERTEX_BASE_URL",),
    # A token lives for an hour: better a function that fetches one.
    api_key_env=("GOOGLE_OAUTH_ACCESS_TOKEN",),
    auth=vertex_auth,
    settings={"project": None, "location": "global", "api_version": "v1"},
    prepare=prepare_vertex,
    encode_request=ProfiledEncoder(partial(encode_request, provider="vertex")),
    decoder=partial(GenerateContentDecoder, provider="vertex"),
    # The models are listed in no project; this asks for what is in ours.
    health_check=HTTPRequest("/cachedContents", method="GET", query=_ONE),
    batches=None,
    embeddings=VERTEX_EMBEDDINGS,
    counting=VERTEX_COUNTING,
    listing=None,
    capabilities=SPEC.capabilities - {Capability.BATCHES},
)
