"""A job that logs in with a password that it does not keep."""

import sys

from tools.client import Client

with Client(sys.argv[1]) as ledger:
    password = ledger.get("payroll", reason="nightly report")["Password"]

print(f"The password is {password}, until somebody calls reveal().")
