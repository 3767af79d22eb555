"""Exit codes of daemons and commands, the numbers of BSD's sysexits.h."""

from typing import Final

OK: Final = 0
USAGE: Final = 64
DATA: Final = 65
NO_INPUT: Final = 66
UNAVAILABLE: Final = 69
SOFTWARE: Final = 70
OS: Final = 71
CANT_CREATE: Final = 73
IO: Final = 74
TEMPORARY: Final = 75
PERMISSION: Final = 77
CONFIG: Final = 78
