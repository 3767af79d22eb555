"""`hashpool audit`: prove from the stores that every attributed share became exactly one quote."""

import argparse
import asyncio
import sys
from pathlib import Path

import orjson

from roles.cli import whereabouts
from roles.cli.auditing.exchange import compare_side, export_side
from roles.cli.auditing.findings import Findings, counted
from roles.cli.auditing.remote import audit_remote
from roles.cli.auditing.sides import SIDES, SideMissing, audit
from roles.cli.auditing.summary import SummaryError
from roles.cli.checkout import STATE_HELP
from roles.cli.stores import WalletStore, open_store
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.errors import OperatorError
from roles.runtime.state import state_root
from roles.wallet.errors import MintError


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = Arguments(
        prog="hashpool audit",
        description=__doc__,
        epilog="Each side can be audited where the others cannot be seen: pool and mint exchange signed"
        " summaries (--export, --against), the wallet asks the mint itself (--wallet --mint URL).",
    )
    parser.add_argument("--pool", action="store_true", help="only the pool's side")
    parser.add_argument(
        "--mint", nargs="?", const=True, metavar="URL", help="only the mint's side, or a mint's URL"
    )
    parser.add_argument("--wallet", action="store_true", help="only the wallet's side")
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="write a signed summary of --pool or --mint"
    )
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="compare --pool or --mint with the other's"
    )
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    parser.add_argument("--json", action="store_true", help="print one object on one line")
    options = parser.parse_args(argv)
    sides = [side for side in SIDES if getattr(options, side)]
    if (options.export or options.against) and (len(sides) != 1 or sides == ["wallet"]):
        parser.error("--export and --against go with exactly one of --pool and --mint")
    if isinstance(options.mint, str) and sides != ["mint", "wallet"]:
        parser.error("--mint URL goes with --wallet alone: the mint's own side is audited where its store is")
    return options


def main(argv: list[str]) -> int:
    """Audit and return 0 only if nothing is missing, doubled or unexplained."""
    options = parse(argv)
    state: Path = state_root(options.state)
    try:
        findings = run(options, state)
    except SideMissing as error:
        return failed(
            f"{error}\n  name another one with --state, or run hashpool up first", sysexits.NO_INPUT
        )
    except SummaryError as error:
        return failed(str(error), sysexits.DATA)
    except MintError as error:
        return failed(str(error), sysexits.UNAVAILABLE)
    except OperatorError as error:
        return failed(str(error), error.exit_code)
    tell(findings, as_json=options.json)
    return 0 if findings.ok else 1


def run(options: argparse.Namespace, state: Path) -> Findings:
    """Do what was asked for; raises SideMissing, SummaryError, MintError and OperatorError."""
    remote = options.mint if isinstance(options.mint, str) else None
    sides = [side for side in SIDES if getattr(options, side) and not (remote and side == "mint")]
    findings = audit(state, sides or SIDES, required=True)
    for place in whereabouts.wallets(state) if remote else ():
        connection = open_store(state, place, WalletStore.FILE)
        if remote and connection is not None:
            with connection:
                asyncio.run(audit_remote(WalletStore(connection), remote, findings))
    if options.against:
        signer = compare_side(state, sides[0], options.against, findings)
        print(f"the summary is signed by {signer.hex()}", file=sys.stderr)
    if options.export:
        summary = export_side(state, sides[0], options.export)
        print(f"{options.export}: {summary.rows} rows, {summary.credited} ehash", file=sys.stderr)
    return findings


def failed(text: str, code: int) -> int:
    """Say what went wrong and return the exit code."""
    print(f"hashpool audit: {text}", file=sys.stderr)
    return code


def tell(findings: Findings, *, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        told = {
            "ok": findings.ok,
            "detail": findings.detail(),
            "counts": findings.counts,
            "problems": findings.problems,
            "examples": findings.examples,
            "alarms": findings.alarms,
        }
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    if findings.ok:
        print(findings.detail())
        return
    for kind, examples in findings.examples.items():
        number = findings.problems[kind]
        print(f"{counted(number, kind)}:")
        for example in examples:
            print(f"  {example}")
        if number > len(examples):
            print(f"  and {number - len(examples):,} more")
    print(f"This is wrong. Looked at {findings.seen()}{findings.warnings()}.")
