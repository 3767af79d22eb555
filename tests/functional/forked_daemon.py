"""What a forked process does to become a daemon; run by path, with what it is given among its globals."""

import importlib
import os
import signal
import sys
from pathlib import Path

role, arguments, log, environment = globals()["given"]
os.setsid()
os.chdir(Path(__file__).resolve().parents[2])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
with log.open("ab") as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
os.environ.update(environment)
daemon = importlib.import_module(f"roles.{role}.__main__")
sys.exit(daemon.main([*arguments, "--die-with-parent", str(os.getppid())]))
