"""Builds the extension; HASHPOOL_KERNEL_FLAGS adds compiler and linker flags: warnings, sanitizers."""

import hashlib
import os
import shlex
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent
SOURCES = sorted(path.relative_to(HERE).as_posix() for path in (HERE / "src").glob("*.[ch]"))
FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra"]


def digest() -> str:
    """What roles.runtime.kernel computes too: SHA-256 over the sources in order of their names."""
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SOURCES)).hexdigest()


flags = shlex.split(os.environ.get("HASHPOOL_KERNEL_FLAGS", ""))
setup(
    ext_modules=[
        Extension(
            "hashpool_kernel",
            [name for name in SOURCES if name.endswith(".c")],
            depends=[name for name in SOURCES if name.endswith(".h")],
            define_macros=[("KERNEL_SOURCE", f'"{digest()}"')],
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=flags,
        )
    ]
)
