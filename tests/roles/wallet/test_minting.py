import asyncio
import json

import pytest
from aiohttp import web

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import dleq
from protocols.cashu.models import BlindSignature
from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Connection, Database
from roles.wallet import purse, quote, request
from roles.wallet.errors import MintUnreachable
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Clock, Home, Told
from tests.roles.wallet.fake_mint import UNIT, FakeMint, is_minting, lose

BATCH = "/v1/mint/ehash/batch"


async def balance(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


async def states(wallet: Wallet) -> dict[str, int]:
    def count(connection: Connection) -> dict[str, int]:
        return dict(map(tuple, connection.execute("SELECT state, count(*) FROM quote GROUP BY state")))

    return await wallet.kit.database.read(count)


async def test_a_notice_becomes_tokens_in_powers_of_two(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 0b1011)
    await wallet.minter.mint_due()
    held = await wallet.kit.database.read(purse.unspent)
    assert [item.proof.amount for item in held] == [1, 2, 8]
    keys = next(iter(mint.keysets.values())).public.keys
    for item in held:
        assert item.proof.dleq is not None
        assert item.counter is not None
        output = wallet.kit.keyring.output(item.proof.keyset_id, item.counter, item.proof.amount)
        signature = mint.signed[output.message.blinded]
        assert dleq.verify(
            keys[item.proof.amount], output.message.blinded, signature.signature, item.proof.dleq
        )
    assert await states(wallet) == {"minted": 1}
    assert home.metric("minted_ehash_total") == 11
    assert home.metric("notice_to_token_seconds_count") == 1


async def test_notices_of_one_moment_share_one_request(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    for number in range(12):
        await tell(wallet, number, 5)
    await wallet.minter.mint_due()
    assert mint.paths().count(BATCH) == 1
    assert await balance(wallet) == mint.issued() == 60


async def test_a_batch_is_as_large_as_the_mint_allows(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    for number in range(45):
        await tell(wallet, number, 1)
    await wallet.minter.mint_due()
    sizes = [len(json.loads(body)["quotes"]) for path, body in mint.seen if path == BATCH]
    assert sizes == [20, 20, 5]


async def test_a_mint_without_batches_is_asked_for_one_quote_at_a_time(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    mint.batches = False
    wallet = await home.open()
    await tell(wallet, 1, 3)
    await tell(wallet, 2, 4)
    await wallet.minter.mint_due()
    assert mint.paths().count("/v1/mint/ehash") == 2
    assert await balance(wallet) == 7


async def test_the_same_notice_twice_mints_once(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 4)
    await tell(wallet, 1, 4)
    await wallet.minter.mint_due()
    await tell(wallet, 1, 4)
    await wallet.minter.mint_due()
    assert await balance(wallet) == mint.issued() == 4


async def test_a_lost_answer_is_asked_for_with_the_same_bytes(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 6)
    mint.after = lose
    with pytest.raises(MintUnreachable):
        await wallet.minter.mint_due()
    mint.after = None
    await wallet.minter.mint_due()
    bodies = [body for path, body in mint.seen if path == BATCH]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert await balance(wallet) == mint.issued() == 6


async def test_a_lost_answer_of_a_mint_that_repeats_none_is_restored(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    mint.replays = False
    wallet = await home.open()
    await tell(wallet, 1, 6)
    mint.after = lose
    with pytest.raises(MintUnreachable):
        await wallet.minter.mint_due()
    mint.after = None
    await wallet.minter.mint_due()
    assert await balance(wallet) == mint.issued() == 6
    assert await states(wallet) == {"minted": 1}
    assert home.metric("requests_total", result="recovered") == 1


async def test_a_request_kept_before_a_crash_is_sent_by_the_next_life(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    async def cut(request: web.Request, _: bytes) -> web.StreamResponse | None:
        return await lose(request, b"")

    wallet = await home.open()
    await tell(wallet, 1, 6)
    mint.before = cut
    with pytest.raises(MintUnreachable):
        await wallet.minter.mint_due()
    wallet.kit.database.close()
    mint.before = None
    again = await home.open()
    await again.minter.mint_due()
    assert await balance(again) == mint.issued() == 6


async def test_an_answer_that_could_not_be_stored_is_asked_for_again(
    home: Home, mint: FakeMint, tell: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 6)
    with monkeypatch.context() as patch:
        patch.setattr(purse, "put", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await wallet.minter.mint_due()
    assert mint.issued() == 6
    wallet.kit.database.close()
    again = await home.open()
    await again.minter.mint_due()
    assert await balance(again) == 6
    assert await states(again) == {"minted": 1}


async def test_counters_taken_before_a_crash_are_never_used_again(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    wallet = await home.open()
    keyset = next(iter(mint.keysets))
    assert await wallet.kit.database.write(lambda c: request.reserve(c, keyset, 5)) == 0
    wallet.kit.database.close()
    again = await home.open()
    await tell(again, 1, 3)
    await again.minter.mint_due()
    held = await again.kit.database.read(purse.unspent)
    assert sorted(item.counter or 0 for item in held) == [5, 6]


async def test_a_poisoned_quote_is_dropped_with_an_alarm_and_the_others_are_minted(
    home: Home, mint: FakeMint, clock: Clock, tell: Told
) -> None:
    wallet = await home.open()
    for number in range(4):
        await tell(wallet, number, 5)
    alice = await wallet.key_for("alice")
    wallet.notice(alice.key_index, b"\xee" * 32, 9, UNIT)
    await wallet.minter.mint_due()
    clock.advance(2)
    await wallet.minter.mint_due()
    assert await balance(wallet) == mint.issued() == 20
    for _ in range(3):
        clock.advance(70)
        await wallet.minter.mint_due()
    assert await states(wallet) == {"dropped": 1, "minted": 4}
    assert home.metric("alarms_total", kind="dropped") == 1


async def test_a_notice_with_the_wrong_amount_is_corrected_by_the_mint(
    home: Home, mint: FakeMint, clock: Clock
) -> None:
    wallet = await home.open()
    alice = await wallet.key_for("alice")
    mint.pay(alice.public_key, b"\x01" * 32, 12)
    wallet.notice(alice.key_index, b"\x01" * 32, 500, UNIT)
    await wallet.minter.mint_due()
    clock.advance(70)
    await wallet.minter.mint_due()
    assert await balance(wallet) == 12


async def test_a_mint_that_knows_only_the_legacy_signature_gets_it_once_asked(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    mint.forms = ("legacy",)
    wallet = await home.open()
    await tell(wallet, 1, 7)
    await wallet.minter.mint_due()
    assert mint.paths().count(BATCH) == 2
    first, second = (json.loads(body) for path, body in mint.seen if path == BATCH)
    assert first["outputs"] == second["outputs"]
    assert await balance(wallet) == 7


async def test_a_quote_whose_signatures_are_refused_in_both_forms_is_dropped(
    home: Home, mint: FakeMint, clock: Clock, tell: Told
) -> None:
    mint.forms = ()
    wallet = await home.open()
    await tell(wallet, 1, 7)
    for _ in range(4):
        await wallet.minter.mint_due()
        clock.advance(70)
    assert await states(wallet) == {"dropped": 1}
    assert mint.paths().count(BATCH) == 6


async def test_counters_used_by_another_wallet_of_the_seed_are_restored_and_passed(
    home: Home, mint: FakeMint, clock: Clock, tell: Told
) -> None:
    other = await home.open("other")
    for number in range(30):
        await tell(other, number, 3)
    await other.minter.mint_due()
    wallet = await home.open()
    await tell(wallet, 100, 5)
    await wallet.minter.mint_due()
    clock.advance(2)
    await wallet.minter.mint_due()
    assert mint.issued() == 95
    assert await balance(wallet) == 95
    assert await states(wallet) == {"minted": 1}


async def test_a_quote_minted_by_somebody_else_is_dropped_with_an_alarm(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    wallet = await home.open()
    share_hash = await tell(wallet, 1, 7)
    for known in mint.quotes.values():
        known.issued = known.amount
    await wallet.minter.mint_due()
    assert await states(wallet) == {"dropped": 1}
    assert home.metric("alarms_total", kind="dropped") == 1
    assert await wallet.kit.database.read(lambda c: request.given_up(c, share_hash))


async def test_a_request_given_up_that_was_carried_out_after_all_is_found_by_its_outputs(
    home: Home, mint: FakeMint, clock: Clock, tell: Told
) -> None:
    late: list[web.Request] = []

    async def refuse_and_act_later(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if is_minting(request) and not late:
            late.append(request)
            mint.seen.append(("late", body))
            return web.json_response({"code": 0, "detail": "busy"}, status=400)
        return None

    wallet = await home.open()
    await tell(wallet, 1, 7)
    mint.before = refuse_and_act_later
    await wallet.minter.mint_due()
    body = next(body for path, body in mint.seen if path == "late")
    mint._answer(BATCH, body)
    mint.replays = False
    clock.advance(70)
    await wallet.minter.mint_due()
    assert await states(wallet) == {"minted": 1}
    assert await balance(wallet) == mint.issued() == 7


async def test_a_signature_without_a_true_dleq_is_not_taken_for_a_token(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    async def forge(request: web.Request, _: bytes) -> web.StreamResponse | None:
        if not is_minting(request):
            return None
        forged = []
        for signature in list(mint.signed.values()):
            item = BlindSignature(signature.amount, signature.keyset_id, signature.signature).to_json()
            forged.append(item)
        return web.json_response({"signatures": forged})

    wallet = await home.open()
    await tell(wallet, 1, 4)
    mint.after = forge
    await wallet.minter.mint_due()
    assert await balance(wallet) == 0
    assert home.metric("alarms_total", kind="dishonest") == 1
    mint.after = None
    wallet.kit.database.close()
    again = await home.open()
    await again.minter.mint_due(disputed=True)
    assert await balance(again) == 4


async def test_a_keyset_that_retires_between_two_batches_is_replaced(
    home: Home, mint: FakeMint, clock: Clock, tell: Told
) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 3)
    await wallet.minter.mint_due()
    next(iter(mint.keysets.values())).active = False
    second = mint.add_keyset(UNIT, 1)
    await tell(wallet, 2, 3)
    await wallet.minter.mint_due()
    clock.advance(2)
    await wallet.minter.mint_due()
    held = await wallet.kit.database.read(lambda c: purse.unspent(c, second.public.keyset_id))
    assert [item.proof.amount for item in held] == [1, 2]
    assert await balance(wallet) == 6


async def test_a_keyset_whose_id_does_not_follow_from_its_keys_is_refused(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    keyset = next(iter(mint.keysets.values()))
    other = mint.add_keyset("sat")
    object.__setattr__(keyset.public, "keys", other.public.keys)
    wallet = await home.open()
    await tell(wallet, 1, 3)
    task = asyncio.create_task(wallet.minter.run())
    while not home.metric("alarms_total", kind="mint"):
        await asyncio.sleep(0.01)
    task.cancel()
    assert BATCH not in mint.paths()


async def test_a_unit_that_the_mint_does_not_sign_waits_and_blocks_no_other(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    wallet = await home.open()
    alice = await wallet.key_for("alice")
    wallet.notice(alice.key_index, b"\x01" * 32, 5, "hash_unknown")
    await tell(wallet, 1, 3)
    await wallet.minter.mint_due()
    assert await balance(wallet) == 3
    assert await states(wallet) == {"minted": 1, "pending": 1}


async def test_notices_wait_while_the_mint_is_down_and_are_minted_when_it_is_back(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    async def down(request: web.Request, _: bytes) -> web.StreamResponse | None:
        return web.Response(status=503)

    mint.before = down
    wallet = await home.open()
    await tell(wallet, 1, 3)
    task = asyncio.create_task(wallet.run())
    while len(mint.seen) < 2:
        await asyncio.sleep(0.01)
    assert home.metric("mint_up") == 0
    mint.before = None
    while not home.metric("quotes_minted_total") or not home.metric("mint_up"):
        await asyncio.sleep(0.01)
    task.cancel()
    assert await balance(wallet) == 3


async def test_a_running_wallet_mints_soon_after_the_notice(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    task = asyncio.create_task(wallet.run())
    for number in range(3):
        await tell(wallet, number, 2)
        while home.metric("quotes_minted_total") < number + 1:
            await asyncio.sleep(0.005)
    task.cancel()
    assert await balance(wallet) == 6


async def test_notices_beyond_the_bound_are_left_to_the_look_up(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.wallet.minting.MAX_NOTICES", 2)
    wallet = await home.open()
    for number in range(5):
        wallet.notice(0, bytes([number]) * 32, 1, UNIT)
    assert home.metric("notices_total", result="taken") == 2
    assert home.metric("notices_total", result="overflow") == 3


async def test_notices_that_could_not_be_stored_are_stored_later(
    home: Home, tell: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 7)

    async def fail(*_: object) -> None:
        raise CommitFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", fail)
        with pytest.raises(CommitFailed):
            await wallet.minter.mint_due()
    await tell(wallet, 2, 8)
    await wallet.minter.mint_due()
    assert await balance(wallet) == 15


async def test_a_look_up_finds_every_quote_that_no_notice_told_of(home: Home, mint: FakeMint) -> None:
    wallet = await home.open()
    for name in ("alice", "bob"):
        key = (await wallet.key_for(name)).public_key
        for number in range(7):
            mint.pay(key, name.encode().ljust(31, b"_") + bytes([number]), 2)
    mint.pay(public_key(b"\x09" * 32), b"\x33" * 32, 2)
    assert await wallet.discovery.look_up_all() == (2, 14)
    assert await wallet.discovery.look_up_all() == (2, 0)
    await wallet.minter.mint_due()
    assert await balance(wallet) == 28
    assert await wallet.discovery.look_up_all() == (2, 0)


async def test_what_was_dropped_is_tried_again_when_the_mint_names_it(
    home: Home, mint: FakeMint, clock: Clock
) -> None:
    wallet = await home.open()
    alice = await wallet.key_for("alice")
    wallet.notice(alice.key_index, b"\x01" * 32, 5, UNIT)
    for _ in range(3):
        await wallet.minter.mint_due()
        clock.advance(70)
    assert await states(wallet) == {"dropped": 1}
    mint.pay(alice.public_key, b"\x01" * 32, 5)
    await wallet.discovery.look_up_all()
    await wallet.minter.mint_due()
    assert await states(wallet) == {"minted": 1}


async def test_what_waits_is_counted(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 5)
    mint.before = lose
    with pytest.raises(MintUnreachable):
        await wallet.minter.mint_due()
    assert await wallet.kit.database.read(quote.waiting) == (1, 5)


async def test_minting_that_is_switched_off_is_waited_for(home: Home, mint: FakeMint, tell: Told) -> None:
    async def off(request: web.Request, _: bytes) -> web.StreamResponse | None:
        return (
            web.json_response({"code": 20003, "detail": "off"}, status=400) if is_minting(request) else None
        )

    wallet = await home.open()
    await tell(wallet, 1, 3)
    mint.before = off
    with pytest.raises(MintUnreachable):
        await wallet.minter.mint_due()
    mint.before = None
    await wallet.minter.mint_due()
    assert await balance(wallet) == 3


async def test_a_mint_that_finds_a_batch_too_large_gets_smaller_ones(
    home: Home, mint: FakeMint, clock: Clock, tell: Told
) -> None:
    async def small(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if is_minting(request) and len(json.loads(body)["quotes"]) > 3:
            return web.json_response({"code": 11017, "detail": "batch too large"}, status=400)
        return None

    wallet = await home.open(batch=10)
    for number in range(10):
        await tell(wallet, number, 1)
    mint.before = small
    for _ in range(4):
        await wallet.minter.mint_due()
        clock.advance(2)
    assert await balance(wallet) == 10
    assert await states(wallet) == {"minted": 10}


async def test_notices_of_a_mint_without_a_quote_key_are_left_to_the_look_up(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    async def keyless(request: web.Request, _: bytes) -> web.StreamResponse | None:
        return web.json_response({**mint._info(), "quote_key": None}) if request.path == "/v1/info" else None

    mint.before = keyless
    wallet = await home.open()
    await tell(wallet, 1, 3)
    await wallet.minter.mint_due()
    assert await states(wallet) == {"dropped": 1}
    await wallet.discovery.look_up_all()
    await wallet.minter.mint_due()
    assert await balance(wallet) == 3


@pytest.mark.parametrize("change", ["fewer", "amount", "keyset", "point", "dleq"])
async def test_an_answer_that_is_not_what_was_asked_for_is_kept_aside(
    home: Home, mint: FakeMint, tell: Told, change: str
) -> None:
    async def cheat(request: web.Request, _: bytes) -> web.StreamResponse | None:
        if not is_minting(request):
            return None
        signatures = [signature.to_json() for signature in mint.signed.values()]
        first = signatures[0]
        dleq_of_first = first["dleq"]
        assert isinstance(dleq_of_first, dict)
        changes: dict[str, object] = {
            "fewer": signatures[1:],
            "amount": [{**first, "amount": 16}, *signatures[1:]],
            "keyset": [{**first, "id": "01" + "00" * 32}, *signatures[1:]],
            "point": [{**first, "C_": "02" + "ff" * 32}, *signatures[1:]],
            "dleq": [{**first, "dleq": {**dleq_of_first, "s": "11" * 32}}, *signatures[1:]],
        }
        return web.json_response({"signatures": changes[change]})

    wallet = await home.open()
    await tell(wallet, 1, 3)
    mint.after = cheat
    await wallet.minter.mint_due()
    assert await balance(wallet) == 0
    assert home.metric("alarms_total", kind="dishonest") == 1
    assert home.metric("requests_total", result="disputed") == 1
    assert await wallet.kit.database.read(quote.waiting) == (1, 3)


async def test_a_look_up_that_the_mint_refuses_is_an_alarm_and_not_the_end(
    home: Home, mint: FakeMint, clock: Clock
) -> None:
    wallet = await home.open(lookup_interval=1)
    await wallet.key_for("alice")
    ours, clock.ms = clock.ms, clock.ms + 1_000_000
    mint.clock = lambda: ours / 1000
    task = asyncio.create_task(wallet.discovery.run())
    while not home.metric("alarms_total", kind="lookup"):
        await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()


async def test_a_mint_that_comes_back_while_nothing_is_to_mint_is_seen(
    home: Home, mint: FakeMint, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(request: web.Request, _: bytes) -> web.StreamResponse | None:
        return web.Response(status=503)

    monkeypatch.setattr("roles.wallet.discovery._PAUSE", 0.05)
    wallet = await home.open()
    await wallet.key_for("alice")
    task = asyncio.create_task(wallet.run())
    while not home.metric("mint_up"):
        await asyncio.sleep(0.01)
    mint.before = down
    wallet.look_up_soon()
    while home.metric("mint_up"):
        await asyncio.sleep(0.01)
    mint.before = None
    while not home.metric("mint_up"):
        await asyncio.sleep(0.01)
    task.cancel()


async def test_a_clock_that_is_set_back_holds_no_quote_up(
    home: Home, mint: FakeMint, tell: Told, clock: Clock
) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 4)
    clock.advance(-3_600)
    await wallet.minter.mint_due()
    assert await balance(wallet) == mint.issued() == 4
