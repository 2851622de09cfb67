"""Where a request goes: checks that refuse what could send a key somewhere else (X2, X3)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote, urlencode, urlsplit

from ..errors import ConfigError
from ..types._secret import is_secret
from ._wire import HTTPRequest

__all__ = ["check_base_url", "check_headers", "origin_of", "secrets_of", "url_of"]

# RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: Shorter ones are placeholders of local servers; cutting them out would eat the message.
_SHORTEST_SECRET = 8
# What RFC 3986 allows in a path, and ``%``: a provider may have quoted already.
_IN_PATH = "/:@!$&'()*+,;=-._~%"


@lru_cache(maxsize=256)
def check_base_url(
    url: str, *, with_key: bool = False, allow_insecure: bool = False
) -> str:
    """
    Return *url* without slashes at its end, or raise `ConfigError`.

    A key goes over ``http://`` only to loopback and private hosts, unless *allow_insecure*.
    """
    bad = _bad_base_url(url)
    if bad is None and with_key and not allow_insecure and not _is_safe(url):
        bad = (
            "would send the key unencrypted. Use https://, or say allow_insecure=True "
            "if that is all right"
        )
    if bad is not None:
        raise ConfigError(f"The base URL {_shown(url)!r} {bad}.")
    return url.rstrip("/")


def _bad_base_url(url: str) -> str | None:
    # `urlsplit` drops line ends and tabs without a word, so these come first.
    if re.search(r"[\x00-\x20\x7f\\]", url):
        return "holds a space, a backslash or a control character"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises if it is none
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    if not host:
        return "has no host"
    if "@" in parts.netloc:
        return "holds a user name or password: pass the key as api_key"
    if "?" in url:
        return "holds a query"
    if "#" in url:
        return "holds a fragment"
    return None


def _shown(url: str) -> str:
    """*url* without what may be a password or a key, however wrong the rest of it is."""
    scheme, slashes, rest = url.rpartition("://")
    _, at, place = rest.rpartition("@")
    shown = f"{scheme}{slashes}***@{place}" if at else url
    return re.sub(r"([?#]).*", r"\1***", shown, flags=re.DOTALL)[:200]


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    host = (parts.hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # Names without a dot, and those that are never on the public net (RFC 6762,
        # RFC 8375, RFC 2606); in containers and clusters services are called like this.
        local = (".localhost", ".local", ".internal", ".home.arpa", ".test", ".lan")
        return "." not in host or host.endswith(local)
    return address.is_loopback or address.is_private or address.is_link_local


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a header that would become two, or none."""
    bad = _bad_header(headers)
    del headers  # an error reporter that shows local variables would show the key
    if bad is not None:
        raise ConfigError(bad)


def _bad_header(headers: Mapping[str, str]) -> str | None:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            return f"The header name {name[:100]!r} is not allowed."
        if re.search(r"[\r\n\0]", value) or value != value.strip(" \t"):
            return (
                f"The value of the header {name!r} holds a line end, a NUL, or blanks "
                "at its ends. Was the key copied with its line end?"
            )
        if not value.isascii():
            return f"The value of the header {name!r} is not ASCII."
    return None


def url_of(request: HTTPRequest) -> str:
    """The whole URL of *request*; its base URL has been checked."""
    path = request.path
    if path and not path.startswith("/"):
        path = f"/{path}"
    # A model's name may be in it: nothing in there may start a query or leave the folder.
    path = quote(path, safe=_IN_PATH)
    if ".." in unquote(path).split("/"):
        raise ConfigError(f"The path {path[:200]!r} leaves the base URL.")
    query = urlencode(request.query, quote_via=quote)
    return f"{request.base_url}{path}{'?' if query else ''}{query}"


@lru_cache(maxsize=256)
def origin_of(base_url: str) -> str:
    """Scheme, host and port: what is up or down as one."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}"


def secrets_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values in *headers* that no error may show, longest first."""
    found = set[str]()
    for name, value in headers.items():
        if is_secret(name):
            # "Bearer x" is as secret as "x", and x may hold a space.
            found.update((value, value.partition(" ")[2], value.rpartition(" ")[2]))
    return tuple(
        sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)
    )
