"""What the conformance tests stand on."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from .tiny_model import serve


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a llama.cpp server that talks gibberish."""
    _needs_engine()
    with serve(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(scope="session")
def llama_with_tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same with a model that has a way to call tools."""
    _needs_engine()
    with serve(tmp_path_factory.mktemp("llama_tools"), tools=True) as url:
        yield url


def _needs_engine() -> None:
    missing = [name for name in ("gguf", "numpy", "xllamacpp") if not find_spec(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: pip install gguf numpy xllamacpp")
