"""
Where Ollama listens, however it is written.

``OLLAMA_HOST`` is the server's variable as well: it may be no URL, and an address that
one can listen at but not connect to.

See: https://docs.ollama.com/faq
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DEFAULT", "base_url_of"]

#: Not ``localhost``: where that is an IPv6 address first, connecting may take seconds.
DEFAULT: Final = "http://127.0.0.1:11434"
_PORT: Final = "11434"
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:@?#\s\\]*)(?::(\d*))?")
#: "Everywhere" is where a server listens; clients find it here.
_HERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def base_url_of(host: str) -> str:
    """
    Make a URL of what ``OLLAMA_HOST`` may hold; what makes no sense stays as it is.

    >>> base_url_of("0.0.0.0"), base_url_of(":8080"), base_url_of("https://gpu.example")
    ('http://127.0.0.1:11434', 'http://127.0.0.1:8080', 'https://gpu.example')
    """
    host = host.strip()
    scheme, found, rest = host.partition("://")
    if not found:
        scheme, rest = "http", host
    authority, slash, path = rest.partition("/")
    if authority.count(":") > 1 and not authority.startswith("["):
        authority = f"[{authority}]"
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return host
    # With a scheme its own port applies, 80 or 443.
    port = match[2] or ("" if found else _PORT)
    name = _HERE.get(match[1], match[1])
    return f"{scheme}://{name}{':' if port else ''}{port}{slash}{path}".rstrip("/")
