"""What one process records of its own channels, so that they can be resumed here, elsewhere, or after it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from protocols.ehash.resume_token import ResumeToken
from roles.pool.meters import Meters
from roles.pool.miner_channel import MinerChannel
from roles.pool.resume_layout import JobRecord, TargetRecord
from roles.pool.resume_store import DIRECTORY, Found, Raw, Result, ResumeStore, SessionRecord, former_tips
from roles.pool.roster import Roster
from roles.pool.workshop import Workshop
from roles.runtime import crash
from shared_config.pool import PoolSettings

SWEEP_S: Final = 1.0


class Holder(Protocol):
    """A connection as its records need it."""

    def surrender(self, channel_id: int) -> None:
        """A channel has been resumed elsewhere: it is no longer here."""
        ...


class Records:
    """The records of this process; `store` is None where nothing can be resumed. `clock` is Unix time."""

    def __init__(
        self,
        store: ResumeStore | None,
        workshop: Workshop,
        meters: Meters,
        *,
        life_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._workshop = workshop
        self._life_s = life_s
        self._clock = clock
        self._holders: dict[int, Holder] = {}
        meters.resumptions.records.set_function(lambda: float(store.held if store else 0))

    def note_work(self, _is_new_tip: bool) -> None:
        """There is other work: its template is recorded before anybody is sent it."""
        workshop = self._workshop
        if self.store is None or workshop.tip is None or workshop.template is None:
            return
        origin = workshop.template.origin
        template_id = origin[1] if isinstance(origin, tuple) else 0
        self.store.note_template(workshop.template, workshop.tip, workshop.work_number, template_id)

    def enter(
        self,
        holder: Holder,
        roster: Roster,
        member: MinerChannel,
        targets: Sequence[TargetRecord] = (),
        jobs: Sequence[tuple[int, bytes, int]] = (),
    ) -> bytes | None:
        """Record a channel that is about to be opened on a connection; returns its token.

        One that is resumed had `targets` and `jobs`: id, packed template and revision. None where there is
        no room for a record.
        """
        store = self.store
        if store is None:
            return None
        if roster.record is None:
            session = store.begin_session()
            if session is None:
                return None
            roster.record = session
            self._holders[session.slot] = holder
        channel = member.channel
        known = [JobRecord(job_id, store.import_template(packed), since) for job_id, packed, since in jobs]
        first = (TargetRecord(channel.since, channel.target),)
        made = store.begin_channel(roster.record, channel, tuple(targets) or first, known)
        if made is None:
            return None
        member.record, token = made
        crash.at("pool.channel-recorded")
        return token

    def end(self, roster: Roster) -> None:
        """A connection is over, and its channels with it."""
        session: SessionRecord | None = roster.record
        if session is None or self.store is None:
            return
        roster.record = None
        del self._holders[session.slot]
        slots = [member.record.slot for member in roster.members.values() if member.record is not None]
        self.store.end_session(session, slots, self._clock())

    def close(self, member: MinerChannel) -> None:
        """A client has closed its channel, whose token is worth nothing from now on."""
        if member.record is not None and self.store is not None:
            self.store.drop(member.record)
            member.record = None

    def release(self, token: ResumeToken, key: bytes | None) -> Found:
        """Give the channel of a token up, if it was recorded here: nobody else is given it."""
        store, now = self.store, self._clock()
        if store is None or not store.is_open:
            return Found(Result.UNKNOWN)
        found = store.find(token, key, now, self._life_s, now)
        if found.raw is None:
            return found
        if not store.take(token.slot):
            store.give_up()
            return Found(Result.UNKNOWN)
        holder = self._holders.get(found.session)
        if holder is not None:
            holder.surrender(found.channel_id)
            store.leave([token.slot], now)
        return found

    async def run(self, sweep: Callable[[float], None] = lambda _: None) -> None:
        """Say that the process lives, and forget what has been gone for long, until cancelled.

        `sweep` does the like for others, at the same pace.
        """
        try:
            while True:
                now = self._clock()
                if self.store is not None:
                    self.store.sweep(now)
                sweep(now)
                await asyncio.sleep(SWEEP_S)
        finally:
            if self.store is not None:
                self.store.close()


def open_records(
    config: PoolSettings, state: Path, number: int, workshop: Workshop, meters: Meters
) -> Records:
    """The records of a process, in a file of this number in the pool's state."""
    life_s = config.resume_s
    if life_s:
        workshop.former = former_tips(state / DIRECTORY, workshop.recipe)
    store = ResumeStore.create(
        state / DIRECTORY, number, workshop.recipe, limit=config.limits.resume_records, life_s=life_s
    )
    return Records(store, workshop, meters, life_s=life_s)


def fresh_number() -> int:
    """A number for a file that no process has had, as good as surely."""
    return secrets.randbits(32)


def prefix_of(raw: Raw) -> bytes:
    """The extranonce prefix of a channel in its slot."""
    return raw.channel[2:6]
