"""What a forked process does to become a daemon; run by path, with what it is given among its globals."""

import importlib
import os
import signal
import sys
from pathlib import Path

package, arguments, log, environment, output = globals()["given"]
os.setsid()
os.chdir(Path(__file__).resolve().parents[2])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
with log.open("ab") as said, output.open("ab") as printed:
    os.dup2(printed.fileno(), 1)
    os.dup2(said.fileno(), 2)
os.environ.update(environment)
daemon = importlib.import_module(f"roles.{package}.__main__")
sys.exit(daemon.main([*arguments, "--die-with-parent", str(os.getppid())]))
