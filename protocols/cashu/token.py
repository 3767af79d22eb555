"""Tokens as text: version 3 ("cashuA", JSON) and version 4 ("cashuB", CBOR, also as raw bytes after "crawB"),
of NUT-00.

A token names one mint. Version 4 carries short keyset ids, which `with_full_ids` resolves against the keysets
that are known. Everything that cannot be read raises MalformedError.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import cbor2

from protocols.cashu import base64_text
from protocols.cashu.errors import MalformedError
from protocols.cashu.fields import (
    SCALAR_SIZE,
    as_array,
    as_integer,
    as_keyset_id,
    as_object,
    as_text,
    check_point,
)
from protocols.cashu.keyset import UNIT_LIMIT, resolve, short_id
from protocols.cashu.models import SECRET_LIMIT, WITNESS_LIMIT, Dleq, Proof

TOKEN_LIMIT = 4 << 20
_TEXT_LIMIT = 4096
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Token:
    """Proofs of one mint and unit, as they travel between people. Whoever reads it can spend it."""

    mint: str
    proofs: tuple[Proof, ...]
    unit: str | None = None
    memo: str | None = None

    @property
    def amount(self) -> int:
        """The sum of the proofs."""
        return sum(proof.amount for proof in self.proofs)

    def with_full_ids(self, known: Iterable[str]) -> "Token":
        """The token with every keyset id in full; KeysetUnknownError or MalformedError if one does not name
        exactly one.
        """
        ids = tuple(known)
        return replace(
            self,
            proofs=tuple(replace(proof, keyset_id=resolve(proof.keyset_id, ids)) for proof in self.proofs),
        )


def decode(text: str) -> Token:
    """Read a token of either version, with or without padding and the URI scheme."""
    text = text.strip().removeprefix("cashu:").removeprefix("//")
    if len(text) > TOKEN_LIMIT:
        raise MalformedError("the token is too long")
    if text.startswith("cashuA"):
        return _read_v3(base64_text.decode(text[6:]))
    if text.startswith("cashuB"):
        return _read_v4(base64_text.decode(text[6:]))
    raise MalformedError("the token does not begin with cashuA or cashuB")


def decode_raw(data: bytes) -> Token:
    """Read a version 4 token in its binary form."""
    if not data.startswith(b"crawB"):
        raise MalformedError("the token does not begin with crawB")
    return _read_v4(data[5:])


def encode_v3(token: Token) -> str:
    """The deprecated form, for wallets that read no other; without padding."""
    entry = {"mint": token.mint, "proofs": [proof.to_json() for proof in token.proofs]}
    body: dict[str, object] = {"token": [entry]}
    if token.unit is not None:
        body["unit"] = token.unit
    if token.memo is not None:
        body["memo"] = token.memo
    return "cashuA" + base64_text.encode(json.dumps(body, separators=(",", ":")).encode())


def encode_v4(token: Token) -> str:
    """The text that people exchange; without padding. Raises MalformedError for a token without a unit."""
    return "cashuB" + base64_text.encode(_cbor(token))


def encode_raw(token: Token) -> bytes:
    """The binary form, for NFC and the like. Raises MalformedError for a token without a unit."""
    return b"crawB" + _cbor(token)


def _cbor(token: Token) -> bytes:
    if token.unit is None:
        raise MalformedError("a version 4 token needs a unit")
    body: dict[str, object] = {
        "t": [
            {"i": bytes.fromhex(short_id(keyset_id)), "p": [_proof_to_cbor(proof) for proof in proofs]}
            for keyset_id, proofs in groupby(token.proofs, lambda proof: proof.keyset_id)
        ]
    }
    if token.memo is not None:
        body["d"] = token.memo
    return cbor2.dumps({**body, "m": token.mint, "u": token.unit})


def _proof_to_cbor(proof: Proof) -> dict[str, object]:
    item: dict[str, object] = {"a": proof.amount, "s": proof.secret, "c": proof.signature}
    if proof.dleq is not None and proof.dleq.blinding is not None:
        item["d"] = {"e": proof.dleq.e, "s": proof.dleq.s, "r": proof.dleq.blinding}
    if proof.witness is not None:
        item["w"] = proof.witness
    if proof.ephemeral_key is not None:
        item["pe"] = proof.ephemeral_key
    return item


def _read_v3(data: bytes) -> Token:
    try:
        body = as_object(json.loads(data), "token")
    except (ValueError, RecursionError):
        raise MalformedError("the token is not JSON") from None
    entries = [as_object(entry, "token entry") for entry in as_array(body.get("token"), "token")]
    mints = {_mint(entry.get("mint")) for entry in entries}
    if len(mints) != 1:
        raise MalformedError("the token does not name exactly one mint")
    proofs = tuple(
        Proof.from_json(proof) for entry in entries for proof in as_array(entry.get("proofs"), "proofs")
    )
    return Token(mints.pop(), _some(proofs), _unit(body.get("unit")), _memo(body.get("memo")))


def _read_v4(data: bytes) -> Token:
    try:
        body = as_object(
            cbor2.loads(data, max_depth=_DEPTH, allow_duplicate_keys=False, strict_hashable_types=True),
            "token",
        )
    except cbor2.CBORDecodeError:
        raise MalformedError("the token is not CBOR") from None
    entries = [as_object(entry, "token entry") for entry in as_array(body.get("t"), "token")]
    proofs = tuple(proof for entry in entries for proof in _entry_from_cbor(entry))
    unit = _unit(body.get("u"))
    if unit is None:
        raise MalformedError("the token has no unit")
    return Token(_mint(body.get("m")), _some(proofs), unit, _memo(body.get("d")))


def _entry_from_cbor(entry: Mapping[str, object]) -> list[Proof]:
    keyset_id = _keyset_id(entry.get("i"))
    return [_proof_from_cbor(proof, keyset_id) for proof in as_array(entry.get("p"), "proofs")]


def _proof_from_cbor(value: object, keyset_id: str) -> Proof:
    item = as_object(value, "proof")
    dleq = item.get("d")
    witness = item.get("w")
    ephemeral_key = item.get("pe")
    return Proof(
        as_integer(item.get("a"), "proof amount"),
        keyset_id,
        as_text(item.get("s"), "secret", SECRET_LIMIT),
        check_point(_raw(item.get("c"), "C", 33), "C"),
        None if witness is None else as_text(witness, "witness", WITNESS_LIMIT),
        None if dleq is None else _dleq_from_cbor(dleq),
        None if ephemeral_key is None else check_point(_raw(ephemeral_key, "pe", 33), "pe"),
    )


def _dleq_from_cbor(value: object) -> Dleq:
    item = as_object(value, "dleq")
    e, s = (_raw(item.get(name), f"dleq {name}", SCALAR_SIZE) for name in ("e", "s"))
    blinding = item.get("r")
    # Some wallets that do not know r write a zero instead of leaving it out.
    if blinding is None or blinding == b"\0":
        return Dleq(e, s)
    return Dleq(e, s, _raw(blinding, "dleq r", SCALAR_SIZE))


def _raw(value: object, what: str, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise MalformedError(f"{what} is not {size} bytes")
    return value


def _keyset_id(value: object) -> str:
    if not isinstance(value, bytes):
        raise MalformedError("a keyset id is not bytes")
    return as_keyset_id(value.hex())


def _mint(value: object) -> str:
    return as_text(value, "mint", _TEXT_LIMIT).rstrip("/")


def _unit(value: object) -> str | None:
    return None if value is None else as_text(value, "unit", UNIT_LIMIT).lower()


def _memo(value: object) -> str | None:
    return None if value is None else as_text(value, "memo", _TEXT_LIMIT)


def _some(proofs: tuple[Proof, ...]) -> tuple[Proof, ...]:
    if not proofs:
        raise MalformedError("the token holds no proofs")
    return proofs
