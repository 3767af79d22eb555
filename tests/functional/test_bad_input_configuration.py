"""Configurations that no daemon can run on, as the person sees them who starts one.

Whatever is wrong, a daemon says in one line each what, where and how to mend it, and ends by the exit code
of its kind, without a trace of its own insides and without having begun anything.
"""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from roles.cli.fleet import ADDRESSES, SIDES
from roles.runtime import sysexits
from shared_config.roster import directory, package
from tests.functional.development import Development
from tests.functional.nursery import fork
from tests.functional.processes import PATIENCE_S, Daemon, Site

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = pytest.mark.functional

ROOT = Path(__file__).resolve().parents[2]
SHARED_SLIP = {"pool": ("rpc_url", "rpc_ulr", "bitcoin.rpc_url"), "miner": ("hold_s", "hold", "hold_s")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


def run(role: str, tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start a daemon on a tree of files, and let it end by itself."""
    files = ["-c", str(tree / f"{role}.toml"), "-g", str(tree / "shared" / f"{SIDES[role]}.toml")]
    command = [*files, "--state", str(tree.parent / "state"), *arguments]
    said, printed = (tree.parent / name for name in ("said", "printed"))
    for file in (said, printed):
        file.write_bytes(b"")
    code = fork(package(role), command, said, {}, printed).wait(PATIENCE_S)
    return subprocess.CompletedProcess(command, code, printed.read_text(), said.read_text())


def edit(file: Path, old: str, new: str) -> int:
    """Replace a text that is there once, and return its line."""
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize("role", sorted(ADDRESSES))
def test_every_problem_of_both_files_is_told_at_once_with_its_place_and_its_cure(
    tree: Path, role: str
) -> None:
    own, shared = tree / f"{role}.toml", tree / "shared" / f"{SIDES[role]}.toml"
    listener = next(key for key in ADDRESSES[role] if key != "health_address")
    known, slip, meant = SHARED_SLIP[SIDES[role]]
    misspelt = edit(own, "health_address", "health_adress")
    bad = edit(own, f'{listener} = "127.0.0.1:', f'{listener} = "127.0.0.1.9:')
    elsewhere = edit(shared, f"{known} = ", f"{slip} = ")
    ended = run(role, tree)
    assert ended.returncode == sysexits.CONFIG
    assert ended.stdout == ""
    told = ended.stderr.splitlines()
    name = directory(role)
    assert all(line.startswith(f"{name}: {tree}") for line in told), told

    def line(place: str) -> str:
        found = [line for line in told if line.startswith(f"{name}: {place}")]
        assert len(found) == 1, (place, told)
        return found[0]

    unknown = line(f"{own}:{misspelt}: ")
    assert "health_adress = " in unknown
    assert unknown.endswith("unknown key (did you mean health_address?)")
    assert "127.0.0.1.9 is neither a host name nor an IP address" in line(f"{own}:{bad}: {listener} = ")
    assert f"unknown key (did you mean {meant}?)" in line(f"{shared}:{elsewhere}: ")
    assert not (tree.parent / "state").exists()


def test_bad_addresses_are_told_as_they_were_written(tree: Path) -> None:
    own, shared = tree / "pool.toml", tree / "shared" / "pool.toml"
    bad = [
        (
            own,
            "listen_address",
            "127.0.0.1:34254",
            "127.0.0.1",
            "needs a host and a port, as in 127.0.0.1:34254",
        ),
        (
            own,
            "health_address",
            "127.0.0.1:9108",
            ":9108",
            "nothing is neither a host name nor an IP address",
        ),
        (shared, "mint.issuance_address", "127.0.0.1:34260", "127.0.0.1:mint", "0 to 65535, not mint"),
        (shared, "template_provider.address", "127.0.0.1:18447", "127.0.0.1:65536", "0 to 65535, not 65536"),
        (shared, "bitcoin.rpc_url", "http://127.0.0.1:18443", "127.0.0.1:18443", "must be a URL, as in http"),
        (
            shared,
            "mint.url",
            "http://127.0.0.1:3338",
            "http://me:pw@127.0.0.1:1",
            "a password does not belong",
        ),
    ]
    places = [edit(file, f'"{old}"', f'"{new}"') for file, _, old, new, _ in bad]
    ended = run("pool", tree, "--check")
    assert ended.returncode == sysexits.CONFIG
    told = ended.stderr.splitlines()
    for line, (file, key, _, new, reason) in zip(places, bad, strict=True):
        (found,) = (text for text in told if text.startswith(f"pool: {file}:{line}: {key}"))
        assert reason in found
        assert "pw" not in found
        assert f'"{new}"' in found or "pw" in new


@pytest.mark.parametrize("address", ["192.0.2.1:34255", "nowhere.invalid:34255"])
def test_an_address_that_is_not_of_this_machine_is_told_with_its_setting(tree: Path, address: str) -> None:
    edit(tree / "translator.toml", '"127.0.0.1:34255"', f'"{address}"')
    ended = run("translator", tree, "--set", "health_address=127.0.0.1:0")
    assert ended.returncode == sysexits.UNAVAILABLE
    assert f"cannot listen on {address}" in ended.stderr
    assert "the setting is listen_address" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_that_is_no_toml_and_one_that_is_not_there_are_named(tree: Path) -> None:
    (tree / "translator.toml").write_text('# first\nlisten_address = = "x"\n')
    (tree / "shared" / "miner.toml").unlink()
    ended = run("translator", tree)
    assert ended.returncode == sysexits.CONFIG
    garbled, missing = ended.stderr.splitlines()
    assert garbled.startswith(f"translator: {tree}/translator.toml:2: is not TOML")
    assert missing.startswith(f"translator: {tree}/shared/miner.toml: ")


# A port in use


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("configuration")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def development(site: Site) -> Development:
    """A node and its template provider: a pool listens once it has work."""
    development = Development(site)
    development.daemon("regtest_node")
    development.daemon("template_provider")
    await development.start()
    return development


@pytest_asyncio.fixture(loop_scope="module")
async def elsewhere(tmp_path: Path) -> AsyncIterator[list[Site]]:
    """Places for daemons that will not run; each has a state directory of its own."""
    sites: list[Site] = []
    yield sites
    for site in sites:
        site.__exit__(None)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("role", sorted(ADDRESSES))
async def test_a_port_in_use_is_told_with_its_holder_and_the_setting_that_moves_it(
    development: Development, elsewhere: list[Site], tmp_path: Path, role: str
) -> None:
    # The miner's address is that of its server.
    keys = [key for key in ADDRESSES[role] if (role, key) != ("cpu_miner", "address")]
    known = development.daemon(role, f"{role} as it should be").settings
    peers = {
        name.replace(".", "__"): value
        for name, value in known.items()
        if name.startswith("shared.") or name == "issuers"
    }

    async def ends(key: str) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as holder:
            port = holder.getsockname()[1]
            place = Site(tmp_path / key)
            elsewhere.append(place)
            daemon: Daemon = place.daemon(role, **peers | {key: f"127.0.0.1:{port}"})
            daemon.start()
            assert await daemon.ended() == sysexits.UNAVAILABLE, daemon.log
            told = daemon.log.splitlines()[-1]
            assert f"port {port} of 127.0.0.1 is in use by process {os.getpid()}" in told
            assert f"stop that program, or move this daemon with {key}" in told
            assert "Traceback" not in daemon.log
            # Whoever has the port keeps it.
            with closing(socket.create_connection(("127.0.0.1", port))):
                holder.accept()[0].close()

    await asyncio.gather(*(ends(key) for key in keys))
