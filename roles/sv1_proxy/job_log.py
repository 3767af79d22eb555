"""The log of the pool's jobs, and of its word on what was sent to it, in the ledger's store.

A job is written before any share of it can be: both go through the one writer, in their order. While the
store takes nothing, it takes no shares either; a job that it did not take is brought again until it does.
Nobody waits for the pool's word on a share to be written, so that goes with the ledger's next write.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from protocols.translation.share import JudgedShare
from protocols.translation.upstream_job import UpstreamJob
from roles.runtime import crash
from roles.runtime.errors import StorageClosed, StorageError
from roles.runtime.storage import Connection, Database
from roles.stratum.submissions import Verdict
from roles.sv1_proxy.credit_meters import CreditMeters
from shared_config.sv1_proxy_pool import JobLogSettings

__all__ = ["JobLog"]

LOOK_S: Final = 60.0
AGAIN_S: Final = 1.0
GATHER_S: Final = 0.5
"""How long verdicts wait for a write of the ledger to go with."""
AT_ONCE: Final = 256
"""So many do not wait."""
PRUNED_AT_ONCE: Final = 1_000
ROW_BYTES: Final = 300
"""What a row takes beside what the pool has sent."""
SHARE_BYTES: Final = 250
REMEMBERED: Final = 1_024
"""Contents that are known to be in the log, so that what the pool sends again costs nothing."""
CODE: Final = 64

_log = logging.getLogger(__name__)

_JOB = (
    "INSERT INTO upstream_job (content, time, pool, account, job_id, extranonce1, extranonce2_size, previous,"
    " coinbase1, coinbase2, branches, version, bits, ntime, mask, target, bytes)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (content) DO NOTHING"
)
_SHARE = (
    "INSERT INTO upstream_share (time, content, hash, header, extranonce2, key, outcome, code)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_USED = (
    "SELECT (SELECT coalesce(sum(bytes), 0) FROM upstream_job) + (SELECT count(*) FROM upstream_share) * ?"
)


class JobLog:
    """Keeps jobs for so many days, and no more than so many megabytes of them."""

    def __init__(
        self,
        database: Database,
        settings: JobLogSettings,
        meters: CreditMeters,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._database = database
        self._meters = meters
        self._clock = clock
        self._known: dict[bytes, None] = {}
        self._shares: list[tuple[Any, ...]] = []
        self._timer: asyncio.TimerHandle | None = None

    def job(self, pool: str, account: str, job: UpstreamJob) -> None:
        """A job that is about to be mined on."""
        if job.content in self._known:
            return
        self._known[job.content] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        notify, granted = job.notify, job.granted
        branches = b"".join(notify.branches)
        size = ROW_BYTES + len(notify.coinbase1) + len(notify.coinbase2) + len(branches)
        row = (
            job.content, int(self._clock() * 1000), pool, account, notify.job_id, granted.extranonce1,
            granted.extranonce2_size, notify.previous, notify.coinbase1, notify.coinbase2, branches,
            notify.version, notify.bits, notify.ntime, job.mask, job.target.to_bytes(32, "little"), size,
        )  # fmt: skip

        self._write_job(row)

    def _write_job(self, row: tuple[Any, ...]) -> None:
        def written(_: object, error: BaseException | None) -> None:
            self._meters.logged.labels("failed" if error is not None else "job").inc()
            if error is not None and not isinstance(error, StorageClosed) and row[0] in self._known:
                asyncio.get_running_loop().call_later(AGAIN_S, self._write_job, row)

        self._write(lambda connection: _insert_job(connection, row), written)

    def share(self, job: UpstreamJob, share: JudgedShare, key: bytes | None, verdict: Verdict) -> None:
        """What became of a share that went to the pool."""
        shares = self._shares
        shares.append(
            (
                int(self._clock() * 1000), job.content, share.share_hash, share.header, share.extranonce, key,
                verdict.outcome.value, verdict.code[:CODE],
            )
        )  # fmt: skip
        if len(shares) >= AT_ONCE:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        shares, self._shares = self._shares, []
        if not shares:
            return

        def written(_: object, error: BaseException | None) -> None:
            self._meters.logged.labels("failed" if error is not None else "share").inc(len(shares))

        self._write(lambda connection: connection.executemany(_SHARE, shares), written)

    async def run(self) -> None:
        """Forget what is too old or too much, until cancelled."""
        while True:
            try:
                self._meters.log_bytes.set(await self.prune())
            except StorageError as error:
                _log.debug("the job log was not pruned", extra={"reason": str(error)})
            await asyncio.sleep(LOOK_S)

    async def prune(self) -> int:
        """Forget some of what is too old or too much; returns what is left, in bytes."""
        oldest = int((self._clock() - self.settings.days * 86_400) * 1000)
        most = self.settings.megabytes * 1_000_000
        while True:
            used, gone = await self._database.write(lambda connection: _prune(connection, oldest, most))
            if not gone:
                return used

    def _write(
        self, fn: Callable[[Connection], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        try:
            self._database.submit(fn, done)
        except StorageError as error:
            done(None, error)


def _insert_job(connection: Connection, row: tuple[Any, ...]) -> None:
    connection.execute(_JOB, row)
    if crash.is_armed:
        crash.at("sv1_proxy.job-written")


def _prune(connection: Connection, oldest: int, most: int) -> tuple[int, int]:
    """What is left, and how many rows went."""
    used = int(connection.execute(_USED, (SHARE_BYTES,)).fetchone()[0])
    limit = PRUNED_AT_ONCE if used > most else 0
    gone = 0
    for table, number in (("upstream_share", "number"), ("upstream_job", "job_no")):
        # A job goes with its shares, or after them.
        rows = connection.execute(
            f"DELETE FROM {table} WHERE {number} IN (SELECT {number} FROM {table}"  # noqa: S608
            f" WHERE time < ? ORDER BY {number} LIMIT ?)",
            (oldest, PRUNED_AT_ONCE),
        )
        gone += rows.rowcount
    if limit and not gone:
        gone += _prune_most(connection, used - most)
    return (used, gone)


def _prune_most(connection: Connection, surplus: int) -> int:
    """Forget the oldest jobs with what was found on them, until so many bytes are free or some have gone."""
    jobs = connection.execute(
        "SELECT job_no, content, time, bytes FROM upstream_job ORDER BY job_no LIMIT ?", (PRUNED_AT_ONCE,)
    ).fetchall()
    gone = 0
    for job in jobs:
        if surplus <= 0:
            break
        connection.execute("DELETE FROM upstream_job WHERE job_no = ?", (job["job_no"],))
        shares = connection.execute("DELETE FROM upstream_share WHERE time < ?", (job["time"],)).rowcount
        surplus -= job["bytes"] + shares * SHARE_BYTES
        gone += 1 + shares
    if not jobs:
        shares = connection.execute(
            "DELETE FROM upstream_share WHERE number IN"
            " (SELECT number FROM upstream_share ORDER BY number LIMIT ?)",
            (PRUNED_AT_ONCE,),
        ).rowcount
        gone += shares
    return gone
