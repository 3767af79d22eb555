"""From a solution to a block, checked before a node sees it."""

from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.header import ROLLABLE_VERSION_BITS, Header
from protocols.bitcoin.merkle import WITNESS_RESERVED, root_from_path
from protocols.bitcoin.target import meets
from protocols.bitcoin.transaction import Transaction
from protocols.sv2.template_distribution import SubmitSolution
from roles.template_provider.errors import SolutionRefused
from roles.templates import block
from roles.templates.block import Block
from roles.templates.draft import Draft


def read_coinbase(solution: SubmitSolution) -> Transaction:
    """The solution's coinbase; one that came without its witness gets it. Raises SolutionRefused."""
    try:
        found = Transaction.parse(solution.coinbase_tx)
    except EncodingError as error:
        raise SolutionRefused("bad-coinbase", f"the coinbase does not decode: {error}") from error
    if not found.is_coinbase:
        raise SolutionRefused("bad-coinbase", "the transaction is no coinbase")
    if found.witnesses:
        return found
    return Transaction(found.version, found.inputs, found.outputs, ((WITNESS_RESERVED,),), found.locktime)


def header_of(draft: Draft, solution: SubmitSolution, coinbase: Transaction) -> Header:
    """The header that a solution gives a draft."""
    root = root_from_path(coinbase.txid, draft.merkle_path)
    return Header(
        solution.version, draft.previous, root, solution.header_timestamp, draft.bits, solution.header_nonce
    )


def belongs(draft: Draft, solution: SubmitSolution, coinbase: Transaction) -> bool:
    """Whether a coinbase was made for this draft, and solves it: height, commitment, and hash agree."""
    fields = draft.coinbase
    return (
        coinbase.inputs[0].script.startswith(fields.script_prefix)
        and coinbase.locktime == fields.locktime
        and bool(coinbase.outputs)
        and coinbase.outputs[-1].serialize() == fields.outputs
        and meets(header_of(draft, solution, coinbase).hash(), draft.target)
    )


def assemble(draft: Draft, solution: SubmitSolution, coinbase: Transaction) -> Block:
    """The block; raises SolutionRefused when its version or hash can satisfy no node."""
    if (solution.version ^ draft.version) & ~ROLLABLE_VERSION_BITS:
        raise SolutionRefused(
            "bad-version",
            f"version {solution.version:#x} changes bits of {draft.version:#x} that are not free",
        )
    header = header_of(draft, solution, coinbase)
    if not meets(header.hash(), draft.target):
        raise SolutionRefused("high-hash", "the hash is above the target of the template")
    return block.assemble(draft, header, coinbase)
