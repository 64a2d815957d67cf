"""A report that logs in to a back-end system and knows no password."""

import sys
from pathlib import Path

import httpx

from tools.client import Client

with Client(sys.argv[1]) as ledger:
    login = ledger.get("Sales", reason="nightly report")

sales = f"http://127.0.0.1:{Path('port').read_text(encoding='ascii')}/orders"
answer = httpx.get(sales, auth=(login["User"].reveal(), login["Password"].reveal()))
answer.raise_for_status()
print("Orders today:", answer.text)
