"""
A GGUF file on this machine, served by llama.cpp for as long as the client is open.

A model is the path of the file. It is loaded when it is first asked for, which takes as long
as it takes: the wait is one for the first byte. Several models are several servers, each in
a process of its own (`_local_server` says why), at a port that takes only our key. Needs the
extra ``local``.

A server that runs already is the provider ``llamacpp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from ..errors import ConfigError
from ..transport import HTTPRequest
from ..types import DEFAULT_DEADLINES
from ._local_engine import SETTINGS, LocalEngine
from .compatible import LLAMA_CPP
from .openai_chat import chat_spec

__all__ = ["SPEC"]

#: Until the engine has said at which port.
_NOWHERE: Final = "http://127.0.0.1"


def prepare(request: HTTPRequest, _: Mapping[str, str]) -> HTTPRequest:
    """Refuse an address: there is no server but ours."""
    if request.base_url != _NOWHERE:
        raise ConfigError(
            "The provider 'local' starts a server of its own and takes no base_url. For "
            "one that runs already use 'llamacpp'."
        )
    return request


SPEC: Final = evolve(
    chat_spec(
        name="local",
        title="llama.cpp, from a file",
        description="A GGUF file on this machine; the model is its path.",
        docs="https://github.com/ggml-org/llama.cpp",
        base_url=_NOWHERE,
        requires_key=False,
        quirks=LLAMA_CPP,
        # The first byte waits until the model is loaded and the prompt is read. A tool
        # call may be silent until it is written.
        deadlines=evolve(DEFAULT_DEADLINES, first_byte=600, idle=300),
        health_check=None,
        listing=None,
    ),
    settings=SETTINGS,
    prepare=prepare,
    engine=LocalEngine,
)
