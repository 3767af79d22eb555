"""Addresses: the text of an output script on one network."""

from protocols.bitcoin import base58, bech32
from protocols.bitcoin.errors import AddressError, TextError
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import (
    OP_RETURN,
    pay_to_public_key_hash,
    pay_to_script_hash,
    split_witness_program,
    witness_program,
)

_HASH_SIZE = 20


def script_from_address(text: str, network: Network) -> bytes:
    """The output script of an address; raises AddressError, also for an address of another network.

    Testnet4 and signet write addresses alike and cannot be told apart.
    """
    prefix = text.lower().rpartition("1")[0]
    try:
        if prefix in {each.parameters.segwit_prefix for each in Network}:
            return _segwit_script(text, network)
        return _base58_script(base58.decode_check(text), network)
    except AddressError:
        raise
    except TextError as error:
        raise AddressError(f"not an address: {error}") from error


def _segwit_script(text: str, network: Network) -> bytes:
    prefix, version, program = bech32.decode_segwit(text)
    if prefix != network.parameters.segwit_prefix:
        raise AddressError(f"an address that starts with {prefix}1 is not one of {network}")
    return witness_program(version, program)


def _base58_script(payload: bytes, network: Network) -> bytes:
    version, content = payload[:1], payload[1:]
    if len(content) != _HASH_SIZE:
        raise AddressError(f"an address holds a version and 20 bytes, this text {len(payload)}")
    if version[0] == network.parameters.public_key_hash_prefix:
        return pay_to_public_key_hash(content)
    if version[0] == network.parameters.script_hash_prefix:
        return pay_to_script_hash(content)
    raise AddressError(f"version {version[0]} is not one of {network}")


def address_from_script(script: bytes, network: Network) -> str | None:
    """The address of an output script, or None when it has none."""
    if script[:1] == bytes((OP_RETURN,)):
        return None
    witness = split_witness_program(script)
    if witness is not None:
        return _segwit_address(*witness, network)
    key_hash, script_hash = script[3:-2], script[2:-1]
    parameters = network.parameters
    if len(key_hash) == _HASH_SIZE and script == pay_to_public_key_hash(key_hash):
        return base58.encode_check(bytes((parameters.public_key_hash_prefix,)) + key_hash)
    if len(script_hash) == _HASH_SIZE and script == pay_to_script_hash(script_hash):
        return base58.encode_check(bytes((parameters.script_hash_prefix,)) + script_hash)
    return None


def _segwit_address(version: int, program: bytes, network: Network) -> str | None:
    try:
        return bech32.encode_segwit(network.parameters.segwit_prefix, version, program)
    except TextError:
        # A version 0 program of another length is an output nobody can spend, and has no address.
        return None
