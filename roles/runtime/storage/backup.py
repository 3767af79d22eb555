"""A copy of a SQLite store that is in use: one snapshot, durable and complete, or nothing."""

import contextlib
import os
import sqlite3
from pathlib import Path

from roles.runtime.errors import BackupFailed


def copy(source: Path, target: Path) -> int:
    """Copy the store as it is now to a new file of mode 0600; gives its size in bytes.

    Writers go on meanwhile; what they commit is not in it. Blocks for as long as the disk takes. Raises
    BackupFailed, also for a target that exists.
    """
    if target.exists():
        raise BackupFailed(
            f"{target} is there already", hint="name a file that is not, or move that one away"
        )
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with (
            contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as store,
            contextlib.closing(sqlite3.connect(draft)) as written,
        ):
            # All pages in one step: in several, each commit of the writer would begin the copy anew.
            store.backup(written)
            # A log beside it would be forgotten when the file is taken elsewhere.
            written.execute("PRAGMA journal_mode = DELETE")
            # What the disk has damaged unseen is better known of now than on the day of the restore.
            (found,) = written.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise BackupFailed(
                    f"{source} is damaged: {found}", hint="keep every copy, and restore the last good one"
                )
        _sync(draft)
        os.link(draft, target)
        _sync(target.parent)
        return target.stat().st_size
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BackupFailed(
            f"{target} cannot be written: {reason}", hint="see that its directory exists and has room"
        ) from error
    finally:
        for leftover in (draft, draft.with_name(f"{draft.name}-journal")):
            leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
