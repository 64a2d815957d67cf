"""What a process has given up is not to be had again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ATTEMPTS = """
import ctypes, encodings.idna, json, os, socket, sys
from tools.service.confinement import confine
from tools.processes.hardening import harden

path, server = sys.argv[1], socket.create_server(("127.0.0.1", 0))
before, _ = socket.socketpair(), harden()
opened = open(path)
attempts = {
    "read": lambda: open(path),
    "write": lambda: open(path, "a"),
    "make": lambda: os.mkdir(path + "-made"),
    "list": lambda: os.listdir("/"),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "connect": lambda: socket.create_connection(server.getsockname()),
}
if "--as-on-an-old-kernel" in sys.argv:
    class Old:
        def syscall(self, *_): return -1
    ctypes.CDLL = lambda *_, **__: Old()
is_confined, got = confine(), []
for name, attempt in attempts.items():
    if name != "run" or is_confined:
        try:
            attempt()
            got.append(name)
        except PermissionError:
            pass
before[0].sendall(b"x")
version = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
print(json.dumps([version, is_confined, got, opened.read(), before[1].recv(1).decode()]))
"""


def attempted(folder, *more):
    """Whether it was confined, what it got, and what an open file and socket still gave."""
    path = folder / "keyring"
    path.write_text("as it was", encoding="utf-8")
    command = [sys.executable, "-c", ATTEMPTS, str(path), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_confined_process_opens_and_reaches_nothing_more(tmp_path):
    """Neither files, programs, other hosts nor other processes; what was open stays so."""
    version, is_confined, got, *still = attempted(tmp_path)
    if version < 1:
        pytest.skip("this kernel has no Landlock")
    assert is_confined
    later = {"connect": 4, "signal": 6}
    assert got == [name for name in ("signal", "connect") if version < later[name]]
    assert still == ["as it was", "x"]


def test_a_kernel_that_cannot_is_told_of(tmp_path):
    """Then all goes as without."""
    _, is_confined, got, *still = attempted(tmp_path, "--as-on-an-old-kernel")
    assert not is_confined
    assert {"read", "write", "make", "list", "connect"} <= set(got)
    assert still == ["as it was", "x"]
