"""A folder of prompts, by name and version."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from ..errors import ConfigError
from ._files import SUFFIXES, read_prompt
from ._template import PromptTemplate

__all__ = ["PromptLibrary"]

_VERSIONED: Final = re.compile(r"(.+?)@([1-9][0-9]{0,8})")


@final
class PromptLibrary:
    """
    The prompts in *folder* and the folders below it: ``greeting.md``, ``greeting@2.md``.

    A file without a version is version 1. Names have no ending, and slashes where there are
    folders, as in ``mails/reminder``. Files that are called ``README.md``, or begin with a
    dot or an underscore, are none. All of them are read at once (it blocks: a thread may be
    kinder), so that whatever is wrong with any is known at the start: raises `ConfigError`
    that names every file. Later changes of the files are not seen::

        prompts = PromptLibrary("prompts")
        await client.complete(prompts.get("greeting").request(name="Ada"))
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._prompts: dict[str, dict[int, PromptTemplate]] = {}
        if not self._folder.is_dir():
            raise ConfigError(f"There is no folder {self._folder}.")
        wrong: list[str] = []
        files: dict[tuple[str, int], Path] = {}
        for path in sorted(self._folder.rglob("*")):
            try:
                self._add(path, files)
            except ConfigError as error:
                wrong.append(error.message)
        if wrong:
            raise ConfigError("\n".join(wrong))

    def get(self, name: str, version: int | None = None) -> PromptTemplate:
        """
        Return a prompt by its name, or ``"name@2"``; the newest one without a *version*.

        Raises `ConfigError` for one that there is not.
        """
        if version is None and (found := _VERSIONED.fullmatch(name)):
            name, version = found[1], int(found[2])
        versions = self.versions(name)
        if version is None:
            version = versions[-1]
        if version not in versions:
            there_are = ", ".join(map(str, versions))
            raise ConfigError(
                f"There is no version {version} of the prompt {name!r}, only {there_are}."
            )
        return self._prompts[name][version]

    def versions(self, name: str) -> tuple[int, ...]:
        """The versions of a prompt, the newest last. Raises `ConfigError`."""
        if name not in self._prompts:
            close = difflib.get_close_matches(name, self._prompts, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"There is no prompt {name!r} in {self._folder}.{hint}")
        return tuple(sorted(self._prompts[name]))

    def __contains__(self, name: object) -> bool:
        return name in self._prompts

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)

    def __repr__(self) -> str:
        return f"<PromptLibrary {str(self._folder)!r}: {len(self)} prompts>"

    def _add(self, path: Path, files: dict[tuple[str, int], Path]) -> None:
        place = path.relative_to(self._folder)
        if (
            path.suffix.lower() not in SUFFIXES
            or path.name.lower() == "readme.md"
            or any(part.startswith((".", "_")) for part in place.parts)
            or not path.is_file()
        ):
            return
        name, version = place.with_suffix("").as_posix(), 1
        if found := _VERSIONED.fullmatch(name):
            name, version = found[1], int(found[2])
        if "@" in name:
            raise ConfigError(
                f"{path}: a version is a whole number from 1, as in name@2{path.suffix}."
            )
        if other := files.get((name, version)):
            raise ConfigError(f"{path} and {other} are both {name}@{version}.")
        files[name, version] = path
        prompt = read_prompt(path, name=name, version=version)
        self._prompts.setdefault(name, {})[version] = prompt
