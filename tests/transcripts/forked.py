"""The program `credledger` for a shell session, forked for each command instead of started anew.

Starting an interpreter and loading the program takes most of the time of a short command, and a
page is twenty of them. Here one process has loaded the program; what the shell finds under the
program's name hands over its arguments, environment, folder, umask and its three standard streams
themselves, waits, and ends as the command did.

    shell ── credledger ARGUMENTS ──▶ front ── socket: words, streams ──▶ server ── fork ──▶ command
                                            ◀──────── exit code ─────────

A command differs from the real thing in its start only. The program as it is installed is what
`test_transcripts` runs one page with, and the demo all of its own.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.running import ROOT, load_everything

WORDS_MAX = 1024 * 1024
_PLACE = "FORKED_PROGRAM"
_FRONT = """\
import os, socket, sys
umask = os.umask(0)
environment = [f"{name}={value}" for name, value in os.environ.items()]
parts = [sys.argv[1:], environment, [os.getcwd(), str(umask)]]
words = b"\\1".join(b"\\0".join(os.fsencode(word) for word in part) for part in parts)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect(os.environ["FORKED_PROGRAM"])
    socket.send_fds(server, [words], [0, 1, 2])
    sys.exit(int(server.recv(16)))
"""


@contextlib.contextmanager
def forked_program() -> Iterator[dict[str, str]]:
    """A server that runs, and what the environment of a shell has to hold to use it."""
    with tempfile.TemporaryDirectory() as folder:
        place, front = Path(folder) / "socket", Path(folder) / "credledger"
        script = Path(folder) / "front.py"
        script.write_text(_FRONT, encoding="utf-8")
        # Nothing but the standard library, and none of the site's packages: it starts at once.
        interpreter = shlex.join([sys.executable, "-I", "-S", str(script)])
        front.write_text(f'#!/bin/sh\nexec {interpreter} "$@"\n', encoding="utf-8")
        front.chmod(0o700)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.transcripts.forked", str(place)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            # What the interpreter has comes after it, for pages that run `python`.
            yield {_PLACE: str(place), "PATH": f"{folder}:{Path(sys.executable).parent}"}
            server.communicate()


def _become_command(words: bytes, streams: list[int]) -> None:
    arguments, environment, (folder, umask) = (
        [os.fsdecode(word) for word in part.split(b"\0")] if part else []
        for part in words.split(b"\1")
    )
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, max(streams) + 1)
    os.chdir(folder)
    os.umask(int(umask))
    os.environ.clear()
    os.environ.update(word.split("=", 1) for word in environment)
    del os.environ[_PLACE]
    time.tzset()
    # As an interpreter opens them: what is said on standard error is never held back.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 # live on
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    from tools.cli.main import main

    code = 1
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _serve(place: Path) -> None:
    """Fork for each that comes, and tell it the exit code, until nobody holds the other end."""
    remembered = place.with_name("derived")
    remembered.mkdir()
    load_everything(remembered)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server,
        selectors.DefaultSelector() as watched,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WORDS_MAX)
        server.bind(str(place))
        server.listen()
        watched.register(server, selectors.EVENT_READ)
        watched.register(0, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        while True:
            for key, _ in watched.select():
                if key.fd == 0:
                    return
                if key.data is None:
                    front, _ = server.accept()
                    words, streams, _, _ = socket.recv_fds(front, WORDS_MAX, 3)
                    pid = os.fork()
                    if pid == 0:
                        _become_command(words, streams)
                    for stream in streams:
                        os.close(stream)
                    watched.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, front))
                else:
                    pid, front = key.data
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with front:
                        front.send(str(code if code >= 0 else 128 - code).encode())
                    watched.unregister(key.fd)
                    os.close(key.fd)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
