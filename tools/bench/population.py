"""Made-up people, applications and attempts to read, the same for the same seed.

    mapping number      0 ... 1999   2000 ... 99999
    application number  by 200       by 10
    owner number        mapping number modulo 5000, but for the two of the first mappings

So ten applications have two hundred owners each and the others ten; the first ten are enough for
a small log. The first mapping is the *frequent* person's, who makes one attempt in fifty whatever
the length of the log; the second the *rare* person's, who makes three, near its beginning. The
others fall upon few mappings often and upon many seldom, and one in a hundred is refused.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ledger.aggregates.access import Access, AccessDenied, AccessGranted
from ledger.policy import RULES_VERSION

PEOPLE = 5000
MAPPINGS_MAX = 100_000
MAPPINGS_MIN = 2000
OWNERS_OF_FIRST = 200
"""So many owners has each of the first ten applications."""
FIELDS = ("Windows User Name", "Windows Password")
FREQUENT, RARE = "user:frequent", "user:rare"
_OF_THEIR_OWN = (FREQUENT, RARE)
_RARE_TIMES = 3
_FREQUENT_OF, _REFUSED_OF = 50, 100


def mappings_at(size: int) -> int:
    """How many mappings a log of this many events holds: a tenth, within limits."""
    return max(MAPPINGS_MIN, min(MAPPINGS_MAX, size // 10))


def application_of(mapping: int) -> int:
    """The number of the application that a mapping belongs to."""
    return mapping // OWNERS_OF_FIRST if mapping < MAPPINGS_MIN else mapping // 10


def application_name(number: int) -> str:
    """An application's ID."""
    return f"application-{number:05}"


def owner_name(mapping: int) -> str:
    """The claim of a mapping's owner, who is also who asks for it."""
    if mapping < len(_OF_THEIR_OWN):
        return _OF_THEIR_OWN[mapping]
    return f"user:person-{mapping % PEOPLE:05}"


class Attempts:
    """Access records of attempts at the mappings that are there so far."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)  # noqa: S311 # made-up data, no secret
        self._granted: list[Access] = []
        self._rare_left = _RARE_TIMES
        self._made = 0

    @property
    def mappings(self) -> int:
        """How many mappings there are."""
        return len(self._granted)

    def add(self, creations: Sequence[int], position: int) -> None:
        """Further mappings, by the positions of their applications' creation and of the first."""
        for further, creation in enumerate(creations):
            self._granted.append(self._grant(self.mappings, creation, position + further))

    def records(self, count: int) -> list[Access]:
        """The next records."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Access:
        self._made += 1
        if self._made % _FREQUENT_OF == 0:
            return self._granted[0]
        if self._rare_left:
            self._rare_left -= 1
            return self._granted[1]
        # Squaring makes few mappings frequent and many rare, as in any office.
        first = len(_OF_THEIR_OWN)
        number = first + int(self._chance.random() ** 2 * (self.mappings - first))
        return _refused(number) if self._made % _REFUSED_OF == 1 else self._granted[number]

    def _grant(self, mapping: int, creation: int, position: int) -> Access:
        owner = owner_name(mapping)
        return AccessGranted(
            application=application_name(application_of(mapping)),
            owner=owner,
            caller=owner,
            claims=(owner,),
            restricted=False,
            requested=(),
            rules=RULES_VERSION,
            through=owner,
            creation=creation,
            mapping_position=position,
            value_version=1,
            fields=FIELDS,
            complete=True,
            missing=(),
            detail="owner",
        )


def _refused(mapping: int) -> Access:
    """An attempt at an application that does not exist."""
    return AccessDenied(
        application="retired-application",
        owner=None,
        caller=owner_name(mapping),
        claims=(owner_name(mapping),),
        restricted=False,
        requested=(),
        rules=RULES_VERSION,
        through=None,
        creation=None,
        mapping_position=None,
        value_version=None,
        fields=(),
        complete=None,
        missing=(),
        detail="no-such-application",
    )
