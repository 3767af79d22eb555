"""What a daemon asks of the kernel for itself."""

import contextlib
import ctypes.util
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_WANTED_FILES = 65_536


def die_with_parent(parent: int) -> bool:
    """Ask for SIGTERM when the parent's spawning thread ends; False when ``parent`` has already gone.

    Linux only; elsewhere nothing is asked for.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6", use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # Asked after the request: a parent that died before it sends no signal any more.
    return os.getppid() == parent


def harden() -> None:
    """No core dumps, which would hold keys; files for the owner alone; as many open files as are allowed."""
    os.umask(0o077)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems refuse what they say they allow; the limit then stays as it was.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
