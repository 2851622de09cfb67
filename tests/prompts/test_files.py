"""Prompts in files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aichat import ConfigError, Message, Role, Tool, assistant, system, user
from aichat.prompts import PromptTemplate, parse_markdown, read_prompt

WHOLE = """\
---
model: openai:gpt-5.1
temperature: 0.2
examples:
  - {user: "It costs $5", assistant: "Ça coûte 5 $"}
---
# system

You translate into $language.

Rules
-----
# of steps
## user

# User #
$text
"""


def said(prompt: PromptTemplate) -> list[tuple[str, str]]:
    return [(message.role.value, message.text) for message in prompt.messages]


def test_markdown() -> None:
    """Options above, then a heading for each role; other headings are text."""
    prompt = parse_markdown(WHOLE, name="translate")
    assert said(prompt) == [
        (
            "system",
            "You translate into $language.\n\nRules\n-----\n# of steps\n## user",
        ),
        ("user", "$text"),
    ]
    assert prompt.options == {"model": "openai:gpt-5.1", "temperature": 0.2}
    request = prompt.request(language="French", text="Hi")
    assert request.model == "openai:gpt-5.1"
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "user"]
    assert request.messages[1].text == "It costs $5"


def test_markdown_without_anything() -> None:
    """The text is the user's."""
    assert said(parse_markdown("\n\n  Greet $name.\n  Kindly.\n\n")) == [
        ("user", "  Greet $name.\n  Kindly.")
    ]


def test_headings_in_code() -> None:
    """A block of code is text, whatever its lines look like; so is an escaped line."""
    source = "# user\n```md\n# system\n~~~\n````\n\\# user\n```\n\\# system\n\\# other"
    assert said(parse_markdown(source)) == [
        (
            "user",
            source.removeprefix("# user\n").replace(
                "````\n\\# user\n```\n\\# system", "````\n# user\n```\n\\# system"
            ),
        )
    ]
    source = "# user\n```\n# system\n```\nText\n# assistant\nOk.\n# user\n```\n# user"
    assert [role for role, _ in said(parse_markdown(source))] == [
        "user",
        "assistant",
        "user",
    ]
    assert said(parse_markdown("# user\n\\# system\n\\# other")) == [
        ("user", "# system\n\\# other")
    ]


def test_line_ends() -> None:
    """Of Windows and of old Macs."""
    for end in ("\r\n", "\r"):
        assert parse_markdown(WHOLE.replace("\n", end)) == parse_markdown(WHOLE)


def test_options_in_toml() -> None:
    """Which needs no extra."""
    prompt = parse_markdown('+++\nmodel = "a:b"\nstop = ["x"]\n+++\n\nHi $name')
    assert prompt.request(name="A").stop == ("x",)
    assert parse_markdown("---\n---\nHi").options == {}


def test_all_options() -> None:
    """Tools, schemas and deadlines too."""
    prompt = parse_markdown("""\
---
syntax: jinja
tools:
  - {name: clock, description: Tells the time}
tool_choice: required
response_format: {type: object, properties: {a: {type: string}}}
reasoning_effort: low
deadlines: 30
provider_options: {openai: {service_tier: flex}}
---
{{ what }}
""")
    request = prompt.request(what="Now?")
    assert request.tools == (Tool("clock", "Tells the time"),)
    assert request.tool_choice is not None
    assert request.response_format is not None
    assert request.deadlines is not None
    assert request.messages == (user("Now?"),)


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("Hello\n# user\nHi", "text before the first heading"),
        ("# tool\nHi", "Line 1: results of tools"),
        ("---\nmodel: a\nHi", "no end: a line --- is missing"),
        ("---\n- a\n---\nHi", "must be names and values"),
        ("---\n1: a\n---\nHi", "must be names and values"),
        ("---\na: [\n---\nHi", r"Line \d is no YAML"),
        ("---\na: \x00\n---\nHi", "This is no YAML: it cannot be parsed"),
        ("+++\na = \n+++\nHi", "This is no TOML"),
        ("---\nmessages: []\n---\nHi", "stand below the options"),
        ("---\ntemprature: 1\n---\nHi", "no option 'temprature'"),
        ("---\ntemperature: hot\n---\nHi", "temperature must be 0 to 2"),
        ("---\nexamples: {}\n---\nHi", "examples must be a list, not a dict"),
        ("---\nexamples: [a]\n---\nHi", r"examples\[0\] must be \{user"),
        ("---\nexamples: [{user: a}]\n---\nHi", r"examples\[0\] must be \{user"),
        (
            "---\nexamples: [{user: a, assistant: 1}]\n---\nHi",
            "assistant says is a int",
        ),
        ("---\ntools: [{description: a}]\n---\nHi", r"tools\[0\]: This is no Tool"),
        ("---\nmodel: 2026-01-01\n---\nHi", "model must be a str"),
        (
            "---\nmetadata: {a: 2026-01-01}\ntools: [{name: 2026-01-01}]\n---\nHi",
            r"tools\[0\]",
        ),
        ("", "has nothing but empty text"),
        ("# user\n# assistant\nHi", r"\(user\) has no content"),
    ],
)
def test_markdown_that_will_not_do(source: str, wrong: str) -> None:
    """One clear error."""
    with pytest.raises(ConfigError, match=wrong):
        parse_markdown(source)


YAML = """\
model: a:b
messages:
  - system: Be $how.
  - user: Hi
    assistant: Hello
  - role: user
    content:
      - {type: text, text: $what}
      - {type: image, url: "https://example.com/cat.png"}
"""
TOML = """\
model = "a:b"
[[messages]]
system = "Be $how."
[[messages]]
user = "Hi"
assistant = "Hello"
[[messages]]
role = "user"
[[messages.content]]
type = "text"
text = "$what"
[[messages.content]]
type = "image"
url = "https://example.com/cat.png"
"""


@pytest.mark.parametrize(
    ("name", "source"), [("a.yaml", YAML), ("a.yml", YAML), ("a.toml", TOML)]
)
def test_files_of_messages(tmp_path: Path, name: str, source: str) -> None:
    """Short, or in our own JSON's form where there is more than text."""
    path = tmp_path / name
    path.write_text(source, "utf-8")
    prompt = read_prompt(path)
    assert prompt.name == "a"
    messages = prompt.render(how="brief", what="Look!")
    assert messages[:3] == (system("Be brief."), user("Hi"), assistant("Hello"))
    assert len(messages[3].content) == 2
    assert prompt.options == {"model": "a:b"}


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("model: a", "There are no messages"),
        ("", "There are no messages"),
        ("messages: Hi", "messages must be a list, not a str"),
        ("messages: [Hi]", r"messages\[0\] must be a role and a text"),
        ("messages: [{}]", r"messages\[0\] must be a role and a text"),
        ("messages: [{king: Hi}]", r"messages\[0\] must be a role and a text"),
        ("messages: [{tool: Hi}]", r"messages\[0\] must be a role and a text"),
        ("messages: [{role: king}]", r"messages\[0\]: This is no Message"),
        ("messages: [{role: user, content: 2026-01-01}]", r"messages\[0\]: "),
    ],
)
def test_files_that_will_not_do(tmp_path: Path, source: str, wrong: str) -> None:
    """The error names the file."""
    path = tmp_path / "bad.yaml"
    path.write_text(source, "utf-8")
    with pytest.raises(ConfigError, match=f"bad.yaml: .*{wrong}"):
        read_prompt(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Not there, not a text, not of a kind that we know."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_prompt(tmp_path / "none.md")
    (tmp_path / "image.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read: it is not UTF-8"):
        read_prompt(tmp_path / "image.md")
    with pytest.raises(ConfigError, match=r"must end in \.md"):
        read_prompt(tmp_path / "a.txt")
    (tmp_path / "bom.md").write_text("\ufeff# user\nHi", "utf-8")
    assert read_prompt(tmp_path / "bom.md").messages == (Message(Role.USER, "Hi"),)


def test_without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra, and what works without it."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"pip install 'aichat\[yaml\]'.*TOML"):
        parse_markdown(WHOLE)
