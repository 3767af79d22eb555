"""A pool among neighbours that the test plays: template provider, node, mint and miners, all on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.merkle import root_from_path
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.messages import EXTENSION, TLV_RESUME_TOKEN
from protocols.noise.authority import public_of
from protocols.sv2.codec import encode
from protocols.sv2.connection import (
    PROTOCOL_MINING,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from protocols.sv2.extensions import RequestExtensions, RequestExtensionsSuccess
from protocols.sv2.frame import Frame
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
)
from protocols.sv2.template_distribution import SubmitSolution
from protocols.sv2.tlv import Tlv
from roles.pool.service import service
from roles.runtime.daemon import Daemon
from roles.runtime.errors import ConnectionLost
from roles.runtime.sv2_connection import Sv2Connection, connect
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide
from tests.roles.pool.neighbours import (
    ANY_TARGET,
    ON_MINING_LINK,
    REWARD,
    WAIT_S,
    Mint,
    Node,
    Provider,
    soon,
)


class House:
    """The pool's service with its neighbours; `settings` and `shared` are laid over the configuration."""

    def __init__(self, state: Path) -> None:
        self.state = state / "pool"
        self.state.mkdir(mode=0o700)
        (state / "cookie").write_text("user:password")
        self.provider = Provider()
        self.node = Node()
        self.mint = Mint()
        self.settings: dict[str, Any] = {}
        self.ehash: dict[str, Any] = {}
        self.block_hashes = 1 << 40
        self.daemon: Daemon[PoolSettings, PoolSide] | None = None
        self._task: asyncio.Task[None] | None = None
        self._miners: list[Miner] = []

    async def start(self) -> "House":
        """Start all of it and return when miners can come."""
        self.provider.start()
        await self.node.start()
        await self.start_pool(wait=False)
        self.mint.start([self.identity])
        await self.ready()
        return self

    async def start_pool(self, *, wait: bool = True) -> None:
        from roles.credit.issuer_key import issuer_secret

        self.identity = public_key(issuer_secret(self.state))
        if not self.mint.port:
            self.mint.port = free_port()
        self.daemon = Daemon("pool", self._config(), self._shared(), self.state)
        self._task = asyncio.create_task(service(self.daemon))
        if wait:
            await self.ready()

    async def ready(self) -> None:
        assert self.daemon
        assert self._task
        ready = asyncio.create_task(self.daemon.readiness.wait())
        await asyncio.wait({ready, self._task}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        assert ready.done(), self.daemon.readiness.reasons

    async def stop_pool(self) -> None:
        assert self.daemon
        assert self._task
        self.daemon.stopping.set()
        await asyncio.wait_for(self._task, WAIT_S)

    async def crash_pool(self) -> None:
        """End the pool without any goodbye of its own."""
        assert self._task
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def stop(self) -> None:
        for miner in self._miners:
            miner.link.close()
        if self._task is not None and not self._task.done():
            await self.stop_pool()
        await self.mint.stop()
        await self.node.stop()
        await self.provider.stop()

    @property
    def reasons(self) -> dict[str, str]:
        """Why the pool is not ready."""
        assert self.daemon
        return self.daemon.readiness.reasons

    def metric(self, name: str, **labels: str) -> float:
        assert self.daemon
        return self.daemon.metrics.get_sample_value(name, labels) or 0.0

    async def dial(self) -> Sv2Connection:
        authority = public_of(_authority(self.state))
        assert self.daemon
        return await connect(self.daemon.config.listen_address, authority, limit=FrameLimits(ON_MINING_LINK))

    async def miner(self, *, flags: int = 0, extensions: bool = False) -> "Miner":
        """A miner that has been set up."""
        miner = Miner(await self.dial())
        self._miners.append(miner)
        await miner.set_up(flags)
        if extensions:
            await miner.extend()
        return miner

    def _config(self) -> PoolSettings:
        port = self.settings.pop("port", 0) or free_port()
        base = {
            "listen_address": f"127.0.0.1:{port}",
            "health_address": "127.0.0.1:0",
            "server_id": 1,
            "coinbase_reward_script": REWARD,
            "vardiff": {"shares_per_minute": 60.0, "floor_hashes": 64},
            "acknowledgement": {"shares": 10, "delay_ms": 10},
        }
        return PoolSettings.model_validate(base | self.settings)

    def _shared(self) -> PoolSide:
        return PoolSide.model_validate(
            {
                "network": "regtest",
                "bitcoin": {"rpc_url": f"http://127.0.0.1:{self.node.port}", "rpc_cookie_file": "cookie"},
                "ehash": {"minimum_difficulty": 2} | self.ehash,
                "regtest": {"block_difficulty": self.block_hashes},
                "mint": {
                    "url": "http://mint",
                    "issuance_address": f"127.0.0.1:{self.mint.port}",
                    "authority_key": public_of(Mint.secret),
                },
                "template_provider": {
                    "address": str(self.provider.address),
                    "authority_key": public_of(Provider.secret),
                },
            }
        )


class Miner:
    """A scripted SV2 client that can mine."""

    def __init__(self, link: Sv2Connection) -> None:
        self.link = link
        self.channels: dict[int, Channel] = {}
        self.unheard: list[Any] = []
        self.token: bytes | None = None
        """The last one that came with a channel."""

    async def set_up(self, flags: int = 0) -> Any:
        self.say(SetupConnection(PROTOCOL_MINING, 2, 2, flags, "", 0, "test", "", "", ""))
        return await self.hear(SetupConnectionSuccess, SetupConnectionError)

    async def extend(self) -> None:
        self.say(RequestExtensions(1, (EXTENSION,)))
        assert (await self.hear(RequestExtensionsSuccess)).supported_extensions == (EXTENSION,)

    def say(self, *messages: Any) -> None:
        self.link.send(*(encode(message) for message in messages))

    async def receive(self) -> Any:
        """The next message, whatever it is; work for our channels is taken note of."""
        async with asyncio.timeout(WAIT_S):
            message, tlvs = ON_MINING_LINK.decode(await self.link.receive())
        self.token = next((tlv.value for tlv in tlvs if tlv.field == TLV_RESUME_TOKEN), self.token)
        self._note(message)
        return message

    async def hear(self, *kinds: type[Any]) -> Any:
        """The next message of one of the kinds; others are kept in `unheard`."""
        for message in self.unheard:
            if isinstance(message, kinds):
                self.unheard.remove(message)
                return message
        while True:
            message = await self.receive()
            if isinstance(message, kinds):
                return message
            self.unheard.append(message)

    async def hears_nothing(self, *kinds: type[Any], within: float = 0.1) -> None:
        """Fail if a message of these kinds comes."""
        try:
            async with asyncio.timeout(within):
                message = await self.hear(*kinds)
        except TimeoutError:
            return
        raise AssertionError(f"{message} came")

    async def closed(self) -> tuple[str, str]:
        """Wait until the pool has ended the connection; returns why, as far as it can be seen."""
        try:
            while True:
                await self.receive()
        except ConnectionLost as error:
            return error.code, str(error)

    async def open(
        self,
        *,
        standard: bool = False,
        user: str = "miner",
        rate: float = 0.0,
        max_target: int = ANY_TARGET,
        key: bytes | None = None,
        least: int = 8,
        token: bytes | None = None,
    ) -> "Channel":
        tlvs = [Tlv(EXTENSION, 0x01, key)] if key is not None else []
        tlvs += [Tlv(EXTENSION, TLV_RESUME_TOKEN, token)] if token is not None else []
        request: Any = (
            OpenStandardMiningChannel(9, user, rate, max_target)
            if standard
            else OpenExtendedMiningChannel(9, user, rate, max_target, least)
        )
        self.link.send(encode(request, tlvs))
        # On a connection with one channel nothing comes before the answer.
        kinds = (OpenStandardMiningChannelSuccess, OpenExtendedMiningChannelSuccess, OpenMiningChannelError)
        success = await (self.hear(*kinds) if self.channels else self.receive())
        assert isinstance(success, OpenStandardMiningChannelSuccess | OpenExtendedMiningChannelSuccess), (
            success
        )
        assert success.request_id == 9
        channel = Channel(self, success)
        self.channels[channel.id] = channel
        await channel.work()
        return channel

    def _note(self, message: Any) -> None:
        channel_id = getattr(message, "channel_id", 0)
        for channel in self.channels.values():
            # Work for the group is work for each of its members.
            if channel_id in (channel.id, channel.success.group_channel_id):
                channel.note(message)


class Channel:
    """A channel from the miner's side."""

    def __init__(self, miner: Miner, success: Any) -> None:
        self.miner = miner
        self.id = success.channel_id
        self.success = success
        self.prefix = success.extranonce_prefix
        self.is_standard = isinstance(success, OpenStandardMiningChannelSuccess)
        self.next_target = success.target
        self.jobs: dict[int, Any] = {}
        self.targets: dict[int, int] = {}
        self.active: Any = None
        self.tip: SetNewPrevHash | None = None
        self.sequence = 0
        self.nonce = 0
        self._worked = asyncio.Event()

    @property
    def target(self) -> int:
        return self.targets[self.active.job_id]

    def note(self, message: Any) -> None:
        if isinstance(message, NewMiningJob | NewExtendedMiningJob):
            self.jobs[message.job_id] = message
            self.targets[message.job_id] = self.next_target
            if message.min_ntime is not None:
                self.active = message
        elif isinstance(message, SetNewPrevHash):
            self.tip = message
            self.active = self.jobs[message.job_id]
            self.targets[message.job_id] = self.next_target
        elif isinstance(message, SetTarget):
            self.next_target = message.maximum_target

    async def work(self) -> Any:
        """Wait for the next job and return it."""
        before = self.active
        while self.active is before:
            await self.miner.receive()
        return self.active

    def header(self, job: Any, nonce: int, ntime: int, extranonce: bytes) -> bytes:
        assert self.tip
        if isinstance(job, NewMiningJob):
            root = job.merkle_root
        else:
            rolled = b"" if self.is_standard else extranonce
            coinbase = job.coinbase_tx_prefix + self.prefix + rolled + job.coinbase_tx_suffix
            root = root_from_path(sha256d(coinbase), job.merkle_path)
        fields = (job.version.to_bytes(4, "little"), self.tip.prev_hash, root)
        numbers = (
            ntime.to_bytes(4, "little"),
            self.tip.nbits.to_bytes(4, "little"),
            nonce.to_bytes(4, "little"),
        )
        return b"".join((*fields, *numbers))

    def mine(self, *, job: Any = None, low: int = 0, target: int | None = None) -> Any:
        """A share of a job that meets its target, with a hash of at least `low`; not sent."""
        job = job or self.active
        limit = self.targets[job.job_id] if target is None else target
        extranonce = self.nonce.to_bytes(16 if self.is_standard else self.success.extranonce_size, "big")
        assert self.tip
        while True:
            self.nonce += 1
            number = int.from_bytes(
                sha256d(self.header(job, self.nonce, self.tip.min_ntime, extranonce)), "little"
            )
            if low <= number <= limit:
                break
        self.sequence += 1
        common = (self.id, self.sequence, job.job_id, self.nonce, self.tip.min_ntime, job.version)
        if self.is_standard:
            return SubmitSharesStandard(*common)
        return SubmitSharesExtended(*common, extranonce)

    def hash_of(self, share: Any) -> bytes:
        job = self.jobs[share.job_id]
        return sha256d(self.header(job, share.nonce, share.ntime, getattr(share, "extranonce", b"")))

    def submit(self, *shares: Any, key: bytes | None = None) -> None:
        tlvs = [Tlv(EXTENSION, 0x02, key)] if key is not None else []
        self.miner.link.send(*(encode(share, tlvs) for share in shares))


def free_port() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _authority(state: Path) -> bytes:
    from roles.runtime.authority import authority_secret

    return authority_secret(state)


@contextlib.asynccontextmanager
async def opened(house: House) -> AsyncIterator[House]:
    """A house for the length of a test."""
    try:
        yield house
    finally:
        await house.stop()


def unknown_frame(msg_type: int, payload: bytes = b"") -> Frame:
    """A frame of a message that nobody knows."""
    return Frame(0, False, msg_type, payload)


__all__ = ["House", "Miner", "SubmitSolution", "opened", "soon", "unknown_frame"]
