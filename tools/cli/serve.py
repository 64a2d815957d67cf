"""`credledger serve` and `credledger unseal`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.errors import InvalidInput, Unavailable
from tools.cli.command import Run, command
from tools.cli.number import Range
from tools.cli.rate import Rate
from tools.extras import how_to_install

if TYPE_CHECKING:
    from tools.service.server import ServiceSettings

FILE = click.Path(path_type=Path)
_SOCKET_HELP = "The unix socket, where a process is known by its account."


@command(
    None,
    "serve",
    example="credledger serve --socket /run/credledger/socket --listen 127.0.0.1:8443",
)
@click.option("--socket", type=FILE, metavar="PATH", help=_SOCKET_HELP)
@click.option("--listen", metavar="IP:PORT", help="Where to listen over TCP.")
@click.option("--certificate", type=FILE, metavar="FILE", help="TLS: the certificate, PEM.")
@click.option("--certificate-key", type=FILE, metavar="FILE", help="TLS: its key, PEM.")
@click.option(
    "--client-authority", type=FILE, metavar="FILE", help="TLS: whose certificates clients need."
)
@click.option("--behind-proxy", is_flag=True, help="TLS is spoken by a proxy in front of it.")
@click.option(
    "--front-processes",
    type=Range(0, 64),
    metavar="N",
    help="Processes that speak HTTP and TLS over TCP; they hold no key."
    "  [default: 1 where there are two cores, else 0]",
)
@click.option("--metrics", metavar="IP:PORT", help="Where Prometheus may fetch metrics.")
@click.option(
    "--caller-rate",
    type=Rate(1, 1_000_000),
    default=500,
    show_default=True,
    metavar="N",
    help="Requests a second of one caller.",
)
@click.option(
    "--address-rate",
    type=Rate(1, 1_000_000),
    default=5000,
    show_default=True,
    metavar="N",
    help="Requests a second from one address.",
)
def serve(
    run: Run,
    socket: Path | None,
    listen: str | None,
    certificate: Path | None,
    certificate_key: Path | None,
    client_authority: Path | None,
    behind_proxy: bool,
    front_processes: int | None,
    metrics: str | None,
    caller_rate: float,
    address_rate: float,
) -> None:
    """Answer applications over a unix socket and over TCP, until it is told to stop.

    Without a passphrase file, a key file or a systemd credential it starts sealed, and waits for
    `credledger unseal`, which comes over the unix socket; without that it does not start.
    """
    if (certificate is None) != (certificate_key is None):
        raise InvalidInput("usage", "--certificate and --certificate-key belong together.")
    if client_authority is not None and certificate is None:
        raise InvalidInput("usage", "--client-authority needs --certificate.")
    _require_service()
    from tools.service.places import parse_address
    from tools.service.server import ServiceSettings
    from tools.service.tls import Tls

    tls = None
    if certificate is not None and certificate_key is not None:
        tls = Tls(certificate, certificate_key, client_authority)
    wanted = ServiceSettings(
        socket=socket,
        listen=None if listen is None else parse_address(listen),
        tls=tls,
        behind_proxy=behind_proxy,
        metrics=None if metrics is None else parse_address(metrics),
        caller_rate=caller_rate,
        address_rate=address_rate,
        front_processes=_fronts_here() if front_processes is None else front_processes,
    )
    _serve(run, wanted)


def _fronts_here() -> int:
    """One where it has a core to itself; more only where there are clients for them."""
    return int(len(os.sched_getaffinity(0)) > 1)


def _require_service() -> None:
    """`service-missing` where it is not installed."""
    try:
        import tools.service.server  # noqa: F401 # found here, or nowhere
    except ModuleNotFoundError as error:
        raise Unavailable(
            "service-missing",
            "The service is made of libraries that are not installed here.",
            hint=how_to_install("service"),
        ) from error


def _serve(run: Run, wanted: ServiceSettings) -> None:
    from tools.service.server import run as run_service
    from tools.settings import with_systemd_credential

    settings = with_systemd_credential(run.settings())
    at_hand = settings.passphrase_file is not None or settings.key_file is not None
    if wanted.listen is not None and wanted.socket is None and not at_hand:
        raise InvalidInput(
            "sealed-for-ever",
            "The service would start sealed, and without a unix socket nobody can unseal it.",
            hint="Give --socket, or --passphrase-file or --key-file.",
        )
    run_service(settings, wanted, unlock=at_hand)


@command(
    None,
    "unseal",
    example="credledger unseal --socket /run/credledger/socket --passphrase-file passphrase.txt",
    answers='{"slot", "was_sealed"}',
)
@click.option("--socket", type=FILE, metavar="PATH", required=True, help="The service's socket.")
def unseal(run: Run, socket: Path) -> None:
    """Unlock the ledger of a service that waits sealed.

    The passphrase or key is read here, and handed over the service's unix socket. One that is open
    already stays so, and does not look at it.
    """
    from tools.people.holdings import present_holding
    from tools.unsealing import hand_over

    settings = run.settings()
    holding = present_holding(settings, run.standard_input)
    document = hand_over(socket, holding, settings.slot)
    by = f"by slot {document['slot']}"
    run.print(
        document,
        sentence=f"Unlocked {by}."
        if document["was_sealed"]
        else f"It was unlocked already, {by}; there is nothing to do.",
    )
