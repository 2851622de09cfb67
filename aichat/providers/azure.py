"""
Azure OpenAI: the dialects of OpenAI at another address, with another key.

A model is the name of a deployment. ``azure`` speaks Chat Completions, and
``azure-responses`` the Responses API. Where they are asked for depends on the setting
``api_version``::

    none                 {endpoint}/openai/v1/chat/completions
    v1, preview          the same, with ?api-version=
    2024-10-21, …        {endpoint}/openai/deployments/{model}/chat/completions?api-version=
                         {endpoint}/openai/responses?api-version=

The key goes into the header ``api-key``, and a Microsoft Entra token into
``authorization``. Which of the two it is, it tells by itself: a token is a JSON Web Token.
So ``api_key`` may be either, or an async function that fetches either, once per request::

    provider = get_bearer_token_provider(credential, "https://ai.azure.com/.default")
    ClientConfig(provider="azure", api_key=provider, base_url="https://….azure.com")

For whatever else a gateway wants there is the setting ``auth``: ``key`` or ``token``.

See: https://learn.microsoft.com/azure/ai-foundry/openai/reference
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from attrs import evolve

from ..errors import (
    AIChatError,
    ConfigError,
    ModelNotFoundError,
    PermissionDeniedError,
)
from ..transport import HTTPRequest
from ._base import Capability, bearer, header
from ._openai_batches import AZURE_BATCHES
from ._openai_embeddings import OPENAI_EMBEDDINGS
from .openai import responses_spec
from .openai_chat import Quirks, chat_spec

__all__ = ["RESPONSES", "SPEC"]

#: What people copy from the portal, or have from other clients, behind the endpoint.
_KNOWN_PATH: Final = re.compile(r"/openai(/v1|/deployments(/.*)?)?$")
#: A JSON Web Token (RFC 7519): a JSON object in base64, and two parts more.
_TOKEN: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d(-preview)?")
#: Paths that name the deployment, where the version is a date.
_OF_DEPLOYMENTS: Final = {"/chat/completions", "/embeddings"}


def prepare(request: HTTPRequest, settings: Mapping[str, str]) -> HTTPRequest:
    """Complete the address, and say which kind of key it will be."""
    version = settings.get("api_version", "")
    path = f"/openai/v1{request.path}"
    if _DATED.fullmatch(version):
        path = f"/openai{request.path}"
        if request.path in _OF_DEPLOYMENTS:
            deployment = quote(request.body["model"], safe="")
            path = f"/openai/deployments/{deployment}{request.path}"
    elif version not in ("", "v1", "preview"):
        raise ConfigError(
            f"api_version must be a date as in 2024-10-21, 'v1', 'preview' or empty, "
            f"not {version!r}."
        )
    query = {"api-version": version} if version else {}
    return evolve(
        request,
        base_url=_KNOWN_PATH.sub("", request.base_url),
        path=path,
        query={**query, **request.query},
        headers={**_waiting(settings.get("auth", "")), **request.headers},
    )


def _waiting(kind: str) -> dict[str, str]:
    """The header that `authorize` shall fill in, if that was decided beforehand."""
    match kind:
        case "":
            return {}
        case "key":
            return {"api-key": ""}
        case "token":
            return {"authorization": ""}
        case _:
            raise ConfigError(f"auth must be 'key', 'token' or empty, not {kind!r}.")


def authorize(request: HTTPRequest, key: str) -> HTTPRequest:
    """Put a key or a token where it belongs, and never both."""
    is_token = _TOKEN.fullmatch(key) is not None
    if request.headers.get("authorization") == "":
        is_token = True
    elif request.headers.get("api-key") == "":
        is_token = False
    return bearer(request, key) if is_token else header("api-key")(request, key)


def _hint(error: AIChatError) -> str | None:
    if error.status == 404 and (error.provider_code or "404") == "404":
        return (
            "Azure has nothing there: check the endpoint, and whether its api_version "
            "has this API."
        )
    if (error.provider_code or "").lower() == "deploymentnotfound":
        return (
            "The model is the name that you gave the deployment. A new one takes some "
            "minutes."
        )
    return None


_KEYS: Final = ("AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY")
_ENDPOINT: Final = ("AZURE_OPENAI_ENDPOINT",)
_DOCS: Final = "https://learn.microsoft.com/azure/ai-foundry/openai/reference"
_SETTINGS: Final = {"api_version": "", "auth": ""}
_ERROR_CODES: Final[Mapping[str, type[AIChatError]]] = {
    # A model that does not have this API.
    "OperationNotSupported": ModelNotFoundError,
    # The identity lacks a role.
    "PermissionDenied": PermissionDeniedError,
}

SPEC: Final = evolve(
    chat_spec(
        name="azure",
        title="Azure OpenAI",
        description="OpenAI's models at an endpoint of yours, by Chat Completions.",
        docs=_DOCS,
        base_url_env=_ENDPOINT,
        api_key_env=_KEYS,
        auth=authorize,
        quirks=Quirks(
            openai_models=True,
            token_limit="max_completion_tokens",
            refuses="top_k",
            allowed_tools=True,
            custom_tools=True,
            refusals=True,
            empty_content=False,
            call_id=r".{1,40}",
            documents=False,
            cache="prompt_cache_breakpoint",
            shows_reasoning="never",
        ),
        error_codes=_ERROR_CODES,
        batches=AZURE_BATCHES,
        embeddings=OPENAI_EMBEDDINGS,
        # It lists the models that one could deploy, and not what one has.
        listing=None,
        adds={
            Capability.IMAGES,
            Capability.AUDIO,
            Capability.PROMPT_CACHING,
            Capability.BATCHES,
        },
    ),
    settings=_SETTINGS,
    settings_env={"api_version": ("OPENAI_API_VERSION", "AZURE_OPENAI_API_VERSION")},
    prepare=prepare,
    hint=_hint,
)

#: Takes no version from the environment: those that are set there for Chat Completions
#: are mostly older than this API.
RESPONSES: Final = responses_spec(
    name="azure-responses",
    title="Azure OpenAI (Responses)",
    description="OpenAI's models at an endpoint of yours, by the Responses API.",
    docs=_DOCS,
    base_url_env=_ENDPOINT,
    api_key_env=_KEYS,
    auth=authorize,
    settings=_SETTINGS,
    prepare=prepare,
    error_codes=_ERROR_CODES,
    hint=_hint,
    batches=AZURE_BATCHES,
    embeddings=OPENAI_EMBEDDINGS,
)
