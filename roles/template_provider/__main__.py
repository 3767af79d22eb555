"""`python -m roles.template_provider`."""

import sys

from roles.runtime.daemon import run
from roles.template_provider.service import SPEC


def main(argv: list[str] | None = None) -> int:
    """Run the daemon and return its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
