"""Where tokens are brought to, whichever process gave them: the keeper's part in resuming.

A channel has one owner at any time. Who has it gives it up before another process hears of it, and its
prefix moves along. What a process that is gone had recorded is read from its file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from protocols.ehash.resume_token import ResumeToken
from roles.pool.books import Claimed
from roles.pool.prefixes import PrefixBook
from roles.pool.records import Records, prefix_of
from roles.pool.resume_store import Raw, Result, ResumeFile, clear, path_of

CLEAR_S: Final = 30.0


class Tenant(Protocol):
    """A branch, as far as its channels can be resumed elsewhere."""

    store: int

    def release(self, token: bytes, key: bytes | None, told: Claimed) -> None:
        """Have it give up the channel of a token."""
        ...

    def disown(self, prefix: bytes) -> None:
        """A prefix is lent to it no more."""
        ...

    def own(self, prefix: bytes) -> None:
        """A prefix is lent to it."""
        ...


class KeptClaims:
    """The keeper's; `tenants` are the branches that live, `directory` is where files of former lives are."""

    def __init__(
        self,
        records: Records,
        prefixes: PrefixBook,
        directory: Path,
        *,
        recipe: bytes,
        life_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.tenants: Callable[[], Sequence[Tenant]] = tuple
        self._records = records
        self._prefixes = prefixes
        self._directory = directory
        self._recipe = recipe
        self._life_s = life_s
        self._clock = clock
        self._former: dict[int, ResumeFile] = {}
        self._cleared = 0.0

    def claim(self, token: bytes, key: bytes | None, told: Claimed) -> None:
        """Find a channel for a session of this process."""
        self.claim_for(None, token, key, told)

    def claim_for(self, claimant: Tenant | None, token: bytes, key: bytes | None, told: Claimed) -> None:
        """Find a channel for a branch, None for this process itself."""

        def taken(result: Result, raw: Raw | None) -> None:
            if raw is not None:
                prefix = prefix_of(raw)
                for tenant in self.tenants():
                    tenant.disown(prefix)
                self._prefixes.reclaim(prefix)
                if claimant is not None:
                    claimant.own(prefix)
            told(result, raw)

        parsed = ResumeToken.parse(token)
        own = self._records.store
        if parsed is None:
            taken(Result.UNKNOWN, None)
        elif own is not None and parsed.store == own.number:
            found = self._records.release(parsed, key)
            taken(found.result, found.raw)
        elif (owner := self._tenant(parsed.store)) is not None:
            owner.release(token, key, taken)
        else:
            taken(*self._take(parsed, key))

    def sweep(self, now: float) -> None:
        """Forget processes that have been gone for longer than a token lives; seldom enough."""
        if now - self._cleared < CLEAR_S:
            return
        self._cleared = now
        for number, file in tuple(self._former.items()):
            if abs(now - file.beat) > self._life_s + 1:
                file.close()
                del self._former[number]
        alive = [tenant.store for tenant in self.tenants()]
        if self._records.store is not None:
            alive.append(self._records.store.number)
        clear(self._directory, alive, now, self._life_s)

    def close(self) -> None:
        """Read no more files."""
        for file in self._former.values():
            file.close()

    def _tenant(self, number: int) -> Tenant | None:
        return next((tenant for tenant in self.tenants() if tenant.store == number), None)

    def _take(self, token: ResumeToken, key: bytes | None) -> tuple[Result, Raw | None]:
        """What a process that is gone had recorded."""
        file = self._former.get(token.store)
        if file is None:
            file = ResumeFile.open(path_of(self._directory, token.store), self._recipe)
            if file is None:
                return Result.UNKNOWN, None
            self._former[token.store] = file
        found = file.find(token, key, self._clock(), self._life_s, file.beat)
        if found.raw is None:
            return found.result, None
        if not file.take(token.slot):
            return Result.UNKNOWN, None
        return found.result, found.raw
