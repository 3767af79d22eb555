"""The machine under a measurement: CPU time and memory of processes, and foreign load. Linux only."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.speed import both, speed

_CPU_CLOCK = 2
_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of processes with all their threads, in nanosecond steps; raises OSError for a dead one."""
    # The number that clock_getcpuclockid(3) makes of a pid.
    return sum(time.clock_gettime((~pid << 3) | _CPU_CLOCK) for pid in pids)


def resident_kib(pid: int) -> int:
    """Memory of a process that is its own or its share of what is shared (PSS), in KiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(f"the kernel tells no Pss of process {pid}")


def read_bytes(pid: int) -> int:
    """What a process has had read from disks, its own files' pages above all."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    raise ValueError(f"the kernel tells no read_bytes of process {pid}")


def file_system(path: Path) -> str:
    """The kind of file system that holds a path, as /proc/mounts names it."""
    wanted = str(path.resolve())
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, named, *_ = line.split()
        if len(mount) >= len(best) and (wanted + "/").startswith(mount.rstrip("/") + "/"):
            best, kind = mount, named
    return kind


@dataclass(slots=True)
class Load:
    """What the machine was like and what other programs did, from when this is made until `told`."""

    speed: dict[str, float] = field(default_factory=speed)
    before: float = field(default_factory=lambda: os.getloadavg()[0])
    started: float = field(default_factory=time.monotonic)
    busy: float = field(default_factory=lambda: _busy_seconds() - _own_seconds())

    def told(self) -> dict[str, object]:
        """Cores there are, load averages, how many cores other programs kept busy on average, and the speed.

        Called when the daemons under measurement have ended: until then their CPU time passes for foreign.
        """
        elapsed = max(time.monotonic() - self.started, 1e-9)
        foreign = (_busy_seconds() - _own_seconds() - self.busy) / elapsed
        average = os.getloadavg()[0]
        return {
            "cores": os.cpu_count(),
            "average_before": round(self.before, 2),
            "average_after": round(average, 2),
            "foreign_cores": round(max(0.0, foreign), 2),
            "speed": both(self.speed, speed()),
        }


def _busy_seconds() -> float:
    line = Path("/proc/stat").read_text().partition("\n")[0]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + softirq) / _TICK


def _own_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])
