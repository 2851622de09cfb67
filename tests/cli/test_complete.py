"""`aichat complete`, against a simulator over real HTTP."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from aichat import ChatResponse, FinishReason, from_json
from aichat.testing import Simulator

from .conftest import Serve, Terminal, run

_KEY = "sk-right-and-secret"


def test_the_simulator_on_request() -> None:
    """It answers without a provider, and nothing needs to be said about that."""
    outcome = run("complete", "--simulator", "What is a monad?")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("This is aichat's built-in simulator")
    assert "What is a monad?" in outcome.out
    assert outcome.out.endswith("\n")


def test_the_simulator_does_not_see_the_environment() -> None:
    """A key that belongs elsewhere, or a wrong setting, does not reach it."""
    environ = {
        "AI_PROVIDER": "openai",
        "AI_API_KEY": "sk-someones",
        "AI_TIMEOUT": "no time",
        "OPENAI_BASE_URL": "https://example.com",
    }
    assert run("complete", "--simulator", "Hi", environ=environ).status == 0


def test_the_simulator_never_answers_a_program_by_mistake() -> None:
    """What a program reads from stdout is a model's answer, or there is none."""
    outcome = run("complete", "Hi")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        "Error: No provider is configured. Set AI_PROVIDER and its key, or name one with "
        "--provider: `aichat providers` lists them. To try it without one: --simulator.\n"
    )


@pytest.mark.parametrize("command", ["chat", "complete", "bench"])
@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"OPENAI_API_KEY": "sk-1", "HOME": "/root"},
            (
                "OPENAI_API_KEY is set, but not whom to ask. Set AI_PROVIDER, or say "
                "--provider: openai or openai-chat. To try"
            ),
        ),
        (
            {"GROQ_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2", "XAI_API_KEY": ""},
            (
                "ANTHROPIC_API_KEY and GROQ_API_KEY are set, but not whom to ask. "
                "Set AI_PROVIDER, or say --provider: anthropic or groq."
            ),
        ),
        (
            {"OPENAI_API_KEY": "sk-1", "AI_MODEL": "gpt-4.1"},
            "AI_MODEL and OPENAI_API_KEY are set, but not whom to ask.",
        ),
        (
            {"AI_API_KEY": "sk-1", "AI_TIMEOUT": "abc", "AI_MAX_RETRIES": "x"},
            (
                "AI_API_KEY, AI_MAX_RETRIES and AI_TIMEOUT are set, but not whom to ask. "
                "Set AI_PROVIDER, or say --provider; `aichat providers` lists them."
            ),
        ),
        ({"AI_DEADLINE_TOTAL": "3"}, "AI_DEADLINE_TOTAL is set, but not whom to ask."),
        (
            {"AI_PROVDER": "openai"},
            (
                "AI_PROVDER is set, but not whom to ask. (AI_PROVDER is not read; did you "
                "mean AI_PROVIDER?)"
            ),
        ),
    ],
)
def test_signs_of_a_provider_and_no_name(
    command: str, environ: dict[str, str], told: str
) -> None:
    """Then nobody is guessed, and the simulator does not answer: exit status 2, who it may be."""
    argv = [command] if command == "bench" else [command, "Hi"]
    outcome = run(*argv, environ=environ)
    assert (outcome.status, outcome.out) == (2, "")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert "sk-" not in outcome.err


@pytest.mark.parametrize(
    "environ",
    [
        {"GITHUB_TOKEN": "t", "HF_TOKEN": "t"},
        {"AI_GATEWAY_API_KEY": "somebody else's", "AI_SDK_LOG_WARNINGS": "false"},
        {"AI_PROVIDER": "", "AI_MODEL": " ", "OPENAI_API_KEY": ""},
        {"STRIPE_API_KEY": "sk-1"},
    ],
)
def test_what_is_no_sign_of_a_provider(environ: dict[str, str]) -> None:
    """Tokens that other programs have, and variables of theirs."""
    outcome = run("chat", "Hi", environ=environ)
    assert outcome.status == 0
    assert outcome.out.startswith("This is aichat's built-in simulator")
    assert outcome.err.startswith("No provider is configured")


def test_a_misspelt_variable(serve: Serve) -> None:
    """It is not read, and that is said, once."""
    environ = {**serve().environ, "AI_MAX_RETRY": "5", "AI_TEAM": "blue"}
    for argv in (["complete", "Hi"], ["health", "openai-chat", "anthropic"]):
        outcome = run(*argv, environ=environ)
        assert outcome.err == (
            "Warning: AI_MAX_RETRY is not read; did you mean AI_MAX_RETRIES?\n"
        )


def test_a_misspelt_option() -> None:
    """The error says what it may be, and whose help to read."""
    outcome = run("complete", "--temprature", "1", "Hi")
    assert (outcome.status, outcome.err) == (
        2,
        (
            "aichat complete: there is no option --temprature; did you mean --temperature? "
            "Try: aichat complete --help\n"
        ),
    )


def test_json_is_the_whole_response() -> None:
    """It reads back as the `ChatResponse` that it was. (S2)"""
    outcome = run("complete", "--simulator", "--json", "--max-tokens", "5", "Hi")
    response = from_json(ChatResponse, outcome.out)
    assert response.finish_reason is FinishReason.LENGTH
    assert response.text == "This is aichat's buil"[: len(response.text)]
    assert response.usage.output_tokens == 5
    assert "(cut off at the token limit)" in outcome.err


def test_what_is_piped_in_comes_below_the_prompt(serve: Serve) -> None:
    """`cat file | aichat complete "Summarise"`."""
    served = serve()
    piped = io.StringIO("one\ntwo\n")
    outcome = run("complete", "Summarise", environ=served.environ, stdin=piped)
    assert outcome.status == 0
    assert served.simulator.requests[0].body["messages"] == [
        {"role": "user", "content": "Summarise\n\none\ntwo\n"}
    ]


def test_every_option_is_sent(serve: Serve) -> None:
    """What is said on the command line arrives, and words need no quotes."""
    served = serve()
    argv = [
        "complete",
        "-s",
        "Be brief.",
        "-m",
        "other",
        "-t",
        "0.5",
        "--timeout",
        "9s",
    ]
    outcome = run(*argv, "Say", "hello.", environ=served.environ)
    assert (outcome.status, outcome.err) == (0, "")
    body = served.simulator.requests[0].body
    assert body["model"] == "other"
    assert body["temperature"] == 0.5
    assert [m["content"] for m in body["messages"]] == ["Be brief.", "Say hello."]


def test_reasoning_goes_to_stderr() -> None:
    """stdout holds the answer and nothing else."""
    argv = ["complete", "--simulator", "--effort", "low", "--reasoning", "Hi there"]
    outcome = run(*argv)
    assert "The user wrote 2 words." in outcome.err
    assert "The user wrote" not in outcome.out
    hidden = run("complete", "--simulator", "--effort", "low", "Hi there")
    assert "The user wrote" not in hidden.err + hidden.out


@pytest.mark.parametrize(
    ("argv", "environ", "hint"),
    [
        (["--provider", "opneai", "Hi"], {}, "Did you mean openai"),
        (["--model", "antropic:claude", "Hi"], {}, "Did you mean anthropic"),
        (["Hi"], {"AI_MODEL": "antropic:claude"}, "Did you mean anthropic"),
        (["--provider", "openai", "-m", "m", "Hi"], {}, "Set OPENAI_API_KEY"),
        (["-m", "anthropic:m", "Hi"], {}, "Set ANTHROPIC_API_KEY"),
        (["Hi"], {"AI_PROVIDER": "openai"}, "AI_API_KEY or OPENAI_API_KEY"),
        (["-p", "ollama", "Hi"], {}, "No model is named: say --model NAME"),
        (["--simulator", "-p", "ollama", "Hi"], {}, "--simulator asks nobody else"),
        (["--base-url", "http://localhost:1/v1", "Hi"], {}, "Set AI_PROVIDER"),
        (["Hi"], {"AI_BASE_URL": "http://localhost:1/v1"}, "Set AI_PROVIDER"),
        (["--timeout", "soon", "Hi"], {}, "'soon' is no duration, such as 30s"),
        (["--temperature", "5", "Hi"], {}, "'5' is no number, 0 to 2"),
        (["--max-tokens", "0", "Hi"], {}, "'0' is no whole number from 1 on"),
        ([], {}, "There is no prompt"),
        ([""], {}, "The prompt is empty"),
        (["caf\udce9"], {}, "An argument is not UTF-8 text"),
    ],
)
def test_what_is_wrong_before_anything_is_sent(
    argv: list[str], environ: dict[str, str], hint: str
) -> None:
    """Exit status 2, and what to do. (G1, G4)"""
    outcome = run("complete", *argv, environ=environ)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert hint in outcome.err


def test_several_mistakes_are_one_line() -> None:
    """All of them, by name. (G1)"""
    environ = {
        "AI_PROVIDER": "openai", "AI_TIMEOUT": "soon", "AI_MAX_RETRIES": "many",
    }  # fmt: skip
    outcome = run("complete", "Hi", environ=environ)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "AI_TIMEOUT" in outcome.err
    assert "AI_MAX_RETRIES" in outcome.err


def test_a_wrong_key(serve: Serve) -> None:
    """One line that says where the key is, and not what it is. (X1)"""
    served = serve(Simulator(api_keys=["another"]))
    outcome = run("complete", "Hi", environ=served.environ)
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert "Check the key in AI_API_KEY." in outcome.err
    assert _KEY not in outcome.err


@pytest.mark.parametrize("kind", ["html", "empty", "truncate", "garbage", "hang_up"])
def test_an_answer_that_is_none(serve: Serve, kind: str) -> None:
    """Whatever a server does, it is one line and status 1. (S4, S6)"""
    served = serve()
    served.simulator.fail_next(kind)  # type: ignore[arg-type]  # pytest's are strings
    outcome = run("complete", "Hi", environ=served.environ)
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("Error: openai-chat:simulated")


def test_a_rate_limit_says_for_how_long(serve: Serve) -> None:
    """The server's own words for it. (R3)"""
    served = serve()
    served.simulator.fail_next(status=429, headers={"retry-after": "7"})
    outcome = run("complete", "Hi", environ=served.environ)
    assert outcome.status == 1
    assert "Try again in 7 s." in outcome.err


def test_a_config_file_names_the_provider(serve: Serve, tmp_path: Path) -> None:
    """Then the simulator in the process has no say."""
    served = serve()
    file = tmp_path / "aichat.toml"
    file.write_text(
        'provider = "openai-chat"\nmodel = "from-the-file"\napi_key = "any"\n'
        f'base_url = "{served.environ["AI_BASE_URL"]}"\n'
    )
    outcome = run("complete", "--config", str(file), "Hi")
    assert (outcome.status, outcome.err) == (0, "")
    assert served.simulator.requests[0].body["model"] == "from-the-file"


def test_a_model_with_a_colon_of_its_own(serve: Serve) -> None:
    """`--provider ollama --model llama3:8b` leaves no doubt whose model that is."""
    served = serve()
    argv = ["complete", "--provider", "openai-chat", "--model", "llama3:8b", "Hi"]
    outcome = run(*argv, environ=served.environ)
    assert outcome.status == 0
    assert served.simulator.requests[0].body["model"] == "llama3:8b"


def test_a_key_of_another_provider_stays(serve: Serve) -> None:
    """`--provider` does not send the configured provider's key to somebody else. (X1)"""
    served = serve()
    argv = ["complete", "--provider", "openai", "--model", "m", "Hi"]
    outcome = run(*argv, environ=served.environ)
    assert outcome.status == 2
    assert "Set OPENAI_API_KEY" in outcome.err
    assert served.simulator.request_count == 0


class Latin(io.StringIO):
    """A pipe that is no UTF-8."""

    def read(self, size: int | None = -1, /) -> str:
        return b"caf\xe9".decode()


def test_a_pipe_that_is_no_text() -> None:
    """It says so, without a traceback."""
    outcome = run("complete", "Hi", stdin=Latin())
    assert outcome.status == 2
    assert outcome.err == "Error: Standard input is not UTF-8 text: convert it first.\n"


def test_an_answer_on_a_terminal_cannot_steer_it() -> None:
    """Escape sequences in what a model says stay text."""
    argv = ["complete", "--simulator", "Say \x1b]0;owned\x07 now"]
    outcome = run(*argv, stdout=Terminal())
    assert "owned" in outcome.out
    assert "\x1b" not in outcome.out
    assert "\x1b]0;owned\x07" in run(*argv).out
