"""
The web chat of the examples, in a real browser.

It takes Chromium and its driver (``apt-get install chromium chromium-driver``); without them
these tests skip. The browser is spoken to in the words of the standard, WebDriver, and sees
nothing but our own server.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from attrs import frozen

from aichat import Client, ProviderUnavailableError
from aichat.testing import FakeProvider, Simulator

FOLDER: Final = Path(__file__).parent.parent / "examples" / "web_chat"
DRIVER: Final = shutil.which("chromedriver")
BROWSER: Final = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,800",
    # Nobody is reached but us, whatever the page or the browser may want.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
needs_browser = pytest.mark.skipif(
    DRIVER is None or BROWSER is None,
    reason="no browser: apt-get install chromium chromium-driver",
)

MODELS: Final = ("openai-chat:simulated", "anthropic:simulated")
ENTER, SHIFT, ESCAPE, RELEASE = "\ue007", "\ue008", "\ue00c", "\ue000"
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"


def load() -> Any:
    """Import the example, which is no module of a package."""
    spec = spec_from_file_location("web_chat", FOLDER / "web_chat.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


server: Final = load()


# -- a browser -------------------------------------------------------------------------


@frozen
class Browser:
    """As much of WebDriver as is needed here: https://www.w3.org/TR/webdriver2/."""

    session: ClientSession
    url: str

    async def call(self, path: str, **body: Any) -> Any:
        """Give a command, and return what comes of it."""
        async with self.session.post(f"{self.url}/{path}", json=body) as answer:
            value = (await answer.json())["value"]
        assert answer.ok, value
        return value

    async def open(self, url: str) -> None:
        await self.call("url", url=url)

    async def run(self, script: str, *args: Any) -> Any:
        """Run a function's body in the page; what it returns may be a promise."""
        return await self.call("execute/sync", script=script, args=args)

    async def wait(self, script: str, *args: Any) -> Any:
        """Wait until the expression *script* is true in the page, looking at each frame."""
        looking = (
            "const args = arguments; return new Promise((done) => {"
            f"const look = () => {{ const found = ({script});"
            "found ? done(found) : requestAnimationFrame(look); }; look(); });"
        )
        return await self.run(looking, *args)

    async def element(self, css: str) -> str:
        found = await self.call("element", using="css selector", value=css)
        return str(found[_ELEMENT])

    async def click(self, css: str) -> None:
        await self.call(f"element/{await self.element(css)}/click")

    async def type(self, css: str, text: str) -> None:
        await self.call(f"element/{await self.element(css)}/value", text=text)

    async def text(self, css: str) -> str:
        """The text of the last element that *css* finds."""
        script = "return [...document.querySelectorAll(arguments[0])].at(-1)?.innerText"
        return str(await self.run(script, css))

    async def devtools(self, command: str, **params: Any) -> Any:
        return await self.call("goog/cdp/execute", cmd=command, params=params)

    async def console(self) -> list[str]:
        """What the page has complained about since this was asked last."""
        return [entry["message"] for entry in await self.call("se/log", type="browser")]


async def _driver() -> tuple[asyncio.subprocess.Process, str]:
    """Start chromedriver; once more if somebody else has taken the port that it had chosen."""
    assert DRIVER is not None
    for _ in range(3):
        driver = await asyncio.create_subprocess_exec(
            DRIVER,
            "--port=0",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert driver.stdout is not None
        while line := (await driver.stdout.readline()).decode():
            if port := re.search(r"successfully on port (\d+)", line):
                return driver, port[1]
        await driver.wait()
    raise AssertionError("chromedriver has ended")


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Browser]:
    """Run a browser, whose user is new to the world."""
    driver, port = await _driver()
    try:
        options = {
            "binary": BROWSER,
            "args": [*FLAGS, f"--user-data-dir={profile}"],
        }
        wanted = {
            "alwaysMatch": {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": 30_000},
            }
        }
        async with ClientSession() as session:
            root = Browser(session, f"http://127.0.0.1:{port}")
            made = await root.call("session", capabilities=wanted)
            browser = Browser(session, f"{root.url}/session/{made['sessionId']}")
            try:
                yield browser
            finally:
                await session.delete(browser.url)
    finally:
        driver.send_signal(signal.SIGTERM)
        await driver.communicate()


@asynccontextmanager
async def chatting(simulator: Simulator) -> AsyncIterator[str]:
    """Serve the chat before *simulator*."""
    async with (
        server.simulated(simulator) as client,
        server.serving(server.make_app(client, MODELS)) as url,
    ):
        yield url


async def say(browser: Browser, text: str) -> None:
    """Ask, as a person does."""
    await browser.type("#prompt", text + ENTER)


ANSWERED: Final = (
    "document.querySelectorAll('.assistant').length === args[0] && "
    "!document.querySelector('[aria-busy]')"
)


# -- with a browser --------------------------------------------------------------------


@needs_browser
async def test_a_conversation(tmp_path: Path) -> None:
    """One types, an answer streams in as Markdown, and the next question knows of it."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        await browser.wait("document.activeElement.id === 'prompt'")
        await say(browser, f"Two{SHIFT}{ENTER}{RELEASE}lines of code?")
        await browser.wait(ANSWERED, 1)
        assert await browser.text(".user") == "Two\nlines of code?"
        assert await browser.text(".assistant strong") == "4"
        assert "def answer() -> str:" in await browser.text(".assistant pre")
        assert re.fullmatch(r"\d+ tokens", await browser.text(".note"))

        await say(browser, "And?")
        await browser.wait(ANSWERED, 2)
        roles = [m["role"] for m in simulator.requests[-1].body["messages"]]
        assert roles == ["user", "assistant", "user"]

        await browser.click("#fresh")
        assert not await browser.run("return document.querySelector('article')")
        await say(browser, "Afresh.")
        await browser.wait(ANSWERED, 1)
        assert len(simulator.requests[-1].body["messages"]) == 1
        assert await browser.console() == []


@needs_browser
@pytest.mark.parametrize("how", ["button", "key"])
async def test_stopped_half_way(tmp_path: Path, how: str) -> None:  # C1
    """
    Stopping hangs up on the provider; what has been said stays, and can be talked about.
    """
    async with (
        Simulator(pace=0.01) as simulator,
        chatting(simulator) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        await say(browser, "Count to 100000.")
        await browser.wait("document.querySelector('.text')?.innerText.includes('5')")
        assert simulator.active == 1
        if how == "button":
            await browser.click("#stop")
        else:
            await browser.type("#prompt", ESCAPE)
        await browser.wait(ANSWERED, 1)
        await simulator.idle()
        assert simulator.disconnects == 1
        said = await browser.text(".assistant .text")
        assert "I count:" in said
        assert await browser.text(".note") == "Stopped"
        assert await browser.run("return document.activeElement.id") == "prompt"

        await say(browser, "Go on.")
        await browser.wait(ANSWERED, 2)
        partial = simulator.requests[-1].body["messages"][1]
        assert partial["role"] == "assistant"
        assert "I count:" in str(partial["content"])
        assert await browser.console() == []


@needs_browser
async def test_the_reader_leaves(tmp_path: Path) -> None:  # C1
    """A new chat in the middle of an answer, or another page: nobody pays for the rest."""
    async with (
        Simulator(pace=0.01) as simulator,
        chatting(simulator) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        for number, leave in enumerate(("fresh.click()", "location.reload()"), 1):
            await say(browser, "Count to 100000.")
            await browser.wait("document.querySelector('.text')?.innerText")
            await browser.run(leave)
            await simulator.idle()
            assert simulator.disconnects == number
        await browser.wait("document.querySelector('#welcome')")
        assert await browser.console() == []


@needs_browser
async def test_another_model(tmp_path: Path) -> None:
    """In the middle of a conversation another model may go on, which then knows it all."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        await browser.wait("model.options.length === 2")
        await say(browser, "Hello!")
        await browser.wait(ANSWERED, 1)
        await browser.type("#model", "anthropic")
        await say(browser, "And you?")
        await browser.wait(ANSWERED, 2)
        asked = [request.dialect for request in simulator.requests]
        assert asked == ["openai-chat", "anthropic"]
        assert len(simulator.requests[-1].body["messages"]) == 3
        assert await browser.text(".by") == "anthropic:simulated"
        assert await browser.console() == []


@needs_browser
async def test_an_error(tmp_path: Path) -> None:
    """It says what is wrong beside what had arrived, and one may try again."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        simulator.fail_next("error_event", after=6, message="The model fell asleep.")
        await say(browser, "Hello!")
        await browser.wait(ANSWERED, 1)
        assert "The model fell asleep." in await browser.text("[role=alert]")
        assert "simulator" in await browser.text(".assistant .text")

        await browser.click(".trouble button")
        await browser.wait("!document.querySelector('.trouble')")
        await browser.wait(ANSWERED, 1)
        assert "Hello!" in await browser.text(".assistant .text")
        assert len(simulator.requests[-1].body["messages"]) == 1
        assert await browser.console() == []


@needs_browser
async def test_an_error_before_the_first_word(tmp_path: Path) -> None:
    """It comes with a status, and says what the provider said."""
    down = ProviderUnavailableError("The model is overloaded.")
    client = Client({"fake": FakeProvider([down])}, model="fake:any")
    async with (
        client,
        server.serving(server.make_app(client, ["fake:any"])) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        await say(browser, "Hello!")
        await browser.wait(ANSWERED, 1)
        assert "The model is overloaded." in await browser.text("[role=alert]")
        # The browser itself makes a note of the status.
        assert [line for line in await browser.console() if "503" not in line] == []


HOSTILE: Final = """\
<img src=x onerror="window.hurt = 1"> <script>window.hurt = 2</script>

[a](javascript:window.hurt=3) [b](data:text/html,x) ![c](https://example.com/c.png)

```html"><img onerror=1>
<b>not bold</b>
"""


@needs_browser
async def test_whatever_a_model_says_stays_text(tmp_path: Path) -> None:
    """No markup, no script and no picture comes out of an answer."""
    client = Client({"fake": FakeProvider([HOSTILE])}, model="fake:any")
    async with (
        client,
        server.serving(server.make_app(client, ["fake:any"])) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        await say(browser, "Hurt me!")
        await browser.wait(ANSWERED, 1)
        kinds = await browser.run(
            "return [...document.querySelectorAll('.text *')].map((e) => e.localName)"
        )
        assert sorted(set(kinds)) == [
            "a",
            "button",
            "code",
            "div",
            "p",
            "pre",
            "span",
        ]
        links = "return [...document.querySelectorAll('.text a')].map((a) => a.href)"
        assert await browser.run(links) == ["https://example.com/c.png"]
        assert "<script>window.hurt = 2</script>" in await browser.run(
            "return log.innerText"
        )
        assert await browser.run("return window.hurt ?? null") is None
        assert await browser.console() == []


@needs_browser
async def test_markdown(tmp_path: Path) -> None:
    """The renderer draws what models write, and every beginning of it, without an error."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        for text, html in MARKDOWN:
            drawn = await browser.run(
                """
                const { update } = await import("/markdown.js");
                const grown = document.createElement("div");
                for (let to = 0; to <= arguments[0].length; to++) {
                  update(grown, arguments[0].slice(0, to));
                }
                const whole = document.createElement("div");
                update(whole, arguments[0]);
                return [grown.innerHTML, whole.innerHTML];
                """,
                text,
            )
            assert drawn == [html, html], text
        assert await browser.console() == []


@needs_browser
async def test_no_text_is_too_much(tmp_path: Path) -> None:
    """What is nested or repeated without end is drawn well before a script is stopped."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        browsing(tmp_path) as browser,
    ):
        await browser.open(url)
        for text in ENDLESS:
            drawn = await browser.run(
                """
                const { update } = await import("/markdown.js");
                const element = document.createElement("div");
                update(element, arguments[0]);
                return element.childNodes.length;
                """,
                text,
            )
            assert drawn >= 1, text[:10]
        assert await browser.console() == []


ENDLESS: Final = (
    *(piece * 20_000 for piece in ("[", "**a ", "_a ", "~~a ", "> ", "- ", "|", "# ")),
    "".join("`" * length + " " for length in range(1, 300)),
    "# a" + " #" * 20_000 + " " * 20_000 + "x",
    "\n".join("  " * depth + "- x" for depth in range(300)),
    "Some **bold** text, and `code`. " * 10_000,
)
_LINK: Final = 'target="_blank" rel="noopener noreferrer nofollow"'
_CODE: Final = (
    '<div class="code"><div><span>%s</span><button type="button">Copy</button></div>'
)
#: What is written, and what is drawn.
MARKDOWN: Final = (
    ("", ""),
    ("Hi", "<p>Hi</p>"),
    ("one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"),
    ("# A `b`\ntext", "<h1>A <code>b</code></h1><p>text</p>"),
    ("*a* _b_", "<p><em>a</em> <em>b</em></p>"),
    ("**a** __b__", "<p><strong>a</strong> <strong>b</strong></p>"),
    ("**a *b* c**", "<p><strong>a <em>b</em> c</strong></p>"),
    ("***a***", "<p><strong><em>a</em></strong></p>"),
    ("~~a~~", "<p><del>a</del></p>"),
    ("snake_case_name \\*a\\*", "<p>snake_case_name *a*</p>"),
    ("2 * 3 * 4 and **open", "<p>2 * 3 * 4 and **open</p>"),
    ("`a*b*` ``c`d``", "<p><code>a*b*</code> <code>c`d</code></p>"),
    ("<b> & &amp;", "<p>&lt;b&gt; &amp; &amp;amp;</p>"),
    ("[x](https://e.com/a_(b))", f'<p><a href="https://e.com/a_(b)" {_LINK}>x</a></p>'),
    (
        "at https://e.com/a.",
        f'<p>at <a href="https://e.com/a" {_LINK}>https://e.com/a</a>.</p>',
    ),
    (
        "- a\n- b\n  - c\n- d",
        (
            "<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li>"
            "<li><p>d</p></li></ul>"
        ),
    ),
    (
        "3. a\n\n   more\n4. b\n\ntext",
        '<ol start="3"><li><p>a</p><p>more</p></li><li><p>b</p></li></ol><p>text</p>',
    ),
    (
        "> a\n> > b",
        "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>",
    ),
    ("---", "<hr>"),
    (
        "| a | b |\n|---|:-:|\n| 1 | x\\|y |",
        (
            '<div class="table"><table><thead><tr><th>a</th><th>b</th></tr></thead>'
            "<tbody><tr><td>1</td><td>x|y</td></tr></tbody></table></div>"
        ),
    ),
    (
        "```py\na\n\n  b\n```\nc",
        f"{_CODE % 'py'}<pre><code>a\n\n  b</code></pre></div><p>c</p>",
    ),
    (
        "1. a\n   ```\n   x\n   ```",
        f'<ol start="1"><li><p>a</p>{_CODE % ""}<pre><code>x</code></pre></div></li></ol>',
    ),
)


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
async def test_it_fits(tmp_path: Path, scheme: str, width: int) -> None:
    """On a desk and on a telephone, by day and by night: nothing sticks out or is pale."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        browsing(tmp_path / "profile") as browser,
    ):
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        await browser.devtools("Emulation.setEmulatedMedia", features=media)
        await browser.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        await browser.open(url)
        await say(browser, f"Some code, {'and a very long word: ' + 'x' * 200}.")
        await browser.wait(ANSWERED, 1)
        sticking_out = "return document.documentElement.scrollWidth - innerWidth"
        assert await browser.run(sticking_out) == 0
        for css in ("body", ".user > div", ".text pre", ".by", ".note", "#prompt"):
            assert await browser.run(CONTRAST, css) >= 4.5, css
        named = await browser.run(
            "return [...document.querySelectorAll('button, select, textarea')]"
            ".map((e) => e.ariaLabel || e.labels?.[0]?.innerText || e.innerText)"
        )
        assert all(named), named
        assert await browser.console() == []


#: Of the text that *css* finds, as the Web Content Accessibility Guidelines compute it.
CONTRAST: Final = r"""
const rgb = (color) => color.match(/[\d.]+/g).map(Number);
const luminance = (color) => {
  const [r, g, b] = rgb(color).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const element = document.querySelector(arguments[0]);
let behind = element;
while (rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
const [dark, light] = [
  luminance(getComputedStyle(element).color),
  luminance(getComputedStyle(behind).backgroundColor),
].sort((a, b) => a - b);
return (light + 0.05) / (dark + 0.05);
"""


# -- without one -----------------------------------------------------------------------


async def test_what_the_server_refuses() -> None:
    """No model but those that are offered, no page of somebody else's, none of its files."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        ClientSession() as session,
    ):
        asked = {
            "model": "openai-chat:dearest",
            "messages": [{"role": "user", "text": "?"}],
        }
        async with session.post(f"{url}chat", json=asked) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["message"]
        async with session.post(f"{url}chat", data="{}") as answer:
            assert answer.status == 415
        async with session.get(f"{url}web_chat.py") as answer:
            assert answer.status == 404
        async with session.get(url) as answer:
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert simulator.request_count == 0


async def test_a_conversation_that_makes_no_sense() -> None:
    """What aichat refuses is refused with its words."""
    async with (
        Simulator() as simulator,
        chatting(simulator) as url,
        ClientSession() as session,
    ):
        asked: dict[str, Any] = {"model": MODELS[0], "messages": []}
        async with session.post(f"{url}chat", json=asked) as answer:
            assert answer.status == 400
            assert "message" in (await answer.json())["error"]
