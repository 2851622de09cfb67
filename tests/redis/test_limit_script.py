"""`limit.lua` in a real Redis, with a clock that passes when it is told to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings, strategies as st
from redis import Redis

from aichat.redis._limit_script import SCRIPT, Letter, Reply, Terms, Wish
from aichat.transport import RateLimit

from ..redis_server import redis_url

__all__ = ["redis_url"]

START = 1_700_000_000.25
MINUTE = RateLimit.per_minute(60, burst=60)
TOKENS = RateLimit.per_minute(None, tokens=6000)
#: How much longer than a window something counts, at most: two steps of 120.
LONGER = 1.0


@define
class Desk:
    """Where a limit is asked for."""

    client: Redis
    limit: RateLimit
    now: float = START
    name: str = "limit"
    epochs: dict[str, str] = field(factory=dict)
    heard: dict[str, float] = field(factory=dict)

    def say(self, worker: str = "a", /, *wishes: Wish, **said: Any) -> Reply:
        """What *worker* says and hears."""
        arguments = Terms.of(self.limit).arguments(
            worker=worker,
            lease=60.0,
            known=self.epochs.get(worker, ""),
            since=self.now - self.heard.get(worker, -inf),
            fresh=f"epoch of {worker}",
            wishes=wishes,
            now=self.now,
            **said,
        )
        keys = [f"state:{{{self.name}}}", f"workers:{{{self.name}}}"]
        reply = Reply.of(self.client.eval(SCRIPT.text, 2, *keys, *map(str, arguments)))
        self.epochs[worker] = reply.epoch
        self.heard[worker] = self.now
        return reply

    def take(self, count: int, worker: str = "a") -> Reply:
        """Ask for *count* of one request, or of one token, each."""
        return self.say(worker, *[Wish((1.0,))] * count)


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


def test_all_of_a_burst_goes_at_once_and_the_next_is_told_its_time(
    client: Redis,
) -> None:
    """One trip for all of them; whoever has to wait need not ask again."""  # L5
    desk = Desk(client, MINUTE)
    reply = desk.take(70)
    assert reply.times == (START,) * 60
    assert reply.booked == pytest.approx(START + reply.wait, abs=1e-5)
    assert 60.5 <= reply.wait <= 60 + LONGER


def test_what_was_let_through_counts_for_a_window_and_no_more_than_two_steps_longer(
    client: Redis,
) -> None:
    """So nothing that arrives half a step late makes a window too full."""  # L5
    desk = Desk(client, MINUTE)
    assert len(desk.take(60).times) == 60
    desk.now += 60.49
    assert desk.say("a", Wish((1.0,), within=0)).times == ()
    desk.now = START + 60 + LONGER
    assert len(desk.say("a", Wish((1.0,), within=0)).times) == 1


def test_who_waits_is_served_in_the_order_of_asking(client: Redis) -> None:
    """Workers take turns, however many wait in each."""  # L5
    desk = Desk(client, RateLimit.per_minute(60, burst=1))
    assert desk.take(1, "a").times
    booked = [
        desk.take(9, worker).booked for worker in ("b", "c", "a", "d", "b", "c", "a")
    ]
    assert None not in booked
    assert booked == sorted(booked, key=lambda time: time or 0)
    gaps = [b - a for a, b in pairwise(booked) if a and b]
    # An even pace, a little slower than the limit: the window has 122 steps.
    assert gaps == pytest.approx([61 / 60] * 6, abs=1e-4)


def test_nobody_overtakes_those_who_wait(client: Redis) -> None:
    """A small wish has to wait behind a large one."""  # L5
    desk = Desk(client, TOKENS)
    assert desk.say("a", Wish((600.0,))).times
    large = desk.say("a", Wish((3000.0,)))
    assert large.booked is not None
    small = desk.say("b", Wish((1.0,)))
    assert small.booked is not None
    assert small.booked >= large.booked


def test_who_will_not_wait_so_long_has_taken_nothing(client: Redis) -> None:
    """It hears how long it would have been, and others get what it did not."""  # L5
    desk = Desk(client, MINUTE)
    desk.take(60)
    refused = desk.say("a", Wish((1.0,), within=10))
    assert refused.booked is None
    assert refused.wait > 60
    assert desk.take(1, "b").booked == pytest.approx(START + refused.wait, abs=1e-5)


def test_who_leaves_the_end_of_the_queue_leaves_no_hole(client: Redis) -> None:
    """The next one gets its place, not one behind it."""  # L5
    desk = Desk(client, RateLimit.per_minute(60, burst=1))
    desk.take(1)
    first, second = desk.take(1, "a"), desk.take(1, "b")
    assert first.booked is not None
    assert second.booked is not None
    desk.say("b", letter=1, letters=[Letter(second.booked, (-1.0,), whole=True)])
    again = desk.take(1, "c")
    assert again.booked == pytest.approx(second.booked, abs=0.51)


def test_what_was_not_needed_may_be_used_by_others(client: Redis) -> None:
    """A call that reserved 6000 tokens and took 100 leaves 5900."""  # L5
    desk = Desk(client, TOKENS)
    (time,) = desk.say("a", Wish((6000.0,))).times
    assert desk.say("b", Wish((500.0,), within=0)).times == ()
    desk.say("a", letter=1, letters=[Letter(time, (-5900.0,))])
    assert desk.say("b", Wish((500.0,), within=0)).times


def test_more_than_was_thought_makes_those_wait_who_come_later(client: Redis) -> None:
    """What an answer took counts when it is known."""  # L5
    desk = Desk(client, TOKENS)
    (time,) = desk.say("a", Wish((100.0,))).times
    desk.say("a", letter=1, letters=[Letter(time, (5900.0,))])
    assert desk.say("b", Wish((100.0,), within=30)).times == ()


def test_a_letter_that_comes_twice_is_read_once(client: Redis) -> None:
    """Whoever heard no answer sends it again."""  # L5
    desk = Desk(client, TOKENS)
    (time,) = desk.say("a", Wish((600.0,))).times
    for _ in range(3):
        desk.say("a", letter=1, letters=[Letter(time, (-200.0,))])
    assert len(desk.say("b", *[Wish((100.0,), within=0)] * 6).times) == 2


def test_a_letter_of_a_window_long_gone_gives_nothing_back(client: Redis) -> None:
    """What has left the window cannot leave it once more."""  # L5
    desk = Desk(client, TOKENS)
    (time,) = desk.say("a", Wish((6000.0,))).times
    desk.now += 90
    desk.say("b", Wish((6000.0,)))
    desk.say("a", letter=1, letters=[Letter(time, (-6000.0,))])
    assert desk.say("c", Wish((600.0,), within=0)).times == ()


def test_what_was_used_while_redis_was_away_counts_at_its_time(client: Redis) -> None:
    """And comes free with it."""  # L5
    desk = Desk(client, TOKENS)
    desk.say("a")
    desk.now += 30
    desk.say("a", letter=1, letters=[Letter(START + 1, (6000.0,))])
    wait = desk.say("b", Wish((600.0,), within=0)).wait
    assert 31 < wait <= 31 + LONGER
    desk.say("a", letter=2, letters=[Letter(None, (600.0,))])
    assert desk.say("b", Wish((6000.0,), within=0)).wait == pytest.approx(61, abs=0.5)


def test_the_provider_knows_better_how_much_is_left(client: Redis) -> None:
    """Less than a burst counts for everybody; more says nothing."""  # L4, L5
    desk = Desk(client, RateLimit.per_minute(60, burst=10))
    desk.say("a", left={"requests": 4.0})
    assert len(desk.say("b", *[Wish((1.0,), within=0)] * 9).times) == 4
    desk.say("a", left={"requests": 1000.0})
    assert not desk.say("b", Wish((1.0,), within=0)).times


def test_a_pause_is_everybodys(client: Redis) -> None:
    """A server that says "in 5 seconds" is left alone by all for so long."""  # L4, L5
    desk = Desk(client, MINUTE)
    desk.say("a", pause=5.0)
    assert desk.take(1, "b").wait == pytest.approx(5, abs=1e-3)


def test_workers_count_while_they_ask(client: Redis) -> None:
    """One that has died is not waited for."""  # L5
    desk = Desk(client, MINUTE)
    assert desk.say("a").workers == 1
    assert desk.say("b", letter=1, letters=[]).workers == 2
    desk.now += 61
    assert desk.say("a").workers == 1
    assert not client.hexists("state:{limit}", "letter:b")


def test_what_a_dead_worker_has_taken_comes_back_after_a_window(client: Redis) -> None:
    """A reservation is a lease of one window."""  # L5
    desk = Desk(client, TOKENS)
    desk.say("killed", Wish((6000.0,)))
    desk.now += 60 + LONGER
    assert desk.say("b", Wish((600.0,), within=0)).times


def test_a_redis_without_its_memory_is_taken_to_have_been_used_evenly(
    client: Redis,
) -> None:
    """Nobody gets a second burst; what is agreed upon flows on."""  # L5
    desk = Desk(client, MINUTE)
    desk.take(1)
    client.flushall()
    desk.now += 1
    reply = desk.say("a", *[Wish((1.0,))] * 3)
    assert reply.times == ()
    assert 0 < reply.wait < 2
    # Once, and not for everybody who was there before.
    desk.epochs["b"], desk.heard["b"] = "another", desk.now
    before = desk.say("c", Wish((1.0,), within=0)).wait
    assert desk.say("b", Wish((1.0,), within=0)).wait == pytest.approx(before, abs=1e-3)


def test_a_newcomer_that_is_first_does_not_hide_the_loss(client: Redis) -> None:
    """It knows of nothing; the next one who does says so."""  # L5
    desk = Desk(client, MINUTE)
    desk.take(1, "old")
    client.flushall()
    assert len(desk.take(3, "new").times) == 3
    assert desk.say("old", Wish((1.0,), within=0)).times == ()


def test_letters_to_a_state_that_is_lost_are_not_read(client: Redis) -> None:
    """They would give back what nobody remembers."""  # L5
    desk = Desk(client, TOKENS)
    (time,) = desk.say("a", Wish((6000.0,))).times
    client.flushall()
    desk.say("a", letter=1, letters=[Letter(time, (-6000.0,))])
    assert desk.say("b", Wish((600.0,), within=0)).times == ()


def test_who_has_not_asked_for_long_finds_a_new_beginning(client: Redis) -> None:
    """Nothing is kept for ever; what has run out was not lost."""  # L5
    desk = Desk(client, MINUTE)
    desk.take(60)
    assert client.ttl("state:{limit}") == 190
    assert 0 < client.ttl("workers:{limit}") <= 70
    client.flushall()
    desk.now += 200
    assert len(desk.take(60).times) == 60


def test_a_clock_that_goes_back_stands_still(client: Redis) -> None:
    """A little; one that goes back a window is another server's, and nothing is known."""  # L5
    desk = Desk(client, MINUTE)
    desk.take(60)
    desk.now -= 30
    assert desk.say("a", Wish((1.0,), within=0)).wait > 60
    desk.now -= 3600
    desk.epochs.clear()
    assert len(desk.take(60, "b").times) == 60


def test_many_hours_may_pass(client: Redis) -> None:
    """Letting go of the steps of a long time takes no longer than of one window."""  # L5
    desk = Desk(client, MINUTE)
    desk.take(30)
    desk.now += 86_400
    assert len(desk.take(60).times) == 60
    assert client.hlen("state:{limit}") < 20


def test_what_others_count_and_we_do_not_comes_free_all_the_same(
    client: Redis,
) -> None:
    """While a new version is rolled out some count tokens, and some do not yet."""  # L5
    both = RateLimit.per_minute(60, burst=60, tokens=6000)
    new, old = Desk(client, both), Desk(client, MINUTE)
    assert new.say("new", Wish((1.0, 6000.0))).times
    for _ in range(40):
        old.now += 1.6
        old.take(1, "old")
    new.now = old.now
    assert new.say("new", Wish((1.0, 600.0))).times
    # And what is a request is one for both.
    assert len(new.say("new", *[Wish((1.0, 0.0), within=0)] * 60).times) < 25


def test_less_than_one_request_in_a_window_is_one_in_a_longer_one(
    client: Redis,
) -> None:
    """There are no parts of a request, and so none of them is given away."""  # L5
    desk = Desk(client, RateLimit.per_second(0.2, tokens=100))
    reply = desk.say("a", *[Wish((1.0, 10.0))] * 3)
    assert len(reply.times) == 1
    assert 5 <= reply.wait <= 5.2


@pytest.mark.parametrize("said", ["pause", "queue"])
def test_who_waits_for_long_is_not_forgotten_meanwhile(
    client: Redis, said: str
) -> None:
    """Nobody asks while all wait, longer than the state would be kept."""  # L4, L5
    desk = Desk(client, RateLimit.per_second(1))
    if said == "pause":
        desk.say("a", pause=60.0)
    else:
        for _ in range(61):
            desk.say("a", Wish((1.0,)))
    assert client.ttl("state:{limit}") > 60


def test_what_goes_together_with_the_one_that_waits(client: Redis) -> None:
    """After a pause all of a burst; after waiting for one's turn nothing."""  # L5
    desk = Desk(client, RateLimit.per_minute(60, burst=10))
    desk.say("a", pause=5.0)
    assert desk.take(1, "a").rooms == (9.0,)
    desk = Desk(client, RateLimit.per_minute(60, burst=1), name="paced")
    assert desk.take(2, "a").rooms == (0.0,)


def test_wishes_that_are_heard_too_late_are_nobodys(client: Redis) -> None:
    """A Redis that has slept wakes with what it was asked in its ears."""  # L5
    desk = Desk(client, MINUTE)
    late = desk.say("a", *[Wish((1.0,))] * 60, due=START - 0.001)
    assert (late.times, late.wait, late.booked) == ((), 0.0, None)
    assert len(desk.say("a", *[Wish((1.0,))] * 60, due=START).times) == 60


def test_nothing_is_left_of_fractions(client: Redis) -> None:
    """Whoever asks for all there is would wait a window for a millionth."""  # L5
    desk = Desk(client, RateLimit.per_minute(None, tokens=1000 / 7))
    desk.take(1)
    client.flushall()
    desk.take(1)  # as if all had been used, in 122 parts
    for _ in range(20):
        desk.now += 6.1
        desk.say("a", Wish((1 / 3,)))
    desk.now += 70
    desk.say("a")
    assert client.hget("state:{limit}", "sum:tokens") == b"0.000000"
    assert client.hlen("state:{limit}") == 8


_STEPS = st.tuples(
    st.floats(0, 20),  # seconds that pass
    st.sampled_from("abc"),
    st.lists(st.floats(1, 300), max_size=4),  # tokens of each wish
    st.sampled_from([0.0, 5.0, inf]),  # how long they will wait
    st.floats(0, 1),  # of what was reserved, how much was used
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_STEPS, min_size=5, max_size=60))
def test_no_window_ever_has_more_than_the_limit(
    redis_url: str, steps: Sequence[tuple[float, str, list[float], float, float]]
) -> None:
    """Whoever asks for whatever, and whenever; with what was really used in the end."""  # L5
    limit = RateLimit.per_minute(20, burst=5, tokens=2000)
    #: Time, requests, tokens.
    used: list[tuple[float, float, float]] = []
    numbers = dict.fromkeys("abc", 0)
    with Redis.from_url(redis_url) as client:
        client.flushall()
        desk = Desk(client, limit)
        letters: dict[str, list[Letter]] = {"a": [], "b": [], "c": []}
        for seconds, worker, tokens, within, part in steps:
            desk.now += seconds
            post, letters[worker] = letters[worker], []
            numbers[worker] += 1
            wishes = [Wish((1.0, amount), within) for amount in tokens]
            reply = desk.say(worker, *wishes, letters=post, letter=numbers[worker])
            times = [*reply.times]
            if reply.booked is not None:
                times.append(reply.booked)
            for time, amount in zip(times, tokens, strict=False):
                used.append((time, 1.0, amount * part))
                letters[worker].append(Letter(time, (0.0, -amount * (1 - part))))
    for end, _, _ in used:
        window = [u for u in used if end - 60 < u[0] <= end]
        assert sum(u[1] for u in window) <= 20
        assert sum(u[2] for u in window) <= 2000 * (1 + 1e-5)
