"""`aichat providers`: names, keys' variables, never keys."""

from __future__ import annotations

from aichat import Registry
from aichat._registry import ProviderInfo
from aichat.cli._providers import details, rows
from aichat.types import loads

from .conftest import Terminal, run


def test_the_table_lists_all_and_shows_no_key() -> None:
    """Whether a key is set, and never which. (G3, X1)"""
    environ = {"OPENAI_API_KEY": "sk-secret-secret"}
    outcome = run("providers", environ=environ)
    assert (outcome.status, outcome.err) == (0, "")
    head, *rows = outcome.out.splitlines()
    assert head.split() == ["NAME", "TITLE", "KEY", "BASE", "URL", "CAPABILITIES"]
    assert [row.split()[0] for row in rows] == list(Registry())
    by_name = {row.split()[0]: row for row in rows}
    assert "OPENAI_API_KEY (set)" in by_name["openai"]
    assert "ANTHROPIC_API_KEY (not set)" in by_name["anthropic"]
    assert "https://api.anthropic.com" in by_name["anthropic"]
    assert "streaming" in by_name["anthropic"]
    assert "sk-secret" not in outcome.out


def test_the_table_fits_the_terminal() -> None:
    """Long lines are cut there, and only there."""
    lines = run("providers", stdout=Terminal()).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].endswith("…")


def test_ai_api_key_belongs_to_the_configured_provider() -> None:
    """It is told with that one, and with no other."""
    environ = {"AI_PROVIDER": "anthropic", "AI_API_KEY": "sk-secret-secret"}
    rows = run("providers", environ=environ).out.splitlines()
    assert [row.split()[0] for row in rows if "AI_API_KEY (set)" in row] == [
        "anthropic"
    ]


def test_json_is_for_programs() -> None:
    """Everything that there is, as JSON. (G3)"""
    found = loads(run("providers", "--json").out)
    by_name = {provider["name"]: provider for provider in found}
    assert list(by_name) == list(Registry())
    anthropic = by_name["anthropic"]
    assert anthropic["api_key_env"] == {"ANTHROPIC_API_KEY": False}
    assert anthropic["required_settings"] == ["api_key"]
    assert "tools" in anthropic["capabilities"]
    assert len(loads(run("providers", "--json", "anthropic").out)) == 1


def test_details_of_one() -> None:
    """What it needs, what may be set, and how to use it."""
    outcome = run("providers", "anthropic", "openai-chat")
    assert outcome.status == 0
    assert "anthropic: Anthropic" in outcome.out
    assert "required      api_key" in outcome.out
    assert "base_url=https://api.anthropic.com" in outcome.out
    assert "AI_PROVIDER=anthropic ANTHROPIC_API_KEY=…" in outcome.out
    assert "openai-chat: OpenAI" in outcome.out


def test_details_of_one_that_has_no_address() -> None:
    """It says to set one."""
    outcome = run("providers", "openai-compatible")
    assert "AI_BASE_URL=…" in outcome.out
    assert "(set AI_BASE_URL)" in outcome.out


def test_what_models_accept() -> None:
    """A line for each model that its provider names. (G3)"""
    outcome = run("providers", "anthropic", "perplexity", "--models")
    assert outcome.status == 0
    head, *lines = outcome.out.splitlines()
    assert head.split()[:3] == ["MODEL", "CONTEXT", "OUTPUT"]
    by_model = {line.split()[0]: line for line in lines}
    assert next(iter(by_model)).startswith("anthropic:claude-")
    opus = by_model["anthropic:claude-opus-4-5"]
    for fact in ("200_000", "64_000", "image", "schema", "if asked", "low,medium,high"):
        assert fact in opus
    assert "not forced" in by_model["anthropic:claude-opus-5-5"]
    assert by_model["perplexity:sonar"].split()[4] == "no"


def test_what_models_accept_for_programs() -> None:
    """The same as JSON; a provider that names no models has no lines."""
    found = loads(run("providers", "groq", "vllm", "--models", "--json").out)
    assert {profile["provider"] for profile in found} == {"groq"}
    assert found[0]["model"] == "openai/gpt-oss-120b"
    assert found[0]["inputs"] == ["text"]
    assert found[0]["efforts"] == ["low", "medium", "high"]


def test_an_unknown_name() -> None:
    """One line with a near one. (G3)"""
    outcome = run("providers", "anthropc")
    assert outcome.status == 2
    assert "Did you mean anthropic?" in outcome.err
    assert outcome.err.count("\n") == 1


def test_one_that_needs_settings() -> None:
    """What has to be set is told in the words to set it with."""
    info = ProviderInfo(
        name="a",
        title="A",
        required_settings=("api_key", "region"),
        optional_settings={"version": "1", "team": ""},
    )
    shown = "\n".join(details(info, {}))
    assert "AI_PROVIDER=a AI_API_KEY=… AI_SETTING_REGION=…" in shown
    assert "version=1, team\n" in shown
    assert "key           AI_API_KEY (not set)" in shown


def test_one_that_needs_nothing_and_one_that_does_not_load() -> None:
    """No key to look for, and the reason why it cannot be used."""
    infos = (
        ProviderInfo(name="a", title="A"),
        ProviderInfo(name="b", title="B", error="No."),
    )
    _, a, b = rows(infos, {})
    assert a[2] == "none needed"
    assert b[-1] == "unusable: No."
