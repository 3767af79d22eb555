"""Valid shares for a channel's work, each with an extranonce of its own, mined before they are timed."""

from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from struct import Struct

from protocols.sv2.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannelSuccess,
    SetNewPrevHash,
    SubmitSharesExtended,
)

_HEAD = Struct("<I32s32sII")
_NONCE = Struct("<I")


@dataclass(frozen=True, slots=True)
class MinerWork:
    """What a channel was given to mine on."""

    channel: OpenExtendedMiningChannelSuccess
    job: NewExtendedMiningJob
    tip: SetNewPrevHash

    @property
    def merkle_nodes(self) -> int:
        """Nodes of the merkle path."""
        return len(self.job.merkle_path)

    def mine(self, shares: int) -> list[SubmitSharesExtended]:
        """So many shares under the channel's target, numbered from 1 on."""
        return [self._mine(number) for number in range(1, shares + 1)]

    def _mine(self, number: int) -> SubmitSharesExtended:
        job, tip, channel = self.job, self.tip, self.channel
        rolled = number.to_bytes(channel.extranonce_size, "little")
        coinbase = job.coinbase_tx_prefix + channel.extranonce_prefix + rolled + job.coinbase_tx_suffix
        root = sha256(sha256(coinbase).digest()).digest()
        for sibling in job.merkle_path:
            root = sha256(sha256(root + sibling).digest()).digest()
        head = _HEAD.pack(job.version, tip.prev_hash, root, tip.min_ntime, tip.nbits)
        for nonce in count():
            share_hash = sha256(sha256(head + _NONCE.pack(nonce)).digest()).digest()
            if int.from_bytes(share_hash, "little") <= channel.target:
                return SubmitSharesExtended(
                    channel.channel_id, number, job.job_id, nonce, tip.min_ntime, job.version, rolled
                )
        raise AssertionError("count ends never")
