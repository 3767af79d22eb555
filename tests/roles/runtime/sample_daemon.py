"""A daemon for the tests of the life cycle; what it does is told by its user name."""

import asyncio
import gc
import resource
import sys

from roles.runtime.daemon import Daemon, DaemonSpec, run
from roles.runtime.errors import OperatorError
from shared_config.cpu_miner import CpuMinerSettings
from shared_config.miner_side import MinerSide


async def service(daemon: Daemon[CpuMinerSettings, MinerSide]) -> None:
    daemon.readiness.declare("work")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(behave(daemon))


async def behave(daemon: Daemon[CpuMinerSettings, MinerSide]) -> None:
    match daemon.config.user:
        case "crash":
            raise ZeroDivisionError("a fault")
        case "refuse":
            raise OperatorError("the mint is on the moon", hint="bring it back")
        case "end":
            return
        case "stubborn":
            daemon.readiness.met("work")
            await asyncio.Event().wait()
        case _:
            daemon.readiness.met("work")
            module = type(asyncio.get_running_loop()).__module__
            print(resource.getrlimit(resource.RLIMIT_CORE)[0], module, gc.get_threshold()[0])
            (daemon.state / "made").write_text("x")
            sys.stdout.flush()
            await daemon.stopping.wait()
            print("drained", flush=True)


SPEC = DaemonSpec("cpu_miner", CpuMinerSettings, MinerSide, service, serves_crowds=True)

if __name__ == "__main__":
    sys.exit(run(SPEC))
