"""A folder of prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from aichat import ConfigError
from aichat.prompts import PromptLibrary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "greeting.md": "Hi $name",
        "greeting@2.md": "Hello $name",
        "greeting@10.toml": '[[messages]]\nuser = "Welcome $name"',
        "mails/reminder@3.yaml": "messages: [{user: Remind $name}]",
        "README.md": "Costs $5",
        "_draft.md": "$5",
        ".git/x.md": "$5",
        "mails/_old/a.md": "$5",
        "notes.txt": "$5",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (tmp_path / "odd.md").mkdir()
    return tmp_path


def test_by_name_and_version(folder: Path) -> None:
    """The newest if none is named, counted and not spelled: 10 comes after 2."""
    prompts = PromptLibrary(folder)
    assert prompts.get("greeting").messages[0].text == "Welcome $name"
    assert prompts.get("greeting", 2).messages[0].text == "Hello $name"
    assert prompts.get("greeting@1").messages[0].text == "Hi $name"
    assert prompts.versions("greeting") == (1, 2, 10)
    assert str(prompts.get("mails/reminder")) == "mails/reminder@3"
    assert set(prompts) == {"greeting", "mails/reminder"}
    assert "greeting" in prompts
    assert "README" not in prompts
    assert repr(prompts) == f"<PromptLibrary {str(folder)!r}: 2 prompts>"


def test_what_is_not_there(folder: Path) -> None:
    """Close names and the versions that there are. No name leads out of the folder."""
    prompts = PromptLibrary(folder)
    with pytest.raises(
        ConfigError, match=r"no prompt 'greting' .* Did you mean 'greeting'"
    ):
        prompts.get("greting")
    with pytest.raises(ConfigError, match=r"no version 3 of .*, only 1, 2, 10"):
        prompts.get("greeting@3")
    for name in ("../secret", "/etc/passwd", "zzz", "greeting@0"):
        with pytest.raises(ConfigError, match="There is no prompt"):
            prompts.get(name)
    with pytest.raises(ConfigError, match="There is no folder"):
        PromptLibrary(folder / "nowhere")


def test_everything_that_is_wrong(folder: Path) -> None:
    """At the start, all at once, by file."""
    for name, text in {
        "price.md": "$5",
        "greeting@1.md": "Hi",
        "a@b.md": "Hi",
        "c@0.md": "Hi",
    }.items():
        (folder / name).write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        PromptLibrary(folder)
    lines = caught.value.message.splitlines()
    assert len(lines) == 4
    assert "a@b.md: a version is a whole number from 1, as in name@2.md" in lines[0]
    assert "c@0.md: a version is" in lines[1]
    assert "are both greeting@1" in lines[2]
    assert "price.md: The prompt 'price' will not do: Line 1 has a dollar" in lines[3]
