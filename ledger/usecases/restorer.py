"""What was, restored: credentials, applications with their roles, and service-level rights.

Each appends events that say what is set from now on; nothing that was recorded is changed, and
nobody sees a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.aggregates.restoration import ApplicationStep, MappingStep, RolesStep
from ledger.claims import Claim
from ledger.log.writer import Writer
from ledger.usecases.acting import Acting
from ledger.usecases.credentials import RestoreCredentials
from ledger.usecases.desk import Desk
from ledger.usecases.outcomes import MappingOutcome, RestorationOutcome, RestorePreview
from ledger.usecases.restoration import (
    FindSources,
    RestoreApplication,
    RestoreMappings,
    RestoreRoles,
    require_operator,
)


class Restorer:
    """Restoration in one ledger."""

    def __init__(self, desk: Desk, writer: Writer) -> None:
        """Appends by this writer."""
        self._desk = desk
        self._writer = writer

    def credentials(
        self,
        acting: Acting,
        application: str,
        owner: Claim | None,
        *,
        version: int | None = None,
        at_us: int | None = None,
    ) -> MappingOutcome:
        """An earlier version becomes the current one, unseen."""
        return self._writer.run(
            RestoreCredentials(self._desk, acting, application, owner, version, at_us)
        )

    def preview(
        self,
        acting: Acting,
        application: str,
        owner: Claim | None,
        *,
        version: int | None = None,
        at_us: int | None = None,
    ) -> RestorePreview:
        """What `credentials` would do; nothing is appended or opened."""
        request = RestoreCredentials(self._desk, acting, application, owner, version, at_us)
        return self._writer.look(request.preview)

    def application(self, acting: Acting, step: ApplicationStep) -> RestorationOutcome:
        """One application as it was, in one transaction; see `usecases.restoration`."""
        return self._writer.run(RestoreApplication(self._desk, acting, step))

    def roles(self, acting: Acting, step: RolesStep) -> RestorationOutcome:
        """The service-level rights as they were, in one transaction."""
        return self._writer.run(RestoreRoles(self._desk, acting, step))

    def mappings(
        self, acting: Acting, steps: Sequence[MappingStep], creations: Mapping[str, int]
    ) -> RestorationOutcome:
        """Up to 500 mappings as they were, in one transaction; nobody sees a value."""
        require_operator(self._desk, acting)
        sources = FindSources(self._desk, steps)
        self._writer.warm(sources.streams)
        found = self._writer.look(sources.look)
        return self._writer.run(RestoreMappings(self._desk, acting, steps, found, creations))
