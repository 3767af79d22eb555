import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import encode_key, parse_identity
from protocols.ehash.messages import EXTENSION, TLV_CHANNEL_KEY, TLV_SHARE_KEY
from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from protocols.sv2.tlv import Tlv
from roles.proxy.attribution import USER_BYTES, Attribution
from roles.runtime.storage import open_readonly
from roles.wallet import identity
from roles.wallet.wallet import STORE_NAME
from tests.roles.proxy.conftest import Start
from tests.roles.proxy.scripted_pool import ScriptedPool

KEY = public_key(b"\x55" * 32)
OTHER = public_key(b"\x56" * 32)


def test_a_key_goes_as_a_tlv_where_the_upstream_knows_of_it() -> None:
    tlvs = (Tlv(EXTENSION, TLV_CHANNEL_KEY, KEY),)
    assert Attribution(KEY, 0).on_wire("alice", frozenset({EXTENSION})) == ("alice", tlvs)


@pytest.mark.parametrize("user", ["", "alice", "alice.rig.2", "B" * 52, encode_key(OTHER), "\udcff\udcfe"])
def test_elsewhere_the_key_goes_as_text_in_front_of_the_name(user: str) -> None:
    text, tlvs = Attribution(KEY, 0).on_wire(user, frozenset())
    assert tlvs == ()
    assert parse_identity(text).key == KEY
    assert parse_identity(text).worker == user


@pytest.mark.parametrize(
    "user", [encode_key(KEY), f"{encode_key(KEY)}.rig", f"k={encode_key(KEY)}", KEY.hex()]
)
def test_a_name_that_says_its_key_stays_as_it_is(user: str) -> None:
    assert Attribution(KEY, None).on_wire(user, frozenset()) == (user, ())


def test_a_long_name_makes_room_for_its_key() -> None:
    text, _ = Attribution(KEY, 0).on_wire("\u00e9" * 127, frozenset())
    raw = text.encode("utf-8", "surrogateescape")
    assert len(raw) == USER_BYTES
    assert parse_identity(text).key == KEY


async def test_work_carries_its_key_to_an_upstream_that_grants_no_extension(
    start: Start, pool: ScriptedPool
) -> None:
    pool.extensions = ()
    house = await start()
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    named = parse_identity(pool.channel.request.user_identity)
    with open_readonly(house.daemon.state / STORE_NAME) as store:
        (own,) = identity.everyone(store)
    assert (named.key, named.worker) == (own.public_key, "alice")
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_a_share_for_another_key_is_refused_where_the_upstream_would_not_hear_of_it(
    start: Start, pool: ScriptedPool
) -> None:
    pool.extensions = ()
    house = await start()
    miner = await house.miner(extensions=(EXTENSION,))
    await miner.open_extended(encode_key(KEY))
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip), (Tlv(EXTENSION, TLV_SHARE_KEY, OTHER),))
    assert (await miner.expect(SubmitSharesError)).error_code == "invalid-user-identity"
    assert pool.channel.heard == []
    miner.send(miner.mine(job, tip, extranonce=1), (Tlv(EXTENSION, TLV_SHARE_KEY, KEY),))
    await miner.expect(SubmitSharesSuccess)
