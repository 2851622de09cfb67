"""
Which dialects the simulator speaks, and where: the table.

Whatever can be asked has a file of its own, and those files do not know each other. They
meet here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from . import (
    _sim_anthropic as anthropic,
    _sim_azure as azure,
    _sim_google as google,
    _sim_ollama as ollama,
    _sim_openai_chat as openai_chat,
    _sim_responses as responses,
    _sim_responses_store as responses_store,
)
from ._sim_anthropic_batches import ANTHROPIC_BATCHES
from ._sim_dialect import SimDialect, mount
from ._sim_embeddings import GOOGLE_EMBEDDINGS, OLLAMA_EMBEDDINGS, OPENAI_EMBEDDINGS
from ._sim_google_batches import GOOGLE_BATCHES
from ._sim_models import (
    ANTHROPIC_MODELS,
    GOOGLE_MODELS,
    OLLAMA_MODELS,
    OPENAI_MODELS,
)
from ._sim_openai import OPENAI
from ._sim_openai_batches import OPENAI_BATCHES
from ._sim_openai_files import OPENAI_FILES

__all__ = ["DIALECTS"]

#: What is not about conversations.
_OPENAI_JOBS: Final = (*OPENAI_MODELS, *OPENAI_FILES, *OPENAI_BATCHES)

_ROWS: Final = (
    SimDialect(
        name="openai-chat",
        prefix="/openai",
        base_path="/openai/v1",
        manners=OPENAI,
        endpoints=mount(
            (*openai_chat.ENDPOINTS, *OPENAI_EMBEDDINGS, *_OPENAI_JOBS), "/v1", ""
        ),
    ),
    SimDialect(
        name="openai",
        prefix="/openai",
        base_path="/openai/v1",
        manners=evolve(OPENAI, error_event=responses.error_event),
        endpoints=mount(responses_store.ENDPOINTS, "/v1", ""),
    ),
    SimDialect(
        name="azure",
        prefix="/azure",
        base_path="/azure",
        api="/openai/v1",
        manners=azure.MANNERS,
        endpoints=(
            *azure.at_azure(
                (*azure.ENDPOINTS, *OPENAI_EMBEDDINGS), of_deployments=True
            ),
            *azure.at_azure(_OPENAI_JOBS),
        ),
    ),
    SimDialect(
        name="azure-responses",
        prefix="/azure",
        base_path="/azure",
        api="/openai/v1",
        manners=evolve(azure.MANNERS, error_event=responses.error_event),
        endpoints=azure.at_azure(responses_store.ENDPOINTS),
    ),
    SimDialect(
        name="anthropic",
        prefix="/anthropic",
        base_path="/anthropic",
        manners=anthropic.MANNERS,
        endpoints=mount(
            (*anthropic.ENDPOINTS, *ANTHROPIC_MODELS, *ANTHROPIC_BATCHES), "/v1", ""
        ),
    ),
    SimDialect(
        name="google",
        prefix="/google",
        base_path="/google",
        api="/v1beta",
        manners=google.MANNERS,
        endpoints=mount(
            (
                *google.ENDPOINTS,
                *GOOGLE_MODELS,
                *GOOGLE_EMBEDDINGS,
                *GOOGLE_BATCHES,
            ),
            "/v1beta",
            "/v1",
        ),
    ),
    SimDialect(
        name="ollama",
        prefix="/ollama",
        base_path="/ollama",
        manners=ollama.MANNERS,
        endpoints=(*ollama.ENDPOINTS, *OLLAMA_MODELS, *OLLAMA_EMBEDDINGS),
    ),
)

#: By name. Where places are shared, the first one speaks for what nobody knows.
DIALECTS: Final[Mapping[str, SimDialect]] = {row.name: row for row in _ROWS}
