"""Keys of issuers are read strictly, fetched rarely, and kept while the issuer is away."""

from __future__ import annotations

import json
import threading

import pytest

from ledger.aggregates.issuers import ALGORITHMS, Issuer, Settings
from ledger.errors import InvalidInput, Unavailable
from ledger.tokens.doubt import NotBelievedError
from ledger.tokens.issuer_keys import (
    FRESH_US,
    PAUSE_US,
    STALE_US,
    Fetched,
    IssuerKeys,
    KeysAwaited,
)
from ledger.tokens.jose import JWKS_BYTES_MAX, keys_text, read_keys
from tests.ledger.tokens.conftest import StillClock
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, jwks, key

URL = "https://sts.contoso.example/keys"


class Web:
    """What the issuer publishes, and how often it was asked."""

    def __init__(self):
        self.published: str | None = jwks("EC")
        self.asked = 0

    def __call__(self, url: str) -> bytes:
        assert url == URL
        self.asked += 1
        if self.published is None:
            raise Unavailable("keys-not-fetched", "Nobody is there.")
        return self.published.encode()


@pytest.fixture
def web():
    return Web()


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def keys(web, clock):
    return IssuerKeys(web, clock)


@pytest.fixture
def issuer():
    return Issuer(ISSUER, Settings(AUDIENCE, ALGORITHMS, "", URL), 4, 0, 0)


def found(keys, issuer, kid="EC", algorithm="ES256"):
    """The key, for somebody who waits for it where that is worth it."""
    try:
        return keys.find(issuer, algorithm, kid)
    except KeysAwaited as awaited:
        awaited.wait()
        return keys.find(issuer, algorithm, kid, waits=False)


def refused(keys, issuer, kid="EC", algorithm="ES256"):
    with pytest.raises(NotBelievedError) as caught:
        found(keys, issuer, kid, algorithm)
    return caught.value.why


def test_keys_are_fetched_once_for_ten_minutes(keys, issuer, web, clock):
    """And then again."""
    for _ in range(100):
        assert found(keys, issuer).kid == "EC"
    clock.now += FRESH_US - 1
    found(keys, issuer)
    assert web.asked == 1
    clock.now += 1
    found(keys, issuer)
    assert web.asked == 2


def test_a_new_key_is_found_when_it_is_first_named(keys, issuer, web, clock):
    """An issuer that changes keys is asked before the ten minutes are over."""
    found(keys, issuer)
    web.published = jwks("EC", "OKP")
    clock.now += PAUSE_US
    assert found(keys, issuer, "OKP", "EdDSA").kid == "OKP"
    assert web.asked == 2


def test_nobody_can_make_us_ask_often(keys, issuer, web, clock):
    """A thousand keys that there are not are one question in thirty seconds."""
    found(keys, issuer)
    for number in range(1000):
        assert refused(keys, issuer, f"no-{number}") == "key-unknown"
    assert web.asked == 1
    clock.now += PAUSE_US
    for number in range(1000):
        assert refused(keys, issuer, f"no-{number}") == "key-unknown"
    assert web.asked == 2


def test_an_issuer_that_is_away_is_asked_no_more_often(keys, issuer, web, clock):
    """Where there never were keys, every token is refused, and the network left alone."""
    web.published = None
    for _ in range(100):
        assert refused(keys, issuer) == "keys-unavailable"
    assert web.asked == 1
    web.published = jwks("EC")
    clock.now += PAUSE_US
    assert found(keys, issuer)


def test_keys_serve_for_a_day_while_the_issuer_is_away(keys, issuer, web, clock):
    """And no longer."""
    found(keys, issuer)
    web.published = None
    clock.now += STALE_US - 1
    assert found(keys, issuer)
    clock.now += PAUSE_US + 1
    assert refused(keys, issuer) == "keys-unavailable"


def test_a_key_that_was_withdrawn_serves_no_more(keys, issuer, web, clock):
    """From the next time on that the keys are fetched."""
    found(keys, issuer)
    web.published = jwks("OKP")
    clock.now += FRESH_US
    assert refused(keys, issuer) == "key-unknown"


@pytest.mark.parametrize("published", ['{"keys": []}', jwks("P-384")])
def test_an_issuer_that_has_withdrawn_all_of_its_keys_is_believed_by_none(
    web, clock, issuer, published
):
    """Not for the day for which they serve where it is away; and the log is told."""
    told = []
    keys = IssuerKeys(web, clock, lambda url, error: told.append((url, error.code)))
    found(keys, issuer)
    web.published = published
    clock.now += FRESH_US
    assert refused(keys, issuer) == "keys-unavailable"
    assert told == [(URL, "invalid-jwks")]
    assert keys.fetched == Fetched(fetched=1, failed=1)
    web.published = jwks("EC")
    clock.now += PAUSE_US
    assert found(keys, issuer)


@pytest.mark.parametrize("published", ["", "[]", "{}", '{"keys": {}}', "<html>", "x" * 70_000])
def test_what_is_no_key_set_leaves_the_keys_as_they_were(keys, issuer, web, clock, published):
    """A page of an error in its place is as good as no answer."""
    found(keys, issuer)
    web.published = published
    clock.now += FRESH_US
    assert found(keys, issuer)
    assert web.asked == 2


def _set(*entries: object) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


def public(kind: str, **members: object) -> dict:
    return {**key(kind).export_public(as_dict=True), **members}


UNSOUND = {
    "a private key": _set(key("EC").export_private(as_dict=True)),
    "a private key among others": _set(public("OKP"), key("RSA").export_private(as_dict=True)),
    "a shared secret": _set({"kty": "oct", "k": "AAAA", "kid": "1"}),
    "a weak key": _set(public("RSA-weak")),
    "an exponent of one": _set(public("RSA", e="AQ")),
    "an even exponent": _set(public("RSA", e="BA")),
    "a point off the curve": _set(public("EC", x="AAAA")),
    "no point": _set({"kty": "EC", "crv": "P-256", "kid": "1"}),
    "a member that is a number": _set(public("EC", x=7)),
    "a name that is a number": _set(public("EC", kid=7)),
    "an endless name": _set(public("EC", kid="k" * 300)),
    "a kind that is a list": _set(public("EC", kty=["EC"])),
    "only of a curve that is not used": _set(public("P-384")),
    "only for encryption": _set(public("EC", use="enc")),
    "only to sign": _set(public("EC", key_ops=["sign"])),
    "only for another algorithm": _set(public("RSA", alg="RS512")),
    "two of one name": _set(public("EC", kid="1"), public("other's EC", kid="1")),
    "two of no name": _set(
        {n: v for n, v in public("EC").items() if n != "kid"},
        {n: v for n, v in public("other's EC").items() if n != "kid"},
    ),
    "no list": b'{"keys": {"kty": "EC"}}',
    "a list of texts": b'{"keys": ["EC"]}',
    "no keys": b'{"keys": []}',
    "no set": b"{}",
    "no map": b"[]",
    "no JSON": b"-----BEGIN PUBLIC KEY-----",
    "a key twice": b'{"keys": [], "keys": []}',
    "too many": _set(*({"kty": "x", "kid": str(n)} for n in range(65))),
    "too large": b" " * (JWKS_BYTES_MAX + 1),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_key_set_is_refused_as_a_whole(name):
    """With our error, whatever is wrong in it."""
    with pytest.raises(InvalidInput) as caught:
        read_keys(UNSOUND[name])
    assert caught.value.code == "invalid-jwks"


def test_what_is_kept_of_a_key_set_is_public_and_no_more():
    """Keys for other purposes are left out, and so is all that is not the key itself."""
    content = _set(
        public("EC", x5c=["MIIB"], use="sig", note="ours"),
        public("OKP", key_ops=["verify"]),
        public("P-384"),
        public("RSA", use="enc"),
    )
    kept = json.loads(keys_text(read_keys(content)))["keys"]
    assert [set(one) for one in kept] == [
        {"kty", "crv", "x", "y", "kid"},
        {"kty", "crv", "x", "kid"},
    ]
    assert keys_text(read_keys(keys_text(read_keys(content)).encode())) == keys_text(
        read_keys(content)
    )


def test_a_key_serves_what_its_kind_does_and_its_alg_allows():
    """No key of one kind is ever used for another algorithm."""
    found = read_keys(
        _set(public("EC"), public("OKP"), public("RSA"), public("RSA", kid="p", alg="PS256"))
    )
    assert [key.algorithms for key in found] == [
        ("ES256",), ("EdDSA",), ("RS256", "PS256"), ("PS256",),
    ]  # fmt: skip


class Held:
    """A web whose answers are held back until the test lets them go."""

    def __init__(self, web, free=0):
        """The first `free` questions are answered at once."""
        self._web, self._free = web, free
        self.asked, self.answer = threading.Event(), threading.Event()

    def __call__(self, url: str) -> bytes:
        if self._web.asked >= self._free:
            self.asked.set()
            assert self.answer.wait(10)
        return self._web(url)


def awaited(keys, issuer, kid="EC"):
    with pytest.raises(KeysAwaited) as caught:
        keys.find(issuer, "ES256", kid)
    return caught.value


def test_who_comes_while_the_keys_are_fetched_first_waits_for_them(web, clock, issuer):
    """Genuine tokens that come at once, right after a start, are all believed by one question."""
    held = Held(web)
    keys = IssuerKeys(held, clock)
    first, *others = (awaited(keys, issuer) for _ in range(4))
    assert held.asked.wait(10)
    clock.now += PAUSE_US  # not even then is there another question
    others.append(awaited(keys, issuer))
    assert {one.answered for one in others} == {first.answered}
    assert not first.answered.done()
    with pytest.raises(NotBelievedError) as caught:
        keys.find(issuer, "ES256", "EC", waits=False)
    assert caught.value.why == "keys-unavailable"
    held.answer.set()
    first.wait()
    assert keys.find(issuer, "ES256", "EC").kid == "EC"
    assert web.asked == 1


def test_nobody_waits_for_a_question_about_a_key_that_is_not_there(web, clock, issuer):
    """While somebody's unknown key is looked for, tokens of known keys are believed at once."""
    held = Held(web, free=1)
    keys = IssuerKeys(held, clock)
    found(keys, issuer)
    clock.now += PAUSE_US
    stranger = awaited(keys, issuer, "other")
    assert held.asked.wait(10)
    clock.now += PAUSE_US
    for kid in ("another", "other"):
        with pytest.raises(NotBelievedError) as caught:
            keys.find(issuer, "ES256", kid)
        assert caught.value.why == "key-unknown"
    assert keys.find(issuer, "ES256", "EC").kid == "EC"
    held.answer.set()
    stranger.wait()
    assert web.asked == 2


def test_who_finds_the_keys_old_waits_for_new_ones_and_nobody_else_does(web, clock, issuer):
    """A key that was withdrawn meanwhile believes no token of whoever made us ask."""
    held = Held(web, free=1)
    keys = IssuerKeys(held, clock)
    found(keys, issuer)
    web.published = jwks("OKP")
    clock.now += FRESH_US
    first = awaited(keys, issuer)
    assert keys.find(issuer, "ES256", "EC").kid == "EC"
    held.answer.set()
    first.wait()
    assert refused(keys, issuer) == "key-unknown"


def test_an_issuer_that_does_not_answer_is_not_waited_for_again(keys, issuer, web):
    """Until it may be asked once more, its tokens are refused at once."""
    web.published = None
    assert refused(keys, issuer) == "keys-unavailable"
    with pytest.raises(NotBelievedError):
        keys.find(issuer, "ES256", "EC")
    assert web.asked == 1


def test_each_question_that_gets_no_keys_is_told_once(web, clock, issuer):
    """With its URL and why, and counted, like those that get some."""
    told = []
    keys = IssuerKeys(web, clock, lambda url, error: told.append((url, error.code)))
    for web.published in (None, "{}", jwks("EC")):
        for _ in range(3):
            if web.published is None or "EC" not in web.published:
                assert refused(keys, issuer) == "keys-unavailable"
            else:
                found(keys, issuer)
        clock.now += PAUSE_US
    assert told == [(URL, "keys-not-fetched"), (URL, "invalid-jwks")]
    assert keys.fetched == Fetched(fetched=1, failed=2)


def test_what_nobody_foresaw_is_raised_to_those_who_wait(clock, issuer):
    """And to nobody else; the issuer is asked again later."""

    def fetch(_: str) -> bytes:
        raise ZeroDivisionError

    keys = IssuerKeys(fetch, clock)
    with pytest.raises(ZeroDivisionError):
        found(keys, issuer)
    assert refused(keys, issuer) == "keys-unavailable"
