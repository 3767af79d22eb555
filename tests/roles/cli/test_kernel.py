import importlib.util
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from roles.cli import kernel
from roles.runtime import sysexits
from roles.runtime.kernel import PYTHON

Caught = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HASHPOOL_KERNEL", "CC", kernel.FLAGS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that a build would start, none of which runs."""
    started: list[list[str]] = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        started.append([*command, env[kernel.FLAGS]])
        return subprocess.CompletedProcess(command, 0, stdout="kernel: native\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(kernel, "missing", dict)
    return started


def test_status_tells_which_kernel_runs(monkeypatch: pytest.MonkeyPatch, capsys: Caught) -> None:
    monkeypatch.setenv("HASHPOOL_KERNEL", "off")
    assert kernel.main(["status"]) == sysexits.OK
    assert capsys.readouterr().out == "kernel: python (hashlib, cryptography)\n"


@pytest.mark.parametrize("complaint", ["the native kernel is stale", ""])
def test_status_tells_why_the_native_one_does_not_run_and_the_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: Caught, complaint: str
) -> None:
    python = replace(PYTHON, complaint=complaint)
    monkeypatch.setattr("roles.runtime.kernel.choose", lambda _: python)
    assert kernel.main(["status"]) == sysexits.OK
    why = complaint or "the native kernel is not built"
    assert capsys.readouterr().out.endswith(f"; {why}: ./hashpool kernel build\n")


def test_a_choice_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Caught) -> None:
    monkeypatch.setenv("HASHPOOL_KERNEL", "perhaps")
    assert kernel.main(["status"]) == sysexits.USAGE
    assert capsys.readouterr().err.splitlines()[1] == "  it may be on or off"


def test_what_a_build_lacks_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Caught, tmp_path: Path
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O9")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert kernel.main(["build"]) == sysexits.UNAVAILABLE
    said = capsys.readouterr().err
    assert "needs a C compiler and Python's header files and setuptools" in said
    for cure in ("apt install gcc", "-dev", "pip install 'setuptools>=77'", "everything works, only slower"):
        assert cure in said


def test_an_installed_package_says_where_the_sources_are(
    monkeypatch: pytest.MonkeyPatch, capsys: Caught, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernel, "home", lambda: tmp_path)
    assert kernel.main(["build"]) == sysexits.UNAVAILABLE
    assert "in the checkout" in capsys.readouterr().err


def test_a_build_installs_from_a_copy_without_asking_any_index(
    calls: list[list[str]], capsys: Caught, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kernel.FLAGS, "-g")
    assert kernel.main(["build", "--strict"]) == sysexits.OK
    installing, loading = calls
    assert {"install", "--no-index", "--no-build-isolation", "--no-deps"} <= set(installing)
    assert not Path(installing[-2]).exists()
    assert installing[-1].startswith("-g -Werror ")
    assert loading[1] == "-c"
    assert "kernel: native\nDaemons started from now on run it." in capsys.readouterr().out


def test_a_wheel_is_made_for_other_machines(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(kernel.FLAGS, "")
    assert kernel.main(["build", "--wheel", str(tmp_path)]) == sysexits.OK
    (making,) = calls
    assert making[3:6] == ["wheel", "-w", str(tmp_path)]


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, capsys: Caught) -> None:
    failed = subprocess.CompletedProcess([], 1, stdout="error: no space left\n")
    monkeypatch.setattr(kernel, "missing", dict)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert kernel.main(["build"]) == sysexits.SOFTWARE
    assert "no space left" in capsys.readouterr().err
