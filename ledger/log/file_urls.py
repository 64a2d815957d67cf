"""The URL of a store in a file, and the path in one: each finds the other again."""

from __future__ import annotations

from urllib.parse import quote, unquote


def sqlite_url(path: object) -> str:
    """The URL of the file at an absolute path; what a URL gives another meaning is escaped."""
    return f"sqlite://{quote(str(path), errors='surrogateescape')}"


def path_in(url_path: str) -> str:
    """The path that a URL's part of this name stands for; any bytes of a name come back."""
    return unquote(url_path, errors="surrogateescape")
