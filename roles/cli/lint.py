"""`hashpool lint`: formatting, lint, types and import contracts, all of them even after a failure."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from roles.cli.checkout import home
from roles.runtime.arguments import Arguments

CHECKS: Final[tuple[tuple[str, ...], ...]] = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports", "--no-cache"),
)


def main(argv: list[str]) -> int:
    """Run every check and return 0 only if all of them passed."""
    Arguments(prog="hashpool lint", description=__doc__).parse_args(argv)
    scripts = Path(sys.executable).parent
    failed = []
    for check in CHECKS:
        print(f"$ {' '.join(check)}", flush=True)
        command = [str(scripts / check[0]), *check[1:]]
        if subprocess.run(command, cwd=home(), check=False).returncode:  # noqa: S603
            failed.append(check[0])
    if failed:
        print(f"hashpool lint: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
