"""`hashpool audit`: prove from the stores that every attributed share became exactly one quote."""

import argparse
import sys
from pathlib import Path

import orjson

from roles.cli.auditing.sides import SIDES, SideMissing, audit
from roles.runtime.errors import OperatorError
from roles.runtime.state import state_root

EX_NOINPUT = 66


def main(argv: list[str]) -> int:
    """Audit and return 0 only if nothing is missing, doubled or unexplained."""
    parser = argparse.ArgumentParser(prog="hashpool audit", description=__doc__)
    for side in SIDES:
        parser.add_argument(f"--{side}", action="store_true", help=f"only the {side}'s side")
    parser.add_argument("--state", metavar="DIR", help="the state directory (default .state)")
    parser.add_argument("--json", action="store_true", help="print one object on one line")
    options = parser.parse_args(argv)
    chosen = [side for side in SIDES if getattr(options, side)]
    state: Path = state_root(options.state)
    try:
        findings = audit(state, chosen or SIDES, required=True)
    except SideMissing as error:
        hint = "name another one with --state, or run hashpool up first"
        print(f"hashpool audit: {error}\n  {hint}", file=sys.stderr)
        return EX_NOINPUT
    except OperatorError as error:
        print(f"hashpool audit: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        told = {
            "ok": findings.ok,
            "detail": findings.detail(),
            "counts": findings.counts,
            "problems": findings.problems,
            "examples": findings.examples,
            "alarms": findings.alarms,
        }
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        for kind, examples in findings.examples.items():
            print(f"{findings.problems[kind]} {kind}:")
            for example in examples:
                print(f"  {example}")
        print(findings.detail())
    return 0 if findings.ok else 1
