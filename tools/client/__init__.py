"""A client of the service, for jobs in Python.

    from tools.client import Client

    with Client("unix:///run/credledger/socket") as ledger:
        password = ledger.get("payroll")["Windows Password"].reveal()

`AsyncClient` is the same with `await`. A value prints as dots and does not pickle; only `reveal`
gives it. Failures are the errors of `ledger.errors`, with the code that the service answered. What
failed for want of a connection is tried again, a change under the same retry key, so that it
happens once. Nothing here opens a store or knows a key.
"""

from tools.client.answers import Changed, Credentials, MappingChanged, Ticket
from tools.client.asking import AsyncClient, Client
from tools.client.server import Server

__all__ = [
    "AsyncClient",
    "Changed",
    "Client",
    "Credentials",
    "MappingChanged",
    "Server",
    "Ticket",
]
