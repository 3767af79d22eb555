"""What is mined on: the present tip and template, made into work for each revision of a target."""

from collections.abc import Callable
from dataclasses import replace

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.target import from_work
from protocols.bitcoin.transaction import TxOut
from protocols.mining.announcement import Announcement
from protocols.mining.job import Template, Tip, Work, build_work
from protocols.sv2.template_distribution import NewTemplate
from roles.pool.errors import TemplateUnusable
from roles.runtime.kernel import kernel

MAX_WORKS = 4096


class Workshop:
    """Holds the present work; `script` is where rewards go, `tag` the pool's name in the coinbase.

    `block_hashes` stands for the network difficulty where that is too easy (regtest). `listener` is called
    when there is other work: with True when a new tip came with it.
    """

    def __init__(
        self, script: bytes, tag: str, *, block_hashes: int | None, listener: Callable[[bool], None]
    ) -> None:
        self._script = script
        self._tag = tag
        self._hardest = from_work(block_hashes) if block_hashes else None
        self._listener = listener
        self.template: Template | None = None
        self._value = 0
        self._works: dict[int, Work] = {}
        self._announcements: dict[tuple[int, bool], Announcement] = {}
        self.former: dict[bytes, Tip] = {}
        """Tips of former lives by previous hash: a miner that goes on with one keeps its least time."""
        self.tip: Tip | None = None
        self.tip_number = 0
        """Grows with each tip."""
        self.work_number = 0
        """Grows with each template that is mined on."""

    @property
    def reward_size(self) -> int:
        """Bytes that the pool's outputs take in the coinbase."""
        return len(TxOut(0, self._script).serialize())

    def begin(self, template: Template, tip: Tip) -> None:
        """Work on a new tip, or on the same one whose bits have changed; raises TemplateUnusable."""
        self._check(template)
        block_target = tip.block_target if self._hardest is None else min(tip.block_target, self._hardest)
        tip = replace(tip, block_target=block_target)
        former = self.former.get(tip.previous)
        if former is not None and same_tip(former, tip) and former.min_ntime < tip.min_ntime:
            tip = replace(tip, min_ntime=former.min_ntime, received=former.received)
        known = self.tip
        if known is not None and same_tip(known, tip):
            self.follow(template)
            return
        self.tip = tip
        self.tip_number += 1
        self._take(template)
        self._listener(True)

    def follow(self, template: Template) -> None:
        """Other work on the present tip; raises TemplateUnusable."""
        self._check(template)
        self._take(template)
        self._listener(False)

    def work(self, revision: int) -> Work:
        """The present work for a revision; raises RuntimeError before there is any."""
        work = self._works.get(revision)
        if work is None:
            if self.template is None:
                raise RuntimeError("there is no work yet")
            work = self._build(self.template, revision)
            if len(self._works) < MAX_WORKS:
                self._works[revision] = work
        return work

    def rebuild(self, template: Template, revision: int) -> Work:
        """The work of an earlier template for a revision; raises CoinbaseError."""
        return self._build(template, revision)

    @property
    def recipe(self) -> bytes:
        """What tells coinbases made like ours from others, 8 bytes."""
        return sha256(self._script + b"|" + self._tag.encode())[:8]

    def announcement(self, revision: int, *, future: bool) -> Announcement:
        """The present work for a revision as it is told, with the tip if it is to be a future job first.

        Raises RuntimeError before there is any.
        """
        announcement = self._announcements.get((revision, future))
        if announcement is None:
            if self.tip is None:
                raise RuntimeError("there is no tip yet")
            announcement = Announcement(self.work(revision), self.tip, future=future)
            if len(self._announcements) < MAX_WORKS:
                self._announcements[revision, future] = announcement
        return announcement

    def _take(self, template: Template) -> None:
        self.template = template
        self._works = {}
        self._announcements = {}
        self.work_number += 1

    def _build(self, template: Template, revision: int) -> Work:
        rewards = [TxOut(template.coinbase.value, self._script)]
        return build_work(template, rewards, pool=self._tag, revision=revision, maker=kernel().prover)

    def _check(self, template: Template) -> None:
        try:
            self._build(template, 0xFFFFFFFF)
        except CoinbaseError as error:
            raise TemplateUnusable(f"no coinbase fits the template: {error}") from error


def same_tip(one: Tip, other: Tip) -> bool:
    """Whether work on both is of one kind: a template provider that restarts sends its tip again."""
    return (one.previous, one.bits, one.block_target) == (other.previous, other.bits, other.block_target)


def template_of(message: NewTemplate, origin: tuple[int, int]) -> Template:
    """A template as it came from a template provider."""
    coinbase = CoinbaseTemplate(
        version=message.coinbase_tx_version,
        script_prefix=message.coinbase_prefix,
        sequence=message.coinbase_tx_input_sequence,
        value=message.coinbase_tx_value_remaining,
        outputs_count=message.coinbase_tx_outputs_count,
        outputs=message.coinbase_tx_outputs,
        locktime=message.coinbase_tx_locktime,
    )
    return Template(origin, message.version, coinbase, message.merkle_path)


def script_height(script_prefix: bytes) -> int:
    """The height that a coinbase's script begins with (BIP34); 0 when it begins with something else."""
    if not script_prefix:
        return 0
    first = script_prefix[0]
    if 0x51 <= first <= 0x60:
        return first - 0x50
    return int.from_bytes(script_prefix[1 : 1 + first], "little") if 1 <= first <= 5 else 0
