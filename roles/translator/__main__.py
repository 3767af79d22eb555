"""Runs the translator: ``python -m roles.translator`` or ``hashpool-translator``."""

import sys

from roles.runtime.daemon import DaemonSpec, run
from roles.stratum.miner_ports import examine_ports
from roles.translator.service import service
from shared_config.miner_side import MinerSide
from shared_config.translator import TranslatorSettings

SPEC = DaemonSpec("translator", TranslatorSettings, MinerSide, service, examine_ports, serves_crowds=True)


def main(argv: list[str] | None = None) -> int:
    """Runs the daemon and returns its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
