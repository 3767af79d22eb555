"""A side's signed word on one ledger, so that pool and mint can audit each other without seeing one store.

Both chain the settled rows of the ledger (`protocols.ehash.ledger_chain`). A summary carries the chain's
value every 1,000 rows and at its end, so that sides that stand at different rows compare at the last one that
both have.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

import orjson

from protocols.bitcoin import secp256k1
from protocols.bitcoin.hashing import tagged_hash
from protocols.ehash.ledger_chain import BEGINNING, STEP, Link, extend
from roles.cli.auditing.findings import Findings

TAG: Final = "hashpool/audit/v1"
VERSION: Final = 1


class SummaryError(Exception):
    """A summary cannot be read, or its signature is false."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is left of the first rows of a ledger, which are compacted: the last one's number, what was
    credited, and the values of the chain at some of them, the last one among them.
    """

    seq: int = 0
    credited: int = 0
    chain: Mapping[int, bytes] = field(default_factory=dict)


NOTHING: Final = Past()


@dataclass(frozen=True)
class Summary:
    """The chain of one ledger as one side sees it; byte strings as hex, amounts in ehash."""

    version: int
    side: str
    issuer: str
    store_id: str
    rows: int
    credited: int
    chain: dict[str, str]

    def digest(self) -> bytes:
        """Return what is signed."""
        return tagged_hash(TAG, orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS))


def summarise(
    side: str, issuer: bytes, store_id: bytes, links: Iterable[Link], past: Past = NOTHING
) -> Summary:
    """Chain the rows of a ledger behind its past, given in the order of the ledger."""
    value, credited, last = past.chain.get(past.seq, BEGINNING), past.credited, past.seq
    chain = {str(seq): each.hex() for seq, each in past.chain.items()}
    for link in links:
        value = extend(value, link)
        credited += link.amount
        last = link.seq
        if last % STEP == 0:
            chain[str(last)] = value.hex()
    if last:
        chain[str(last)] = value.hex()
    return Summary(VERSION, side, issuer.hex(), store_id.hex(), last, credited, chain)


def export(summary: Summary, secret: bytes, aux: bytes) -> bytes:
    """Sign a summary and return it as JSON; the key is told as 32-byte x-only hex."""
    signature = secp256k1.schnorr_sign(secret, summary.digest(), aux)
    signer = secp256k1.xonly(secp256k1.public_key(secret))
    return orjson.dumps(
        {"summary": asdict(summary), "signer": signer.hex(), "signature": signature.hex()},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def load(data: bytes) -> tuple[Summary, bytes]:
    """Read an exported summary and check its signature; returns it with its signer's key (x-only)."""
    try:
        told: dict[str, Any] = orjson.loads(data)
        body = told["summary"]
        summary = Summary(**{field.name: body[field.name] for field in fields(Summary)})
        signer, signature = bytes.fromhex(told["signer"]), bytes.fromhex(told["signature"])
        genuine = secp256k1.schnorr_verify(signer, summary.digest(), signature)
    except (ValueError, KeyError, TypeError) as error:
        raise SummaryError(f"this is no audit summary: {error}") from error
    if summary.version != VERSION:
        raise SummaryError(f"a summary of version {summary.version}; this program reads version {VERSION}")
    if not genuine:
        raise SummaryError("the summary's signature is false")
    return summary, signer


def compare(ours: Iterable[Link], theirs: Summary, findings: Findings, past: Past = NOTHING) -> None:
    """Compare our rows, behind our past, with the other side's summary at the last row that both have."""
    rows = list(ours)
    settled = past.seq + len(rows)
    told = {int(seq) for seq in theirs.chain}
    common = max((seq for seq in told if past.seq <= seq <= settled or seq in past.chain), default=0)
    if not common and settled < theirs.rows:
        # Their chain has no value at our last row, so only they can compare, with our summary.
        findings.count("rows that the other side can compare", settled)
        return
    mine = summarise("", b"", b"", rows[: max(0, common - past.seq)], past)
    findings.count("rows compared with the other side", common)
    if common and mine.chain[str(common)] != theirs.chain[str(common)]:
        findings.problem("ledgers that differ between the sides", f"somewhere up to row {common}")
