"""Where a request goes, and what is refused before it does."""

from __future__ import annotations

import traceback

import pytest

from aichat.errors import ConfigError
from aichat.transport import HTTPRequest, check_base_url, check_headers
from aichat.transport._address import origin_of, secrets_of, url_of

KEY = "sk-0123456789"


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("https://api.example.com//", "https://api.example.com"),
        ("http://localhost:11434", "http://localhost:11434"),
        ("https://[::1]:8000/v1", "https://[::1]:8000/v1"),
    ],
)
def test_a_good_base_url(url: str, same: str) -> None:
    """It comes back without slashes at its end."""
    assert check_base_url(url, with_key=True) == same


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "does not begin"),
        ("api.example.com/v1", "does not begin"),
        ("ftp://example.com", "does not begin"),
        ("file:///etc/passwd", "does not begin"),
        ("https://", "no host"),
        ("https://:8080/v1", "no host"),
        ("https://user:secret@example.com", "user name"),
        ("https://user:secret/@example.com/v1", "is no URL"),
        ("https://user:a@secret@example.com", "user name"),
        ("user:secret@example.com", "does not begin"),
        ("https://example.com/v1?key=secret", "query"),
        ("https://example.com/v1#secret", "fragment"),
        ("https://@example.com", "user name"),
        ("https://example.com/v1?x=1", "query"),
        ("https://example.com/v1?", "query"),
        ("https://example.com/#x", "fragment"),
        ("https://example.com/v1\n", "control"),
        ("https://exa\tmple.com", "control"),
        ("https://example.com/ v1", "control"),
        ("https://example.com\\@evil.com", "backslash"),
        ("https://example.com:port", "is no URL"),
        ("https://example.com:99999", "is no URL"),
        ("https://[::1", "is no URL"),
    ],
)
def test_a_bad_base_url(url: str, why: str) -> None:
    """Refused when the client is made, with the reason and without a password."""  # X3
    with pytest.raises(ConfigError, match=why) as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.9", "172.16.1.1"),
        *("169.254.1.1", "ollama", "gpu.local", "llm.svc.internal", "x.localhost."),
    ],
)
def test_a_key_may_go_unencrypted_to_a_private_host(host: str) -> None:
    """Loopback, private networks, and names that are never public."""  # X2
    check_base_url(f"http://{host}:8000", with_key=True)


@pytest.mark.parametrize("host", ["api.example.com", "8.8.8.8", "[2001:4860::8888]"])
def test_a_key_does_not_go_unencrypted_to_a_public_host(host: str) -> None:
    """Unless somebody says that it may, or there is none."""  # X2
    with pytest.raises(ConfigError, match="unencrypted"):
        check_base_url(f"http://{host}/v1", with_key=True)
    check_base_url(f"http://{host}/v1", with_key=True, allow_insecure=True)
    check_base_url(f"http://{host}/v1")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"x-key": f"{KEY}\r\nx-evil: 1"}, "line end"),
        ({"x-key": f"{KEY}\n"}, "line end"),
        ({"x-key": f"{KEY}\0"}, "NUL"),
        ({"x-key": f" {KEY}"}, "blanks"),
        ({"x-key": f"{KEY}\u2026"}, "not ASCII"),
        ({"x key": KEY}, "name"),
        ({"x-key:": KEY}, "name"),
        ({"": KEY}, "name"),
        ({"x\r\ny": KEY}, "name"),
    ],
)
def test_a_bad_header(headers: dict[str, str], why: str) -> None:
    """One header must not become two, and its value must not be shown."""  # X1, X3
    with pytest.raises(ConfigError, match=why) as caught:
        check_headers(headers)
    assert KEY not in str(caught.value)
    innermost = list(traceback.walk_tb(caught.value.__traceback__))[-1][0]
    assert KEY not in repr(innermost.f_locals)


def test_good_headers() -> None:
    """Nothing to say."""
    check_headers({"authorization": f"Bearer {KEY}", "x-a_b.c": "1, 2; q=\t3", "y": ""})


@pytest.mark.parametrize(
    ("path", "query", "url"),
    [
        ("/chat", {}, "https://h/v1/chat"),
        ("chat", {}, "https://h/v1/chat"),
        ("", {}, "https://h/v1"),
        ("/models/a:stream", {"alt": "sse"}, "https://h/v1/models/a:stream?alt=sse"),
        ("/m", {"a": "b c&d", "e": "ü/"}, "https://h/v1/m?a=b%20c%26d&e=%C3%BC%2F"),
        # Whatever is in a model's name stays in the path.
        ("/models/a?key=x#y", {}, "https://h/v1/models/a%3Fkey=x%23y"),
        ("/models/a b\r\n", {}, "https://h/v1/models/a%20b%0D%0A"),
        ("/models/a%2Fb", {}, "https://h/v1/models/a%2Fb"),
        ("/models/ü", {}, "https://h/v1/models/%C3%BC"),
    ],
)
def test_the_whole_url(path: str, query: dict[str, str], url: str) -> None:
    """Joined and quoted."""  # X3
    assert url_of(HTTPRequest(path, query=query, base_url="https://h/v1")) == url


@pytest.mark.parametrize("path", ["/models/../admin", "/..", "/models/%2e%2E/admin"])
def test_a_path_does_not_leave_the_base_url(path: str) -> None:
    """A model called ``../admin`` is not asked for."""  # X3
    with pytest.raises(ConfigError, match="leaves"):
        url_of(HTTPRequest(path, base_url="https://h/v1"))


def test_which_values_are_secret() -> None:
    """By the names of their headers; a key with and without its scheme."""  # X1
    found = secrets_of({
        "Authorization": f"Bearer {KEY}",
        "x-goog-api-key": "another-key",
        "cookie": "short",
        "content-type": "application/json",
    })
    assert found == (f"Bearer {KEY}", KEY, "another-key")


def test_an_origin() -> None:
    """What is up or down as one."""
    assert origin_of("https://h:1/a/b") == origin_of("https://h:1") == "https://h:1"
