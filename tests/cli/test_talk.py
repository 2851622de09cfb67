"""What can be done in a conversation besides asking."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aichat.cli._history import History, history_file
from aichat.conversations import Conversation
from aichat.testing import Simulator

from .conftest import Outcome, Serve, Served, Terminal, press_ctrl_c, run

_PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def talk(served: Served, *typed: str, argv: tuple[str, ...] = ()) -> Outcome:
    """Type these lines."""
    lines = Terminal("".join(f"{line}\n" for line in typed))
    return run("chat", *argv, environ=served.environ, stdin=lines)


def asked(served: Served, number: int = -1) -> list[tuple[str, Any]]:
    """The messages of that request, as the server got them."""
    messages = served.simulator.requests[number].body["messages"]
    return [(message["role"], message["content"]) for message in messages]


def test_help(serve: Serve) -> None:
    """Every command, and nothing is asked."""
    served = serve()
    outcome = talk(served, "/help")
    assert "  /save FILE        write the conversation to a file\n" in outcome.out
    assert served.simulator.request_count == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/hisory", "There is no /hisory. Did you mean /history?"),
        ("/zzz", "There is no /zzz. /help shows what there is."),
        ("/clear all", "/clear takes nothing behind it."),
        ("/save", "Say which: /save FILE."),
        ("/load missing.json", "missing.json cannot be read: No such file"),
        ("/save missing/talk.json", "missing/talk.json cannot be written: No such"),
        ("/image missing.png", "missing.png cannot be read: No such file"),
        ("/model antropic:claude", "Did you mean 'anthropic'?"),
        ("/retry", "There is no question yet"),
    ],
)
def test_a_command_that_cannot_be_done(serve: Serve, line: str, told: str) -> None:
    """One line that says what to do instead; the conversation goes on."""
    served = serve()
    outcome = talk(served, line, "Hi")
    assert outcome.status == 0
    assert told in outcome.err
    assert asked(served) == [("user", "Hi")]


def test_what_only_looks_like_a_command(serve: Serve) -> None:
    """A path is a question, and so is what is indented."""
    served = serve()
    talk(served, "/etc/passwd is what?", " /help")
    assert asked(served, 0) == [("user", "/etc/passwd is what?")]
    assert asked(served)[-1] == ("user", " /help")


def test_the_system_prompt(serve: Serve) -> None:
    """Shown, changed, and taken away."""
    served = serve()
    outcome = talk(
        served,
        *("/system", "/system Be kind.", "One.", "/system -", "Two."),
        argv=("-s", "Be brief."),
    )
    assert "(system: Be brief.)" in outcome.err
    assert "(system: Be kind.)" in outcome.err
    assert "(no system prompt)" in outcome.err
    assert asked(served, 0) == [("system", "Be kind."), ("user", "One.")]
    assert [role for role, _ in asked(served)] == ["user", "assistant", "user"]


def test_the_model(serve: Serve) -> None:
    """Shown, and changed for what follows."""
    served = serve()
    outcome = talk(served, "/model", "One.", "/model other", "Two.")
    assert "(model: openai-chat:simulated)" in outcome.err
    assert "(model: openai-chat:other)" in outcome.err
    models = [request.body["model"] for request in served.simulator.requests]
    assert models == ["simulated", "other"]


def test_clear(serve: Serve) -> None:
    """All is forgotten but the system prompt."""
    served = serve()
    talk(served, "One.", "/clear", "Two.", argv=("-s", "Be brief."))
    assert asked(served) == [("system", "Be brief."), ("user", "Two.")]


def test_asking_again(serve: Serve) -> None:
    """The same question, without the answer that one did not like."""
    served = serve()
    talk(served, "One.", "Two.", "/retry")
    assert asked(served, 2) == asked(served, 1)


def test_asking_again_what_failed(serve: Serve) -> None:
    """A question that has no answer is not in the conversation, but not forgotten."""
    served = serve()
    served.simulator.fail_next(status=503)
    outcome = talk(served, "One.", "/retry", "Two.")
    assert "Error: openai-chat:simulated [503]" in outcome.err
    assert asked(served, 1) == [("user", "One.")]
    assert [role for role, _ in asked(served, 2)] == ["user", "assistant", "user"]


def test_asking_again_and_it_fails(serve: Serve) -> None:
    """The old answer is better than none."""
    served = serve()
    script = Terminal("One.\n/retry\nTwo.\n")

    class Failing(io.StringIO):
        """Has the next request fail once the first answer is there."""

        def write(self, text: str) -> int:
            if "backwards" in text and served.simulator.request_count == 1:
                served.simulator.fail_next(status=503)
            return super().write(text)

    outcome = run("chat", environ=served.environ, stdin=script, stdout=Failing())
    assert "[503]" in outcome.err
    assert served.simulator.request_count == 3
    assert [role for role, _ in asked(served)] == ["user", "assistant", "user"]


def test_saving_and_loading(serve: Serve, tmp_path: Path) -> None:
    """All of it, with the system prompt; it can be gone on with, and read by programs."""
    served = serve()
    file = tmp_path / "talk.json"
    outcome = talk(served, "One.", f"/save {file}", argv=("-s", "Be brief."))
    assert f"(saved: 3 messages, in {file})" in outcome.err
    saved = Conversation.from_json(file.read_bytes())
    assert [str(message.role) for message in saved] == ["system", "user", "assistant"]
    outcome = talk(served, f"/load {file}", "/history", "Two.", f"/save {file}")
    assert "(loaded: 3 messages" in outcome.err
    assert "(saved: 5 messages" in outcome.err
    assert "(system: Be brief.)\n> One.\nThis is aichat's" in outcome.out
    assert [content for _, content in asked(served)][:2] == ["Be brief.", "One."]
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_there_already(serve: Serve, tmp_path: Path) -> None:
    """It is not written over without a question."""
    served = serve()
    file = tmp_path / "talk.json"
    file.write_text("precious")
    outcome = talk(served, f"/save {file}", "n", f"/save {file}")
    assert outcome.err.count("(not saved)") == 2
    assert file.read_text() == "precious"
    outcome = talk(served, f"/load {file}", f"/save {file}", "y")
    assert f"{file} holds no conversation" in outcome.err
    assert "(saved: 0 messages" in outcome.err


def test_a_place_that_takes_no_file(serve: Serve, tmp_path: Path) -> None:
    """Nothing is left there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    outcome = talk(serve(), "One.", f"/save {folder}", "y")
    assert f"{folder} cannot be written: Is a directory." in outcome.err
    assert list(tmp_path.iterdir()) == [folder]


def test_looking_back_at_thoughts(serve: Serve) -> None:
    """They were said to nobody."""
    argv = ("--effort", "low", "--reasoning")
    outcome = talk(serve(), "One.", "/history", argv=argv)
    assert "The user wrote" in outcome.err
    assert "The user wrote" not in outcome.out


def test_looking_back(serve: Serve, tmp_path: Path) -> None:
    """What has no words is named."""
    picture = tmp_path / "cat.png"
    picture.write_bytes(_PNG)
    outcome = talk(serve(), "/history", f"/image {picture}", "What is it?", "/history")
    assert "(Nothing was said yet.)" in outcome.err
    assert "(a picture goes with the next question)" in outcome.err
    assert "(image)\n> What is it?\nThis is aichat's" in outcome.out


def test_pictures_go_with_one_question(serve: Serve, tmp_path: Path) -> None:
    """With the first that is answered."""
    served = serve()
    picture = tmp_path / "cat.png"
    picture.write_bytes(_PNG)
    served.simulator.fail_next(status=503)
    argv = ("--image", str(picture), "-i", "https://example.com/dog.png")
    talk(served, "/image " + str(picture), "One.", "One?", "Two.", argv=argv)
    _, content = asked(served, 1)[0]
    assert [part["type"] for part in content] == ["image_url"] * 3 + ["text"]
    assert asked(served, 2)[-1] == ("user", "Two.")


class Keys(Terminal):
    """Somebody presses Ctrl-C once, then types on."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._pressed = False

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]  # typeshed looks at the bytes' base
        if not self._pressed:
            self._pressed = True
            raise KeyboardInterrupt
        return super().readline()


def test_ctrl_c_at_the_prompt_once(serve: Serve) -> None:
    """It drops what was typed, and says what ends the conversation."""
    outcome = run("chat", environ=serve().environ, stdin=Keys("Hi\n"))
    assert outcome.status == 0
    assert "so does Ctrl-C again" in outcome.err
    assert "“Hi”" in outcome.out


_TOOLS = """
async def get_weather(city: str) -> str:
    return f"It is warm in {city}."

def get_time(city: str) -> str:
    raise RuntimeError("no clock")

def get_text() -> str:
    return "long " * 100

ALL = [get_weather, get_time]
NUMBER = 7
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with functions, in the current folder."""
    name = f"tools_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(_TOOLS)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_conversation_with_tools(serve: Serve, tools: str) -> None:
    """Each is asked for, unless it is always allowed; the results stay in it."""
    served = serve()
    lines = ("The weather in Rome?", "maybe", "y", "And the weather in Bonn?", "n")
    outcome = talk(served, *lines, "/history", argv=("--tools", f"{tools}:ALL"))
    assert outcome.err.count('→ get_weather({"city": ') == 2
    assert outcome.err.count("Call it?") == 3
    assert "← It is warm in" in outcome.err
    assert "← not called: The user does not allow it." in outcome.err
    roles = [role for role, _ in asked(served)]
    once = ["user", "assistant", "tool"]
    assert roles == [*once, "assistant", *once]
    assert "← It is warm in" in outcome.out


def test_nobody_answers_whether_to_call(serve: Serve, tools: str) -> None:
    """That is no yes."""
    argv = ("--tools", f"{tools}:get_weather")
    outcome = talk(serve(), "The weather in Rome?", argv=argv)
    assert "← not called" in outcome.err


def test_always_this_one(serve: Serve, tools: str) -> None:
    """Until the conversation ends, and no other."""
    lines = ("The weather in Rome?", "a", "The weather in Bonn?", "The time?", "n")
    outcome = talk(serve(), *lines, argv=("--tools", f"{tools}:ALL"))
    assert outcome.err.count("Call it?") == 2
    assert outcome.err.count("← It is warm in") == 2


def test_a_conversation_in_a_thread(serve: Serve, tools: str) -> None:
    """There is no Ctrl-C there, and nothing that has to be done about it."""
    served = serve()
    argv = ("--tools", f"{tools}:get_weather")
    with ThreadPoolExecutor() as threads:
        outcome = threads.submit(
            lambda: talk(served, "The weather in Rome?", "y", argv=argv)
        ).result(timeout=30)
    assert "← It is warm in" in outcome.err


class Hesitant(Terminal):
    """Presses Ctrl-C when asked, and then goes on."""

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]  # typeshed looks at the bytes' base
        line = super().readline()
        if line == "^C\n":
            press_ctrl_c()
        return line


def test_ctrl_c_when_asked_stops_the_answer(serve: Serve, tools: str) -> None:
    """Nothing is called, what was said stays, and the conversation goes on. (C1)"""
    served = serve()
    outcome = run(
        *("chat", "--tools", f"{tools}:get_weather"),
        environ=served.environ,
        stdin=Hesitant("The weather in Rome?\n^C\nGo on.\n"),
    )
    assert outcome.status == 0
    assert "(stopped)" in outcome.err
    assert "←" not in outcome.err
    assert [role for role, _ in asked(served)] == ["user", "assistant", "user"]


def test_tools_of_a_program(serve: Serve, tools: str) -> None:
    """Calls are shown on stderr, and only the answers on stdout."""
    served = serve()
    argv = ("complete", "--yes-tools", "--stats", "--tools", f"{tools}:ALL")
    outcome = run(*argv, "Weather and time in Rome?", environ=served.environ)
    assert outcome.status == 0
    assert "← It is warm in" in outcome.err
    assert "← failed: RuntimeError: no clock" in outcome.err
    assert "→" not in outcome.out
    assert "first chunk 0." in outcome.err
    quiet = run(*argv, "--no-stream", "Weather in Rome?", environ=served.environ)
    assert quiet.out.count("This is aichat's") == 1
    assert "The tools answered" in quiet.out


def test_no_calls_at_all(serve: Serve, tools: str) -> None:
    """The model is told so, and a long result is not shown to its end."""
    argv = ("complete", "--tools", f"{tools}:get_text", "--approve")
    outcome = run(*argv, "never", "Get the text.", environ=serve().environ)
    assert "→ get_text({})" in outcome.err
    assert "← not called: The user does not allow any calls." in outcome.err
    outcome = run(*argv, "always", "Get the text.", environ=serve().environ)
    assert "long … (0." in outcome.err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{}", "say module:function"),
        ("{}:", "say module:function"),
        ("{}:get_wether", "there is no get_wether in {}. Did you mean get_weather?"),
        ("{}:zzz", "there is no zzz in {}."),
        ("{}:NUMBER", "A tool is a function, not 7."),
        ("no_such_module:f", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_tool_that_is_none(tools: str, name: str, told: str) -> None:
    """Exit status 2 before anything is sent, and what is wrong. (G1)"""
    outcome = run("complete", "--tools", name.format(tools), "Hi")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert told.format(tools) in outcome.err


def test_nobody_can_be_asked(tools: str) -> None:
    """That is said at once, and not when the model wants to call."""
    argv = ("complete", "--tools", f"{tools}:get_weather", "Hi")
    outcome = run(*argv, stdin=io.StringIO("piped in"))
    assert outcome.status == 2
    assert "pass --approve always, or never" in outcome.err


def test_where_the_history_is() -> None:
    """By the rules of XDG; somebody without a home has none."""
    assert history_file({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path(
        "/s/aichat/history"
    )
    assert history_file({"HOME": "/h"}) == Path("/h/.local/state/aichat/history")
    assert history_file({}) is None


class Readline:
    """As much of the module as is used."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.auto = True
        self.longest = -1
        self.complete: Any = None

    def set_auto_history(self, on: bool) -> None:
        self.auto = on

    def get_current_history_length(self) -> int:
        return len(self.lines)

    def get_history_item(self, number: int) -> str:
        return self.lines[number - 1]

    def add_history(self, line: str) -> None:
        self.lines.append(line)

    def read_history_file(self, file: str) -> None:
        self.lines += Path(file).read_text().splitlines()

    def set_history_length(self, length: int) -> None:
        self.longest = length

    def write_history_file(self, file: str) -> None:
        self.lines = self.lines[-self.longest :]
        Path(file).write_text("".join(f"{line}\n" for line in self.lines))

    def append_history_file(self, count: int, file: str) -> None:
        with Path(file).open("a") as opened:
            opened.writelines(f"{line}\n" for line in self.lines[-count:])

    def set_completer(self, completer: Any) -> None:
        self.complete = completer

    def set_completer_delims(self, _: str) -> None: ...
    def parse_and_bind(self, _: str) -> None: ...


def test_a_history(tmp_path: Path) -> None:
    """Only its owner may read it; what is said twice is in it once."""
    file = tmp_path / "state" / "history"
    readline = Readline()
    history = History(readline, file, words=["/save", "/system"])
    for line in ("One.", "One.", "  ", "Two."):
        history.add(line)
    assert file.read_text() == "One.\nTwo.\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not readline.auto
    assert [readline.complete("/s", n) for n in range(3)] == ["/save", "/system", None]
    assert readline.complete("", 0) is None


def test_a_long_history_is_cut(tmp_path: Path) -> None:
    """The newest thousand lines stay."""
    file = tmp_path / "history"
    file.write_text("".join(f"{n}\n" for n in range(1500)))
    readline = Readline()
    History(readline, file)
    assert len(file.read_text().splitlines()) == 1000
    assert readline.lines[-1] == "1499"


def test_a_history_that_cannot_be_kept(tmp_path: Path) -> None:
    """It is there for this conversation."""
    (tmp_path / "file").write_text("")
    readline = Readline()
    History(readline, tmp_path / "file" / "history").add("One.")
    assert readline.lines == ["One."]
    sparse = SimpleNamespace(**{
        name: getattr(readline, name) for name in dir(readline) if "_" in name[1:]
    })
    del sparse.append_history_file, sparse.set_auto_history
    History(sparse, None).add("Two.")
    assert readline.lines == ["One.", "Two."]


def test_a_stopped_answer_can_be_asked_for_again(serve: Serve) -> None:
    """Where nothing had come, the question is still known."""
    served = serve(Simulator(pace=0.005))

    class Stopping(io.StringIO):
        def write(self, text: str) -> int:
            if "This" in text and served.simulator.request_count == 1:
                press_ctrl_c()
            return super().write(text)

    typed = Terminal("Count to 100000\n/retry\n/exit\n")
    environ = {**served.environ, "AI_MAX_RETRIES": "0"}
    outcome = run(
        "chat", "--max-tokens", "30", environ=environ, stdin=typed, stdout=Stopping()
    )
    assert outcome.status == 0
    assert asked(served, 1) == [("user", "Count to 100000")]
