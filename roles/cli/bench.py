"""`hashpool bench NAME`: run one benchmark; with --json the figures are one object on the last line."""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, cast

import orjson

from roles.runtime import sysexits
from roles.runtime.arguments import Arguments

BENCHMARKS: Final[dict[str, str]] = {
    "shares": "what a share costs the pool",
    "processes": "what a share costs a pool of several processes, against one",
    "mint": "what minting and swapping tokens costs the mint",
    "store": "what a request costs a mint whose store has years in it, against an empty one",
    "edge": "what a miner costs translator and proxy",
    "sv1_proxy": "what a miner costs each instance of sv1_proxy",
    "connections": "what connections and channels cost the pool, and how soon all have new work",
    "vardiff": "how soon shares come at the wanted rate, simulated, by our law and by others",
    "tokens": "how long a share takes to become a token, at a given rate",
}


class Benchmark(Protocol):
    """What a module of `benchmarks` offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> dict[str, object]: ...


def main(argv: list[str]) -> int:
    """Run a benchmark and print what it found."""
    if importlib.util.find_spec("benchmarks") is None:
        print("hashpool bench: the benchmarks are in the checkout, not in the package", file=sys.stderr)
        return sysexits.UNAVAILABLE
    parser = Arguments(prog="hashpool bench", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    modules: dict[str, Benchmark] = {}
    for name, purpose in BENCHMARKS.items():
        chosen = names.add_parser(name, help=purpose, description=purpose)
        chosen.add_argument("--json", action="store_true", help="print one object on one line")
        chosen.add_argument(
            "--state", type=Path, metavar="DIR", help="where to keep the state meanwhile (.state)"
        )
        if name in argv:
            modules[name] = cast("Benchmark", importlib.import_module(f"benchmarks.{name}"))
            modules[name].add_arguments(chosen)
    options = parser.parse_args(argv)
    from benchmarks.errors import BenchmarkFailed
    from benchmarks.machine import Load

    load = Load()
    try:
        figures = modules[options.name].run(options)
    except BenchmarkFailed as error:
        print(f"hashpool bench: {error}", file=sys.stderr)
        return sysexits.SOFTWARE
    figures["load"] = load.told()
    if options.json:
        print(orjson.dumps(figures).decode())
    else:
        print(table(options.name, figures))
    return 0


def table(name: str, figures: Mapping[str, object]) -> str:
    """The figures for people, a line each."""
    lines = list(flatten(figures))
    width = max(len(key) for key, _ in lines)
    return "\n".join([name, *(f"  {key:<{width}}  {value}" for key, value in lines)])


def flatten(figures: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every figure with the dotted way to it."""
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
