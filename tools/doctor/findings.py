"""One thing that `doctor` finds.

An `error` keeps the ledger from serving, and its exit code is that of the error's family; with a
`warning` it serves, but something is risky, and the exit code is 0.
"""

from __future__ import annotations

import msgspec

from tools.exits import DONE

ERROR, WARNING = "error", "warning"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong or risky."""

    code: str
    severity: str
    message: str
    mend: str
    exit: int = DONE

    def as_document(self) -> dict[str, object]:
        """The JSON shape."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "mend": self.mend,
        }
