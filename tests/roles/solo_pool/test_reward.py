"""Whom a block pays."""

import pytest

from protocols.bitcoin.address import script_from_address
from protocols.bitcoin.networks import Network
from protocols.sv1.errors import ErrorCode, Rejection
from roles.solo_pool.reward import Rewards

OURS = b"\x00\x14" + bytes(20)
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
MAIN = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


@pytest.mark.parametrize("user", [ADDRESS, f"{ADDRESS}.garage", ADDRESS.upper()])
def test_a_block_pays_the_address_that_the_user_name_begins_with(user: str) -> None:
    assert Rewards(Network.REGTEST, OURS).script_of(user) == script_from_address(ADDRESS, Network.REGTEST)


@pytest.mark.parametrize("user", ["", "alice", "garage.7", "miner1"])
def test_another_name_mines_for_the_operator(user: str) -> None:
    assert Rewards(Network.REGTEST, OURS).script_of(user) == OURS


def test_without_an_operators_address_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(Rejection, match="must begin with an address of regtest") as caught:
        Rewards(Network.REGTEST, None).script_of("alice")
    assert caught.value.code == ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize(
    "user",
    [
        ADDRESS[:-1] + "q",
        ADDRESS.replace("w5", "w6") + ".garage",
        MAIN,
        "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfm",
        "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    ],
)
def test_a_mistyped_or_foreign_address_is_refused_and_never_mines_for_somebody_else(user: str) -> None:
    with pytest.raises(Rejection, match="Invalid address"):
        Rewards(Network.REGTEST, OURS).script_of(user)
