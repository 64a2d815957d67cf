"""What a head says in one way only, so that whoever read it on the way has read the same.

A request of HTTP/1.1 names one host (RFC 9112, section 3.2). A body comes as it is or in pieces:
of transfer codings there is none but `chunked`, and HTTP/1.0 has not that one (section 6.1). Which
host is named decides nothing here; two of them would be two requests to two readers.

A target is a path, and may have a query behind it (the origin-form of section 3.2.1), of the
characters of RFC 3986. The other forms are for proxies: they name a host a second time. Behind a
`#`, which no target has, one reader sees the end of the path and the other one does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_BLANKS = b" \t"
_HOST = re.compile(rb"[\w.~!$&'()*+,;=:%\[\]-]*", re.ASCII)
_TARGET = re.compile(rb"/(?:[\w.~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_OLD = "1.0"
_VERSIONS = (_OLD, "1.1")


def is_sound(target: bytes, headers: Iterable[tuple[bytes, bytes]], version: str) -> bool:
    """Whether these are a request of this version; the fields' names are in lower case."""
    if not _TARGET.fullmatch(target):
        return False
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value.strip(_BLANKS)):
                return False
        elif name == b"transfer-encoding" and (
            version == _OLD or value.strip(_BLANKS).lower() != b"chunked"
        ):
            return False
    return version in _VERSIONS and (hosts == 1 or (version == _OLD and not hosts))
