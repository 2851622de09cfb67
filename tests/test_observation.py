"""`observe`: what the application says of its calls, and where it comes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from aichat import Client
from aichat.errors import ConfigError
from aichat.middleware._logging import logging
from aichat.providers import Capability
from aichat.testing import FakeProvider, Simulator
from aichat.transport._observation import (
    Observation,
    observation,
    observe,
    observe_also,
    observed_headers,
)

from .simulated import KEY, TARGETS, Target


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_keys=[KEY]) as simulator:
        yield simulator


def test_nothing_is_said_by_default() -> None:
    """And nothing is left behind."""  # O5
    assert observation() == Observation()
    with observe(operation="a") as here:
        assert observation() is here
        assert here == Observation(operation="a")
    assert observation() == Observation()


def test_the_inner_one_adds_to_the_outer_one() -> None:
    """What it says again, it says anew."""  # O5
    outer = observe(operation="a", user_id="u", headers={"X-Team": "a", "x-b": "b"})
    with outer, observe(operation="b", session_id="s", headers={"x-team": "c"}) as here:
        headers = {"x-b": "b", "x-team": "c"}
        ids = {"operation": "b", "user_id": "u", "session_id": "s"}
        assert here == Observation(headers=headers, **ids)
    # It may be entered again, and within itself.
    with outer as first, outer as second:
        assert first == second
    assert observation() == Observation()


def test_an_exception_ends_it_as_well() -> None:
    """It is a context manager, and swallows nothing."""
    with pytest.raises(ZeroDivisionError), observe(operation="a"):
        raise ZeroDivisionError
    assert observation() == Observation()


async def test_tasks_have_their_own() -> None:
    """A task begins with what is said where it is made, and keeps to itself what it adds."""  # O5

    async def task(name: str) -> tuple[str | None, str | None]:
        with observe(user_id=name):
            await asyncio.sleep(0)
            here = observation()
            return here.operation, here.user_id

    with observe(operation="a"):
        found = await asyncio.gather(task("x"), task("y"))
        assert observation().user_id is None
    assert list(found) == [("a", "x"), ("a", "y")]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"operation": ""}, "operation must be a text"),
        ({"user_id": " "}, "user_id must be a text"),
        ({"request_id": 7}, "request_id must be a text"),
        ({"session_id": "a\nb"}, "session_id must be printable"),
        ({"user_id": "x" * 257}, "256 characters"),
        ({"headers": {"x": 1}}, "are texts"),
        ({"headers": {"x y": "1"}}, "not allowed"),
        ({"headers": {"x": "a\r\nb: c"}}, "line end"),
        ({"headers": {"Authorization": "Bearer x"}}, "'Authorization' is not"),
        ({"headers": {"x-api-key": "x"}}, "'x-api-key' is not"),
        ({"headers": {"Content-Length": "1"}}, "'Content-Length' is not"),
        ({"headers": {"cookie": "a=b"}}, "'cookie' is not"),
    ],
)
def test_what_is_no_id_and_no_header(said: dict[str, Any], complaint: str) -> None:
    """It is refused where it is said, before anything is sent."""  # X3
    with pytest.raises(ConfigError, match=complaint):
        observe(**said)


def test_no_header_value_in_the_repr() -> None:
    """Nobody knows what is in there."""  # X1
    assert "search" not in repr(Observation(headers={"x-team": "search"}))


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [
        ({}, {"api": "1", "client": "2", "request": "3"}),
        ({"mine": "4"}, {"api": "1", "client": "2", "request": "3", "mine": "4"}),
        ({"Client": "4"}, {"api": "1", "Client": "4", "request": "3"}),
        ({"API": "4", "Request": "4"}, {"api": "1", "client": "2", "request": "3"}),
    ],
)
def test_whose_header_wins(chosen: Mapping[str, str], sent: Mapping[str, str]) -> None:
    """Over the client's, under those that the API and the request need; case is no way out."""
    with observe(headers=chosen):
        found = observed_headers({"api": "1"}, {"client": "2"}, {"request": "3"})
    assert found == sent


def test_headers_of_ours_come_after_the_application_s() -> None:
    """What it has chosen itself has its reason."""
    with observe(headers={"TraceParent": "mine"}):
        with observe_also({"traceparent": "ours", "tracestate": "ours"}):
            headers = observation().headers
        assert observation().headers == {"TraceParent": "mine"}
    assert headers == {"TraceParent": "mine", "tracestate": "ours"}


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_headers_reach_every_provider(target: Target, sim: Simulator) -> None:
    """With everything that is sent, and only within; the ids are nobody's business."""  # O5
    async with target.client(sim) as client:
        with observe(user_id="alice", headers={"x-team": "search"}):
            await client.complete("Hi", max_tokens=500)
            if Capability.EMBEDDINGS in target.spec.capabilities:
                await client.embed("Hi")
            await client.health()
        inside = list(sim.requests)
        await client.complete("Hi", max_tokens=500)
    assert len(inside) > 1
    assert all(request.headers["x-team"] == "search" for request in inside)
    assert not any("alice" in f"{r.headers} {r.body}" for r in inside)
    assert "x-team" not in sim.requests[-1].headers


class Lines:
    """A logger that keeps the fields."""

    def __init__(self) -> None:
        self.fields: list[Mapping[str, Any]] = []

    def debug(self, _: str, /, *, extra: Mapping[str, Any]) -> None:
        self.fields.append(extra)

    info = warning = error = debug


async def test_ids_are_in_every_line() -> None:
    """Of the stream that is read within, wherever it was made."""  # O4, O5
    lines = Lines()
    client = Client({"fake": FakeProvider(["Hi"])}, middleware=[logging(lines)])
    stream = client.stream("Hi", model="fake:m")
    with observe(operation="op", request_id="r", user_id="u", session_id="s"):
        await stream.response()
    said = {"operation": "op", "app_request_id": "r", "user_id": "u", "session_id": "s"}
    assert len(lines.fields) == 2
    assert all(fields.items() >= said.items() for fields in lines.fields)
