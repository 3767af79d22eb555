"""A pool that grants every channel and accepts every share, so that only the edge is measured.

It answers as ours does, shares of 50 ms together, and keeps how long it has made each wait. New work goes to
the group of all channels, as ours sends it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from benchmarks.site import Site
from benchmarks.template_server import REGTEST_BITS, REWARD, new_template
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.target import from_bits, from_work
from protocols.bitcoin.transaction import TxOut
from protocols.ehash.messages import EXTENSION, MINING_MESSAGES
from protocols.mining.acknowledgement import MAX_DELAY_MS, Acknowledgements
from protocols.mining.channel import ExtendedChannel
from protocols.mining.group import Group
from protocols.mining.job import Tip, Work, build_work
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import OpenExtendedMiningChannel, SubmitSharesExtended, SubmitSharesSuccess
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, ServerSetup
from roles.pool.workshop import template_of
from roles.runtime.authority import authority_secret
from roles.runtime.errors import ConnectionLost
from roles.runtime.state import role_state
from roles.runtime.sv2_connection import Sv2Connection, serve

HASHES: Final = 16
"""Expected hashes of a share."""
GROUP: Final = 1
EVERY: Final = 1 << 32
"""Shares that are answered together, if they come within the wait."""
SCRIPT: Final = b"\x00\x14" + bytes(20)

_CATALOGUE = MINING.with_messages(*MINING_MESSAGES)


@dataclass(slots=True)
class Account:
    """One channel: the answer that is due, and how long each share has waited for it, in seconds."""

    channel: ExtendedChannel
    acks: Acknowledgements
    since: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


class YesPool:
    """Serves one proxy; `accepted` counts its shares."""

    def __init__(self) -> None:
        self.accepted = 0
        self._group = Group(GROUP)
        self._tip = 0
        self._template = 0
        self._prefixes = count(1)
        self._connection: Sv2Connection | None = None
        self._accounts: dict[int, Account] = {}
        self._users: dict[str, Account] = {}
        self._due: list[Account] = []
        self._present: tuple[int, Work] | None = None

    def move_tip(self) -> float:
        """Give all channels work on another tip, as their group; returns when that began, in Unix seconds."""
        self._tip += 1
        return self._send(self._group.begin(self._work(), self._present_tip()))

    def renew(self) -> float:
        """Give all channels other work on the present tip."""
        self._template += 1
        return self._send([self._group.follow(self._work(), self._present_tip())])

    def waits(self, user: str) -> Sequence[float]:
        """How long the pool has made each share of a user wait, in seconds; empty for who is no user here."""
        account = self._users.get(user)
        return account.waits if account is not None else ()

    def _send(self, messages: Sequence[Message]) -> float:
        frames = [encode(message) for message in messages]
        begun = time.time()
        if frames and self._connection is not None:
            with suppress(ConnectionLost):
                self._connection.send(*frames)
        return begun

    async def serve(self, connection: Sv2Connection) -> None:
        """Talk to the proxy until it goes; raises ConnectionLost and Sv2Error."""
        self._connection = connection
        flags = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING
        setup = ServerSetup(PROTOCOL_MINING, supported_flags=flags, extensions=(EXTENSION,))
        while True:
            answers: list[Frame] = []
            for frame in await connection.receive_batch():
                answer = setup.receive(frame)
                answers += [answer] if answer else map(encode, self._answer(_CATALOGUE.decode(frame)[0]))
            if answers:
                connection.send(*answers)

    def _answer(self, message: Message) -> list[Message]:
        if isinstance(message, SubmitSharesExtended):
            self._take(message)
        elif isinstance(message, OpenExtendedMiningChannel):
            number = next(self._prefixes)
            channel = ExtendedChannel(
                GROUP + number,
                number.to_bytes(4, "big"),
                target=from_work(HASHES),
                max_target=message.max_target,
                group=self._group,
            )
            account = Account(channel, Acknowledgements(channel.channel_id, EVERY))
            self._accounts[channel.channel_id] = self._users[message.user_identity] = account
            return [channel.open_success(message.request_id, GROUP), *self._begin(channel)]
        return []

    def _take(self, share: SubmitSharesExtended) -> None:
        self.accepted += 1
        account = self._accounts[share.channel_id]
        account.since.append(time.time())
        if not account.acks.count:
            if not self._due:
                asyncio.get_running_loop().call_later(MAX_DELAY_MS / 1e3, self._acknowledge)
            self._due.append(account)
        account.acks.add(share.sequence_number, HASHES)

    def _acknowledge(self) -> None:
        due, self._due = self._due, []
        begun = time.time()
        for account in due:
            account.waits += [begun - since for since in account.since]
            account.since.clear()
        self._send([SubmitSharesSuccess(*answer) for each in due if (answer := each.acks.flush())])

    def _begin(self, channel: ExtendedChannel) -> tuple[Message, ...]:
        return channel.begin(self._work(), self._present_tip())

    def _present_tip(self) -> Tip:
        now = int(time.time())
        previous = sha256(b"tip" + self._tip.to_bytes(4, "little"))
        return Tip(previous, now, REGTEST_BITS, from_bits(REGTEST_BITS), now)

    def _work(self) -> Work:
        """The same work for all channels, but on each tip, and each time that it is renewed, another one."""
        number = (self._tip << 16) + self._template
        if self._present is None or self._present[0] != number:
            template = template_of(new_template(self._tip + 1), (1, self._tip + 1))
            reward = [TxOut(REWARD - number, SCRIPT), TxOut(number, SCRIPT)]
            self._present = (number, build_work(template, reward, pool="benchmark", revision=0))
        return self._present[1]


@asynccontextmanager
async def yes_pool(site: Site) -> AsyncIterator[YesPool]:
    """Such a pool where the proxy of a site looks for its pool, with the key it expects."""
    pool = YesPool()
    server = serve(
        site.shared_address("miner", "pool.address"),
        authority_secret(role_state(site.state, "pool")),
        pool.serve,
        limit=FrameLimits(_CATALOGUE),
        setting="pool.address",
    )
    task = asyncio.create_task(server.run())
    try:
        yield pool
    finally:
        task.cancel()
        await asyncio.wait({task})
