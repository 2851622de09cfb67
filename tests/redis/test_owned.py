"""`Owned`: what a ``redis=…`` stands for."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from aichat.errors import ConfigError
from aichat.redis._owned import Owned
from aichat.redis._state import check_name
from aichat.types import Secret

from ..redis_server import redis_url
from .toys import PASSWORD, fresh

__all__ = ["redis_url"]


@pytest.mark.parametrize("kind", [str, Secret])
async def test_an_address(redis_url: str, kind: Any) -> None:
    """Is opened when it is used, closed with what uses it, and can be used again."""  # C1
    owned = Owned(kind(redis_url))
    await owned.aclose()
    for _ in range(3):
        await owned.state.set(f"{owned.state.namespace}:owned", b"1", 1.0)
        await owned.aclose()
        await owned.aclose()
        assert len(asyncio.all_tasks()) == 1
        assert not owned.state._links


async def test_a_state(redis_url: str) -> None:
    """Belongs to whoever made it."""
    async with fresh(redis_url) as state:
        owned = Owned(state)
        assert owned.state is state
        await state.set(state.key("a", "b"), b"1", 1.0)
        await owned.aclose()
        assert state.link() in state._links.values()
        assert repr(owned) == repr(state)


def test_a_password_is_not_shown() -> None:
    """Neither by what holds it, nor by what objects to it."""  # X2
    assert PASSWORD not in repr(Owned(f"redis://me:{PASSWORD}@localhost"))
    assert "localhost" in repr(Owned(f"redis://me:{PASSWORD}@localhost"))
    for wrong in (f"localhost:{PASSWORD}", {"url": PASSWORD}):
        with pytest.raises(ConfigError, match="redis") as caught:
            Owned(wrong)  # type: ignore[arg-type]
        assert PASSWORD not in str(caught.value)


def test_over_several_loops(redis_url: str) -> None:
    """Each opens its own connections, also if nobody has closed those before."""  # C5
    owned = Owned(redis_url)

    async def once() -> None:
        await owned.state.set("owned:loops", b"1", 1.0)

    for _ in range(3):
        asyncio.run(once())
    gc.collect()
    assert len(owned.state._links) == 1


@pytest.mark.parametrize("name", ["", " ", "a b", "a{", "}", "a\n", None])
def test_a_name_that_is_none(name: Any) -> None:
    """It becomes a part of a key."""  # G1
    with pytest.raises(ConfigError, match="A: a name is a text without blanks"):
        check_name("A", name)
