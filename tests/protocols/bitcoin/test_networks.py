import pytest

from protocols.bitcoin.hashing import from_display
from protocols.bitcoin.header import Header
from protocols.bitcoin.networks import Network, subsidy
from protocols.bitcoin.target import from_bits, meets

SATOSHIS_ROOT = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
TESTNET4_ROOT = "7aa0a7ae1e223414cb807e40cd57e667b718e42aaf9306db9102fe28912b7b4e"


@pytest.mark.parametrize(
    ("network", "root", "time", "nonce"),
    [
        (Network.MAIN, SATOSHIS_ROOT, 1231006505, 2083236893),
        (Network.TESTNET4, TESTNET4_ROOT, 1714777860, 393743547),
        (Network.SIGNET, SATOSHIS_ROOT, 1598918400, 52613770),
        (Network.REGTEST, SATOSHIS_ROOT, 1296688602, 2),
    ],
)
def test_the_genesis_hash_is_that_of_the_first_header(
    network: Network, root: str, time: int, nonce: int
) -> None:
    bits = network.parameters.proof_of_work_bits
    header = Header(1, bytes(32), from_display(root), time, bits, nonce)
    assert header.hash() == network.genesis
    assert meets(network.genesis, from_bits(bits))


def test_the_subsidy_halves_until_nothing_is_left() -> None:
    assert subsidy(0, Network.MAIN) == 5_000_000_000
    assert subsidy(209_999, Network.MAIN) == 5_000_000_000
    assert subsidy(840_000, Network.MAIN) == 312_500_000
    assert subsidy(150, Network.REGTEST) == 2_500_000_000
    assert subsidy(33 * 150, Network.REGTEST) == 0
    assert subsidy(1 << 40, Network.REGTEST) == 0


def test_networks_have_the_names_that_nodes_give_them() -> None:
    assert Network("testnet4") is Network.TESTNET4
    assert [str(network) for network in Network] == ["main", "testnet4", "signet", "regtest"]
