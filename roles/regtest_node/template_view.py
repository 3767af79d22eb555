"""A block template as getblocktemplate answers it (BIP22, BIP23, BIP145)."""

from protocols.bitcoin.hashing import display
from protocols.bitcoin.target import from_bits
from roles.regtest_node.jsonrpc import Json
from roles.regtest_node.template import MAX_BLOCK_SIGOPS, VERSION, BlockTemplate
from roles.regtest_node.transaction_check import MAX_BLOCK_WEIGHT

MAX_BLOCK_SIZE = 4_000_000


def template_json(template: BlockTemplate, time: int) -> dict[str, Json]:
    """The answer, with ``time`` as the time to mine with."""
    return {
        "capabilities": ["proposal"],
        "version": VERSION,
        "rules": ["csv", "!segwit", "taproot"],
        "vbavailable": {},
        "vbrequired": 0,
        "previousblockhash": display(template.previous),
        "transactions": _transactions(template),
        "coinbaseaux": {},
        "coinbasevalue": template.value,
        "longpollid": display(template.previous) + str(template.updates),
        "target": f"{from_bits(template.bits):064x}",
        "mintime": template.least_time,
        "mutable": ["time", "transactions", "prevblock"],
        "noncerange": "00000000ffffffff",
        "sigoplimit": MAX_BLOCK_SIGOPS,
        "sizelimit": MAX_BLOCK_SIZE,
        "weightlimit": MAX_BLOCK_WEIGHT,
        "curtime": time,
        "bits": f"{template.bits:08x}",
        "height": template.height,
        "default_witness_commitment": template.commitment_script.hex(),
    }


def _transactions(template: BlockTemplate) -> list[Json]:
    # Dependencies are numbered as in the block, where the coinbase is 0.
    number = {entry.txid: place for place, entry in enumerate(template.entries, 1)}
    return [
        {
            "data": entry.raw.hex(),
            "txid": display(entry.txid),
            "hash": display(entry.transaction.wtxid),
            "depends": sorted(number[txid] for txid in entry.parents if txid in number),
            "fee": entry.fee,
            "sigops": entry.sigops,
            "weight": entry.weight,
        }
        for entry in template.entries
    ]
