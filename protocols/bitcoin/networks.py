"""The chains that hashpool runs on and what tells them apart."""

from dataclasses import dataclass
from enum import StrEnum

from protocols.bitcoin.hashing import from_display


@dataclass(frozen=True, slots=True)
class Parameters:
    """Constants of a chain: text prefixes, genesis hash (internal order) and the reward schedule."""

    public_key_hash_prefix: int
    script_hash_prefix: int
    segwit_prefix: str
    extended_public_prefix: bytes
    extended_secret_prefix: bytes
    genesis: bytes
    proof_of_work_bits: int
    halving_interval: int


class Network(StrEnum):
    """A chain under the name that bitcoind gives it in getblockchaininfo."""

    MAIN = "main"
    TESTNET4 = "testnet4"
    SIGNET = "signet"
    REGTEST = "regtest"

    @property
    def parameters(self) -> Parameters:
        """The constants of this chain."""
        return _PARAMETERS[self]

    @property
    def genesis(self) -> bytes:
        """Hash of the first block, 32 bytes in internal order."""
        return self.parameters.genesis


def subsidy(height: int, network: Network) -> int:
    """New satoshis that the block at `height` may create, without fees."""
    halvings = height // network.parameters.halving_interval
    return 50 * 100_000_000 >> min(halvings, 64)


def _parameters(genesis: str, segwit_prefix: str, bits: int, halving_interval: int = 210_000) -> Parameters:
    main = segwit_prefix == "bc"
    return Parameters(
        public_key_hash_prefix=0x00 if main else 0x6F,
        script_hash_prefix=0x05 if main else 0xC4,
        segwit_prefix=segwit_prefix,
        extended_public_prefix=bytes.fromhex("0488b21e" if main else "043587cf"),
        extended_secret_prefix=bytes.fromhex("0488ade4" if main else "04358394"),
        genesis=from_display(genesis),
        proof_of_work_bits=bits,
        halving_interval=halving_interval,
    )


_PARAMETERS = {
    Network.MAIN: _parameters(
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", "bc", 0x1D00FFFF
    ),
    Network.TESTNET4: _parameters(
        "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043", "tb", 0x1D00FFFF
    ),
    Network.SIGNET: _parameters(
        "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6", "tb", 0x1E0377AE
    ),
    Network.REGTEST: _parameters(
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", "bcrt", 0x207FFFFF, 150
    ),
}
