"""A miner of the pool-side instance: each share is worth the target of its own work, under its worker's key.

Its difficulty follows its own hash rate and is never above the pool's. It changes with work that differs,
and with nothing else: what the pool sends again has the price that it had (`standing_price`). Where many
workers share a connection, as behind a miner-side instance, they show as many shares as each would alone:
else the smallest would wait for hours for its first token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocols.bitcoin.target import from_work, work
from protocols.mining.credit_target import UNITS_LIMIT, CreditRule
from protocols.mining.vardiff import Vardiff, probe_hashes
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Submit
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.standing_price import Contents, StandingPrice
from protocols.translation.upstream_job import UpstreamJob
from protocols.translation.work import Work
from roles.stratum.credentials import as_written
from roles.stratum.difficulties import Difficulties
from roles.stratum.handshake import Answer
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_identity import MinerIdentity
from roles.stratum.submissions import Outcome, Settle, Verdict
from roles.sv1_proxy.credit_desk import CreditDesk, Found
from roles.sv1_proxy.guest import Guest, Landlord

__all__ = ["CreditTerms", "CreditedGuest", "House"]

GROWN: Final = 1.25
"""Times the workers that a connection's difficulty was made for; fewer more do not matter."""
CUT_NAME: Final = 63
"""Some firmware cuts names to so many characters, in submits alone."""
STRANGER: Final = Verdict(Outcome.REFUSED, "Unauthorized worker")


@dataclass(slots=True)
class CreditTerms:
    """What shares are credited by; some may change while the daemon runs."""

    rule: CreditRule
    shares_per_minute: float
    keyless: bool


@dataclass(slots=True)
class House:
    """What the miners of one instance have in common."""

    desk: CreditDesk
    terms: CreditTerms
    contents: Contents
    difficulties: Difficulties
    accounts: Mapping[str, str]
    """What we are called at each pool."""


class CreditedGuest(Guest):
    """Owner of a session; what it has besides goes with its seat from socket to socket."""

    def __init__(
        self,
        house: House,
        granted: Subscription,
        layout: Layout,
        terms: LodgingTerms,
        landlord: Landlord,
        *,
        port_class: str | None = None,
    ) -> None:
        super().__init__(granted, layout, terms, landlord, port_class=port_class)
        self._books = house
        self._names: dict[str, bytes | None] = {}
        self._price = StandingPrice()
        self._vardiff: Vardiff | None = None
        self._wanted = 0
        self._workers = 1
        """Those that vardiff reckons with."""

    # What the session asks

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, found_on: Work, settle: Settle) -> None:
        """A share that is good for its credit target; it goes to the pool, too, if it is good for that."""
        user, names = submit.user, self._names
        name = user if user in names and "%" not in user else self._name(user)
        if name is None:
            settle(STRANGER)
            return
        books, place, session = self._books, self.place, self.session
        trunk = place.trunk if place is not None else None
        job = trunk.find(found_on.job_id) if trunk is not None else None
        if trunk is None or job is None:
            # Its connection is gone, and so is what the pool would have paid for it.
            books.desk.lost(settle)
            return
        desk, key = books.desk, names[name]
        # Its own constructor takes three times as long.
        found: Found = tuple.__new__(
            Found, (share, found_on.target, key, job.block, session.desk.tally, self._credited)
        )
        if int.from_bytes(share.share_hash, "little") <= job.target:
            account, judged = books.accounts[trunk.pool], desk.forwarded(found, job, settle)
            trunk.submit(account, job, share, submit, judged)
            if desk.asks_pool:
                return
        desk.credit(found, settle)

    def leave(self) -> None:
        """The socket is gone."""
        if not self._has_left and self.identity is not None and self._vardiff is not None:
            hashes = self._vardiff.settled_hashes * self._workers
            if hashes:
                self._books.difficulties.keep(self.session.host, self.identity.user, hashes)
        super().leave()

    # What a guest says

    def _ask_in(self, identity: MinerIdentity) -> None:
        try:
            self._know(identity)
        except Rejection as error:
            self._keep_out(error.text)
            return
        self._begin(identity)
        # The pool has let our account in, or there would be no trunk.
        self._let_in()

    def _another(self, identity: MinerIdentity, answer: Answer) -> None:
        self._know(identity)
        super()._another(identity, answer)

    def _work_of(self, job: UpstreamJob) -> Work:
        books, price = self._books, self._price
        if self.trunk is not None:
            pool = self.trunk.pool
            books.desk.log.job(pool, books.accounts[pool], job)
        number = books.contents.number(job.notify.previous, job.content)
        if price.may_change(number):
            before = price.present
            target = self._choose(job.target)
            price.set(number, target, oldest=books.contents.oldest)
            if before is not None and target != before:
                books.desk.meters.targets.inc()
        else:
            books.desk.meters.prices_kept.inc()
        return job.work(self.layout, price.of(number))

    def _move_in(self, former: Any) -> None:
        # Names come again with the socket; what is bounded for a connection stays so.
        self._price = former._price
        self._vardiff, self._wanted, self._workers = former._vardiff, former._wanted, former._workers
        former._price, former._vardiff = StandingPrice(), None
        super()._move_in(former)

    def _take_up(self, identity: MinerIdentity) -> None:
        if self._former != identity:
            # Another miner; the prices stay, because they are those of the extranonce.
            self._names, self._vardiff, self._workers = {}, None, 1
        self._know(identity)
        super()._take_up(identity)

    # The rest

    def _know(self, identity: MinerIdentity) -> None:
        """A worker whose shares may come; raises Rejection for one without a key where that is not served."""
        if identity.key is None and not self._books.terms.keyless:
            text = "No key: name one as the password k=KEY, or mine through a miner-side sv1_proxy"
            raise Rejection(ErrorCode.UNAUTHORIZED, text)
        self._names[identity.user] = identity.key
        self._reckon()

    def _reckon(self) -> None:
        """Have more shares if more workers share the connection."""
        vardiff, workers = self._vardiff, len(self._names)
        if vardiff is None or workers < GROWN * self._workers:
            return
        hashes = vardiff.settled_hashes or self._wanted
        self._wanted = max(1, hashes * self._workers // workers)
        self._workers = workers
        rate = self._books.terms.shares_per_minute * workers
        self._vardiff = Vardiff(rate, self._loop.time(), is_known=vardiff.heard)

    def _name(self, user: str) -> str | None:
        """Which of the workers let in is meant by the name in a submit."""
        written = as_written(user)
        if written in self._names:
            return written
        if len(self._names) == 1:
            # Some firmware submits under other names than it has given.
            return next(iter(self._names))
        if len(written) >= CUT_NAME:
            meant = [name for name in self._names if name.startswith(written)]
            return meant[0] if len(meant) == 1 else None
        return None

    def _begin(self, identity: MinerIdentity) -> None:
        """Begin to follow the hash rate, where it was left if the miner is known."""
        if self._vardiff is not None:
            return
        books = self._books
        recalled = books.difficulties.recall(self.session.host, identity.user)
        rate = books.terms.shares_per_minute
        self._vardiff = Vardiff(rate, self._loop.time(), is_known=bool(recalled))
        self._wanted = recalled or probe_hashes(self._hash_rate(), rate)

    def _choose(self, pools: int) -> int:
        """The credit target for work that differs from all before, at a pool's own target."""
        books, vardiff, present = self._books, self._vardiff, self._price.present
        if vardiff is not None and present is not None:
            self._wanted = vardiff.wanted(work(present), self._loop.time()) or self._wanted
        rule = books.terms.rule
        # A share that is worth more than an amount can say would be worth nothing.
        easiest = max(self._max_target(), pools, from_work((UNITS_LIMIT - 1) << rule.minimum))
        return rule.target(self._wanted, network=pools, max_target=easiest)

    def _credited(self, hashes: int) -> None:
        if self._vardiff is not None:
            self._vardiff.accepted(hashes)
