"""Time stamps of an authority under anchors: asked for in a file or over HTTP, checked, then kept.

An answer is bounded in size and time, and believed only where it leads to the root certificate that
was named. A redirect is not followed: the authority is the one that was named.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.x509 import Certificate

from ledger.anchors.head import noted_head
from ledger.anchors.signed_note import (
    FILE_BYTES_MAX,
    SIGNATURES_MAX,
    SignedNote,
    is_name,
    read_notes,
)
from ledger.anchors.time_stamp import (
    RESPONSE_BYTES_MAX,
    stamp_line,
    stamp_request,
    time_stamped,
)
from ledger.errors import Conflict, InvalidInput, Unavailable
from ledger.replacing import replace
from tools.evidence.anchors import replace_notes, writing
from tools.people.documents import StandardInput, read_bytes
from tools.when import to_text

ANSWER_TIMEOUT_S = 30.0
_REQUEST, _REPLY = "application/timestamp-query", "application/timestamp-reply"


def write_request(anchors: str, out: Path, standard_input: StandardInput) -> dict[str, object]:
    """Write what an authority is to be asked about the newest note, as a DER file."""
    note = _notes(anchors, standard_input)[-1]
    try:
        out.write_bytes(stamp_request(note.text))
    except OSError as error:
        raise Unavailable(
            "file-not-writable", "The request for a time stamp cannot be written there."
        ) from error
    return {"size": noted_head(note).size, "request": str(out)}


def add_answer(
    anchors: str,
    response: bytes,
    roots: Sequence[Certificate],
    name: str,
    standard_input: StandardInput,
) -> dict[str, object]:
    """Put an authority's answer under the newest note that it stamps; durable on return.

    `bad-time-stamp` where it stamps none of them, or not on behalf of a named root.
    """
    _require_name(name)
    with writing(Path(anchors)):
        notes = _notes(anchors, standard_input)
        at, stamped_at = _stamped(notes, response, roots)
        line = stamp_line(name, response)
        if line in notes[at].signatures:
            raise Conflict("time-stamp-exists", "The note has this time stamp already.")
        if len(notes[at].signatures) >= SIGNATURES_MAX:
            raise InvalidInput("note-full", "The note has as many signatures as it can have.")
        notes[at] = replace(notes[at], signatures=(*notes[at].signatures, line))
        replace_notes(Path(anchors), notes)
    return {
        "size": noted_head(notes[at]).size,
        "authority": name,
        "stamped_at": to_text(stamped_at),
    }


def ask_authority(url: str, anchors: str, standard_input: StandardInput) -> bytes:
    """The authority's answer about the newest note; `authority-unreachable` for none in time."""
    require_url(url)
    request = urllib.request.Request(  # noqa: S310 # the scheme was checked
        url,
        data=stamp_request(_notes(anchors, standard_input)[-1].text),
        headers={"Content-Type": _REQUEST, "Accept": _REPLY},
    )
    answers: list[bytes | Exception] = []
    asking = threading.Thread(target=_ask, args=(request, answers), daemon=True)
    asking.start()
    asking.join(ANSWER_TIMEOUT_S)
    if not answers:
        raise _unreachable("it did not answer in time")
    answer = answers[0]
    if isinstance(answer, Exception):
        raise _unreachable(_why(answer)) from answer
    if len(answer) > RESPONSE_BYTES_MAX:
        raise _unreachable(f"its answer exceeds {RESPONSE_BYTES_MAX} bytes")
    return answer


def answer_in(place: str, standard_input: StandardInput) -> bytes:
    """An authority's answer that was carried here as a file."""
    return read_bytes(place, "the time stamp", RESPONSE_BYTES_MAX, standard_input)


def require_url(url: str) -> None:
    """`invalid-url` for what is no address of a web server."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or not url.isprintable() or " " in url:
        raise InvalidInput(
            "invalid-url",
            "An authority's address begins with http:// or https:// and names a host.",
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """The answer of a redirect is an error."""


def _ask(request: urllib.request.Request, answers: list[bytes | Exception]) -> None:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT_S) as answer:
            answers.append(answer.read(RESPONSE_BYTES_MAX + 1))
    except urllib.error.HTTPError as error:
        error.close()
        answers.append(error)
    except (OSError, HTTPException, ValueError) as error:
        answers.append(error)


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code}"
    return "the connection failed"


def _unreachable(why: str) -> Unavailable:
    return Unavailable(
        "authority-unreachable",
        f"The time-stamping authority gave no time stamp: {why}.",
        hint="Nothing was changed. Try again, or carry request and answer as files: --request,"
        " --response.",
    )


def _stamped(
    notes: Sequence[SignedNote], response: bytes, roots: Sequence[Certificate]
) -> tuple[int, int]:
    """The newest note that the answer stamps, and when."""
    for at in reversed(range(len(notes))):
        moment = time_stamped(notes[at].text, response, roots)
        if moment is not None:
            return at, moment
    raise InvalidInput(
        "bad-time-stamp",
        "The answer is no time stamp of these anchors by an authority under the root that was"
        " named.",
        hint="Nothing was changed. Check --root, and that the answer is to the newest request.",
    )


def _notes(place: str, standard_input: StandardInput) -> list[SignedNote]:
    notes = read_notes(read_bytes(place, "anchors", FILE_BYTES_MAX, standard_input))
    for note in notes:
        noted_head(note)
    return notes


def _require_name(name: str) -> None:
    if not is_name(name) or name.startswith("credledger/"):
        raise InvalidInput(
            "invalid-witness-name",
            "An authority's name is up to 200 printable characters without spaces and plus signs,"
            " and does not begin with credledger/.",
        )
