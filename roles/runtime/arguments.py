"""The arguments of a command line: argparse's, with an exit code of sysexits for what is wrong with them."""

import argparse
import sys
from typing import NoReturn

from roles.runtime import sysexits


class Arguments(argparse.ArgumentParser):
    """A parser that ends the program with EX_USAGE, after how it is used and what is wrong, on stderr."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.print_usage(sys.stderr)
        self.exit(sysexits.USAGE, f"{self.prog}: {message}\n")
