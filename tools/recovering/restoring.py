"""Bringing a moment back as a command: plan, what is lost, consent, and the steps in batches.

The plan is made from the log as it stands, so a run that was killed or stopped is finished by the
next one: what it has done is no difference any more. Each application is one request, and so are
the rights; mappings go in batches of at most 500.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.errors import Conflict, KeyUnavailable, NotFound
from ledger.identifiers import application_key
from ledger.usecases.restoration import RESTORED_TOGETHER_MAX
from projections.restoration import Plan, plan_restoration
from tools.asking.moments import place_of
from tools.showing.show import progress

if TYPE_CHECKING:
    from ledger.usecases.acting import Acting
    from ledger.usecases.outcomes import RestorationOutcome
    from tools.wiring import Session

Take = Callable[[], "RestorationOutcome"]


class RestorationInterrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C; says what was done until then."""

    def __init__(self, done: int, total: int, position: object) -> None:
        super().__init__(
            f"Interrupted: at least {done} of {total} changes were made; run the same with"
            f" --position {position} to go on."
        )


class Restoration(msgspec.Struct, frozen=True):
    """A plan, and what of it cannot be done."""

    plan: Plan
    """Without what is lost, if the rest was asked for."""
    difference: dict[str, Any]
    """What people are shown; `lost` lists what cannot be done."""
    except_destroyed: bool

    @property
    def is_refused(self) -> bool:
        """Whether something is lost and the rest alone was not asked for."""
        return bool(self.difference["lost"]) and not self.except_destroyed

    def refusal(self) -> KeyUnavailable:
        """Why nothing is done."""
        lost = len(self.difference["lost"])
        return KeyUnavailable(
            "key-destroyed",
            f"The keys of {lost} credentials of then were destroyed; nothing was changed.",
            hint="With --except-destroyed everything else is restored.",
        )

    def question(self, scope: str) -> str:
        """What is to be consented to."""
        applications, credentials = self.plan.deletes
        return (
            f"Bring {scope} back to position {self.difference['to']['position']}, deleting"
            f" {applications} applications and {credentials} credentials of now?"
        )


def plan_for(
    session: Session, place: str, application: str | None, *, except_destroyed: bool
) -> Restoration:
    """What brings one application, or with None everything, back to a time or position.

    `before-the-log` for a time before its first event: back to it would be to delete everything.
    """
    position, moment = place_of(session, place)
    with progress("Planning") as show:
        plan = plan_restoration(
            session.store,
            session.mapper,
            position=position,
            at=moment,
            application=application,
            progress=show,
        )
    if plan.moment["position"] == 0:
        raise NotFound(
            "before-the-log",
            "Nothing was recorded yet at that moment, so there is nothing to go back to.",
            hint="Check the time that was given, and this host's clock; `credledger log events`"
            " shows when the log begins.",
        )
    held = {epoch for epoch, _, _, is_held in session.ledger.status().epochs if is_held}
    lost = plan.lost(held)
    if except_destroyed:
        plan = plan.without_lost(held)
    return Restoration(plan, plan.difference(lost), except_destroyed)


def carry_out(session: Session, acting: Acting, plan: Plan) -> dict[str, Any]:
    """Take all steps; how many of each kind, and the position of the last event.

    Deleted are, as the plan tells them, also the credentials that end with their application.
    """
    changes = list(plan.steps())
    total = len(plan.applications) + (plan.roles is not None) + len(changes)
    done, position = 0, None
    with progress("Restoring") as show:
        show(0, total)
        try:
            for count, take in _requests(session, acting, plan):
                position = take().position
                done += count
                show(done, total)
        except Conflict as error:
            raise Conflict(
                error.code,
                f"{error.message} {done} of {total} changes were made and stand.",
                hint=f"Run the same with --position {plan.moment['position']}; it goes on.",
            ) from error
        except KeyboardInterrupt:
            raise RestorationInterrupted(done, total, plan.moment["position"]) from None
    restored = sum(step.source is not None for step in changes)
    return {
        "applications": len(plan.applications),
        "roles": len((*plan.roles.granted, *plan.roles.revoked)) if plan.roles else 0,
        "restored": restored,
        "deleted": plan.deletes[1],
        "position": position,
    }


def _requests(session: Session, acting: Acting, plan: Plan) -> Iterator[tuple[int, Take]]:
    """How many changes each request makes, and the request."""
    ledger, creations = session.ledger, dict(plan.creations)
    for change in plan.applications:
        step = change.step

        def bring_back(step: Any = step) -> RestorationOutcome:
            outcome = ledger.restoring.application(acting, step)
            if outcome.creation is not None:
                creations[application_key(step.application)] = outcome.creation
            return outcome

        yield 1, bring_back
    if plan.roles is not None:
        roles = plan.roles
        yield 1, lambda: ledger.restoring.roles(acting, roles)
    steps = plan.steps()
    while batch := list(islice(steps, RESTORED_TOGETHER_MAX)):

        def restore(batch: Any = batch) -> RestorationOutcome:
            return ledger.restoring.mappings(acting, batch, creations)

        yield len(batch), restore
