"""Every crash point named in the code is fired, the recovery from it is killed too, and nothing is lost."""

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work, meets
from protocols.ehash.amount import Valuation, share_amount
from protocols.ehash.shift import ShiftRule
from roles.cli.auditing.sides import audit
from roles.cli.stores import PoolStore, WalletStore
from roles.credit.issuer_key import LEDGER_NAME, issuer_secret
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry
from roles.credit.shift_roll import Pricing
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.pool.schema import MIGRATIONS
from roles.runtime.crash import POINTS, VARIABLE
from roles.runtime.errors import DaemonRefused, DaemonSilent
from roles.runtime.local_socket import ask
from roles.runtime.storage import Database, open_readonly
from roles.wallet import purse
from roles.wallet.keyring import Keyring
from roles.wallet.window import SOCKET_NAME
from tests.functional.development import Development
from tests.functional.processes import Daemon, Site
from tests.functional.system import answers

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.timeout(900)]

HOSTS: Final = {"wallet": "proxy", "branch": "pool"}
"""In which daemon the points of a package are that is none itself."""
OF_TWO: Final = ("branch.", "pool.branch-", "pool.prefixes-lent")
"""What the points begin with that only a pool of several processes passes."""
SATS: Final = ("mint.melt-", "mint.invoice-")
"""What the points begin with that only wallets of sats pass; test_mint_crash_points.py has them."""
SV1: Final = ("sv1_proxy.",)
"""What the points begin with that only sv1_proxy passes; test_sv1_system.py has them."""
TIME: Final = ("mint.compaction-",)
"""What the points begin with that time alone brings; test_compaction_kills.py has them."""
APART: Final = (*SATS, *SV1, *TIME)
AT_RESUMING: Final = ("pool.token-taken", "pool.channel-resumed", "branch.channel-claimed")
"""The points that a pool passes only where a miner comes back to it."""
OUTAGE_S: Final = 1.5
NUDGE_S: Final = 2.0
BOUND_S: Final = 120.0
POLL_S: Final = 0.02
NO_KEY: Final = b"\x02" + b"\xff" * 32
BLOCK_HASHES: Final = 65_536
SHIFTS: Final = ShiftRule(BLOCK_HASHES, per_block=1)
"""As the development files have it."""
SETTINGS: Final[dict[str, dict[str, str]]] = {
    "regtest_node": {"checkpoint_blocks": "4"},
    "mint": {},
    "template_provider": {},
    "pool": {
        "vardiff__shares_per_minute": "240",
        "vardiff__floor_hashes": "8192",
        "shared__regtest__block_difficulty": str(BLOCK_HASHES),
    },
    "proxy": {"wallet__batch_delay_ms": "50", "wallet__recovery_s": "2"},
    "translator": {"start_difficulty": "0.0000019"},
    "cpu_miner": {"hashes_per_s": "100000"},
}


class Mine:
    """The whole system, mining; single daemons of it are killed and started again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.state = site.state
        development = Development(site)
        for role, settings in SETTINGS.items():
            development.daemon(role, **settings)
        development.daemons["cpu_miner"].settings["address"] = site.address("translator", "listen_address")
        self.daemons: dict[str, Daemon] = development.daemons
        self._sockets: list[socket.socket] = []
        self._swap: bytes = b""
        self._given: set[str] = set()
        self._names = 0
        asyncio.run(development.start())

    def close(self) -> None:
        """Hang up as a miner."""
        for each in self._sockets:
            each.close()

    def await_(self, what: str, condition: Callable[[], Any]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {what}"
            time.sleep(POLL_S)

    def fire(self, name: str) -> None:
        """Start the daemon of a point with the point armed, and see it die there."""
        daemon = self.daemons[host(name)]
        self._prepare(name)
        daemon.kill()
        if daemon.role == "pool":
            daemon.settings["processes"] = "2" if name.startswith(OF_TWO) else "1"
        if name == "pool.refusals-stored":
            self._add_row_for_nobody()
        if name.startswith("regtest_node.rebuild"):
            (daemon.state / "rebuilding").touch()
        seen = len(daemon.log)
        daemon.start(**{VARIABLE: name})
        said = f"crash point {name}\n"
        if name == "proxy.shares-sent-again":
            self._lose_the_pool(lambda: not daemon.is_running)
        if name in AT_RESUMING:
            self._come_back(daemon, name, lambda: said in daemon.log[seen:])
        if name == "wallet.identity-stored":
            self._new_miner()
        if name.startswith("wallet.exchange"):
            self._order_swaps(lambda: not daemon.is_running)
        if name.startswith(OF_TWO) and name not in AT_RESUMING:
            self._mine_on_a_branch(lambda: said in daemon.log[seen:] or not daemon.is_running)
        if name.startswith("branch."):
            assert said in daemon.log[seen:]
            return
        ended = self._swapped if name.startswith("mint.swap") else lambda: not daemon.is_running
        self.await_(f"{name} to be passed", lambda: ended() or not daemon.is_running)
        self.await_(f"{name} to kill", lambda: not daemon.is_running)
        assert daemon.process is not None
        assert daemon.process.returncode == -signal.SIGKILL
        assert said in daemon.log[seen:]

    def recover(self, name: str) -> None:
        """Start the daemon as it should be; tokens grow again and all books agree."""
        daemon = self.daemons[host(name)]
        before = self.balance()
        daemon.kill()
        daemon.start()
        if self._swap:
            self.await_("the swap to be answered", self._swapped)
            self._swap = b""
        self.await_("new tokens", lambda: self.balance() > before)
        findings = audit(self.state, required=True)
        assert findings.ok, (findings.detail(), findings.examples)

    def balance(self) -> int:
        """What the wallet holds, in ehash."""
        with open_readonly(self.state / "proxy" / WalletStore.FILE) as store:
            return WalletStore(store).balance()[0]

    def blocks(self) -> set[bytes]:
        """The hashes of the blocks that the pool knows of as its own."""
        with open_readonly(self.state / "pool" / PoolStore.FILE) as store:
            return {row["hash"] for row in store.execute("SELECT hash FROM audit_block")}

    def _prepare(self, name: str) -> None:
        if name == "regtest_node.block-replayed":
            journal = self.daemons["regtest_node"].state / "recent-blocks.dat"
            self.await_("a block in the journal", lambda: journal.stat().st_size)
        if name.startswith("mint.swap") and not self._swap:
            self._swap = self._make_swap()

    def _come_back(self, pool: Daemon, name: str, is_over: Callable[[], bool]) -> None:
        """Kill the pool as often as it takes: the proxy asks for its channels at the process where it is led,
        unless a new block has made them worth nothing.
        """
        deadline = time.monotonic() + 2 * BOUND_S
        while not is_over() and time.monotonic() < deadline:
            self._nudged(is_over)
            if not is_over():
                pool.kill()
                pool.start(**{VARIABLE: name})
        assert is_over()

    def _nudged(self, is_over: Callable[[], bool]) -> None:
        """Give what is to happen its time from when pool and proxy work together."""
        both = [self.daemons[role].settings["health_address"] for role in ("pool", "proxy")]
        deadline = time.monotonic() + BOUND_S
        while not (is_over() or all(answers(f"http://{address}/ready") for address in both)):
            assert time.monotonic() < deadline, "pool and proxy do not get ready"
            time.sleep(POLL_S)
        nudged = time.monotonic()
        while not is_over() and time.monotonic() < nudged + NUDGE_S:
            time.sleep(POLL_S)

    def _lose_the_pool(self, is_over: Callable[[], bool]) -> None:
        """Kill the pool under the proxy, whose miner mines on, until shares wait for it that it resumes."""
        pool = self.daemons["pool"]
        deadline = time.monotonic() + 2 * BOUND_S
        while not is_over() and time.monotonic() < deadline:
            settled = time.monotonic() + OUTAGE_S
            before = self.balance()
            while self.balance() == before and time.monotonic() < settled + NUDGE_S and not is_over():
                time.sleep(POLL_S)
            pool.kill()
            time.sleep(OUTAGE_S)
            pool.start()
            self._nudged(is_over)
        assert is_over()

    def _mine_on_a_branch(self, is_over: Callable[[], bool]) -> None:
        """Have the proxy dial the pool again until the kernel gives it to the process where it is wanted."""
        proxy = self.daemons["proxy"]
        deadline = time.monotonic() + 2 * BOUND_S
        while not is_over() and time.monotonic() < deadline:
            self._nudged(is_over)
            if not is_over():
                proxy.kill()
                proxy.start()
        assert is_over()

    def _new_miner(self) -> None:
        """A miner whose name the wallet has no key for, unless one waits to be let in."""
        self._names += 1
        host_, _, port = self.daemons["translator"].settings["listen_address"].rpartition(":")
        line = socket.create_connection((host_, int(port)), timeout=BOUND_S)
        for number, (method, params) in enumerate(
            [("mining.subscribe", ["crash/1"]), ("mining.authorize", [f"miner{self._names}", "x"])]
        ):
            line.sendall(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
        self._sockets.append(line)

    def _order_swaps(self, is_over: Callable[[], bool]) -> None:
        """Have the wallet make locked tokens, which takes a swap each, as `hashpool wallet send` does."""
        order = {"order": "send", "amount": 1, "to": [public_key(secrets.token_bytes(32)).hex()]}
        deadline = time.monotonic() + BOUND_S
        while not is_over() and time.monotonic() < deadline:
            with contextlib.suppress(DaemonSilent, DaemonRefused):
                ask(self.daemons["proxy"].state / SOCKET_NAME, order, timeout_s=BOUND_S)
            time.sleep(POLL_S)

    def _make_swap(self) -> bytes:
        """A request that swaps one token of the wallet for a fresh one."""
        with open_readonly(self.state / "proxy" / WalletStore.FILE) as store:
            held = (each.proof for each in purse.unspent(store))
            token = next(each for each in held if each.secret not in self._given)
        self._given.add(token.secret)
        (output,) = Keyring(secrets.token_bytes(64)).outputs(token.keyset_id, 0, (token.amount,))
        body = {"inputs": [token.to_json()], "outputs": [output.message.to_json()]}
        return json.dumps(body).encode()

    def _swapped(self) -> bool:
        """Ask for the swap; whether it was answered with signatures."""
        url = f"http://{self.daemons['mint'].settings['http_address']}/v1/swap"
        request = urllib.request.Request(url, self._swap, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return len(json.load(answer)["signatures"]) == 1
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from error
        except OSError:
            return False

    def _add_row_for_nobody(self) -> None:
        """Put a share into the ledger, as the pool would not, whose key no mint can accept."""
        asyncio.run(_add_row_for_nobody(self.state / "pool"))


async def chain_of(node: Daemon) -> list[bytes]:
    """The hashes of the active chain behind the genesis block."""
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        height = (await client.chain_info()).blocks
        return [await client.block_hash(each) for each in range(1, height + 1)]


async def _add_row_for_nobody(pool: Path) -> None:
    async with Database.open(pool / LEDGER_NAME, MIGRATIONS) as database:
        last = await database.read(
            lambda connection: connection.execute("SELECT * FROM share ORDER BY seq DESC LIMIT 1").fetchone()
        )
        pricing = Pricing(last["minimum"], Valuation(last["valuation"]))
        target = from_work(1 << pricing.minimum + 1)
        header = b""
        while not header or not meets(sha256d(header), target):
            header = last["header"][:72] + secrets.token_bytes(8)
        share_hash = sha256d(header)
        amount = share_amount(share_hash, target, pricing.minimum, pricing.valuation)
        ledger = await Ledger.open(database, public_key(issuer_secret(pool)), pricing, rule=SHIFTS)
        await ledger.append([Entry(share_hash, header, target, amount, NO_KEY, False)])


def host(name: str) -> str:
    """The daemon that passes a point."""
    package = name.partition(".")[0]
    return HOSTS.get(package, package)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mine]:
    with Site(tmp_path_factory.mktemp("mine")) as site:
        made = Mine(site)
        try:
            made.await_("the first tokens", made.balance)
            yield made
        finally:
            made.close()


@pytest.mark.parametrize("name", [name for name in POINTS if not name.startswith(APART)])
def test_a_daemon_killed_there_and_again_while_it_recovers_loses_nothing(mine: Mine, name: str) -> None:
    for _ in ("at work", "recovering"):
        mine.fire(name)
    mine.recover(name)


def test_after_all_of_them_every_block_of_the_chain_stands_in_the_pools_store(mine: Mine) -> None:
    chain = asyncio.run(chain_of(mine.daemons["regtest_node"]))
    mine.await_("the pool to know its blocks", lambda: mine.blocks() >= set(chain))
