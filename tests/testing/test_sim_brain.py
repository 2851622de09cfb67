"""What the simulator answers follows from the question, and from nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from aichat.testing._sim_brain import (
    Answer,
    Memory,
    OfferedTool,
    Question,
    count_tokens,
    pieces,
    think,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = OfferedTool("get_weather", "Look up the weather.", CITY)
TIME = OfferedTool("currentTime", "What is the clock of a city showing?", CITY)
HELLO = Question(prompt="Hello, simulator!", segments=("user: Hello, simulator!",))


def ask(prompt: str = "Hello, simulator!", **facts: Any) -> Answer:
    return think(Question(prompt=prompt, segments=(prompt,), **facts), Memory())


def test_it_says_what_it_is_and_what_it_was_told() -> None:
    """
    Nobody shall take it for a model; and the same question has the same answer.
    """
    answer = ask("Hello, simulator!", system="Be kind.")

    assert answer.text.startswith("This is aichat's built-in simulator")
    assert "You said: “Hello, simulator!”" in answer.text
    assert "“Be kind.”" in answer.text
    assert "**2** words" in answer.text
    assert answer.finish == "stop"
    assert answer == ask("Hello, simulator!", system="Be kind.")


def test_it_writes_code_when_asked_for_code() -> None:
    """
    A block that a renderer of Markdown can show.
    """
    assert "```python\n" in ask("Write a function, please.").text
    assert "```" not in ask("Write a poem, please.").text


def test_it_counts() -> None:
    """
    Long answers are there for the asking, but not endless ones.
    """
    assert "1, 2, 3, 4, 5." in ask("Please count to 5!").text
    assert ask("Count to 999999999").text.endswith(" 100000.")


def test_no_prompt_is_no_problem() -> None:
    """
    A conversation of pictures has no words.
    """
    assert "**0** words" in ask("").text


# -- tools -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "called"),
    [
        ("How is the weather in Paris?", ["get_weather"]),
        ("Which time is it in Rome?", ["currentTime"]),
        ("What do the clocks of the city say?", ["currentTime"]),
        ("The weather and the time in Oslo?", ["get_weather", "currentTime"]),
        ("Tell me a joke.", []),
        ("Get me a beer.", []),
    ],
)
def test_it_calls_the_tools_that_fit(prompt: str, called: list[str]) -> None:
    """
    A telling word of the name, or two of the description, make it fit.
    """
    answer = ask(prompt, tools=(WEATHER, TIME))

    assert [call.name for call in answer.calls] == called
    assert answer.finish == ("tool_calls" if called else "stop")
    assert all(name in answer.text for name in called)


def test_arguments_follow_the_schema() -> None:
    """
    They are JSON, made of the prompt.
    """
    (call,) = ask("What is the weather in Paris?", tools=(WEATHER,)).calls

    assert json.loads(call.arguments) == {"city": "Paris"}


def test_it_calls_what_it_must_and_not_what_it_must_not() -> None:
    """
    ``required`` calls in any case and says nothing; ``none`` never calls.
    """
    forced = ask("A joke!", tools=(WEATHER, TIME), choice="required")
    never = ask("The weather?", tools=(WEATHER,), choice="none")

    assert [call.name for call in forced.calls] == ["get_weather"]
    assert forced.text == ""
    assert never.calls == ()


def test_one_call_at_a_time_if_so_wished() -> None:
    """
    Without parallel calls there is one.
    """
    answer = ask("Weather and time?", tools=(WEATHER, TIME), parallel=False)

    assert len(answer.calls) == 1


def test_a_custom_tool_gets_free_text() -> None:
    """
    It has no schema: the prompt is what it gets.
    """
    (call,) = ask("run some sql", tools=(OfferedTool("sql", "", None),)).calls

    assert call.custom
    assert call.arguments == "run some sql"


def test_results_are_reported() -> None:
    """
    After the tools have spoken, their words are the answer.
    """
    answer = ask("Weather?", tools=(WEATHER,), results=(("get_weather", "18 °C"),))

    assert "- get_weather: 18 °C" in answer.text
    assert answer.calls == ()


# -- JSON ------------------------------------------------------------------------------


def test_json_is_json() -> None:
    """
    Any JSON if no schema is given, and it holds the results of tools.
    """
    plain = json.loads(ask("Hi there", json=True).text)
    after = json.loads(ask("Hi", json=True, results=(("f", "42"),)).text)

    assert plain == {"simulator": True, "you_said": "Hi there", "words": 2}
    assert after["results"] == ["42"]


def test_json_follows_its_schema() -> None:
    """
    The schema decides.
    """
    assert json.loads(ask("In Oslo?", json=True, schema=CITY).text) == {"city": "Oslo"}


# -- limits ----------------------------------------------------------------------------


def test_a_stop_sequence_ends_the_text() -> None:
    """
    The one that is met first, which is not part of the answer.
    """
    answer = ask(stop=("You said", "simulator", "never said"))

    assert answer.text == "This is aichat's built-in "
    assert (answer.finish, answer.stop_sequence) == ("stop_sequence", "simulator")


def test_a_stop_sequence_that_is_not_met_changes_nothing() -> None:
    """
    It is only looked for.
    """
    assert ask(stop=("zzz",)) == ask()


@pytest.mark.parametrize("limit", [1, 5, 9, 10, 15, 20, 28])
@pytest.mark.parametrize("reason", [False, True])
def test_max_tokens_cuts_wherever_it_is(limit: int, reason: bool) -> None:
    """
    Thoughts count, and so do the arguments of calls, which may be cut as well.
    """
    whole = ask("Weather in Paris?", tools=(WEATHER,), reason=reason)
    answer = ask("Weather in Paris?", tools=(WEATHER,), reason=reason, max_tokens=limit)

    assert limit < whole.output_tokens
    assert answer.finish == "length"
    assert answer.output_tokens == limit
    assert answer.reasoning_tokens <= limit
    assert whole.reasoning.startswith(answer.reasoning)
    assert whole.text.startswith(answer.text)


def test_the_arguments_may_be_cut() -> None:
    """
    That is the case that an application must not take for a call.
    """
    whole = ask("Weather in Paris?", tools=(WEATHER,), choice="required")
    answer = ask(
        "Weather in Paris?",
        tools=(WEATHER,),
        choice="required",
        max_tokens=whole.output_tokens - 3,
    )

    assert answer.finish == "length"
    assert whole.calls[0].arguments.startswith(answer.calls[0].arguments)
    with pytest.raises(ValueError, match="column"):
        json.loads(answer.calls[0].arguments)


def test_enough_tokens_change_nothing() -> None:
    """
    An answer that fits ends as it would.
    """
    whole = ask("Weather?", tools=(WEATHER,))

    assert ask("Weather?", tools=(WEATHER,), max_tokens=whole.output_tokens) == whole


# -- usage -----------------------------------------------------------------------------


def test_thinking_costs() -> None:
    """
    The output includes it.
    """
    answer = ask(tools=(TIME,), reason=True)
    after = ask(results=(("f", "x"),), reason=True)

    assert "There are 1 tools" in answer.reasoning
    assert "1 tool results" in after.reasoning
    assert answer.reasoning_tokens == count_tokens(answer.reasoning)
    assert answer.output_tokens == count_tokens(answer.text) + answer.reasoning_tokens


def test_a_prefix_is_cached_when_it_comes_again() -> None:
    """
    What was seen is read, what is new is written; and the last token is always computed.
    """
    memory = Memory()
    first = evolve(HELLO, segments=("a" * 40, "b" * 40), cacheable=2)
    longer = evolve(first, segments=(*first.segments, "c" * 40), cacheable=3)
    other = evolve(first, segments=("x" * 40, "b" * 40))

    def numbers(question: Question) -> tuple[int, int, int]:
        a = think(question, memory)
        return a.input_tokens, a.cache_read_tokens, a.cache_write_tokens

    assert numbers(first) == (20, 0, 20)
    assert numbers(longer) == (30, 20, 10)
    assert numbers(longer) == (30, 29, 0)
    assert numbers(other) == (20, 0, 20)
    assert numbers(evolve(first, cacheable=0)) == (20, 0, 0)
    assert numbers(evolve(first, model="other")) == (20, 0, 20)
    memory.clear()
    assert numbers(first) == (20, 0, 20)


def test_the_memory_is_bounded() -> None:
    """
    The oldest prompts are forgotten.
    """
    memory = Memory()
    for number in range(10_001):
        memory.recall("m", [str(number)], 1)

    assert memory.recall("m", ["10000", "x"], 1) == (2, 0)
    assert memory.recall("m", ["0", "x"], 1) == (0, 1)


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    """
    Nothing is lost between the words.
    """
    assert "".join(pieces(text)) == text
