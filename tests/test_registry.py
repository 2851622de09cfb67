"""Providers by name (G3)."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from threading import Barrier
from typing import Any

import pytest
from attrs import define, evolve, frozen

from aichat._config import ClientConfig
from aichat._registry import BUILT_IN, GROUP, ProviderInfo, Registry
from aichat.errors import ConfigError
from aichat.providers import Capability, Provider, ProviderSpec
from aichat.transport import HTTPRequest
from aichat.types import ChatRequest, StreamChunk


def spec(name: str = "acme", **facts: Any) -> ProviderSpec:
    return ProviderSpec(**{
        "name": name,
        "title": name.title(),
        "encode_request": lambda _: HTTPRequest("/chat"),
        "framing": lambda: pytest.fail("nothing is decoded here"),
        "decoder": lambda: pytest.fail("nothing is decoded here"),
        **facts,
    })


@frozen
class Parrot:
    """A provider without HTTP."""

    name: str = "parrot"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        nothing: tuple[StreamChunk, ...] = ()
        for chunk in nothing:
            yield chunk


def make_parrot(config: ClientConfig) -> Provider:
    """
    A parrot that lives in this process.

    It repeats.
    """
    return Parrot(config.provider)


@frozen
class Distribution:
    name: str


@define
class Plugin:
    """An installed package's entry point, which counts how often it is loaded."""

    name: str
    entry: object = None
    value: str = "aichat_acme.provider:SPEC"
    dist: Distribution | None = Distribution("aichat-acme")
    loads: int = 0

    def load(self) -> object:
        self.loads += 1
        if isinstance(self.entry, BaseException):
            raise self.entry
        return self.entry


def registry_with(*plugins: Plugin) -> Registry:
    return Registry(installed=lambda: plugins)


def nothing_installed() -> Registry:
    return registry_with()


# -- what is there -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openai", "openai-chat", "anthropic", "groq", "vllm"])
def test_a_built_in_provider_is_found_under_its_own_name(name: str) -> None:
    entry = nothing_installed()[name]
    assert isinstance(entry, ProviderSpec)
    assert entry.name == name


def test_the_registry_is_a_sorted_list_of_names() -> None:
    """
    Built in, compatible, installed and registered ones alike.  # G3
    """
    registry = registry_with(Plugin("zebra", spec("zebra")))
    registry.register(spec("aardvark"))
    names = list(registry)
    assert names == sorted(names)
    assert len(registry) == len(names) == len(set(names))
    assert {"aardvark", "zebra", "groq", *BUILT_IN} <= set(names)
    assert all(name in registry for name in names)
    assert "nobody" not in registry
    assert 5 not in registry


def test_every_built_in_name_leads_to_a_spec_of_that_name() -> None:
    """
    Registry names are the specs' names, and unique.  # G3
    """
    registry = nothing_installed()
    for name in registry:
        entry = registry[name]
        assert isinstance(entry, ProviderSpec)
        assert entry.name == name
        assert registry[name] is entry


def test_looking_one_up_does_not_import_the_others() -> None:
    """
    No start-up delay: a provider is loaded when it is asked for.  # G3
    """
    program = (
        "import sys, json\n"
        "from aichat._registry import Registry\n"
        "registry = Registry()\n"
        "before = [m for m in sys.modules]\n"
        "assert 'anthropic' in registry\n"
        "registry['anthropic']\n"
        "print(json.dumps([before, list(sys.modules)]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    before, after = map(set, json.loads(ran.stdout))
    assert not before & {"aichat.providers.anthropic", "aiohttp"}
    assert "aichat.providers.anthropic" in after
    assert not after & {"aichat.providers.compatible", "aiohttp"}


def test_our_own_are_found_without_looking_at_the_installed_packages() -> None:
    """
    Reading their metadata takes milliseconds, and most programs need none of it.
    """
    registry = Registry(installed=lambda: pytest.fail("nobody asked for a package"))
    assert "anthropic" in registry
    assert isinstance(registry["anthropic"], ProviderSpec)
    assert isinstance(registry["groq"], ProviderSpec)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("antropic", "Did you mean anthropic?"),
        ("opnai", "Did you mean openai"),
        ("OpenAI", "Did you mean openai"),
        ("zzzzzz", "There are: "),
        ("", "There are: "),
    ],
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str) -> None:
    """
    What it may have been, or what there is; and what else can be done.  # G3
    """
    with pytest.raises(ConfigError) as unknown:
        nothing_installed()[name]
    text = str(unknown.value)
    assert text.startswith(f"There is no provider {name!r}. {hint}")
    assert "Registry.register()" in text
    assert "'openai-compatible' with a base_url" in text
    assert "openai-compatible" in nothing_installed()


# -- registering ---------------------------------------------------------------------


def test_a_registered_spec_is_found() -> None:
    mine = spec("acme")
    registry = nothing_installed()
    registry.register(mine)
    assert registry["acme"] is mine
    assert "acme" in registry


def test_a_factory_stands_for_a_provider_without_http() -> None:
    """
    Anything with a name and a stream is a provider.  # G3
    """
    registry = nothing_installed()
    registry.register(make_parrot, name="parrot")
    factory = registry["parrot"]
    assert not isinstance(factory, ProviderSpec)
    provider = factory(ClientConfig(provider="parrot"))
    assert isinstance(provider, Provider)
    assert provider.name == "parrot"


@pytest.mark.parametrize(
    ("entry", "name", "complaint"),
    [
        (make_parrot, None, "The provider name None will not do"),
        (make_parrot, "", "The provider name '' will not do"),
        (make_parrot, "Parrot", "The provider name 'Parrot' will not do"),
        (make_parrot, "a:b", "The provider name 'a:b' will not do"),
        (5, "five", "A int is no provider: register a ProviderSpec, or a function"),
        (None, None, "A NoneType is no provider"),
        (Parrot(), "parrot", "A Parrot is no provider"),
        (spec("acme"), "other", "The spec is named 'acme' and cannot stand under 'other'"),
        (spec("openai"), None, "The provider 'openai' is built in, and its name is taken."),
        (spec("groq"), None, "The provider 'groq' is built in, and its name is taken."),
        (spec("zebra"), None, "The provider 'zebra' comes with aichat-acme, and its name is taken."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("replace", [False, True])
def test_what_cannot_be_registered(
    entry: Any, name: str | None, complaint: str, replace: bool
) -> None:
    """
    Names are unique and valid; nobody takes ours, whatever they pass.  # G3
    """
    registry = registry_with(Plugin("zebra", spec("zebra")))
    before = list(registry)
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        registry.register(entry, name=name, replace=replace)
    assert list(registry) == before


def test_a_name_is_given_once_unless_it_is_replaced() -> None:
    """
    One's own registration can be replaced, on purpose.  # G3
    """
    first, second = spec("acme"), spec("acme", title="Second")
    registry = nothing_installed()
    registry.register(first, name="acme")
    assert registry["acme"] is first
    with pytest.raises(ConfigError, match=r"registered already\. Pass replace=True"):
        registry.register(second)
    assert registry["acme"] is first
    registry.register(second, replace=True)
    assert registry["acme"] is second
    registry.register(spec("new"), replace=True)
    assert "new" in registry


def test_registries_do_not_share_what_was_registered() -> None:
    """
    A registry is an object: a test makes its own.  # G3
    """
    registry = nothing_installed()
    registry.register(spec("acme"))
    assert "acme" not in nothing_installed()


# -- installed packages --------------------------------------------------------------


def test_an_installed_provider_is_loaded_when_first_asked_for() -> None:
    """
    And kept.  # G3
    """
    plugin = Plugin("acme", spec("acme"))
    registry = registry_with(plugin)
    assert "acme" in registry
    assert plugin.loads == 0
    assert registry["acme"] is registry["acme"] is plugin.entry
    assert plugin.loads == 1


def test_an_installed_factory_works_as_well() -> None:
    registry = registry_with(Plugin("parrot", make_parrot))
    assert registry["parrot"] is make_parrot


@pytest.mark.parametrize("name", ["openai", "groq"])
def test_an_installed_provider_does_not_take_our_name(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is ignored, and the log says so.  # G3
    """
    plugin = Plugin(name, spec(name, title="Not ours"))
    registry = registry_with(plugin)
    with caplog.at_level(logging.WARNING, "aichat"):
        assert list(registry).count(name) == 1
    assert f"'{name}' of aichat-acme is ignored" in caplog.text
    entry = registry[name]
    assert isinstance(entry, ProviderSpec)
    assert entry.title != "Not ours"
    assert plugin.loads == 0


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (ImportError("No module named 'acme_sdk'"), "ImportError: No module named 'acme_sdk'"),
        (AttributeError("SPEC"), "AttributeError: SPEC"),
        (RuntimeError("boom"), "RuntimeError: boom"),
        (5, "A int is no provider"),
        (spec("other"), "The spec is named 'other' and cannot stand under 'acme'"),
    ],
)  # fmt: skip
def test_a_broken_plugin_harms_only_those_who_ask_for_it(
    entry: object, reason: str
) -> None:
    """
    The error names the package; everybody else works.  # G3
    """
    registry = registry_with(Plugin("acme", entry))
    assert "acme" in list(registry)
    assert isinstance(registry["openai"], ProviderSpec)
    with pytest.raises(ConfigError) as broken:
        registry["acme"]
    assert "The provider 'acme' of aichat-acme cannot be loaded: " in str(broken.value)
    assert reason in str(broken.value)
    assert broken.value.__cause__ is not None


def test_a_plugin_that_is_interrupted_is_not_called_broken() -> None:
    registry = registry_with(Plugin("acme", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        registry["acme"]


def test_two_packages_with_one_name() -> None:
    """
    Which one is meant is not ours to say.  # G3
    """
    registry = registry_with(
        Plugin("acme", spec("acme")),
        Plugin("acme", spec("acme"), "acme_two:SPEC", dist=None),
    )
    assert list(registry).count("acme") == 1
    with pytest.raises(ConfigError, match="several packages: aichat-acme, acme_two"):
        registry["acme"]


def test_the_entry_points_of_this_interpreter_are_read() -> None:
    """
    A real entry point fits where the fake one does, and ours need none.
    """
    real = EntryPoint("acme", "aichat.providers.anthropic:SPEC", GROUP)
    registry = Registry(installed=lambda: [real])
    with pytest.raises(ConfigError, match=r"of aichat\.providers\.anthropic cannot be"):
        registry["acme"]
    assert set(Registry()) >= set(nothing_installed())


# -- describing ----------------------------------------------------------------------


def test_a_description_says_what_to_set() -> None:
    """
    Name, capabilities, key variables, models, and settings with their defaults.  # G3
    """
    registry = nothing_installed()
    registry.register(
        spec(
            "acme",
            description="Makes everything.",
            docs="https://acme.test",
            api_key_env=("ACME_API_KEY",),
            settings={"api_version": "v1", "deployment": None},
            capabilities={Capability.TOOLS},
            models=("anvil-2", "anvil-1"),
        )
    )
    assert registry.describe("acme") == (
        ProviderInfo(
            name="acme",
            title="Acme",
            description="Makes everything.",
            docs="https://acme.test",
            capabilities=frozenset({Capability.TOOLS}),
            required_settings=("api_key", "base_url", "deployment"),
            optional_settings={"api_version": "v1"},
            api_key_env=("ACME_API_KEY",),
            models=("anvil-2", "anvil-1"),
        ),
    )


def test_a_local_provider_requires_nothing() -> None:
    registry = nothing_installed()
    registry.register(spec("home", base_url="http://localhost:1", requires_key=False))
    (info,) = registry.describe("home")
    assert info.required_settings == ()
    assert info.optional_settings == {"base_url": "http://localhost:1"}


@pytest.mark.parametrize(
    ("factory", "description"),
    [(make_parrot, "A parrot that lives in this process."), (lambda _: Parrot(), "")],
)
def test_a_factory_is_described_by_its_first_sentence(
    factory: Callable[[ClientConfig], Provider], description: str
) -> None:
    registry = registry_with(Plugin("parrot", factory))
    assert registry.describe("parrot") == (
        ProviderInfo(
            name="parrot",
            title="parrot",
            description=description,
            package="aichat-acme",
        ),
    )


def test_every_provider_is_described() -> None:
    """
    A broken one says why, in the list of all; asked for by name it raises.  # G3
    """
    registry = registry_with(
        Plugin("acme", spec("acme")), Plugin("broken", RuntimeError("boom"))
    )
    registry.register(make_parrot, name="parrot")
    infos = {info.name: info for info in registry.describe()}
    assert list(infos) == list(registry)
    assert infos["acme"].package == "aichat-acme"
    assert infos["parrot"].package is infos["openai"].package is None
    assert "RuntimeError: boom" in (infos.pop("broken").error or "")
    assert all(info.error is None and info.title for info in infos.values())
    with pytest.raises(ConfigError, match="boom"):
        registry.describe("openai", "broken")


def test_every_built_in_provider_says_enough_to_be_chosen() -> None:
    """
    Metadata for every provider: a title, capabilities, and how to give it a key.  # G3
    """
    for info in nothing_installed().describe():
        assert info.title
        assert Capability.STREAMING in info.capabilities
        if "api_key" in info.required_settings:
            assert info.api_key_env


# -- threads -------------------------------------------------------------------------


def test_a_hundred_threads_register_and_look_up_at_once() -> None:
    """
    Everybody finds what they put there, each name is given once, nobody waits forever.  # G3
    """
    count = 100
    plugin = Plugin("zebra", spec("zebra"))
    registry = registry_with(plugin)
    start = Barrier(count)

    def work(number: int) -> tuple[object, ...]:
        mine = spec(f"own-{number}")
        start.wait(timeout=30)
        registry.register(mine)
        try:
            registry.register(spec("contested"))
            won = True
        except ConfigError:
            won = False
        assert registry[mine.name] is mine
        assert mine.name in list(registry)
        registry.describe(mine.name, "anthropic")
        return (won, registry["zebra"], registry["groq"], registry["openai"])

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(work, range(count), timeout=60))
    assert [won for won, *_ in found].count(True) == 1
    assert len({tuple(map(id, entries)) for _, *entries in found}) == 1
    assert sum(name.startswith("own-") for name in registry) == count


def test_loading_a_plugin_may_use_the_registry() -> None:
    """
    Nothing is held while a stranger's code runs.  # G3
    """
    base = nothing_installed()["openai-chat"]
    assert isinstance(base, ProviderSpec)

    class Derived(Plugin):
        def load(self) -> object:
            parent = registry["openai-chat"]
            assert isinstance(parent, ProviderSpec)
            registry.register(spec("side-effect"))
            return evolve(parent, name="derived")

    def installed() -> Iterable[Plugin]:
        return [Derived("derived")]

    registry = Registry(installed=installed)
    assert registry["derived"] == evolve(base, name="derived")
    assert "side-effect" in registry
