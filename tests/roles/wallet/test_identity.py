from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from roles.wallet import identity
from roles.wallet.errors import IdentityLimitError
from roles.wallet.keyring import Keyring
from roles.wallet.wallet import Settings, Wallet
from roles.wallet.worker_meters import WorkerMeters
from tests.roles.wallet.conftest import Home


async def test_a_user_identity_keeps_its_key_over_restarts(home: Home) -> None:
    wallet = await home.open()
    alice, bob = await wallet.key_for("alice"), await wallet.key_for("bob")
    assert (alice.key_index, bob.key_index) == (0, 1)
    assert alice.public_key != bob.public_key
    wallet.kit.database.close()
    again = await home.open()
    assert await again.key_for("bob") == bob
    assert await again.key_for("alice") == alice


async def test_the_key_is_in_the_store_before_it_is_given_out(home: Home) -> None:
    wallet = await home.open()
    given = await wallet.key_for("alice")
    assert await wallet.kit.database.read(identity.everyone) == [given]


async def test_an_identity_that_is_not_utf_8_has_a_key_too(home: Home) -> None:
    wallet = await home.open()
    odd = await wallet.key_for(b"\xff\xfe.rig".decode("utf-8", "surrogateescape"))
    wallet.kit.database.close()
    again = await home.open()
    assert await again.kit.database.read(identity.everyone) == [odd]


async def test_the_number_of_identities_is_bounded(home: Home) -> None:
    wallet = await home.open(max_identities=2)
    await wallet.key_for("alice")
    await wallet.key_for("bob")
    with pytest.raises(IdentityLimitError):
        await wallet.key_for("carol")
    assert (await wallet.key_for("alice")).key_index == 0


async def test_a_key_of_the_wallet_is_recognised_and_a_foreign_one_is_not(home: Home) -> None:
    wallet = await home.open()
    alice = await wallet.key_for("alice")
    assert await wallet.owner_of(alice.public_key) == alice
    assert await wallet.owner_of(b"\x02" * 33) is None


async def test_a_store_knows_the_seed_that_its_keys_derive_from(home: Home) -> None:
    wallet = await home.open()
    assert await wallet.is_of_its_seed()
    await wallet.key_for("alice")
    assert await wallet.is_of_its_seed()
    other = replace(wallet.kit, keyring=Keyring(bytes(64)))
    meters = WorkerMeters(CollectorRegistry(), 0)
    assert not await Wallet(other, Settings(), meters).is_of_its_seed()
