"""A miner of the miner-side instance: it has a key of its own, and is known to the pool by it."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter

from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Submit
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.work import Work
from roles.runtime.errors import StorageError
from roles.stratum.errors import StratumError
from roles.stratum.handshake import Answer
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_identity import MinerIdentity
from roles.stratum.submissions import LOST, Settle
from roles.stratum.trunk import Trunk
from roles.sv1_proxy.accounts import Accounts, Name
from roles.sv1_proxy.guest import Guest, Landlord
from roles.wallet.errors import IdentityLimitError
from roles.wallet.gleaning import Gleaning
from roles.wallet.key_desk import KeyDesk, Owner

__all__ = ["Home", "HomeGuest"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Enlistment:
    """One name at one pool, and the miners that have it there; `verdict` is the pool's last word on it."""

    name: Name
    guests: dict["HomeGuest", None] = field(default_factory=dict)
    verdict: tuple[Rejection | None] | None = None

    def told(self, refusal: Rejection | None) -> None:
        """The pool's word, the first time or again."""
        self.verdict = (refusal,)
        for guest in tuple(self.guests):
            guest.told(refusal)


@dataclass(slots=True)
class Home:
    """What the miners of one instance have in common: keys, names at pools, and who looks for tokens."""

    keys: KeyDesk
    accounts: Accounts
    gleaning: Gleaning
    refused: Counter
    """Times that a pool did not let a miner in."""
    _names: dict[tuple[Trunk, str, str], Enlistment] = field(default_factory=dict)

    def enlist(self, guest: "HomeGuest", trunk: Trunk, name: Name) -> None:
        """Have the pool let a miner in; it is told, at once where the pool's word is known."""
        place = (trunk, trunk.pool, name.user)
        known = self._names.get(place)
        if known is not None:
            known.guests[guest] = None
            if known.verdict is not None:
                guest.told(*known.verdict)
            return
        made = self._names[place] = Enlistment(name, {guest: None})
        try:
            trunk.authorize(name.user, name.password, made.told)
        except StratumError as error:
            made.told(Rejection(ErrorCode.UNAUTHORIZED, str(error)))

    def hand_on(self, former: "HomeGuest", guest: "HomeGuest", trunk: Trunk, pool: str, name: Name) -> None:
        """The same miner on another socket."""
        known = self._names.get((trunk, pool, name.user))
        if known is not None:
            known.guests.pop(former, None)
            known.guests[guest] = None

    def strike_off(self, guest: "HomeGuest", trunk: Trunk, pool: str, name: Name) -> None:
        """A miner does not have a name at a pool any more."""
        place = (trunk, pool, name.user)
        known = self._names.get(place)
        if known is None:
            return
        known.guests.pop(guest, None)
        if not known.guests:
            del self._names[place]
            if trunk.pool == pool:
                trunk.forget(name.user)


class HomeGuest(Guest):
    """Owner of a session; the first name on it says whose its shares are."""

    def __init__(
        self,
        home: Home,
        granted: Subscription,
        layout: Layout,
        terms: LodgingTerms,
        landlord: Landlord,
        *,
        port_class: str | None = None,
    ) -> None:
        super().__init__(granted, layout, terms, landlord, port_class=port_class)
        self._home = home
        self.owner: Owner | None = None
        self._name: Name | None = None
        self._pool = ""
        self._earns = False
        self._finding: asyncio.Task[None] | None = None

    def opened(self) -> None:
        """Another pool knows it by another name."""
        trunk = self.trunk
        if trunk is not None and self.owner is not None and trunk.pool != self._pool:
            self._enlist(trunk, self.owner)

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
        """A share for the pool; what it earns is looked for soon."""
        name, owner = self._name, self.owner
        if name is None or owner is None:
            settle(LOST)
            return
        self._forward(name.user, share, submit, work, settle)
        if self._earns:
            self._home.gleaning.worked(owner)

    def leave(self) -> None:
        """The socket is gone."""
        if self._finding is not None:
            self._finding.cancel()
        super().leave()

    def _ask_in(self, identity: MinerIdentity) -> None:
        self._finding = self._loop.create_task(self._find(identity))

    def _another(self, identity: MinerIdentity, answer: Answer) -> None:
        if self.identity is not None and identity.key not in {None, self.identity.key}:
            raise Rejection(ErrorCode.UNAUTHORIZED, "Another key on the same connection")
        super()._another(identity, answer)

    async def _find(self, identity: MinerIdentity) -> None:
        """Find the key, and have the pool let the miner in under it."""
        try:
            owner = await self._home.keys.owner(identity.user, identity.key)
        except IdentityLimitError as error:
            self._keep_out(str(error))
            return
        except StorageError as error:
            _log.warning("no key for a miner", extra={"reason": str(error), **self._about()})
            self._keep_out("The wallet's store does not work")
            return
        self._finding = None
        if self.trunk is not None:
            self._enlist(self.trunk, owner)

    def _enlist(self, trunk: Trunk, owner: Owner) -> None:
        identity = self.identity or self._former
        assert identity is not None
        self._strike_off()
        self.owner, self._pool = owner, trunk.pool
        self._earns = self._home.accounts.gives_ehash(trunk.pool)
        self._name = self._home.accounts.name(trunk.pool, identity, owner.key)
        self._home.enlist(self, trunk, self._name)

    def told(self, refusal: Rejection | None) -> None:
        """The pool's word on this miner's name, the first time or again."""
        if refusal is None:
            self._let_in()
            return
        self._home.refused.inc()
        if self._is_in:
            self.session.tell(f"The pool does not let this miner in: {refusal.text}")
            _log.warning("the pool lets a miner in no more", extra={"reason": refusal.text, **self._about()})
        else:
            self._keep_out(f"Refused upstream: {refusal.text}")

    def _strike_off(self) -> None:
        name, self._name = self._name, None
        if name is not None and self.trunk is not None:
            self._home.strike_off(self, self.trunk, self._pool, name)

    def _move_in(self, former: Any) -> None:
        super()._move_in(former)
        self.owner, self._name = former.owner, former._name
        self._pool, self._earns = former._pool, former._earns
        former.owner = former._name = None
        if self.trunk is not None and self._name is not None:
            self._home.hand_on(former, self, self.trunk, self._pool, self._name)

    def _move_out(self) -> None:
        self._strike_off()
        super()._move_out()

    def _take_up(self, identity: MinerIdentity) -> None:
        if self._former != identity:
            self._strike_off()
            self.owner = None
        super()._take_up(identity)
