"""`hashpool test`: the tests of a newcomer and of CI, with the coverage gate of protocols/."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from roles.cli.checkout import home
from roles.runtime.arguments import Arguments


def main(argv: list[str]) -> int:
    """Run the tests; arguments after `--` go to pytest as they are."""
    parser = Arguments(prog="hashpool test", description=__doc__)
    parser.add_argument("--long", action="store_true", help="run every count in full")
    parser.add_argument("--workers", default="2", help="test processes side by side (default 2)")
    parser.add_argument("pytest", nargs="*", help="paths or options for pytest instead of everything")
    options, extra = parser.parse_known_args(argv)
    environment = os.environ | ({"HASHPOOL_TEST_LONG": "1"} if options.long else {})
    if options.pytest or extra:
        return run(["-n", options.workers, *extra, *options.pytest], environment)
    # These wait for daemons more than they compute.
    patient = str(int(options.workers) + 1) if options.workers.isdigit() else options.workers
    suites = [
        # Measured by their own tests alone: tracing them under all others takes twice the time of these.
        ["tests/protocols", "-n", options.workers,
         "--cov=protocols", "--cov-branch", "--cov-fail-under=100", "--cov-report=term-missing:skip-covered"],
        ["tests", "--ignore=tests/protocols", "--ignore=tests/functional", "--ignore=tests/chaos",
         "-n", options.workers],
        # In the order of their conftest: long modules first.
        ["tests/functional", "tests/chaos", "-n", patient,
         "--dist", "loadfile", "--no-loadscope-reorder"],
    ]  # fmt: skip
    with installing():
        codes = [run(suite, environment) for suite in suites]
    return max(codes)


@contextlib.contextmanager
def installing() -> Iterator[None]:
    """Meanwhile the clients of others are installed, so that no test waits for it; what fails, it says."""
    command = [sys.executable, "-m", "roles.cli.foreign"]
    with subprocess.Popen(command, cwd=home(), stdin=subprocess.DEVNULL):  # noqa: S603
        yield


def run(arguments: list[str], environment: dict[str, str]) -> int:
    """Run pytest once in the checkout and return its exit code."""
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=home(), env=environment, check=False).returncode  # noqa: S603
