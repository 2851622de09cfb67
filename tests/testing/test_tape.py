"""Recording what a client and a provider say to each other, and playing it back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aichat import (
    AIChatError,
    ChatResponse,
    Client,
    ConfigError,
    DeadlineError,
    Deadlines,
    InvalidRequestError,
    ProviderUnavailableError,
    RateLimitError,
    StreamInterruptedError,
    Tool,
    tool_result,
    user,
)
from aichat.providers import Capability
from aichat.testing import FaultKind, Simulator, TapeError, record, replay
from aichat.transport import HTTPRequest, HTTPResponse, Send
from aichat.types import to_json

from ..simulated import KEY, TARGETS, Target
from ..transport.toys import ScriptedAnswer, Wire, now, virtual

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS = (Tool("get_weather", "The weather in a city.", CITY),)
#: More than ASCII, so that cuts go through the middle of characters.
PROMPT = "What is the weather in Zürich, 東京 and 🌧️?"
CUTS: tuple[Any, ...] = (None, 1, 7, 100_000, "random")


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    return found


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "tape.json"


def text_of(tape: Path) -> str:
    return tape.read_text(encoding="utf-8")


def on(tape: Path) -> Any:
    """What is on *tape*."""
    return json.loads(tape.read_bytes())


def is_there(tape: Path) -> bool:
    return tape.exists()


def client_of(target: Target, send: Send, **options: Any) -> Client:
    """A client of *target* that cannot reach anything but *send*."""
    return target.client("http://localhost:9", send=send, **options)


async def ask(client: Client) -> list[ChatResponse]:
    """A question, and what the answer to its call leads to."""
    asked = await client.complete(PROMPT, tools=TOOLS)
    results = [tool_result(call, "18 degrees") for call in asked.tool_calls]
    answered = await client.complete(
        [user(PROMPT), asked.message, *results], tools=TOOLS
    )
    return [asked, answered]


def said(response: ChatResponse) -> Any:
    """*response* without the ids that aichat makes up for calls that have none."""
    text = to_json(response).decode()
    return re.sub(r"call_aichat_\w+", "call", text)


# -- every provider --------------------------------------------------------------------


async def test_what_was_recorded_is_replayed(target: Target, tape: Path) -> None:
    """
    S3: the same response, however the bytes are cut, without a network and without the key.
    """
    async with (
        Simulator() as sim,
        record(tape) as send,
        target.client(sim, send=send) as client,
    ):
        recorded = [*await ask(client), await client.complete("Hello!")]

    for cut in CUTS:
        async with (
            replay(tape, cut=cut) as player,
            client_of(target, player, api_key="any") as client,
        ):
            assert player.left == 3
            replayed = [*await ask(client), await client.complete("Hello!")]
        assert [said(r) for r in replayed] == [said(r) for r in recorded]
    assert recorded[0].tool_calls
    assert "18 degrees" in recorded[1].text


async def test_no_key_is_on_the_tape(target: Target, tape: Path) -> None:
    """
    X1: not even where the model, or an error, says it again; and what was cut out is so on
    both sides.
    """
    async with (
        Simulator() as sim,
        record(tape) as send,
        target.client(sim, send=send) as client,
    ):
        recorded = await client.complete(f"My key is {KEY}!")
        sim.fail_next(status=400, message=f"Bad key {KEY}.")
        with pytest.raises(AIChatError):
            await client.complete("Again?")
    text = text_of(tape)

    assert KEY in recorded.text
    assert KEY not in text
    assert "My key is ***!" in text
    assert "Bad key ***." in text
    async with replay(tape) as player, client_of(target, player) as client:
        replayed = await client.complete(f"My key is {KEY}!")
        with pytest.raises(AIChatError):
            await client.complete("Again?")
    assert replayed.text == recorded.text.replace(KEY, "***")


@pytest.mark.parametrize(
    ("kind", "after"),
    [("rate_limit", 0), ("hang_up", 3), ("truncate", 3), ("error_event", 3), ("drop", 0)],
)  # fmt: skip
async def test_failures_are_replayed(
    target: Target, tape: Path, kind: FaultKind, after: int
) -> None:
    """
    The same error after the same words, and the same retries.
    """

    async def fail(client: Client) -> AIChatError:
        with pytest.raises(AIChatError) as caught:
            await client.complete("Hello!")
        return caught.value

    async with (
        Simulator() as sim,
        record(tape) as send,
        target.client(sim, send=send, max_retries=1) as client,
    ):
        sim.fail(kind, after=after, seconds=0)
        recorded = await fail(client)

    for cut in (None, 1):
        async with (
            replay(tape, cut=cut) as player,
            client_of(target, player, max_retries=1) as client,
        ):
            replayed = await fail(client)
        assert type(replayed) is type(recorded)
        assert str(replayed) == str(recorded)
        assert replayed.attempts == recorded.attempts == (1 if after else 2)
        assert replayed.retryable == recorded.retryable
        assert replayed.retry_after == recorded.retry_after
        assert replayed.partial == recorded.partial


async def list_models(client: Client) -> Any:
    try:
        return await client.list_models()
    except InvalidRequestError as error:
        pytest.skip(error.message)


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        (Capability.EMBEDDINGS, lambda client: client.embed(["one", "two"])),
        (Capability.TOKEN_COUNTING, lambda client: client.count_tokens("How many?")),
        (None, list_models),
    ],
    ids=["embed", "count_tokens", "list_models"],
)
async def test_other_calls_are_replayed(
    target: Target,
    tape: Path,
    capability: Capability | None,
    call: Callable[[Client], Awaitable[Any]],
) -> None:
    """
    Whatever goes through the transport can be recorded.
    """
    if capability is not None:
        target.needs(capability)
    async with (
        Simulator() as sim,
        record(tape) as send,
        target.client(sim, send=send) as client,
    ):
        recorded = await call(client)

    async with replay(tape, cut=3) as player, client_of(target, player) as client:
        assert await call(client) == recorded


async def test_a_batch_is_replayed(target: Target, tape: Path) -> None:
    """
    With its files: forms whose boundary is another one each time, and downloads.
    """
    target.needs(Capability.BATCHES)

    async def run(client: Client) -> Any:
        batch = await client.batches.submit({"one": "One.", "two": "Two."})
        batch = await client.batches.wait(batch, poll=0)
        return {
            r.id: r.response and r.response.text
            async for r in client.batches.results(batch)
        }

    async with (
        Simulator() as sim,
        record(tape) as send,
        target.client(sim, send=send) as client,
    ):
        recorded = await run(client)

    async with (
        replay(tape, cut="random") as player,
        client_of(target, player) as client,
    ):
        assert await run(client) == recorded


# -- time ------------------------------------------------------------------------------

CHAT = Target("openai-chat", "openai-compatible")
ASK = HTTPRequest("/chat", {"q": "hi"}, base_url="http://localhost:1")


def ignore_phase(_: object) -> None:
    pass


async def read_all(response: HTTPResponse) -> list[tuple[float, bytes]]:
    """What arrives, and when."""
    began, reads = now(), list[tuple[float, bytes]]()
    while data := await response.read():
        reads.append((round(now() - began, 3), data))
    return [*reads, (round(now() - began, 3), b"")]


async def record_slowly(tape: Path) -> None:
    """Four letters in two reads, and waits of which no two are alike."""
    wire = Wire([0.5, ScriptedAnswer(1.0, b"ab", 2.0, b"cd", 4.0)])
    async with record(tape, send=wire) as send:
        response = await send(ASK, ignore_phase)
        await read_all(response)


@virtual
async def test_a_tape_keeps_the_time(tmp_path: Path) -> None:
    """
    D: headers, reads and the end come as late as they came; twice as fast, or at once.
    """
    tape = tmp_path / "tape.json"
    await record_slowly(tape)

    for speed, factor in ((1.0, 1.0), (2.0, 0.5), (0.0, 0.0)):
        began = now()
        async with replay(tape, speed=speed) as player:
            response = await player(ASK, ignore_phase)
            assert now() - began == 0.5 * factor
            assert await read_all(response) == [
                (1 * factor, b"ab"),
                (3 * factor, b"cd"),
                (7 * factor, b""),
            ]


@virtual
async def test_a_piece_comes_with_its_last_byte(tmp_path: Path) -> None:
    """
    Cuts change nothing about the time at which a byte can have arrived.
    """
    tape = tmp_path / "tape.json"
    await record_slowly(tape)

    async with replay(tape, speed=1, cut=3) as player:
        response = await player(ASK, ignore_phase)
        assert await read_all(response) == [(3, b"abc"), (3, b"d"), (7, b"")]


@virtual
async def test_the_readers_own_time_counts(tmp_path: Path) -> None:
    """
    C6: the network does not wait for a slow reader before it sends on.
    """
    tape = tmp_path / "tape.json"
    await record_slowly(tape)

    async with replay(tape, speed=1) as player:
        response = await player(ASK, ignore_phase)
        await asyncio.sleep(2.5)
        began = now()
        assert await response.read() == b"ab"
        assert now() - began == 0
        assert await response.read() == b"cd"
        assert now() - began == 0.5


@virtual
async def test_the_waits_can_be_watched(tmp_path: Path) -> None:
    """
    A `sleep` of one's own gets each of them once.
    """
    tape, waits = tmp_path / "tape.json", list[float]()
    await record_slowly(tape)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with replay(tape, speed=1, sleep=sleep) as player:
        await read_all(await player(ASK, ignore_phase))
    assert waits == [0.5, 1, 2, 4]


def chat_events(*texts: str) -> list[bytes]:
    return [
        b"data: %b\n\n"
        % json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode()
        for text in texts
    ]


async def stall(client: Client, deadlines: Deadlines) -> DeadlineError:
    with pytest.raises(DeadlineError) as caught:
        await client.complete("Hello!", deadlines=deadlines)
    return caught.value


@virtual
async def test_a_stall_is_replayed(tmp_path: Path) -> None:
    """
    D1: a deadline that passed while it was recorded passes again, after the same time; and a
    shorter one earlier.
    """
    tape = tmp_path / "tape.json"
    wire = Wire(ScriptedAnswer(*chat_events("Hel", "lo"), float("inf")))
    async with record(tape, send=wire) as send, client_of(CHAT, send) as client:
        await stall(client, Deadlines(idle=20))
    assert on(tape)["exchanges"][0]["end"] == {
        "ms": 20000.0,
        "kind": "silence",
    }

    for speed, idle in ((1.0, 20.0), (1.0, 3.0), (0.0, 3.0)):
        began = now()
        async with (
            replay(tape, speed=speed, cut=5) as player,
            client_of(CHAT, player) as client,
        ):
            error = await stall(client, Deadlines(idle=idle))
        assert now() - began == idle
        assert error.phase == "idle"
        assert error.partial is not None
        assert error.partial.text == "Hello"


@virtual
async def test_a_pause_may_be_too_long_for_a_deadline(tmp_path: Path) -> None:
    """
    D1: at the speed of the recording; not when it is played at once.
    """
    tape = tmp_path / "tape.json"
    *events, end = chat_events("Hel", "lo", "")
    end = end.replace(b'"index"', b'"finish_reason": "stop", "index"')
    wire = Wire(ScriptedAnswer(*events, 30.0, end, b"data: [DONE]\n\n"))
    async with record(tape, send=wire) as send, client_of(CHAT, send) as client:
        await client.complete("Hello!")

    async with replay(tape, speed=1) as player, client_of(CHAT, player) as client:
        await stall(client, Deadlines(idle=20))
    async with replay(tape) as player, client_of(CHAT, player) as client:
        answer = await client.complete("Hello!", deadlines=Deadlines(idle=20))
        assert answer.text == "Hello"


@virtual
async def test_an_answer_that_never_began_is_replayed(tmp_path: Path) -> None:
    """
    D1: in the phase in which it was given up.
    """
    tape, deadlines = tmp_path / "tape.json", Deadlines(connect=3, first_byte=9)
    wire = Wire([float("1e9")])
    wire.phases = ("pool", "connect")
    async with record(tape, send=wire) as send, client_of(CHAT, send) as client:
        assert (await stall(client, deadlines)).phase == "connect"

    began = now()
    async with replay(tape) as player, client_of(CHAT, player) as client:
        assert (await stall(client, deadlines)).phase == "connect"
    assert now() - began == 3


# -- leaving ---------------------------------------------------------------------------


async def test_leaving_early_is_replayed(target: Target, tape: Path) -> None:
    """
    C1: a stream that was left can be left again, at the same place or before it.
    """

    async def first_words(client: Client) -> str:
        async with client.stream("Hello!") as stream:
            async for text in stream.text():
                return text
        raise AssertionError("There was no text.")

    async with (
        Simulator(pace=0.01) as sim,
        record(tape) as send,
        target.client(sim, send=send) as client,
    ):
        recorded = await first_words(client)
        await sim.idle()
        assert sim.disconnects == 1

    async with replay(tape, cut=1) as player, client_of(target, player) as client:
        assert await first_words(client) == recorded


async def test_nothing_is_invented_where_the_recording_was_left(tape: Path) -> None:
    """
    S4: whoever reads on is told that there is no more.
    """
    wire = Wire(ScriptedAnswer(*chat_events("Hel", "lo")))
    async with record(tape, send=wire) as send:
        response = await send(ASK, ignore_phase)
        await response.read()
        response.abort()

    async with replay(tape) as player:
        response = await player(ASK, ignore_phase)
        assert await response.read() == chat_events("Hel")[0]
        with pytest.raises(TapeError, match="stopped reading"):
            await response.read()


@virtual
async def test_an_answer_can_be_aborted(tmp_path: Path) -> None:
    """
    Like the real one: at once, with the error that is given, and without harm at its end.
    """
    tape = tmp_path / "tape.json"
    wire = Wire(*([ScriptedAnswer(5.0, b"ab")] * 1), ScriptedAnswer(b"ab"))
    async with record(tape, send=wire) as send:
        await read_all(await send(ASK, ignore_phase))
        await read_all(await send(ASK, ignore_phase))

    async with replay(tape, speed=1) as player:
        waiting = await player(ASK, ignore_phase)
        asyncio.get_running_loop().call_later(1, waiting.abort, ValueError("Enough."))
        for _ in range(2):
            with pytest.raises(ValueError, match="Enough"):
                await waiting.read()
        assert now() == 6
        over = await player(ASK, ignore_phase)
        await read_all(over)
        over.abort()
        assert await over.read() == b""


@virtual
async def test_an_abort_without_a_reason_is_an_interruption(tmp_path: Path) -> None:
    """
    As a connection that is gone.
    """
    tape = tmp_path / "tape.json"
    async with record(tape, send=Wire(ScriptedAnswer(b"ab"))) as send:
        await read_all(await send(ASK, ignore_phase))

    async with replay(tape) as player:
        response = await player(ASK, ignore_phase)
        response.abort()
        with pytest.raises(StreamInterruptedError):
            await response.read()


@virtual
async def test_a_reads_own_timeout_is_its_own(tmp_path: Path) -> None:
    """
    A `sleep` that raises `TimeoutError` is not taken for an abort.
    """
    tape = tmp_path / "tape.json"
    await record_slowly(tape)

    async def sleep(seconds: float) -> None:
        if seconds > 1:
            raise TimeoutError("mine")

    async with replay(tape, speed=1, sleep=sleep) as player:
        response = await player(ASK, ignore_phase)
        await response.read()
        with pytest.raises(TimeoutError, match="mine"):
            await response.read()


@virtual
async def test_a_reader_that_comes_back_is_recorded(tmp_path: Path) -> None:
    """
    A read that was cancelled is silence only as long as nothing follows.
    """
    tape = tmp_path / "tape.json"
    answer = ScriptedAnswer(5.0, b"ab", float("inf"))
    async with record(tape, send=Wire(answer)) as send:
        response = await send(ASK, ignore_phase)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await response.read()
        assert await response.read() == b"ab"
        response.abort()

    end = on(tape)["exchanges"][0]["end"]
    assert end == {"ms": 0.0, "kind": "left"}


# -- strictness ------------------------------------------------------------------------


@pytest.fixture
async def two(tape: Path) -> Path:
    """A tape of two questions."""
    async with (
        Simulator() as sim,
        record(tape) as send,
        CHAT.client(sim, send=send) as client,
    ):
        await client.complete("One?", temperature=0.5)
        await client.complete("Two?", temperature=0.5)
    return tape


async def test_another_question_is_an_error(two: Path) -> None:
    """
    It says where the first difference is, is not retried, and comes out as itself.
    """
    long = "x" * 5000
    async with (
        replay(two, strict=False) as player,
        client_of(CHAT, player, max_retries=3) as client,
    ):
        for prompt, options, words in (
            ("One!", {}, r"body.messages\[0\].content: recorded '\?', asked '!' from character 3"),
            ("One?", {"temperature": 0.7}, r"body.temperature: recorded 0.5, asked 0.7"),
            ("One?", {"temperature": None}, r"body.temperature: recorded 0.5, asked nothing"),
            ("One?", {"max_tokens": 5}, r"body.max_(completion_)?tokens: recorded nothing, asked 5"),
            (long, {}, r"messages\[0\].content: recorded 'One\?', asked 'x{40}'…"),
        ):  # fmt: skip
            with pytest.raises(TapeError, match=words) as caught:
                asked: Any = {"temperature": 0.5, **options}
                await client.complete(prompt, **asked)
            assert "tape.json: Request 1 of 2 is another one" in str(caught.value)
            assert len(str(caught.value)) < 300


async def test_an_error_that_was_caught_is_raised_again(two: Path) -> None:
    """
    An application that survives everything does not survive its test.
    """
    with pytest.raises(TapeError, match="Request 1 of 2"):
        async with replay(two) as player, client_of(CHAT, player) as client:
            with pytest.raises(TapeError):
                await client.complete("Three?")


async def test_a_question_too_many_is_an_error(two: Path) -> None:
    """
    It says how many there were.
    """
    async with replay(two, strict=False) as player, client_of(CHAT, player) as client:
        await client.complete("One?", temperature=0.5)
        await client.complete("Two?", temperature=0.5)
        with pytest.raises(TapeError, match="all 2 requests have been answered"):
            await client.complete("Two?", temperature=0.5)


async def test_a_question_too_few_is_an_error(two: Path) -> None:
    """
    At the end of the block, unless that has failed already, or it is allowed.
    """
    with pytest.raises(
        TapeError, match=r"1 of 2 requests were not asked; .* POST /chat"
    ):
        async with replay(two) as player, client_of(CHAT, player) as client:
            await client.complete("One?", temperature=0.5)
            assert repr(player) == "<Player of tape.json, 1 of 2 left>"

    with pytest.raises(ZeroDivisionError):
        async with replay(two):
            raise ZeroDivisionError
    async with replay(two, strict=False) as player:
        assert player.left == 2


async def test_questions_come_in_order_unless_they_need_not(two: Path) -> None:
    """
    Callers side by side come in any order.
    """
    async with replay(two, strict=False) as player, client_of(CHAT, player) as client:
        with pytest.raises(TapeError, match="Request 1 of 2"):
            await client.complete("Two?", temperature=0.5)
    async with replay(two, ordered=False) as player, client_of(CHAT, player) as client:
        second = await client.complete("Two?", temperature=0.5)
        first = await client.complete("One?", temperature=0.5)
    assert "Two?" in second.text
    assert "One?" in first.text


async def test_what_fits_nothing_is_compared_with_its_like(tmp_path: Path) -> None:
    """
    Where the order does not matter, with the first request to the same place.
    """
    tape = tmp_path / "tape.json"
    there = HTTPRequest("/there", {"n": [1, 2]}, base_url="http://localhost:1")
    wire = Wire(*(ScriptedAnswer(b"ok") for _ in range(3)))
    async with record(tape, send=wire) as send:
        for request in (ASK, there, ASK):
            await read_all(await send(request, ignore_phase))

    for request, words in (
        (HTTPRequest("/there", {"n": [1, 3]}), r"Request 2 of 3 .*body.n\[1\]: recorded 2, asked 3"),
        (HTTPRequest("/there", {"n": [1]}), r"body.n\[1\]: recorded 2, asked nothing"),
        (HTTPRequest("/there", {"n": {}}), r"body.n: recorded a list of 2, asked an object of 0"),
        (HTTPRequest("/there", {"n": [True, 2]}), r"body.n\[0\]: recorded 1, asked True"),
        (HTTPRequest("/there", b"\0"), r"body: recorded an object of 1, asked b"),
        (HTTPRequest("/there", {"n": [1, 2]}, query={"x": "y"}), r"query.x: recorded nothing, asked 'y'"),
        (HTTPRequest("/where"), r"path: recorded '.+', asked '.+' from character 1"),
        (HTTPRequest("/there", method="GET"), r"path|method"),
    ):  # fmt: skip
        async with replay(tape, ordered=False, strict=False) as player:
            with pytest.raises(TapeError, match=words):
                await player(request, ignore_phase)


async def test_what_changes_each_time_can_be_ignored(tmp_path: Path) -> None:
    """
    By the path that the error says; with any index.
    """
    tape = tmp_path / "tape.json"

    def request(day: str) -> HTTPRequest:
        body = {"day": day, "messages": [{"id": day}, {"id": day, "text": "Hi"}]}
        return HTTPRequest("/chat", body, query={"day": day})

    async with record(tape, send=Wire(ScriptedAnswer(b"ok"))) as send:
        await send(request("Monday"), ignore_phase)

    ignored = {"body.day", "query.day", "body.messages[0].id", "body.messages[1].id"}
    for ignore in (ignored, {"query", "body.day", "body.messages[*].id"}):
        async with replay(tape, ignore=ignore) as player:
            await player(request("Tuesday"), ignore_phase)
    async with replay(tape, ignore=ignored - {"body.day"}, strict=False) as player:
        with pytest.raises(TapeError, match=r"body\.day: recorded 'Mon"):
            await player(request("Tuesday"), ignore_phase)


# -- secrets ---------------------------------------------------------------------------

SECRET = 'hush/hush "quoted"'


async def test_keys_are_cut_out_where_they_come_token_by_token(tmp_path: Path) -> None:
    """
    X1: nobody can put them together again from the events of a stream, whatever its framing
    and its way to write JSON; another text that is split stays as it is.
    """
    tokens = ["Its é “", "sk", "-can", "ary", "-7", "d41e ", "sk-", "canary-7d41e", "”"]
    events = [
        {"i": "sk", "delta": [{"text": token}, None, n]}
        for n, token in enumerate(tokens)
    ]
    body = b"".join((
        *(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events),
        b"data: [DONE]\n\n{oops}\n",
        *(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events),
        b"[" + b",\r\n".join(json.dumps(event).encode() for event in events) + b"]\n",
        b'{"text": "sk-canary\\u002d"}\n{"text": "7d41e"}\n',
    ))  # fmt: skip
    tape = tmp_path / "tape.json"
    request = HTTPRequest("/chat", headers={"authorization": "Bearer sk-canary-7d41e"})
    async with record(tape, send=Wire(ScriptedAnswer(body))) as send:
        await read_all(await send(request, ignore_phase))
    async with replay(tape) as player:
        reads = await read_all(await player(request, ignore_phase))

    lines = b"".join(data for _, data in reads).decode().splitlines()
    found = [re.search(r"{.*}", line) for line in lines]
    said = [json.loads(each[0]) for each in found if each and each[0] != "{oops}"]
    cut = ["Its é “", "***", "", "", "", " ", "***", "", "”"]
    assert [event["delta"][0]["text"] for event in said[:-1]] == cut * 3
    assert [event["i"] for event in said[:-1]] == ["sk"] * 27
    # Who knows how that is spelled?
    assert lines[-2:] == ["***", '{"text": ""}']


async def test_keys_are_cut_out_in_all_their_forms(tmp_path: Path) -> None:
    """
    X1: from the path, the query, the body, the answer and its headers, also where it comes
    in two pieces, quoted for a URL, or escaped in JSON, once or twice.
    """
    tape = tmp_path / "tape.json"
    escaped = json.dumps(SECRET)
    answer = ScriptedAnswer(
        b"a hush/",
        b'hush "quoted" b hush/hush "quo',
        b"t",
        b'ed"',
        b" c hush%2Fhush%20%22quoted%22 d ",
        escaped.encode() + json.dumps(escaped).encode(),
        b"https://x/?a=1&key=abc&b=2",
        headers={
            "Content-Type": f"text/{SECRET}",
            "Set-Cookie": "session=1",
            "X-Org": "acme",
            "X-RateLimit-Left": "3",
            "Location": "https://user.example/there?signature=1",
        },
    )
    request = HTTPRequest(
        f"/for/{SECRET}",
        {SECRET: [f"It is {SECRET}.", 1, None]},
        headers={"x-api-key": SECRET, "authorization": "Bearer bear-with-me"},
        query={"key": "short", "text": SECRET},
        base_url="https://api.example/v1/private",
    )
    async with record(tape, send=Wire(answer, answer), keep_headers=["x-org"]) as send:
        await read_all(await send(request, ignore_phase))
        assert repr(send) == "<Recorder of 1 requests>"

    text = text_of(tape)
    for part in (
        "hush",
        "quoted",
        "bear",
        "short",
        "session",
        "signature",
        "abc",
        "private",
    ):
        assert part not in text
    exchange = json.loads(text)["exchanges"][0]
    assert exchange["request"] == {
        "method": "POST",
        "host": "https://api.example",
        "path": "/for/***",
        "query": {"key": "***", "text": "***"},
        "json": {"***": ["It is ***.", 1, None]},
    }
    assert exchange["response"]["headers"] == {
        "content-type": "text/***",
        "x-org": "acme",
        "x-ratelimit-left": "3",
        "location": "https://user.example/there",
    }
    said = [read["text"] for read in exchange["response"]["body"]]
    assert said == ["a ***", " b ***", " c *** d ", '"***""\\"***\\""', "https://x/?a=1&key=***&b=2"]  # fmt: skip
    async with replay(tape) as player:
        response = await player(request, ignore_phase)
    assert response.headers["X-Org"] == response.headers.get("x-ORG") == "acme"
    assert "set-cookie" not in response.headers
    assert len(dict(response.headers)) == 4


async def test_secrets_of_ones_own_are_cut_out(tmp_path: Path) -> None:
    """
    On both sides, so that the same question still fits.
    """
    tape = tmp_path / "tape.json"
    request = HTTPRequest("/chat", {"q": "Ask Ada Lovelace."})
    wire = Wire(ScriptedAnswer(b"ADA lovelace said yes."))
    async with record(tape, send=wire, secrets=["Ada Lovelace"]) as send:
        await read_all(await send(request, ignore_phase))

    assert "lovelace" not in text_of(tape).lower()
    async with replay(tape, secrets=["Ada Lovelace"]) as player:
        assert await (await player(request, ignore_phase)).read() == b"*** said yes."
    with pytest.raises(ConfigError, match="empty"):
        async with record(tmp_path / "other.json", secrets=[""]):
            pass


# -- files -----------------------------------------------------------------------------


async def test_a_tape_can_be_read(tape: Path) -> None:
    """
    It is JSON with a version; what was said is text, a line for each read, and other bytes
    are base64.
    """
    wire = Wire(ScriptedAnswer(("Zürich\n" * 9).encode(), b"\xff\x00"))
    async with record(tape, send=wire) as send:
        await read_all(await send(ASK, ignore_phase))

    text = text_of(tape)
    lines = [line.strip() for line in text.splitlines()]
    assert '{"ms": 0.0, "text": "' + "Zürich\\n" * 9 + '"},' in lines
    assert any(line.endswith('"base64": "/wA="}') for line in lines)
    assert json.loads(text)["aichat_tape"] == 1
    assert [path.name for path in tape.parent.iterdir()] == ["tape.json"]
    async with replay(tape) as player:
        reads = await read_all(await player(ASK, ignore_phase))
    assert (
        b"".join(data for _, data in reads) == ("Zürich\n" * 9).encode() + b"\xff\x00"
    )


@pytest.mark.parametrize("body", [None, b"text", b"\xff", {}, [], "text", 0])
async def test_any_body_can_be_asked_with(tmp_path: Path, body: Any) -> None:
    """
    JSON, text, bytes or none; one is not taken for another.
    """
    tape = tmp_path / "tape.json"
    async with record(tape, send=Wire(ScriptedAnswer(b"ok"))) as send:
        await send(HTTPRequest("/", body), ignore_phase)

    async with replay(tape) as player:
        await player(HTTPRequest("/", body), ignore_phase)
    other: Any
    for other in (None, b"text", b"\xff", {}, [], "text", 0):
        if type(other) is not type(body) or other != body:
            async with replay(tape, strict=False) as player:
                with pytest.raises(TapeError):
                    await player(HTTPRequest("/", other), ignore_phase)


async def test_what_cannot_be_sent_cannot_be_recorded(tape: Path) -> None:
    """
    G4: it is the request that is wrong, and nobody hears of it.
    """
    wire = Wire()
    request = HTTPRequest("/", {"x": object()})
    async with record(tape, send=wire) as send:
        with pytest.raises(InvalidRequestError, match="cannot be sent"):
            await send(request, ignore_phase)
    assert wire.requests == []


async def test_a_tape_is_not_overwritten(two: Path) -> None:
    """
    Before anything is sent; unless one says so.
    """
    before = text_of(two)
    with pytest.raises(ConfigError, match="overwrite=True"):
        async with record(two):
            pass
    assert text_of(two) == before

    async with record(two, send=Wire(), overwrite=True):
        pass
    assert on(two)["exchanges"] == []


async def test_a_failed_recording_leaves_nothing(tape: Path) -> None:
    """
    Half a session would fail every test after it.
    """
    with pytest.raises(ZeroDivisionError):
        async with record(tape, send=Wire(ScriptedAnswer(b"ok"))) as send:
            await send(ASK, ignore_phase)
            raise ZeroDivisionError

    assert not is_there(tape)


async def test_nothing_is_sent_after_the_end(tape: Path) -> None:
    """
    It would be neither recorded nor replayed.
    """
    wire = Wire(ScriptedAnswer(b"ok"), ScriptedAnswer(b"ok"))
    async with record(tape, send=wire) as recorder:
        await read_all(await recorder(ASK, ignore_phase))
    with pytest.raises(TapeError, match="over"):
        await recorder(ASK, ignore_phase)
    async with replay(tape) as player:
        await player(ASK, ignore_phase)
    with pytest.raises(TapeError, match="closed"):
        await player(ASK, ignore_phase)
    assert len(wire.requests) == 1


async def test_an_answer_under_way_at_the_end_was_left(tape: Path) -> None:
    """
    Nobody knows how it went on.
    """
    async with record(tape, send=Wire(ScriptedAnswer(b"ok"))) as send:
        await send(ASK, ignore_phase)

    assert on(tape)["exchanges"][0]["end"]["kind"] == "left"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"aichat_tape": 2}',
        '{"aichat_tape": 1, "exchanges": [{}]}',
        '{"aichat_tape": 1, "exchanges": [{"request": {"method": "GET", "path": "/"}, "response": null, "end": {"ms": -1, "kind": "eof"}}]}',
        '{"aichat_tape": 1, "exchanges": [{"request": {"method": "GET", "path": "/"}, "response": null, "end": {"ms": 0, "kind": "odd"}}]}',
        '{"aichat_tape": 1, "exchanges": [{"request": {"method": "GET", "path": "/", "base64": "?"}, "response": null, "end": {"ms": 0, "kind": "eof"}}]}',
    ],
)  # fmt: skip
async def test_a_file_that_is_no_tape_is_refused(tmp_path: Path, text: str) -> None:
    """
    E: with its name, and what is wrong with it.
    """
    (tmp_path / "tape.json").write_text(text)
    with pytest.raises(ConfigError, match=r"tape\.json' is no recording of aichat's: "):
        async with replay(tmp_path / "tape.json"):
            pass


async def test_a_tape_that_is_not_there_is_to_be_recorded(tmp_path: Path) -> None:
    """
    E: the error says how.
    """
    with pytest.raises(ConfigError, match=r"aichat\.testing\.record"):
        async with replay(tmp_path / "none.json"):
            pass


@pytest.mark.parametrize(
    "options",
    [{"cut": 0}, {"cut": "odd"}, {"speed": -1}, {"speed": float("inf")}, {"speed": float("nan")}],
)  # fmt: skip
async def test_options_that_make_no_sense_are_refused(
    two: Path, options: dict[str, Any]
) -> None:
    """
    G1: when they are given.
    """
    with pytest.raises(ConfigError):
        async with replay(two, **options):
            pass


async def test_a_cut_may_be_a_function(two: Path) -> None:
    """
    Of nothing to the size of the next piece; the random one depends on its seed alone.
    """
    sizes = iter([3, 0, 5, *[1000] * 1000])

    async def cuts(**options: Any) -> list[int]:
        async with replay(two, strict=False, **options) as player:
            exchange = player._exchanges[0]
            body = on(two)["exchanges"][0]["request"]
            response = await player(
                HTTPRequest(body["path"], body["json"]), ignore_phase
            )
            reads = [len(data) for _, data in await read_all(response)]
            assert exchange.answered is not None
            assert sum(reads) == sum(len(r.data) for r in exchange.answered.reads)
            return reads

    assert (await cuts(cut=lambda: next(sizes)))[:3] == [3, 1, 5]
    one, same, other = [await cuts(cut="random", seed=seed) for seed in (1, 1, 2)]
    assert one == same
    assert one != other
    assert max(one) <= 64


async def test_an_error_of_another_version_is_an_interruption(tmp_path: Path) -> None:
    """
    E: a name that is not there any more still is a broken connection.
    """
    tape = tmp_path / "tape.json"
    wire = Wire(ScriptedAnswer(b"a", StreamInterruptedError("It broke.")))
    async with record(tape, send=wire) as send:
        with pytest.raises(StreamInterruptedError):
            await read_all(await send(ASK, ignore_phase))
    text = text_of(tape)
    assert '"error": "StreamInterruptedError"' in text
    for name in ("ErrorCode", "Exception", "NoSuchError"):
        tape.write_text(text.replace("StreamInterruptedError", name))
        async with replay(tape) as player:
            response = await player(ASK, ignore_phase)
            with pytest.raises(StreamInterruptedError, match="It broke"):
                await read_all(response)


def test_a_tape_error_is_no_error_of_aichats() -> None:
    """
    R1: nothing that retries or falls back may answer it.
    """
    assert issubclass(TapeError, AssertionError)
    assert not issubclass(TapeError, AIChatError)


async def test_a_failed_request_is_not_taken_for_another_one(tmp_path: Path) -> None:
    """
    R1: a connection that could not be made is replayed as such, also for what must not be
    sent twice.
    """
    tape = tmp_path / "tape.json"
    wire = Wire(ProviderUnavailableError("Cannot connect."), RateLimitError("No."))
    wire.phases = ("connect",)
    async with record(tape, send=wire) as send:
        for kind in (ProviderUnavailableError, RateLimitError):
            with pytest.raises(kind):
                await send(ASK, ignore_phase)

    phases: list[str] = []
    async with replay(tape) as player:
        for kind in (ProviderUnavailableError, RateLimitError):
            with pytest.raises(kind) as caught:
                await player(ASK, phases.append)
            assert caught.value.retryable
    assert phases == ["connect", "connect"]
