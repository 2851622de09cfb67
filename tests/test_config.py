"""How a client is set up (G1), and what a configuration never shows (X1)."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import traceback
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError

from aichat._config import (
    ClientConfig,
    resolve_base_url,
    resolve_deadlines,
    resolve_key,
)
from aichat._config_checks import _CHECKS
from aichat.errors import ConfigError
from aichat.providers import ProviderSpec
from aichat.transport import HTTPRequest
from aichat.types import DEFAULT_DEADLINES, UNSET, Deadlines, Secret

CANARY = "sk-canary-0123456789"


def spec(**facts: Any) -> ProviderSpec:
    """A provider that needs a key and has an address; *facts* say otherwise."""
    return ProviderSpec(**{
        "name": "acme",
        "title": "Acme",
        "base_url": "https://api.acme.test/v1",
        "base_url_env": ("ACME_BASE_URL", "ACME_HOST"),
        "api_key_env": ("ACME_API_KEY", "ACME_TOKEN"),
        "encode_request": lambda _: HTTPRequest("/chat"),
        "framing": lambda: pytest.fail("nothing is decoded here"),
        "decoder": lambda: pytest.fail("nothing is decoded here"),
        **facts,
    })


def mistakes(error: ConfigError) -> list[str]:
    """The mistakes that one error lists."""
    first, *rest = str(error).split("\n- ")
    return rest or [first]


async def fetch_key() -> str:
    return CANARY


# -- the environment -----------------------------------------------------------------


#: A variable, its text, its field and the value.
VARIABLES: list[tuple[str, str, str, Any]] = [
    ("AI_API_KEY", CANARY, "api_key", Secret(CANARY)),
    ("AI_API_KEY", f" {CANARY}\n", "api_key", Secret(CANARY)),
    ("AI_BASE_URL", "https://x.test/v1", "base_url", "https://x.test/v1"),
    ("AI_MODEL", "gpt-4.1", "model", "gpt-4.1"),
    ("AI_DEFAULT_MODEL", "gpt-4", "model", "gpt-4"),
    ("AI_TIMEOUT", "30s", "timeout", 30),
    ("AI_TIMEOUT", "30", "timeout", 30),
    ("AI_TIMEOUT", "0.5", "timeout", 0.5),
    ("AI_TIMEOUT", "1m30s", "timeout", 90),
    ("AI_TIMEOUT", "1.5m", "timeout", 90),
    ("AI_TIMEOUT", "500ms", "timeout", 0.5),
    ("AI_TIMEOUT", "2h", "timeout", 7200),
    ("AI_TIMEOUT", "1d", "timeout", 86400),
    ("AI_MAX_RETRIES", "3", "max_retries", 3),
    ("AI_MAX_RETRIES", "0", "max_retries", 0),
    ("AI_RETRY_BACKOFF", "1s", "retry_backoff", 1),
    ("AI_RETRY_BACKOFF", "0", "retry_backoff", 0),
    *[("AI_CIRCUIT_BREAKER", t, "circuit_breaker", True) for t in ("true", "1", "yes", "on", "TRUE")],
    *[("AI_CIRCUIT_BREAKER", t, "circuit_breaker", False) for t in ("false", "0", "no", "off", "False")],
    ("AI_CIRCUIT_BREAKER_THRESHOLD", "5", "circuit_breaker_threshold", 5),
    ("AI_CIRCUIT_BREAKER_COOLDOWN", "1m", "circuit_breaker_cooldown", 60),
    ("AI_RATE_LIMIT", "2.5", "rate_limit", 2.5),
    ("AI_RATE_LIMIT", "0", "rate_limit", None),
    ("AI_REQUESTS_PER_MINUTE", "500", "requests_per_minute", 500),
    ("AI_RATE_BURST", "10", "rate_burst", 10),
    ("AI_TOKENS_PER_MINUTE", "200000", "tokens_per_minute", 200_000),
    ("AI_INPUT_TOKENS_PER_MINUTE", "2e6", "input_tokens_per_minute", 2_000_000),
    ("AI_OUTPUT_TOKENS_PER_MINUTE", "90000", "output_tokens_per_minute", 90_000),
    ("AI_REDIS_URL", "redis://:pw@host:6379/1", "redis_url", Secret("redis://:pw@host:6379/1")),
    ("AI_REDIS_NAMESPACE", "team-a", "redis_namespace", "team-a"),
    ("AI_REDIS_WORKERS", "8", "redis_workers", 8),
    ("AI_ALLOW_INSECURE_HTTP", "yes", "allow_insecure_http", True),
    ("AI_TRUST_ENV", "on", "trust_env", True),
    ("AI_CA_FILE", "/etc/ca.pem", "ca_file", "/etc/ca.pem"),
    ("AI_MAX_CONNECTIONS", "7", "max_connections", 7),
    ("AI_MAX_IDLE_CONNECTIONS", "0", "max_idle_connections", 0),
    ("AI_KEEP_ALIVE", "10s", "keep_alive", 10),
    ("AI_DEADLINE_TOTAL", "10m", "deadlines", Deadlines(total=600)),
    ("AI_DEADLINE_IDLE", "none", "deadlines", Deadlines(idle=None)),
    ("AI_DEADLINE_FIRST_BYTE", "90", "deadlines", Deadlines(first_byte=90)),
    ("AI_HEADER_X_TEAM", "search", "headers", {"x-team": "search"}),
    ("AI_SETTING_API_VERSION", "2024-10-21", "settings", {"api_version": "2024-10-21"}),
]  # fmt: skip


@pytest.mark.parametrize(("variable", "text", "field", "value"), VARIABLES)
def test_a_variable_sets_its_field(
    variable: str, text: str, field: str, value: Any
) -> None:
    """
    Each of them, and it alone.  # G1
    """
    config = ClientConfig.from_env({"AI_PROVIDER": "openai", variable: text})
    assert config == evolve(ClientConfig(provider="openai"), **{field: value})
    assert getattr(config, field) == value


def test_the_table_knows_every_field() -> None:
    """
    A new field cannot be forgotten: it has a variable, a check and a test.  # G1
    """
    names = {f.name for f in attrs.fields(ClientConfig)}
    tested = {field for _, _, field, _ in VARIABLES}
    assert tested | {"provider"} == names
    assert set(_CHECKS) == names


def test_the_sample_of_the_documentation() -> None:
    """
    All of it at once.  # G1
    """
    config = ClientConfig.from_env({
        "AI_PROVIDER": "openai",
        "AI_API_KEY": CANARY,
        "AI_BASE_URL": "",
        "AI_DEFAULT_MODEL": "gpt-4",
        "AI_TIMEOUT": "30s",
        "AI_MAX_RETRIES": "3",
        "AI_RETRY_BACKOFF": "1s",
        "AI_CIRCUIT_BREAKER": "true",
        "AI_CIRCUIT_BREAKER_THRESHOLD": "5",
        "AI_RATE_LIMIT": "0",
        "PATH": "/bin",
        "AI_SOMETHING_OF_ANOTHER_PROGRAM": "x",
    })
    assert config == ClientConfig(
        provider="openai",
        api_key=CANARY,
        model="gpt-4",
        timeout=30,
        max_retries=3,
        retry_backoff=1,
        circuit_breaker=True,
    )


def test_an_empty_variable_counts_as_unset() -> None:
    """
    As in `AI_BASE_URL= python app.py`.  # G1
    """
    names = [f.name.upper() for f in attrs.fields(ClientConfig)]
    environ = {f"AI_{name}": " " for name in names} | {"AI_SETTING_X": ""}
    config = ClientConfig.from_env({**environ, "AI_PROVIDER": "openai"})
    assert config == ClientConfig(provider="openai")


def test_the_new_name_of_the_model_is_stronger_than_the_old_one() -> None:
    config = ClientConfig.from_env({
        "AI_PROVIDER": "openai",
        "AI_DEFAULT_MODEL": "old",
        "AI_MODEL": "new",
    })
    assert config.model == "new"


def test_the_real_environment_is_the_default() -> None:
    """
    In an interpreter of its own, so that ours stays as it is.
    """
    program = (
        "from aichat._config import ClientConfig\n"
        "print(ClientConfig.from_env().provider, ClientConfig.load().timeout)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AI_PROVIDER": "ollama", "AI_TIMEOUT": "1m"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stdout.split() == ["ollama", "60.0"]


@pytest.mark.parametrize(
    "environ", [{}, {"OPENAI_API_KEY": CANARY}, {"AI_PROVIDER": ""}]
)
def test_without_a_provider_nothing_is_guessed(environ: dict[str, str]) -> None:
    """
    A key that happens to be set is no choice.  # G1
    """
    with pytest.raises(ConfigError, match="Set AI_PROVIDER to openai, anthropic") as no:
        ClientConfig.from_env(environ)
    assert "aichat providers" in str(no.value)


# -- mistakes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("AI_PROVIDER", "Open AI", "AI_PROVIDER: 'Open AI' is no name of a provider"),
        ("AI_TIMEOUT", "abc", "AI_TIMEOUT: 'abc' is not a duration; write 30s or 30"),
        ("AI_TIMEOUT", "30s later", "AI_TIMEOUT: '30s later' is not a duration"),
        ("AI_TIMEOUT", "s", "AI_TIMEOUT: 's' is not a duration"),
        ("AI_TIMEOUT", "0", "AI_TIMEOUT: must be a number of seconds above 0, got 0.0"),
        ("AI_TIMEOUT", "-5", "AI_TIMEOUT: must be a number of seconds above 0, got -5.0"),
        ("AI_TIMEOUT", "nan", "AI_TIMEOUT: must be a number of seconds above 0, got nan"),
        ("AI_TIMEOUT", "inf", "AI_TIMEOUT: must be a number of seconds above 0, got inf"),
        ("AI_MAX_RETRIES", "many", "AI_MAX_RETRIES: 'many' is not a whole number"),
        ("AI_MAX_RETRIES", "1.5", "AI_MAX_RETRIES: '1.5' is not a whole number"),
        ("AI_MAX_RETRIES", "-1", "AI_MAX_RETRIES: must be a whole number of 0 or more, got -1"),
        ("AI_RETRY_BACKOFF", "-1s", "AI_RETRY_BACKOFF: '-1s' is not a duration"),
        ("AI_CIRCUIT_BREAKER", "maybe", "AI_CIRCUIT_BREAKER: 'maybe' is neither true nor false"),
        ("AI_CIRCUIT_BREAKER_THRESHOLD", "0", "AI_CIRCUIT_BREAKER_THRESHOLD: must be a whole number of 1 or more"),
        ("AI_RATE_LIMIT", "fast", "AI_RATE_LIMIT: 'fast' is not a number"),
        ("AI_RATE_LIMIT", "-1", "AI_RATE_LIMIT: must be a number of requests per second"),
        ("AI_REQUESTS_PER_MINUTE", "0", "AI_REQUESTS_PER_MINUTE: must be a number above 0, got 0.0"),
        ("AI_TOKENS_PER_MINUTE", "-1", "AI_TOKENS_PER_MINUTE: must be a number above 0"),
        ("AI_INPUT_TOKENS_PER_MINUTE", "nan", "AI_INPUT_TOKENS_PER_MINUTE: must be a number above 0"),
        ("AI_OUTPUT_TOKENS_PER_MINUTE", "many", "AI_OUTPUT_TOKENS_PER_MINUTE: 'many' is not a number"),
        ("AI_BASE_URL", "example.com/v1", "AI_BASE_URL: The base URL"),
        ("AI_BASE_URL", "https://x.test/\r\nhost: evil", "AI_BASE_URL: The base URL"),
        ("AI_HEADER_X_TEAM", "a\r\nx-admin: 1", "AI_HEADER_X_TEAM: The value of the header 'x-team' holds a line end"),
        ("AI_HEADER_X(Y", "a", "AI_HEADER_X(Y: The header name 'x(y' is not allowed"),
        ("AI_API_KEY", f"{CANARY}\r\nx-admin: 1", "AI_API_KEY: is empty, or holds a line end"),
        ("AI_API_KEY", f"{CANARY}é", "AI_API_KEY: is empty, or holds a line end"),
        ("AI_DEADLINE_TOTAL", "soon", "AI_DEADLINE_TOTAL: 'soon' is not a duration"),
        ("AI_DEADLINE_TOTAL", "0", "AI_DEADLINE_TOTAL: must be above 0, or none for no limit; got '0'"),
        ("AI_DEADLINE_LUNCH", "1h", "AI_DEADLINE_LUNCH: there is no such deadline, only pool, connect"),
    ],
)  # fmt: skip
def test_a_mistake_is_called_by_the_name_of_its_variable(
    variable: str, text: str, complaint: str
) -> None:
    """
    And the key is not in it, nor anywhere in the traceback's text.  # G1 X1 X3
    """
    with pytest.raises(ConfigError) as wrong:
        ClientConfig.from_env({"AI_PROVIDER": "openai", variable: text})
    (what,) = mistakes(wrong.value)
    assert what.startswith(complaint)
    assert CANARY not in "".join(traceback.format_exception(wrong.value))


def test_all_mistakes_are_reported_together() -> None:
    """
    Whether they do not convert, or convert to something out of range, or are missing.  # G1
    """
    with pytest.raises(ConfigError) as wrong:
        ClientConfig.load(
            environ={"AI_TIMEOUT": "abc", "AI_MAX_RETRIES": "-1", "AI_API_KEY": CANARY},
            mapping={"retry-backof": 1, "deadlines": {"total": "x", "tea": 5}},
            keep_alive=-1,
            headers=["x"],
        )
    assert "The configuration has 8 mistakes:" in str(wrong.value)
    assert sorted(mistakes(wrong.value)) == sorted([
        "retry-backof: there is no such setting; did you mean 'retry_backoff'?",
        ("deadlines.tea: there is no such deadline, only pool, connect, first_byte, "
        "idle, stall, total"),
        "headers: must be a table of names and values",
        "deadlines.total: 'x' is not a duration; write 30s or 30",
        "AI_TIMEOUT: 'abc' is not a duration; write 30s or 30",
        ("There is no provider. Set AI_PROVIDER to openai, anthropic, groq or another "
        "one: `aichat providers` lists them"),
        "AI_MAX_RETRIES: must be a whole number of 0 or more, got -1",
        "keep_alive: must be a number of seconds above 0, got -1.0",
    ])  # fmt: skip
    assert CANARY not in str(wrong.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"provider": None}, "provider: None is no name of a provider"),
        ({"provider": "a:b"}, "provider: 'a:b' is no name"),
        ({"api_key": 5}, "api_key: must be text, a Secret, or an async function"),
        ({"api_key": Secret("")}, "api_key: is empty"),
        ({"api_key": "a\tb"}, "api_key: is empty, or holds"),
        ({"base_url": 5}, "base_url: must be text"),
        ({"base_url": "ftp://x.test"}, "base_url: The base URL 'ftp://x.test' does not begin"),
        ({"base_url": f"https://u:{CANARY}@x.test"}, "base_url: The base URL"),
        ({"model": 4}, "model: must be text"),
        ({"timeout": "30s"}, "timeout: must be a number of seconds above 0, got '30s'"),
        ({"timeout": True}, "timeout: must be a number of seconds above 0, got True"),
        ({"deadlines": 30}, "deadlines: must be Deadlines"),
        ({"max_retries": 1.0}, "max_retries: must be a whole number"),
        ({"max_retries": None}, "max_retries: must be a whole number"),
        ({"circuit_breaker": "yes"}, "circuit_breaker: must be true or false"),
        ({"rate_burst": 0}, "rate_burst: must be a whole number of 1 or more"),
        ({"headers": "x"}, "headers: must be a table of names and values"),
        ({"headers": {"x": 1}}, "headers: the value of 'x' must be text"),
        ({"headers": {"authorization": f"{CANARY}\n"}}, "headers: The value of the header 'authorization'"),
        ({"settings": {"version": None}}, "settings: the value of 'version' must be text"),
        ({"settings": 5}, "settings: must be a table"),
        ({"ca_file": 5}, "ca_file: must be text"),
        ({"max_connections": 0}, "max_connections: must be a whole number of 1 or more"),
    ],
)  # fmt: skip
def test_a_configuration_is_checked_when_it_is_made(
    arguments: dict[str, Any], complaint: str
) -> None:
    """
    By hand as well: types are strict there, and nothing is read into them.  # G1 X3
    """
    with pytest.raises(ConfigError) as wrong:
        ClientConfig(**{"provider": "openai", **arguments})
    assert str(wrong.value).startswith(complaint)
    assert CANARY not in "".join(traceback.format_exception(wrong.value))
    with pytest.raises(ConfigError):
        evolve(ClientConfig(provider="openai"), **arguments)


# -- the order of strength -----------------------------------------------------------


def test_the_rate_of_requests_is_said_once() -> None:
    """
    Per second or per minute; and no limit is no contradiction.  # G1 L1
    """
    both: dict[str, Any] = {"provider": "openai", "requests_per_minute": 60}
    with pytest.raises(ConfigError, match=r"requests_per_minute: .* set one of them"):
        ClientConfig(rate_limit=1, **both)
    with pytest.raises(ConfigError, match=r"requests_per_minute: .* set one of them"):
        ClientConfig.from_mapping({"rate_limit": "1", **both})
    with pytest.raises(ConfigError) as wrong:
        ClientConfig(rate_limit=-1, **both)
    assert "set one of them" not in str(wrong.value)
    assert ClientConfig(rate_limit=0, **both).requests_per_minute == 60


def test_arguments_before_mapping_before_file_before_environment(
    tmp_path: Path,
) -> None:
    """
    Each source fills in what the stronger ones left open.  # G1
    """
    file = tmp_path / "aichat.toml"
    file.write_text('model = "file"\ntimeout = "3s"\nkeep_alive = 3\nmax_retries = 3')
    config = ClientConfig.load(
        model="argument",
        mapping={"model": "mapping", "timeout": "2s", "provider": "openai"},
        file=file,
        environ={
            "AI_MODEL": "environment",
            "AI_TIMEOUT": "4s",
            "AI_KEEP_ALIVE": "4s",
            "AI_RATE_BURST": "4",
        },
    )
    assert config.model == "argument"
    assert config.timeout == 2
    assert config.keep_alive == 3
    assert config.max_retries == 3
    assert config.rate_burst == 4
    assert config.retry_backoff == 0.5


def test_tables_are_merged_entry_by_entry() -> None:
    """
    A deadline in an argument does not undo another one in the environment.  # G1
    """
    config = ClientConfig.load(
        provider="openai",
        deadlines=Deadlines(total=9, idle=None),
        headers={"x-a": "1"},
        mapping={"deadlines": {"total": "1h", "stall": "2m"}},
        environ={"AI_DEADLINE_IDLE": "5s", "AI_HEADER_X_A": "2", "AI_HEADER_X_B": "2"},
    )
    assert config.deadlines == Deadlines(total=9, idle=None, stall=120)
    assert config.headers == {"x-a": "1", "x-b": "2"}


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_nothing_said_is_nothing_said(nothing: str | None) -> None:
    """
    An option of a command line that was not given does not hide the environment.  # G1
    """
    environ = {"AI_PROVIDER": "openai", "AI_MODEL": "m", "AI_HEADER_A": "b"}
    config = ClientConfig.from_env(
        environ, model=nothing, provider=nothing, headers=None
    )
    assert (config.provider, config.model) == ("openai", "m")
    assert config.headers == {"a": "b"}


def test_arguments_may_be_text_or_values() -> None:
    config = ClientConfig.from_env(
        {}, provider="openai", timeout="30s", max_retries="3", api_key=fetch_key
    )
    assert (config.timeout, config.max_retries) == (30, 3)
    assert config.api_key is fetch_key
    assert ClientConfig.from_env(
        {}, provider="a", api_key=Secret("k")
    ).api_key == Secret("k")


def test_one_vendors_key_never_goes_to_another() -> None:
    """
    Whoever chooses another provider does not get the first one's key and address.  # X1
    """
    environ = {
        "AI_PROVIDER": "openai",
        "AI_API_KEY": CANARY,
        "AI_BASE_URL": "https://openai.test",
        "AI_MODEL": "gpt",
        "AI_HEADER_OPENAI_BETA": "x",
        "AI_SETTING_ORGANIZATION": "org",
        "AI_MAX_RETRIES": "7",
    }
    config = ClientConfig.from_env(environ, provider="acme")
    assert config == ClientConfig(provider="acme", max_retries=7)
    with pytest.raises(ConfigError, match=r"Set ACME_API_KEY or ACME_TOKEN\."):
        resolve_key(config, spec(), environ)
    assert ClientConfig.from_env(environ, provider="openai").model == "gpt"
    unnamed = {k: v for k, v in environ.items() if k != "AI_PROVIDER"}
    assert ClientConfig.from_env(unnamed, provider="acme").api_key == Secret(CANARY)


# -- files ---------------------------------------------------------------------------

TOML = """
provider = "azure"
timeout = "1m"
max-retries = 4
circuit_breaker = true
rate_limit = 2
[deadlines]
total = "10m"
idle = "none"
[headers]
x-team = "search"
[settings]
api_version = 2024-10-21
deployment = 7
"""
YAML = """
aichat:
  provider: azure
  timeout: 1m
  max_retries: 4
  circuit_breaker: yes
  rate_limit: 2.0
  model: null
  deadlines: {total: 600, idle: none}
  headers: {x-team: search}
  settings:
    api_version: 2024-10-21
    deployment: 7
other: {provider: nobody}
"""
FROM_FILE = ClientConfig(
    provider="azure",
    timeout=60,
    max_retries=4,
    circuit_breaker=True,
    rate_limit=2,
    deadlines=Deadlines(total=600, idle=None),
    headers={"x-team": "search"},
    settings={"api_version": "2024-10-21", "deployment": "7"},
)


@pytest.mark.parametrize(
    ("name", "content"),
    [("c.toml", TOML), ("c.yaml", YAML), ("c.yml", YAML), ("C.TOML", TOML)],
)
def test_a_file_says_the_same_in_either_form(
    tmp_path: Path, name: str, content: str
) -> None:
    """
    At the top or under aichat; a version that looks like a date stays a text.  # G1
    """
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    assert ClientConfig.from_file(file) == FROM_FILE
    assert ClientConfig.from_file(str(file), model="m") == evolve(FROM_FILE, model="m")


def test_a_mapping_is_read_like_a_file() -> None:
    mapping = {
        "provider": "azure",
        "timeout": "1m",
        "max_retries": 4,
        "circuit_breaker": 1,
        "rate_limit": "2",
        "deadlines": {"total": 600, "idle": "none"},
        "headers": {"x-team": "search"},
        "settings": {"api_version": "2024-10-21", "deployment": "7"},
    }
    assert ClientConfig.from_mapping(mapping) == FROM_FILE


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("c.toml", "provider = ", "c.toml is no TOML: "),
        ("c.toml", f"api_key = '{CANARY}", "c.toml is no TOML: "),
        ("c.yaml", f"api_key: {{{CANARY}", "c.yaml, line 1 is no YAML: "),
        ("c.yaml", f"api_key: '{CANARY}", "c.yaml, line 1 is no YAML: "),
        ("c.yaml", "a: \x01", "c.yaml is no YAML: "),
        ("c.yaml", "- a\n- b", "c.yaml holds no table of names and values."),
        ("c.toml", "aichat = 5", "c.toml holds no table of names and values."),
        ("c.json", "{}", "c.json: the name must end in .toml, .yaml or .yml."),
        ("c.toml", b"\xff\xfe", "c.toml cannot be read: it is not UTF-8."),
        ("c.toml", None, "c.toml cannot be read: No such file or directory."),
        ("c.toml", "", "There is no provider."),
        ("c.yaml", "", "There is no provider."),
        ("c.toml", "provider='a'\ntimout = 3", "c.toml: timout: there is no such setting; did you mean 'timeout'?"),
        ("c.toml", "provider='a'\ntimeout = 'x'", "c.toml: timeout: 'x' is not a duration"),
        ("c.toml", "provider='a'\nmodel = ['x']", "c.toml: model: must be text"),
        ("c.toml", "provider='a'\ncircuit_breaker = 'x'", "c.toml: circuit_breaker: 'x' is neither"),
        ("c.toml", "provider='a'\nmax_retries = true", "c.toml: max_retries: True is not a whole number"),
        ("c.toml", "provider='a'\nrate_limit = false", "c.toml: rate_limit: False is not a number"),
        ("c.toml", "provider='a'\ndeadlines = 5", "c.toml: deadlines: must be a table"),
        ("c.toml", "provider='a'\nsettings.version = true", "c.toml: settings.version: must be text"),
        ("c.toml", "provider='a'\napi_key = 5", "c.toml: api_key: must be text, a Secret"),
    ],
)  # fmt: skip
def test_a_file_that_will_not_do(
    tmp_path: Path, name: str, content: str | bytes | None, complaint: str
) -> None:
    """
    The error names the file and the entry, and quotes nothing that may be a key.  # G1 X1
    """
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as wrong:
        ClientConfig.from_file(file)
    text = str(wrong.value).replace(f"{tmp_path}/", "")
    assert text.startswith(complaint)
    assert CANARY not in "".join(traceback.format_exception(wrong.value))


def test_yaml_needs_its_extra(tmp_path: Path) -> None:
    """
    In an interpreter that cannot import it: the error names what to install.  # G1
    """
    file = tmp_path / "c.yaml"
    file.write_text("provider: openai")
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from aichat._config import ClientConfig\n"
        f"ClientConfig.from_file({str(file)!r})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert ran.stderr.strip().endswith(
        "needs the extra yaml: pip install 'aichat[yaml]'."
    )


# -- secrets and values --------------------------------------------------------------


@pytest.mark.parametrize("key", [CANARY, Secret(CANARY), f"{CANARY}\n"])
def test_a_configuration_does_not_show_its_key(key: str | Secret) -> None:
    """
    Not by repr, str, format, asdict, cattrs, copy, JSON or pickle.  # X1
    """
    config = ClientConfig(
        provider="openai",
        api_key=key,
        headers={"authorization": CANARY},
        settings={"token": CANARY},
    )
    shown = [repr(config), str(config), f"{config}", repr([config]), repr(copy(config))]
    assert not any(CANARY in text for text in shown)
    assert "headers=<authorization>, settings=<token>" in repr(config)

    config = evolve(config, headers={}, settings={})
    shown = [
        repr(attrs.asdict(config)),
        repr(attrs.astuple(config)),
        repr(cattrs.unstructure(config)),
        repr(deepcopy(config)),
        json.dumps(attrs.asdict(config), default=str),
        json.dumps(attrs.asdict(config), default=repr),
    ]
    assert not any(CANARY in text for text in shown)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="read the key from the environment"):
            pickle.dumps(config, protocol)
    assert config.api_key == Secret(CANARY)
    assert copy(config) == deepcopy(config) == config


def test_a_configuration_without_a_key_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(FROM_FILE)) == FROM_FILE


def test_a_configuration_is_frozen_and_copied_by_evolve() -> None:
    """
    Nobody's later change changes ours.  # G1
    """
    headers = {"x": "1"}
    config = ClientConfig(provider="openai", api_key=CANARY, headers=headers)
    headers["x"] = "2"
    assert config.headers == {"x": "1"}
    with pytest.raises(FrozenInstanceError):
        config.provider = "other"  # type: ignore[misc]
    other = evolve(config, provider="anthropic", api_key=None)
    assert (config.provider, other.provider) == ("openai", "anthropic")
    assert other.api_key is None
    assert len({config, evolve(config), other}) == 2
    assert ClientConfig(provider="a", headers=None).headers == {}


def test_importing_the_configuration_is_cheap() -> None:
    """
    What reads files and converts text is imported when something is read.
    """
    program = "import sys, json, aichat._config; print(json.dumps(list(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    loaded = set(json.loads(ran.stdout))
    assert "aichat._config_values" in loaded
    assert loaded.isdisjoint({"cattrs", "yaml", "tomllib", "aiohttp"})


# -- key, address, deadlines, settings -----------------------------------------------


@pytest.mark.parametrize(
    ("config_key", "environ", "found"),
    [
        ("own", {"ACME_API_KEY": "vendor"}, "own"),
        (None, {"ACME_API_KEY": "vendor", "ACME_TOKEN": "other"}, "vendor"),
        (None, {"ACME_API_KEY": "", "ACME_TOKEN": " other\n"}, "other"),
        (None, {"AI_PROVIDER": "acme", "AI_API_KEY": "ai", "ACME_TOKEN": "t"}, "ai"),
        (None, {"AI_PROVIDER": "openai", "AI_API_KEY": "ai", "ACME_TOKEN": "t"}, "t"),
        (None, {"AI_API_KEY": "ai", "ACME_TOKEN": "t"}, "t"),
    ],
)
def test_where_the_key_comes_from(
    config_key: str | None, environ: dict[str, str], found: str
) -> None:
    """
    The configured one, else the one that AI_PROVIDER says is for it, else the vendor's.  # G1
    """
    config = ClientConfig(provider="acme", api_key=config_key)
    assert resolve_key(config, spec(), environ) == Secret(found)


def test_an_async_function_is_handed_on_as_it_is() -> None:
    """
    A secret manager is asked when the key is needed, not when the client is made.
    """
    config = ClientConfig(provider="acme", api_key=fetch_key)
    assert resolve_key(config, spec(), {}) is fetch_key


@pytest.mark.parametrize(
    ("environ", "facts", "hint"),
    [
        ({"AI_PROVIDER": "acme"}, {}, "Set AI_API_KEY or ACME_API_KEY or ACME_TOKEN."),
        (
            {"AI_PROVIDER": "acme"},
            {"api_key_env": ("ACME_API_KEY",)},
            "Set AI_API_KEY or ACME_API_KEY.",
        ),
        ({}, {}, "Set ACME_API_KEY or ACME_TOKEN."),
        ({}, {"api_key_env": ()}, "Pass api_key=…."),
    ],
)
def test_a_missing_key_says_what_would_help(
    environ: dict[str, str], facts: dict[str, Any], hint: str
) -> None:
    """
    When the client is made, not when the configuration is read.  # G1
    """
    config = ClientConfig.from_env(environ, provider="acme")
    with pytest.raises(ConfigError) as missing:
        resolve_key(config, spec(**facts), environ)
    assert str(missing.value) == f"There is no key for Acme. {hint}"


def test_a_provider_that_needs_no_key_may_have_one() -> None:
    config = ClientConfig(provider="acme")
    local = spec(requires_key=False)
    assert resolve_key(config, local, {}) is None
    assert resolve_key(config, local, {"ACME_TOKEN": "t"}) == Secret("t")


def test_a_vendors_variable_is_checked_like_ours() -> None:
    """
    A key with a line end inside would be two headers.  # X1 X3
    """
    config = ClientConfig(provider="acme")
    with pytest.raises(ConfigError, match="ACME_API_KEY: is empty, or holds") as wrong:
        resolve_key(config, spec(), {"ACME_API_KEY": f"{CANARY}\nx: y"})
    assert CANARY not in "".join(traceback.format_exception(wrong.value))


@pytest.mark.parametrize(
    ("base_url", "environ", "facts", "found"),
    [
        ("https://a.test/", {"ACME_HOST": "https://b.test"}, {}, "https://a.test"),
        (None, {"ACME_BASE_URL": "", "ACME_HOST": " https://b.test/v2 "}, {}, "https://b.test/v2"),
        (None, {"ACME_BASE_URL": "https://c.test", "ACME_HOST": "https://b.test"}, {}, "https://c.test"),
        (None, {}, {}, "https://api.acme.test/v1"),
        ("http://localhost:8000/v1", {}, {}, "http://localhost:8000/v1"),
    ],
)  # fmt: skip
def test_where_the_address_comes_from(
    base_url: str | None, environ: dict[str, str], facts: dict[str, Any], found: str
) -> None:
    """
    The configured one, the vendor's variables in their order, the usual one.  # G1
    """
    config = ClientConfig(provider="acme", base_url=base_url)
    assert resolve_base_url(config, spec(**facts), environ) == found


def test_a_provider_without_a_usual_address_needs_one() -> None:
    config = ClientConfig(provider="acme")
    with pytest.raises(
        ConfigError, match=r"Set AI_BASE_URL or ACME_BASE_URL or ACME_HOST\."
    ):
        resolve_base_url(config, spec(base_url=None), {})


def test_a_key_is_not_sent_unencrypted_to_strangers() -> None:
    """
    Unless somebody says that it is all right, or there is no key.  # X2
    """
    open_road = "http://api.acme.example"
    config = ClientConfig(provider="acme", api_key=CANARY, base_url=open_road)
    with pytest.raises(ConfigError, match=r"base_url: .* unencrypted"):
        resolve_base_url(config, spec(), {})
    keyed = evolve(config, api_key=None, base_url=None)
    with pytest.raises(ConfigError, match=r"ACME_HOST: .* unencrypted"):
        resolve_base_url(keyed, spec(), {"ACME_HOST": open_road, "ACME_TOKEN": "t"})
    allowed = evolve(config, allow_insecure_http=True)
    assert resolve_base_url(allowed, spec(), {}) == open_road
    keyless = evolve(config, api_key=None)
    assert resolve_base_url(keyless, spec(requires_key=False), {}) == open_road


def test_deadlines_over_timeout_over_the_providers_own() -> None:
    """
    A timeout is for connecting, the first byte and the idle time; the rest stays.  # D1
    """
    local = spec(deadlines=evolve(DEFAULT_DEADLINES, first_byte=600))
    plain = ClientConfig(provider="acme")
    assert resolve_deadlines(plain, local) == local.deadlines
    quick = evolve(plain, timeout=30)
    assert resolve_deadlines(quick, local) == evolve(
        local.deadlines, connect=30, first_byte=30, idle=30
    )
    both = evolve(quick, deadlines=Deadlines(first_byte=300, total=900))
    assert resolve_deadlines(both, local) == evolve(
        local.deadlines, connect=30, first_byte=300, idle=30, total=900
    )
    assert UNSET not in attrs.astuple(resolve_deadlines(both, local))


def test_settings_are_completed_with_the_providers_defaults() -> None:
    """
    What it needs is there, and what it does not know is a mistake.  # G1
    """
    azure = spec(settings={"api_version": "v1", "deployment": None})
    config = ClientConfig(provider="acme", settings={"deployment": "d"})
    assert config.settings_for(azure) == {"api_version": "v1", "deployment": "d"}
    wrong = ClientConfig(provider="acme", settings={"api-version": CANARY})
    with pytest.raises(ConfigError) as both:
        wrong.settings_for(azure)
    assert mistakes(both.value) == [
        "settings: acme has no setting 'api-version'; did you mean 'api_version'?",
        "settings: acme needs 'deployment'. Set AI_SETTING_DEPLOYMENT",
    ]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("AI_MAX_RETRY", "AI_MAX_RETRIES"),
        ("AI_PROVDER", "AI_PROVIDER"),
        ("AI_APIKEY", "AI_API_KEY"),
        ("AI_BASEURL", "AI_BASE_URL"),
        ("AI_TIME_OUT", "AI_TIMEOUT"),
        ("AI_DEADLINES_TOTAL", "AI_DEADLINE_TOTAL"),
        ("AI_HEADERS_X_TEAM", "AI_HEADER_X_TEAM"),
        ("AI_SETTINGS_PROJECT", "AI_SETTING_PROJECT"),
    ],
)
def test_a_misspelt_variable_is_a_warning(
    caplog: pytest.LogCaptureFixture, variable: str, meant: str
) -> None:
    """In the log, without its value; it may be somebody else's after all. (G4)"""
    ClientConfig.from_env({"AI_PROVIDER": "ollama", variable: "sk-secret"})
    assert caplog.messages == [f"{variable} is not read; did you mean {meant}?"]
    assert [record.name for record in caplog.records] == ["aichat.config"]


@pytest.mark.parametrize(
    "variable",
    ["AI_GATEWAY_API_KEY", "AI_TEAM", "AI_HOME", "AI_DEFAULT_MODEL", "AI_HEADER_X"],
)
def test_a_variable_of_somebody_else(
    caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    """Others may begin with AI_, too; and neither is one that says nothing."""
    environ = {"AI_PROVIDER": "ollama", variable: "x", "AI_MAX_RETRY": ""}
    ClientConfig.from_env(environ)
    assert caplog.messages == []


@pytest.mark.parametrize("key", ["sk-ant-…", "sk-...", "<your key>"])
def test_a_key_from_an_example(key: str) -> None:
    """Pasted as it was: it says so, and does not show it. (X1)"""
    with pytest.raises(ConfigError, match="placeholder of an example") as caught:
        ClientConfig.from_env({"AI_PROVIDER": "openai", "AI_API_KEY": key})
    assert key not in str(caught.value)


def test_every_error_is_a_sentence() -> None:
    """Alone it ends with a full stop."""
    for environ in ({}, {"AI_PROVIDER": "openai", "AI_TIMEOUT": "abc"}):
        with pytest.raises(ConfigError, match=r"\.$"):
            ClientConfig.from_env(environ)
