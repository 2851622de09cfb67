"""`aichat health`: exit status and one row per provider."""

from __future__ import annotations

from aichat.testing import Simulator

from .conftest import Serve, run


def test_all_is_well(serve: Serve) -> None:
    """The configured provider, with its latency."""
    outcome = run("health", environ=serve().environ)
    assert (outcome.status, outcome.err) == (0, "")
    head, row = outcome.out.splitlines()
    assert head.split() == ["PROVIDER", "STATE", "LATENCY", "ERROR"]
    name, state, _, unit = row.split()
    assert (name, state, unit) == ("openai-chat", "ok", "ms")


def test_a_wrong_key(serve: Serve) -> None:
    """Exit status 1, and where to look; the key is not shown. (X1)"""
    served = serve(Simulator(api_keys=["another"]))
    outcome = run("health", environ=served.environ)
    assert outcome.status == 1
    row, told = outcome.out.splitlines()[1:]
    assert row.split()[:2] == ["openai-chat", "failed"]
    assert row.split()[-1] == "authentication_failed"
    assert told.startswith("openai-chat: ")
    assert "Check the key in AI_API_KEY." in told
    assert served.environ["AI_API_KEY"] not in outcome.out


def test_one_without_a_key_does_not_hide_the_others(serve: Serve) -> None:
    """Each has its row, in the order asked for."""
    served = serve()
    argv = ["health", "anthropic", "openai-chat", "groq", "anthropic"]
    outcome = run(*argv, environ=served.environ)
    assert outcome.status == 1
    rows = [row.split()[:2] for row in outcome.out.splitlines()[1:4]]
    assert rows == [
        ["anthropic", "failed"],
        ["openai-chat", "ok"],
        ["groq", "failed"],
    ]
    assert "ANTHROPIC_API_KEY" in outcome.out


def test_a_name_that_nobody_has(serve: Serve) -> None:
    """Exit status 2 before anybody is asked, as everywhere."""
    served = serve()
    outcome = run("health", "openai-chat", "grok", environ=served.environ)
    assert (outcome.status, outcome.out) == (2, "")
    assert "There is no provider 'grok'. Did you mean groq?" in outcome.err
    assert served.simulator.request_count == 0


def test_without_configuration_all_whose_key_is_set(serve: Serve) -> None:
    """Whoever has keys can see which are good."""
    served = serve(Simulator(api_keys=["good"]))
    environ = {
        "OPENAI_API_KEY": "good",
        "OPENAI_BASE_URL": served.environ["AI_BASE_URL"],
    }
    outcome = run("health", environ=environ)
    assert outcome.status == 0
    names = [row.split()[0] for row in outcome.out.splitlines()[1:]]
    assert "openai" in names
    assert "anthropic" not in names


def test_nobody_to_ask() -> None:
    """It says what to do."""
    outcome = run("health")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "Set AI_PROVIDER" in outcome.err
