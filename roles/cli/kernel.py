"""`hashpool kernel`: build the native kernel on the spot, or tell which kernel daemons run."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from roles.cli.checkout import home
from roles.runtime import kernel, sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.errors import OperatorError

STRICT: Final = "-Werror -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual"
FLAGS: Final = "HASHPOOL_KERNEL_FLAGS"
PROBE: Final = "from roles.cli.kernel import describe; print(describe())"


def main(argv: list[str]) -> int:
    """Run one of the sub-commands."""
    parser = Arguments(prog="hashpool kernel", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    building = commands.add_parser("build", help="compile native/ into this installation; needs a C compiler")
    building.add_argument(
        "--wheel",
        type=Path,
        metavar="DIR",
        help="put a wheel there for machines of this kind, install nothing",
    )
    building.add_argument(
        "--strict", action="store_true", help="take every warning of the compiler for an error"
    )
    commands.add_parser("status", help="tell which kernel daemons run")
    options = parser.parse_args(argv)
    try:
        if options.command == "status":
            print(describe())
        else:
            build(home() / "native", options.wheel, strict=options.strict)
    except OperatorError as error:
        print(f"hashpool kernel: {error.text}", file=sys.stderr)
        for line in error.hint.splitlines():
            print(f"  {line}", file=sys.stderr)
        return error.exit_code
    return sysexits.OK


def describe() -> str:
    """One sentence on the kernel that a daemon started now would run; raises OperatorError."""
    chosen = kernel.choose(os.environ.get(kernel.VARIABLE, ""))
    told = f"kernel: {chosen.name} ({chosen.engines})"
    if chosen.name != kernel.PYTHON.name or os.environ.get(kernel.VARIABLE):
        return told
    return f"{told}; {chosen.complaint or 'the native kernel is not built'}: {kernel.BUILD}"


def build(sources: Path, wheel: Path | None, *, strict: bool) -> None:
    """Compile and install, or make a wheel; raises OperatorError."""
    if not (sources / "setup.py").is_file():
        raise OperatorError(
            "the kernel's sources are in the checkout, not in the package",
            hint="on a machine that has the checkout: ./hashpool kernel build --wheel DIR",
            exit_code=sysexits.UNAVAILABLE,
        )
    lacks = missing()
    if lacks:
        raise OperatorError(
            f"building the kernel needs {' and '.join(lacks)}",
            hint="\n".join([*lacks.values(), "Without the kernel everything works, only slower."]),
            exit_code=sysexits.UNAVAILABLE,
        )
    target = ["wheel", "-w", str(wheel)] if wheel else ["install", "--force-reinstall"]
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    if strict:
        environment[FLAGS] = f"{environment.get(FLAGS, '')} {STRICT}"
    with tempfile.TemporaryDirectory(prefix="hashpool-kernel-") as directory:
        # A copy: compilers leave things behind, and the checkout may be read-only.
        copied = shutil.copytree(sources, Path(directory) / "native")
        print("hashpool kernel: compiling")
        command = [
            sys.executable,
            "-m",
            "pip",
            *target,
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            str(copied),
        ]
        done = subprocess.run(  # noqa: S603
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise OperatorError(
            "the compiler or pip failed; see above",
            hint="Without the kernel everything works, only slower.",
            exit_code=sysexits.SOFTWARE,
        )
    if wheel:
        print(f"hashpool kernel: made in {wheel}; elsewhere: pip install --no-deps --no-index FILE.whl")
    else:
        prove_usable(environment)


def prove_usable(environment: dict[str, str]) -> None:
    """Load what was built in a process of its own: this one may have loaded what was there before."""
    environment[kernel.VARIABLE] = "on"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROBE],
        env=environment,
        cwd=home(),
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise OperatorError("the kernel was built and does not load; see above", exit_code=sysexits.SOFTWARE)
    print(f"{done.stdout}Daemons started from now on run it.")


def missing() -> dict[str, str]:
    """What a build needs and this machine lacks, each with how to get it."""
    lacks: dict[str, str] = {}
    if compiler() is None:
        lacks["a C compiler"] = (
            "Debian, Ubuntu: apt install gcc libc6-dev · Fedora: dnf install gcc · "
            "macOS: xcode-select --install"
        )
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        lacks["Python's header files"] = (
            f"Debian, Ubuntu: apt install python{version}-dev · Fedora: dnf install python{version}-devel"
        )
    if importlib.util.find_spec("setuptools") is None:
        lacks["setuptools"] = f"{sys.executable} -m pip install 'setuptools>=77'"
    return lacks


def compiler() -> str | None:
    """The compiler that Python's own build used, or the one that `$CC` names, if it is there."""
    named = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return shutil.which(str(named).split()[0])
