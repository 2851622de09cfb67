"""The output file as a journal."""

from __future__ import annotations

import fcntl
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from aichat.bulk._index import IdIndex
from aichat.bulk._journal import Journal, entries_of
from aichat.bulk._lines import Form, as_output
from aichat.errors import ConfigError
from aichat.middleware import CallCost
from aichat.testing import reply
from aichat.types import fold

_COST = CallCost(by_kind={"input": Decimal("0.5")}, priced_as="m")
_FORMS = (Form.OURS, Form.CHAT, Form.RESPONSES)


def _lines(texts: list[str]) -> list[bytes]:
    return [
        as_output(f"q{i}", _FORMS[i % 3], fold(reply(text)), _COST if i % 2 else None)
        for i, text in enumerate(texts)
    ]


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.text(), min_size=1, max_size=6), data=st.data())
def test_a_file_that_was_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    """Has exactly the lines that are whole, the line feed of the last one or not."""
    path = tmp_path_factory.mktemp("journal") / "out"
    lines = _lines(texts)
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    zeros = data.draw(st.sampled_from([0, 3]))
    path.write_bytes(whole[:cut] + bytes(zeros))
    ends = [sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    # With zeros behind it, a line without its end is not whole.
    kept = sum(end <= cut or (end - 1 == cut and not zeros) for end in ends)
    expected = [f"q{i}" for i in range(kept)]
    with Journal(path) as journal:
        assert [entry.id for entry in journal.entries()] == expected
        journal.append(lines[0])
    assert path.read_bytes() == b"".join([*lines[:kept], lines[0]])
    assert [entry.cost for entry in entries_of(path)][:kept] == [
        Decimal("0.5") if i % 2 else None for i in range(kept)
    ]


@pytest.mark.parametrize("cut", [0, 1, 10])
def test_looking_changes_nothing(tmp_path: Path, cut: int) -> None:
    """A dry run reads past the torn line, and leaves it there."""
    path = tmp_path / "out"
    assert list(entries_of(path)) == []
    text = b"".join(_lines(["a", "b"]))
    path.write_bytes(text[: len(text) - cut])
    assert len(list(entries_of(path))) == (2 if cut < 2 else 1)
    assert len(path.read_bytes()) == len(text) - cut


@pytest.mark.parametrize(
    "content",
    [
        b"Dear diary,",
        b"one\ntwo\n",
        b'{"id": "a"}\n',
        b'{"id": 1, "response": {}}\n',
        b'{"id":"a","response":{}}\n\x00\x00\n',
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes) -> None:
    """Is left alone, to the byte."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"choose|Choose"), Journal(path) as journal:
        list(journal.entries())
    assert path.read_bytes() == content


def test_a_torn_line_that_is_longer_than_a_piece(tmp_path: Path) -> None:
    """Its beginning is found, however far back."""
    path = tmp_path / "out"
    first, second = _lines(["a", "b" * 3 * 2**20])
    path.write_bytes(first + second[:-5])
    with Journal(path) as journal:
        assert len(list(journal.entries())) == 1
    assert path.read_bytes() == first


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """Two would both ask for everything. The lock ends with its owner."""
    path = tmp_path / "out"
    with Journal(path), pytest.raises(ConfigError, match="Another run"):
        Journal(path)
    with Journal(path):
        pass


def test_nothing_is_left_of_a_run_that_was_refused(tmp_path: Path) -> None:
    """What was there before stays, empty or not; so does what has an answer."""
    path = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), Journal(path):
        _ = 1 / 0
    assert not path.exists()
    path.touch()
    with pytest.raises(ZeroDivisionError), Journal(path):
        _ = 1 / 0
    assert path.exists()
    path.unlink()
    (line,) = _lines(["a"])
    with pytest.raises(ZeroDivisionError), Journal(path) as journal:
        journal.append(line)
        _ = 1 / 0
    assert path.read_bytes() == line


@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_is_removed_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """Nothing is written where nobody finds it."""
    path = tmp_path / "out"
    lock = fcntl.flock

    def late(fd: int, how: int) -> None:
        lock(fd, how)
        path.unlink()
        if not gone:
            path.touch()

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ConfigError, match="Another run"):
        Journal(path)


def test_costs_and_models_that_are_none(tmp_path: Path) -> None:
    """Somebody's own lines may lack them."""
    path = tmp_path / "out"
    path.write_text(
        '{"id":"a","response":{},"cost":{"total":"x"}}\n'
        '{"id":"b","response":{},"cost":3,"model":3}\n\n'
    )
    assert list(entries_of(path)) == [("a", None, None), ("b", None, None)]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Half a line is taken back, and the error is the system's."""
    path = tmp_path / "out"
    line = _lines(["x" * 5000])[0]
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from aichat.bulk._journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(line) + 100},) * 2)\n"
        "line = sys.stdin.buffer.read()\n"
        "with Journal(Path(sys.argv[1])) as journal:\n"
        "    journal.append(line)\n"
        "    try:\n"
        "        journal.append(line)\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        input=line,
        capture_output=True,
        check=True,
        cwd=os.getcwd(),
    )
    assert b"too large" in done.stdout
    assert path.read_bytes() == line


def test_the_index() -> None:
    """What is done, what is not, what occurs twice."""
    with IdIndex() as index:
        index.add_done("a", "x:1")
        index.add_done("a", "x:2")
        index.add_done("c", "x:1")
        index.add_done("d")
        models = [index.model_of(name) for name in ("a", "c", "d", "nobody")]
        assert models == ["x:1", "x:1", None, None]
        assert index.add("a", 1, 0) == -1
        assert index.add("a", 5, 0) == 1
        assert index.add("b", 2, 1) == 0
        assert index.add("b", 3, 0) == 2
        assert (index.line_of("a"), index.line_of("b")) == (None, 2)
        assert index.form_of("b") == 1
        assert index.form_of("x") is None
        assert index.error_of("x") is None
        index.fail("b", b"{}")
        assert index.error_of("b") == b"{}"
        assert index.finish("b")
        assert not index.finish("b")
        assert not index.finish("x")
