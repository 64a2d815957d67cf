"""Keys of issuers are read strictly, fetched rarely, and kept while the issuer is away."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.aggregates.issuers import ALGORITHMS, Issuer, Settings
from ledger.errors import InvalidInput, Unavailable
from ledger.tokens.doubt import NotBelievedError
from ledger.tokens.issuer_keys import FRESH_US, PAUSE_US, STALE_US, IssuerKeys
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


def refused(keys, issuer, kid="EC", algorithm="ES256"):
    with pytest.raises(NotBelievedError) as caught:
        keys.find(issuer, algorithm, kid)
    return caught.value.why


def test_keys_are_fetched_once_for_ten_minutes(keys, issuer, web, clock):
    """And then again."""
    for _ in range(100):
        assert keys.find(issuer, "ES256", "EC").kid == "EC"
    clock.now += FRESH_US - 1
    keys.find(issuer, "ES256", "EC")
    assert web.asked == 1
    clock.now += 1
    keys.find(issuer, "ES256", "EC")
    assert web.asked == 2


def test_a_new_key_is_found_when_it_is_first_named(keys, issuer, web, clock):
    """An issuer that changes keys is asked before the ten minutes are over."""
    keys.find(issuer, "ES256", "EC")
    web.published = jwks("EC", "OKP")
    clock.now += PAUSE_US
    assert keys.find(issuer, "EdDSA", "OKP").kid == "OKP"
    assert web.asked == 2


def test_nobody_can_make_us_ask_often(keys, issuer, web, clock):
    """A thousand keys that there are not are one question in thirty seconds."""
    keys.find(issuer, "ES256", "EC")
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
    assert keys.find(issuer, "ES256", "EC")


def test_keys_serve_for_a_day_while_the_issuer_is_away(keys, issuer, web, clock):
    """And no longer."""
    keys.find(issuer, "ES256", "EC")
    web.published = None
    clock.now += STALE_US - 1
    assert keys.find(issuer, "ES256", "EC")
    clock.now += PAUSE_US + 1
    assert refused(keys, issuer) == "keys-unavailable"


def test_a_key_that_was_withdrawn_serves_no_more(keys, issuer, web, clock):
    """From the next time on that the keys are fetched."""
    keys.find(issuer, "ES256", "EC")
    web.published = jwks("OKP")
    clock.now += FRESH_US
    assert refused(keys, issuer) == "key-unknown"


@pytest.mark.parametrize("published", ["", "[]", "{}", '{"keys": []}', "<html>", "x" * 70_000])
def test_what_is_no_key_set_leaves_the_keys_as_they_were(keys, issuer, web, clock, published):
    """A page of an error in its place is as good as no answer."""
    keys.find(issuer, "ES256", "EC")
    web.published = published
    clock.now += FRESH_US
    assert keys.find(issuer, "ES256", "EC")
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


def test_who_comes_while_the_keys_are_fetched_first_waits_for_them(web, clock, issuer):
    """Genuine tokens that come at once, right after a start, are all believed by one question."""
    asked, answer = threading.Event(), threading.Event()

    def slow(url: str) -> bytes:
        asked.set()
        assert answer.wait(10)
        return web(url)

    keys = IssuerKeys(slow, clock)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(keys.find, issuer, "ES256", "EC")
        assert asked.wait(10)
        others = [threads.submit(keys.find, issuer, "ES256", "EC") for _ in range(3)]
        done = [one.done() for one in others]
        answer.set()
        assert {one.result(10).kid for one in (first, *others)} == {"EC"}
    assert not any(done)
    assert web.asked == 1


def test_nobody_waits_for_a_question_about_a_key_that_is_not_there(web, clock, issuer):
    """While somebody's unknown key is looked for, tokens of known keys are believed at once."""
    asked, answer = threading.Event(), threading.Event()

    def fetch(url: str) -> bytes:
        if web.asked:
            asked.set()
            assert answer.wait(10)
        return web(url)

    keys = IssuerKeys(fetch, clock)
    keys.find(issuer, "ES256", "EC")
    clock.now += PAUSE_US
    with ThreadPoolExecutor(1) as threads:
        stranger = threads.submit(refused, keys, issuer, "other")
        assert asked.wait(10)
        assert keys.find(issuer, "ES256", "EC").kid == "EC"
        assert refused(keys, issuer, "another") == "key-unknown"
        answer.set()
        assert stranger.result(10) == "key-unknown"


def test_an_issuer_that_does_not_answer_is_not_waited_for_again(keys, issuer, web):
    """Until it may be asked once more, its tokens are refused at once."""
    web.published = None
    assert refused(keys, issuer) == refused(keys, issuer) == "keys-unavailable"
    assert web.asked == 1
