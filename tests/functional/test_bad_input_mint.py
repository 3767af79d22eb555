"""Bad input at the mint, as a process: HTTP bodies and issuers, beside an issuer and a wallet that go on.

A good issuer keeps its link from the first test to the last; after every test it credits a share, and the
wallet mints and swaps the token.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.cashu import lookup
from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import CreditResult, CreditResults, Credits
from protocols.sv2.codec import encode
from protocols.sv2.connection import SetupConnectionError
from roles.runtime.errors import ConnectionLost
from tests.functional.development import Development
from tests.functional.mint_peer import MINIMUM, Issuer, Wallet, mine, now_ms
from tests.functional.processes import Daemon, Site
from tests.functional.sv2_peer import Server

pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

GOOD, BAD, STRANGER = (bytes(31) + bytes([number]) for number in (0x41, 0x42, 0x43))
BODY_LIMIT = 65_536
MINT, BATCH, SWAP = "/v1/mint/ehash", "/v1/mint/ehash/batch", "/v1/swap"


@dataclass
class House:
    """The mint, the good issuer and the good wallet."""

    development: Development
    daemon: Daemon
    server: Server
    issuer: Issuer
    wallet: Wallet

    @property
    def http(self) -> tuple[str, int]:
        """Where wallets are served."""
        host, _, port = self.daemon.settings["http_address"].rpartition(":")
        return host, int(port)

    async def go_on(self) -> None:
        """A share becomes a token, and the token another."""
        proofs = await self.wallet.tokens(self.issuer, 1)
        await self.wallet.granted(SWAP, self.wallet.swap(proofs, self.wallet.basket(1)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("mint")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(site: Site) -> AsyncIterator[House]:
    development = Development(site, issuers=(public_key(GOOD), public_key(BAD)))
    daemon = development.daemon("mint", http__body_bytes=str(BODY_LIMIT))
    await development.start()
    server = Server.of(daemon, "issuance_address", development.keys.mint, "issuance")
    async with aiohttp.ClientSession() as session:
        url = f"http://{daemon.settings['http_address']}"
        issuer = await Issuer(server, GOOD).begin()
        wallet = await Wallet(session, url, public_key(GOOD)).begin()
        yield House(development, daemon, server, issuer, wallet)
        issuer.link.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def the_others_notice_nothing(house: House) -> AsyncIterator[None]:
    yield
    await house.go_on()


# HTTP bodies


@pytest.mark.parametrize("path", [MINT, BATCH, SWAP, "/v1/checkstate", "/v1/restore"])
async def test_a_body_that_is_too_large_is_refused_unread(house: House, path: str) -> None:
    status, answer = await house.wallet.post(path, b" " * (BODY_LIMIT + 1))
    assert (status, answer) == (413, {"detail": "the body is too large", "code": 413})


async def test_a_body_that_grows_without_saying_how_large_it_is_is_cut(house: House) -> None:
    reader, writer = await asyncio.open_connection(*house.http)
    writer.write(b"POST /v1/swap HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"%x\r\n%s\r\n" % (1 << 14, b" " * (1 << 14))
    with contextlib.suppress(ConnectionError):
        for _ in range(64):
            writer.write(chunk)
            await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("path", [MINT, BATCH, SWAP, "/v1/checkstate", "/v1/restore"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 40_000, b"nonsense", b"NaN"])
async def test_a_body_that_is_no_json_is_refused(house: House, path: str, body: bytes) -> None:
    status, answer = await house.wallet.post(path, body)
    assert (status, answer["detail"]) == (400, "the body is not JSON")


@pytest.mark.parametrize("path", [MINT, BATCH, SWAP, "/v1/checkstate", "/v1/restore"])
@pytest.mark.parametrize("body", [[], 7, "text", {}, False, {"outputs": 5, "inputs": {}, "Ys": 1}])
async def test_a_body_of_another_shape_is_refused_in_words(house: House, path: str, body: Any) -> None:
    assert await house.wallet.refused(path, body) == 0


@pytest.mark.parametrize(
    "text",
    [
        b"GET / nonsense\r\n\r\n",
        b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03",
        b"POST /v1/swap HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=["no version", "tls", "length", "long path", "long header"],
)
async def test_what_is_no_http_is_answered_as_such_and_cut(house: House, text: bytes) -> None:
    reader, writer = await asyncio.open_connection(*house.http)
    with contextlib.suppress(ConnectionError):
        writer.write(text)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.") or not answer
        assert b" 400 " in answer.split(b"\r\n")[0] + b" 400 " * (not answer)
        assert b"Traceback" not in answer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_body_that_never_comes_costs_nobody_else_anything(house: House) -> None:
    reader, writer = await asyncio.open_connection(*house.http)
    writer.write(b"POST /v1/swap HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    await house.go_on()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""


# What the bodies say


async def test_a_mint_request_with_anything_wrong_is_refused_by_its_code_and_takes_nothing(
    house: House,
) -> None:
    wallet = house.wallet
    row, other = mine(4, wallet.key), mine(4, wallet.key)
    await house.issuer.credit(row, other)
    quote = wallet.quote(row)
    basket = wallet.basket(4)
    good = wallet.claim(quote, basket)
    (output,) = good["outputs"]
    foreign = next(keyset for keyset in wallet.keysets.values() if keyset is not wallet.keyset)

    def outputs(*items: Any) -> dict[str, Any]:
        return good | {"outputs": list(items)}

    refusals: list[tuple[str, dict[str, Any], int]] = [
        ("amounts that ask for more", outputs(output | {"amount": 8}), 11005),
        ("an amount without a key", outputs(output | {"amount": 3}), 11006),
        ("an amount beyond all keys", outputs(output | {"amount": 1 << 53}), 11006),
        ("a negative amount", outputs(output | {"amount": -4}), 0),
        ("an amount that is no integer", outputs(output | {"amount": 4.0}), 0),
        ("an amount in words", outputs(output | {"amount": "4"}), 0),
        ("nothing", outputs(), 0),
        ("a keyset that is not known", outputs(output | {"id": "01" + "00" * 32}), 12001),
        ("a keyset of another issuer", outputs(output | {"id": foreign.keyset_id}), 11010),
        ("the same output twice", outputs(output | {"amount": 2}, output | {"amount": 2}), 11008),
        ("a point off the curve", outputs(output | {"B_": "02" + "ff" * 32}), 20008),
        ("no point", outputs(output | {"B_": "zz"}), 0),
        ("no signature", good | {"signature": None}, 20008),
        ("a false signature", good | {"signature": "00" * 64}, 20008),
        ("half a signature", good | {"signature": "00" * 32}, 0),
        (
            "another's signature",
            good | {"signature": wallet.sign(quote, basket.outputs, secrets.token_bytes(32))},
            20008,
        ),
        (
            "a signature over other outputs",
            good | {"signature": wallet.sign(quote, wallet.basket(4).outputs)},
            20008,
        ),
        ("a signature for another quote", good | {"quote": wallet.quote(other)}, 20008),
        ("a quote that is not there", good | {"quote": "nobody"}, 0),
        ("a quote that is no text", good | {"quote": 5}, 0),
    ]
    for what, body, code in refusals:
        assert (what, await wallet.refused(MINT, body)) == (what, code)
    assert (await wallet.get(f"/v1/mint/quote/ehash/{quote}"))["amount_issued"] == 0
    await wallet.granted(MINT, good)
    spent = wallet.claim(quote, wallet.basket(4))
    assert await wallet.refused(MINT, spent) == 20002
    reused = wallet.claim(wallet.quote(other), basket)
    assert await wallet.refused(MINT, reused) == 11003
    await wallet.granted(MINT, wallet.claim(wallet.quote(other), wallet.basket(4)))


async def test_a_batch_with_anything_wrong_in_one_part_takes_nothing_of_any(house: House) -> None:
    wallet = house.wallet
    rows = [mine(2, wallet.key), mine(2, wallet.key)]
    await house.issuer.credit(*rows)
    quotes = [wallet.quote(row) for row in rows]
    basket = wallet.basket(4)
    good: dict[str, Any] = {
        "quotes": quotes,
        "quote_amounts": [2, 2],
        "outputs": basket.to_json(),
        "signatures": [wallet.sign(quote, basket.outputs) for quote in quotes],
    }
    refusals: list[tuple[str, dict[str, Any], int]] = [
        ("one signature missing", good | {"signatures": [good["signatures"][0], None]}, 20008),
        ("signatures in the wrong order", good | {"signatures": good["signatures"][::-1]}, 20008),
        ("fewer signatures than quotes", good | {"signatures": good["signatures"][:1]}, 0),
        ("a quote twice", good | {"quotes": [quotes[0], quotes[0]]}, 11016),
        ("a quote that is not there", good | {"quotes": [quotes[0], "nobody"]}, 0),
        ("amounts beyond a quote", good | {"quote_amounts": [3, 1]}, 11005),
        ("amounts below the outputs", good | {"quote_amounts": [2, 1]}, 11005),
        ("too many quotes", good | {"quotes": [f"quote{number}" for number in range(101)]}, 11017),
    ]
    for what, body, code in refusals:
        assert (what, await wallet.refused(BATCH, body)) == (what, code)
    for quote in quotes:
        assert (await wallet.get(f"/v1/mint/quote/ehash/{quote}"))["amount_issued"] == 0
    await wallet.granted(BATCH, good)


async def test_a_swap_with_anything_wrong_is_refused_by_its_code_and_spends_nothing(house: House) -> None:
    wallet = house.wallet
    (proof, other) = await wallet.tokens(house.issuer, 4, 2)
    used = wallet.basket(4)
    good = wallet.swap([proof], used)
    (token,), (output,) = good["inputs"], good["outputs"]
    foreign = next(keyset for keyset in wallet.keysets.values() if keyset is not wallet.keyset)
    refusals: list[tuple[str, dict[str, Any], int]] = [
        ("nothing spent", good | {"inputs": []}, 0),
        ("less asked than spent", good | {"outputs": [output | {"amount": 2}]}, 11005),
        ("more asked than spent", good | {"outputs": [output | {"amount": 8}]}, 11005),
        ("one token twice", good | {"inputs": [token, token]}, 11007),
        ("a secret of one's own", good | {"inputs": [token | {"secret": "x"}]}, 10001),
        ("a signature of another token", good | {"inputs": [token | {"C": other.signature.hex()}]}, 10001),
        ("another amount", good | {"inputs": [token | {"amount": 8}]}, 11005),
        ("no signature", good | {"inputs": [{k: v for k, v in token.items() if k != "C"}]}, 0),
        ("a foreign keyset in", good | {"inputs": [token | {"id": foreign.keyset_id}]}, 11010),
        ("a foreign keyset out", good | {"outputs": [output | {"id": foreign.keyset_id}]}, 11010),
        ("a keyset of no mint of ours", good | {"inputs": [token | {"id": "00ffd48b8f5ecf80"}]}, 12001),
    ]
    for what, body, code in refusals:
        assert (what, await wallet.refused(SWAP, body)) == (what, code)
    await wallet.granted(SWAP, good)
    assert await wallet.refused(SWAP, wallet.swap([proof], wallet.basket(4))) == 11001
    (fresh,) = await wallet.tokens(house.issuer, 4)
    assert await wallet.refused(SWAP, wallet.swap([fresh], used)) == 11003
    await wallet.granted(SWAP, wallet.swap([fresh], wallet.basket(4)))


async def test_of_two_swaps_of_one_token_at_the_same_moment_one_is_granted(house: House) -> None:
    wallet = house.wallet
    proofs = await wallet.tokens(house.issuer, 4)
    bodies = [wallet.swap(proofs, wallet.basket(4)) for _ in range(8)]
    answers = await asyncio.gather(*(wallet.post(SWAP, body) for body in bodies))
    assert sorted(status for status, _ in answers) == [200] + [400] * 7
    assert {answer["code"] for status, answer in answers if status == 400} == {11001}


async def test_a_look_up_without_a_true_signature_tells_nothing(house: House) -> None:
    wallet = house.wallet
    row = mine(1, wallet.key)
    await house.issuer.credit(row)
    share = sha256d(row.header).hex()
    path = f"/v1/mint/quote-ids/share?share_hashes={share}"
    with pytest.raises(AssertionError, match="20008"):
        await wallet.get(path)
    body: dict[str, Any] = {"pubkeys": [wallet.key.hex()], "timestamp": now_ms() // 1000}
    for signatures, code in (([], 0), (["00" * 64], 20008)):
        look_up = body | {"pubkey_signatures": signatures}
        assert await wallet.refused("/v1/mint/quote/ehash/pubkey", look_up) == code
    info_key = bytes.fromhex((await wallet.get("/v1/info"))["pubkey"])
    old = body["timestamp"] - 3600
    signature = lookup.sign(wallet.secret, info_key, wallet.key, old, bytes(32)).hex()
    look_up = body | {"timestamp": old, "pubkey_signatures": [signature]}
    assert await wallet.refused("/v1/mint/quote/ehash/pubkey", look_up) == 20008


async def test_nobody_makes_a_quote_over_http(house: House) -> None:
    body = {"amount": 1, "unit": house.wallet.keyset.unit, "pubkey": house.wallet.key.hex()}
    assert await house.wallet.refused("/v1/mint/quote/ehash", body) == 20003
    assert await house.wallet.refused("/v1/mint/quote/bolt12", body) == 11013


# Issuers


async def ends(issuer: Issuer) -> None:
    """The mint closes the link, and says nothing more."""
    with pytest.raises(ConnectionLost):
        await issuer.hear()


async def test_an_issuer_that_the_mint_does_not_know_is_refused_and_told_by_name(house: House) -> None:
    stranger = Issuer(house.server, STRANGER)
    await stranger.dial()
    assert await stranger.ask(stranger.hello()) == SetupConnectionError(0, "unknown-issuer")
    await ends(stranger)
    told = await house.daemon.logged(r"an issuer is refused: .*")
    assert f"no [[issuers]] of mint.toml has the identity {stranger.identity.hex()}" in told[0]


async def test_a_pool_that_the_mint_does_not_know_says_what_to_do(house: House, site: Site) -> None:
    with Site(site.state.parent / "elsewhere") as elsewhere:
        pool = elsewhere.daemon(
            "pool",
            shared__mint__issuance_address=house.daemon.settings["issuance_address"],
            shared__mint__authority_key=house.development.keys.mint,
        )
        pool.start()
        told = await pool.logged(r"the mint refuses this issuer.*")
        assert "level=error" in pool.log
        assert "unknown-issuer" in told[0]
        assert "[[issuers]]" in told[0]
        assert "hashpool keys show pool" in told[0]


async def test_an_issuer_that_is_not_who_it_says_is_refused(house: House) -> None:
    for change in ({"signed_by": STRANGER}, {"session": bytes(32)}):
        liar = Issuer(house.server, GOOD)
        await liar.dial()
        assert await liar.ask(liar.hello(**change)) == SetupConnectionError(0, "false-identity")
        await ends(liar)


async def test_credits_before_the_hello_end_the_link(house: House) -> None:
    hasty = Issuer(house.server, BAD)
    await hasty.dial()
    hasty.link.send(encode(hasty.credits(mine(1, house.wallet.key))))
    await ends(hasty)


async def test_a_credit_whose_header_does_not_prove_its_work_makes_no_quote_and_the_next_goes_on(
    house: House,
) -> None:
    wallet = house.wallet
    issuer = await Issuer(house.server, BAD).begin()
    # A row that claims a block, or much work, ends its shift also when it is refused.
    bad = [
        replace(mine(2, wallet.key), header=bytes(80), target=from_work(1 << 12)),
        # Proven, and worth nothing.
        replace(mine(2, wallet.key), target=(1 << 256) - 1, header=worthless()),
    ]
    good = mine(2, wallet.key)
    results = await issuer.credit(*bad, good)
    codes = tuple(CreditResult(seq, CreditCode.BAD_WORK) for seq in range(1, len(bad) + 1))
    assert results == CreditResults(len(bad) + 1, codes)
    for row in bad:
        with pytest.raises(AssertionError, match="is not known"):
            await wallet.get(f"/v1/mint/quote/ehash/{wallet.quote(row)}")
    assert (await wallet.get(f"/v1/mint/quote/ehash/{wallet.quote(good)}"))["amount"] == 2
    told = await house.daemon.logged(r"a credit is refused.*")
    assert f"issuer={issuer.identity.hex()[:16]}" in told[0]
    assert "code=bad-work" in told[0]
    # Asked again, the mint says the same again.
    issuer.seq = 1
    assert await issuer.credit(*bad, good) == results
    issuer.link.close()


def worthless() -> bytes:
    """A header whose hash earns nothing at the easiest target: its bits round the fraction down."""
    number = 0
    while int.from_bytes(sha256d(number.to_bytes(80, "big"))[:8], "little") < 1 << (64 - MINIMUM):
        number += 1
    return number.to_bytes(80, "big")


async def test_a_credit_for_no_key_and_one_of_another_issuer_make_no_quote(house: House) -> None:
    wallet = house.wallet
    taken = mine(1, wallet.key)
    await house.issuer.credit(taken)
    issuer = await Issuer(house.server, BAD).begin()
    keyless, good = mine(1, b"\x02" + b"\xff" * 32), mine(1, wallet.key)
    results = await issuer.credit(keyless, good, replace(taken, time=now_ms()))
    bad_key = CreditResult(1, CreditCode.BAD_KEY)
    assert results == CreditResults(3, (bad_key, CreditResult(3, CreditCode.DUPLICATE_ELSEWHERE)))
    issuer.link.close()


async def test_rows_that_contradict_what_was_settled_end_the_link_by_their_code(house: House) -> None:
    key = house.wallet.key

    async def refusal(message: Credits, issuer: Issuer) -> str:
        answer = await issuer.ask(message)
        assert isinstance(answer, SetupConnectionError), answer
        await ends(issuer)
        return answer.error_code

    store = secrets.token_bytes(16)
    issuer = await Issuer(house.server, BAD, store).begin()
    await issuer.credit(mine(1, key))
    fork = issuer.credits(mine(1, key), first_seq=1)
    assert await refusal(fork, issuer) == "ledger-forked"
    for message, code in (
        (issuer.credits(replace(mine(1, key), time=5)), "time-reversed"),
        (issuer.credits(mine(1, key), shift=3), "shift-refused"),
        (issuer.credits(mine(1, key), minimum=MINIMUM - 1), "shift-refused"),
        (issuer.credits(mine(1, key), valuation=9), "shift-refused"),
    ):
        again = Issuer(house.server, BAD, store)
        again.seq = 2
        assert await refusal(message, await again.begin()) == code
    behind = Issuer(house.server, BAD, store)
    await behind.dial()
    assert await behind.ask(behind.hello()) == SetupConnectionError(0, "ledger-behind")
    await ends(behind)


async def test_a_row_of_tomorrow_waits_and_loses_nothing(house: House) -> None:
    issuer = await Issuer(house.server, BAD).begin()
    row = mine(1, house.wallet.key)
    results = await issuer.credit(replace(row, time=row.time + 86_400_000))
    assert results == CreditResults(0, (CreditResult(1, CreditCode.RETRY),))
    assert await issuer.credit(row) == CreditResults(1, ())
    issuer.link.close()


async def test_more_rows_than_a_frame_may_hold_end_the_link(house: House) -> None:
    issuer = await Issuer(house.server, BAD).begin()
    row = mine(1, house.wallet.key)
    issuer.link.send(encode(issuer.credits(*[row] * 1_001)))
    await ends(issuer)
