"""Whom a good token speaks for, for how long, and what is remembered of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from msgspec.structs import replace as changed

from ledger.aggregates.presented import PresentedToken
from ledger.claims import parse_claim
from ledger.errors import Conflict, NotFound, Refused
from ledger.policy import Caller
from ledger.tokens import verifier as verifying
from ledger.tokens.verifier import TokenVerifier
from ledger.usecases.acting import Acting
from tests.faults.test_hosts_memory import put_back, size_of
from tests.faults.test_keys_destroyed_elsewhere import accept
from tests.ledger.tokens.conftest import no_fetch, settings
from tests.ledger.tokens.hostile import LIFE_S, SEALED, SKEW_S
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, OTHER, encrypt, jwks, mint

SECOND = 1_000_000


def other(now: int, **said) -> str:
    """A token of the issuer whose tokens are good for one use."""
    header = {"typ": "JWT", **said.pop("header", {})}
    return mint(now, by="other's EC", iss=OTHER, header=header, **said)


@pytest.mark.parametrize(
    ("by", "alg"), [("EC", "ES256"), ("RSA", "RS256"), ("OKP", "EdDSA"), ("RSA", "PS256")]
)
def test_a_token_signed_as_the_issuer_may_speaks_for_its_subject(counter, by, alg):
    """All four algorithms are verified, whichever of them the issuer uses."""
    counter.ledger.trust.change(
        Acting(),
        ISSUER,
        lambda held: changed(held, algorithms=("ES256", "RS256", "PS256", "EdDSA")),
    )
    token = mint(counter.scene.now, by=by, alg=alg)
    verified = counter.verify(token)
    assert str(verified.caller.claim) == f"{ISSUER}#user:alice"
    assert verified.authenticated_by == f"token:{ISSUER}"


@pytest.mark.parametrize("alg", ["ECDH-ES", "ECDH-ES+A256KW", "RSA-OAEP-256"])
@pytest.mark.parametrize("named", [True, False])
def test_a_token_encrypted_to_the_service_is_opened(counter, alg, named):
    """Whether it names the key or not; an issuer that must encrypt is content with each."""
    scene = counter.scene
    to = dict(scene.rsa if alg == "RSA-OAEP-256" else scene.elliptic)
    if not named:
        del to["kid"]
    token = encrypt(mint(scene.now, iss=SEALED), to, alg)
    assert str(counter.verify(token).caller.claim) == f"{SEALED}#user:alice"


def test_everything_that_a_token_says_is_taken_over(counter):
    """Groups without repetition, the application, the client, the acting party and the expiry."""
    now = counter.scene.now
    token = mint(
        now, groups=["staff", "finance", "staff"], app="Payroll", act={"sub": "robot-7"}, jti="a1"
    )
    verified = counter.verify(token, application="PAYROLL")
    assert [str(claim) for claim in verified.caller.groups] == [
        f"{ISSUER}#group:staff", f"{ISSUER}#group:finance",
    ]  # fmt: skip
    position = counter.ledger.trust.issuers().get(ISSUER).position
    assert verified.caller.token == PresentedToken(
        ISSUER, position, "Payroll", "a1", "report", "robot-7", (now + 600) * SECOND
    )
    assert (verified.application, verified.acting) == ("PAYROLL", "robot-7")
    assert verified.expires_at == (now + 600) * SECOND


def test_who_acts_by_another_issuers_word_is_told_with_it(counter):
    """The same name of two issuers is two parties."""
    token = mint(counter.scene.now, act={"sub": "robot", "iss": OTHER, "act": {"sub": "older"}})
    assert counter.verify(token).acting == f"{OTHER}#robot"
    token = mint(counter.scene.now, act={"sub": "robot", "iss": ISSUER})
    assert counter.verify(token).acting == "robot"


def test_the_application_is_the_tokens_or_the_requests(counter):
    """Where only one of the two names one, it is that."""
    now = counter.scene.now
    assert counter.verify(mint(now)).application is None
    assert counter.verify(mint(now), application="payroll").application == "payroll"
    assert counter.verify(mint(now, app="payroll")).application == "payroll"
    bound = mint(now, app="payroll")
    counter.verify(bound)
    with pytest.raises(Refused, match="refused"):
        counter.verify(bound, application="billing")


@pytest.mark.parametrize("known", [True, False])
def test_a_token_expires_to_the_microsecond(counter, known):
    """It is good until its expiry and the skew have passed, known or not, and then it is not."""
    now = counter.scene.now
    token = mint(now, exp=now + 10).encode()
    end = (now + 10 + SKEW_S) * SECOND
    if known:
        counter.verify(token)
    counter.house.clock.now = end - 1
    assert counter.another().verify(token)
    if known:
        assert counter.verify(token)
    counter.house.clock.now = end
    for verifier in (counter.verifier, counter.another()):
        with pytest.raises(Refused):
            verifier.verify(token)


def test_a_token_begins_to_the_microsecond(counter):
    """It is good from its time of issue less the skew on, and not before."""
    now = counter.scene.now
    token = mint(now + 100).encode()
    counter.house.clock.now = (now + 100 - SKEW_S) * SECOND - 1
    with pytest.raises(Refused):
        counter.verify(token)
    counter.house.clock.now += 1
    assert counter.verify(token)


def test_the_longest_life_is_allowed(counter):
    """A token may live exactly as long as was said, and begin exactly at the skew."""
    now = counter.scene.now
    assert counter.verify(mint(now, exp=now + LIFE_S))
    assert counter.verify(mint(now, iat=now + SKEW_S - 1, nbf=now + SKEW_S - 1))
    assert counter.verify(mint(now, aud=["billing", AUDIENCE]))


def test_a_known_token_is_not_verified_again(counter, monkeypatch):
    """Neither its signature nor its claims are looked at a second time while it lasts."""
    token = mint(counter.scene.now).encode()
    assert counter.verifier.known(token) is None
    first = counter.verify(token)
    looked = []
    monkeypatch.setattr(verifying, "is_signed_by", lambda *_: looked.append(1))
    assert counter.verify(token) == first
    assert counter.verifier.known(token) == first
    assert not looked
    counter.house.clock.now += (600 + SKEW_S) * SECOND
    monkeypatch.undo()
    assert counter.verifier.known(token) is None
    with pytest.raises(Refused):
        counter.verify(token)


def test_a_known_token_is_looked_up_only_while_the_knowledge_is_fresh(counter):
    """A second after the last look at the log, whoever is trusted is asked for again."""
    token = mint(counter.scene.now).encode()
    counter.verify(token)
    counter.house.clock.now += SECOND
    assert counter.verifier.known(token) is None
    assert counter.verify(token)
    assert counter.verifier.known(token)


def test_a_look_ahead_keeps_known_tokens_known(counter, monkeypatch):
    """Whoever shows his token goes on without a look of his own; unused, nothing is looked at."""
    token = mint(counter.scene.now).encode()
    counter.verify(token)
    for _ in range(5):
        assert counter.verifier.known(token)
        counter.house.clock.now += SECOND * 6 // 10
        counter.verifier.look_ahead()
    assert counter.verifier.known(token)
    counter.verifier.look_ahead()
    monkeypatch.setattr(counter.ledger.trust, "issuers", None)  # a look would fail
    counter.verifier.look_ahead()


def test_a_look_ahead_sees_an_issuer_removed(counter):
    """Its tokens are known no more at once."""
    token = mint(counter.scene.now).encode()
    counter.verify(token)
    assert counter.verifier.known(token)
    counter.ledger.trust.remove(Acting(), ISSUER)
    counter.verifier.look_ahead()
    assert counter.verifier.known(token) is None
    assert counter.verifier.known_count == 0


def test_a_known_token_outlives_its_key_where_keys_are_fetched(counter):
    """Until it expires, or the keys that are left are told by file; a new one is refused."""
    now, url = counter.scene.now, "https://sts.contoso.example/keys"
    published = [jwks("EC", "OKP")]
    fetched = TokenVerifier(
        counter.ledger.trust, lambda _: published[-1].encode(), counter.house.clock
    )
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, keys="", keys_url=url))
    token = mint(now).encode()
    assert fetched.verify(token)
    published.append(jwks("OKP"))
    counter.house.clock.now += 601 * SECOND
    with pytest.raises(Refused):
        fetched.verify(mint(now + 601, jti="new").encode())
    assert fetched.verify(token)
    counter.ledger.trust.change(
        Acting(), ISSUER, lambda held: changed(held, keys=published[-1], keys_url="")
    )
    counter.house.clock.now += SECOND
    with pytest.raises(Refused):
        fetched.verify(token)


def test_the_number_of_known_tokens_is_bounded(counter, monkeypatch):
    """Those that were shown longest ago are forgotten first, and verified again."""
    monkeypatch.setattr(verifying, "KNOWN_MAX", 3)
    tokens = [mint(counter.scene.now, jti=str(number)).encode() for number in range(5)]
    for token in tokens:
        counter.verify(token)
    assert [counter.verifier.known(token) is not None for token in tokens] == [False] * 2 + [
        True
    ] * 3
    assert counter.verify(tokens[0])


def test_removing_an_issuer_empties_what_is_known_of_it(counter):
    """Of a removed issuer nothing is known a second later, and of others all still is."""
    counter.ledger.trust.add(Acting(), "https://third.example", settings("OKP"))
    ours = mint(counter.scene.now).encode()
    theirs = mint(counter.scene.now, iss="https://third.example", by="OKP", alg="EdDSA").encode()
    counter.verify(ours), counter.verify(theirs)
    counter.ledger.trust.remove(Acting(), ISSUER)
    counter.house.clock.now += SECOND
    assert counter.verify(theirs)
    assert len(counter.verifier._known) == 1
    with pytest.raises(Refused):
        counter.verify(ours)


def test_changed_settings_are_what_a_known_token_is_verified_by(counter):
    """A known token that the new settings would refuse is refused."""
    token = mint(counter.scene.now)
    counter.verify(token)
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, audience="other"))
    counter.house.clock.now += SECOND
    with pytest.raises(Refused):
        counter.verify(token)


def test_a_caller_that_a_slower_thread_verified_by_older_settings_is_not_known(counter):
    """Whoever is put among the known after the settings changed is looked at before it counts."""
    token = mint(counter.scene.now).encode()
    counter.verify(token)
    late = dict(counter.verifier._known)
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, skew_s=SKEW_S + 1))
    counter.house.clock.now += SECOND
    counter.verify(mint(counter.scene.now, sub="bob"))
    counter.verifier._known.update(late)
    assert counter.verifier.known(token) is None
    assert counter.verify(token)


def test_a_token_for_one_use_is_used_once(counter_anywhere):
    """Not again by this process, by another, or after a restart; the refusal is recorded."""
    counter = counter_anywhere
    token = other(counter.scene.now, jti="once")
    assert counter.verify(token)
    for verifier in (counter.verifier, counter.another()):
        with pytest.raises(Refused):
            verifier.verify(token.encode(), source="10.0.0.9")
    counter.ledger.close()
    counter.ledger = counter.house.open()
    counter.verifier = counter.another()
    with pytest.raises(Refused):
        counter.verify(token)
    assert len(counter.events("token.used")) == 1
    assert {one.event.why for one in counter.events("token.refused")} == {"replayed"}
    assert counter.verify(other(counter.scene.now, jti="twice"))


def test_of_many_uses_at_once_exactly_one_counts(counter_anywhere):
    """In two processes' ledgers, from eight threads, one token for one use is used once."""
    counter = counter_anywhere
    token = other(counter.scene.now, jti="race").encode()
    beside = counter.house.open()
    verifiers = [
        TokenVerifier(trust, no_fetch, counter.house.clock)
        for trust in (counter.ledger.trust, beside.trust)
    ]

    def use(number: int) -> bool:
        try:
            verifiers[number % 2].verify(token)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(16))) == 1
    beside.close()
    assert len(counter.events("token.used")) == 1


def test_the_same_id_of_two_issuers_is_two_tokens(counter):
    """One issuer cannot use up another's tokens."""
    third = "https://third.example"
    counter.ledger.trust.add(Acting(), third, settings("EC", refuses_replay=True))
    assert counter.verify(other(counter.scene.now, jti="7"))
    assert counter.verify(mint(counter.scene.now, iss=third, jti="7"))


def test_a_token_for_one_use_must_have_an_id(counter):
    """Without `jti` nobody could tell its second use."""
    with pytest.raises(Refused):
        counter.verify(other(counter.scene.now, without=("jti",)))


def test_a_request_for_another_application_uses_nothing_up(counter):
    """A token that is refused for what was asked can still be used for what it is for."""
    counter.ledger.trust.change(
        Acting(), OTHER, lambda held: changed(held, application_claim="app")
    )
    token = other(counter.scene.now, app="payroll")
    with pytest.raises(Refused):
        counter.verify(token, application="billing")
    assert counter.verify(token, application="payroll")


def test_an_issuer_that_speaks_for_local_makes_local_claims(counter):
    """Its users and groups are local ones, folded like every local claim."""
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, speaks_for_local=True))
    verified = counter.verify(mint(counter.scene.now, sub="Alice", groups=["Finance"]))
    assert [str(claim) for claim in verified.caller.claims] == ["user:alice", "group:finance"]


def test_only_one_issuer_speaks_for_local(counter):
    """A second one is refused, added or changed; when the first is removed, it may."""
    trust = counter.ledger.trust
    speaking = settings("EC", speaks_for_local=True)
    trust.add(Acting(), "https://third.example", speaking)
    for attempt in (
        lambda: trust.add(Acting(), "https://fourth.example", speaking),
        lambda: trust.change(Acting(), ISSUER, lambda held: changed(held, speaks_for_local=True)),
    ):
        with pytest.raises(Conflict, match="local"):
            attempt()
    trust.remove(Acting(), "https://third.example")
    assert trust.add(Acting(), "https://fourth.example", speaking).changed


@pytest.mark.parametrize(
    "sub", ["group:admins", "user:root", f"{OTHER}#user:bob", "#user:root", "a#b", "local", ":"]
)
@pytest.mark.parametrize("speaks", [True, False])
def test_no_name_passes_for_another_issuers_or_type(counter, sub, speaks):
    """Whatever a user is called, the claim is the issuer's, of a user, and holds the whole name."""
    counter.ledger.trust.change(
        Acting(), ISSUER, lambda held: changed(held, speaks_for_local=speaks)
    )
    claim = counter.verify(mint(counter.scene.now, sub=sub)).caller.claim
    whose = "local" if speaks else ISSUER
    assert (claim.issuer, claim.type, claim.value) == (whose, "user", sub)


def test_values_of_a_case_blind_issuer_are_the_same_in_any_case(counter):
    """They are casefolded; those of another issuer are not."""
    blind = "https://blind.example"
    counter.ledger.trust.add(Acting(), blind, settings("EC", case_blind=True))
    now = counter.scene.now
    assert counter.verify(mint(now, iss=blind, sub="ALICE")).caller.claim.value == "alice"
    assert counter.verify(mint(now, sub="ALICE")).caller.claim.value == "ALICE"


def test_names_are_composed_before_they_are_compared(counter):
    """Two spellings of one text in Unicode are one user."""
    now = counter.scene.now
    one, two = mint(now, sub="zo\u00eb"), mint(now, sub="zoe\u0308")
    assert counter.verify(one).caller.claim == counter.verify(two).caller.claim


def test_a_user_can_be_named_by_another_claim(counter):
    """As an issuer's `sub` is often no name; it must still be a text."""
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, user_claim="upn"))
    token = mint(counter.scene.now, upn="alice@contoso", sub="00u1")
    assert counter.verify(token).caller.claim.value == "alice@contoso"
    with pytest.raises(Refused):
        counter.verify(mint(counter.scene.now))
    with pytest.raises(Refused):
        counter.verify(mint(counter.scene.now, upn="alice@contoso", sub=7))


def test_a_plain_token_type_may_lack_what_access_tokens_must_have(counter):
    """Client and token ID are asked for in access tokens only."""
    third = "https://third.example"
    counter.ledger.trust.add(Acting(), third, settings("EC", token_type="JWT"))
    token = mint(
        counter.scene.now, iss=third, header={"typ": "jwt"}, without=("jti", "client_id"), azp="x"
    )
    presented = counter.verify(token).caller.token
    assert (presented.id, presented.client) == ("", "x")


def test_a_token_without_a_key_name_is_verified_where_one_key_serves(counter):
    """Where two would, nothing is tried out."""
    assert counter.verify(mint(counter.scene.now, header={"kid": None}))
    two = settings("EC", "other's EC")
    counter.ledger.trust.add(Acting(), "https://third.example", two)
    with pytest.raises(Refused):
        counter.verify(mint(counter.scene.now, iss="https://third.example", header={"kid": None}))


def test_an_issuer_that_is_not_there_cannot_be_changed(counter):
    """Nor removed."""
    trust = counter.ledger.trust
    for attempt in (
        lambda: trust.remove(Acting(), "https://no.example"),
        lambda: trust.change(Acting(), "https://no.example", lambda held: held),
    ):
        with pytest.raises(NotFound):
            attempt()


def test_only_the_operator_says_whom_to_trust(counter):
    """No right does, full control included: whoever names an issuer can be anybody."""
    boss = Caller(counter.verify(mint(counter.scene.now)).caller.claim)
    counter.ledger.role_grant(Acting(), "full-control", str(boss.claim))
    with pytest.raises(Refused):
        counter.ledger.trust.remove(Acting(boss), ISSUER)
    with pytest.raises(Refused):
        counter.ledger.trust.new_service_pair(Acting(boss))
    assert ISSUER in counter.ledger.trust.issuers().trusted


def test_a_refused_token_changes_no_other(counter):
    """Whoever was known before still is."""
    token = mint(counter.scene.now)
    known = counter.verify(token)
    with pytest.raises(Refused):
        counter.verify(token[:-4] + "AAAA")
    assert counter.verify(token) == known


def test_a_caller_is_compared_with_the_token_that_spoke():
    """Two tokens of one user are two callers, so no decision is kept from one for the other."""
    one = Caller(parse_claim("user:alice"), (), PresentedToken(ISSUER, 4))
    assert one != replace(one, token=None)
    assert one != replace(one, token=PresentedToken(ISSUER, 4, id="2"))


def test_a_caller_is_held_against_who_is_trusted_a_moment_ago(counter):
    """For longer than that nobody who was believed before is: who is trusted is looked up first."""
    now, verifier = counter.scene.now, counter.verifier
    token = mint(now).encode()
    alice = verifier.believe(token)
    assert verifier.again(alice, None) == alice
    counter.ledger.trust.remove(Acting(), ISSUER)
    counter.house.clock.now += SECOND
    assert verifier.is_stale
    assert verifier.remembers(token)
    assert not verifier.remembers(mint(now, jti="other").encode())
    assert verifier.again(alice, None) is None
    verifier.look()
    assert not verifier.is_stale
    assert not verifier.remembers(token)
    assert verifier.again(alice, None) is None
    other_s = verifier.believe(other(now, jti="one").encode())
    counter.house.clock.now += SECOND
    assert verifier.again(other_s, "payroll") is None
    verifier.look()
    assert verifier.again(other_s, "payroll") == replace(other_s, application="payroll")
    assert verifier.shown.known == 0


def test_a_caller_is_held_against_what_the_request_names_later(counter):
    """The one who was believed, for another application or none, and until the token expires."""
    now, verifier = counter.scene.now, counter.verifier
    bound = verifier.believe(mint(now, app="payroll").encode())
    once = verifier.believe(other(now, jti="one").encode())
    assert verifier.again(bound, None).application == "payroll"
    assert verifier.again(bound, "PAYROLL").application == "PAYROLL"
    assert verifier.again(bound, "shared") is None
    assert verifier.again(once, "shared") == replace(once, application="shared")
    assert verifier.shown.verified == 2
    assert verifier.shown.known == verifier.shown.refused == 0
    counter.house.clock.now += (LIFE_S + SKEW_S) * SECOND
    assert verifier.again(bound, None) is None


def test_a_token_that_a_log_of_before_believed_is_verified_anew_by_the_one_of_now(counter):
    """Both have changed the issuer at one position, and this one has withdrawn the key."""
    house, size = counter.house, size_of(counter.house)
    counter.ledger.create_application(Acting(), "CRM", kind="individual")
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, skew_s=SKEW_S + 1))
    position = counter.ledger.trust.issuers().get(ISSUER).position
    token = mint(counter.scene.now)
    assert counter.verify(token).caller.token.settings == position
    put_back(house, size)
    accept(house)
    other = house.open()
    other.trust.change(Acting(), ISSUER, lambda held: changed(held, keys=jwks("RSA")))
    assert other.trust.issuers().get(ISSUER).position == position
    other.close()
    house.clock.now += verifying.LOOK_US
    with pytest.raises(Refused) as caught:
        counter.verify(token)
    assert caught.value.code == "token-refused"
    assert counter.verifier.known(token.encode()) is None


def test_no_token_is_known_that_a_log_of_before_believed_once_the_one_of_now_was_looked_at(
    counter, monkeypatch
):
    """One thread verifies a token by the log of before; another one looks at the one of now."""
    house, size, verifier = counter.house, size_of(counter.house), counter.verifier
    counter.ledger.create_application(Acting(), "CRM", kind="individual")
    counter.ledger.trust.change(Acting(), ISSUER, lambda held: changed(held, skew_s=SKEW_S + 1))
    position = counter.ledger.trust.issuers().get(ISSUER).position
    signed = verifying.is_signed_by

    def slowly(*given):
        monkeypatch.setattr(verifying, "is_signed_by", signed)
        put_back(house, size)
        accept(house)
        other = house.open()
        other.trust.change(Acting(), ISSUER, lambda held: changed(held, keys=jwks("RSA")))
        assert other.trust.issuers().get(ISSUER).position == position
        other.close()
        house.clock.now += verifying.LOOK_US
        verifier.look()
        return signed(*given)

    monkeypatch.setattr(verifying, "is_signed_by", slowly)
    token = mint(counter.scene.now)
    counter.verify(token)
    assert verifier.known(token.encode()) is None
    with pytest.raises(Refused) as caught:
        counter.verify(token)
    assert caught.value.code == "token-refused"
