import sys
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from protocols.mining.prover import PythonProver
from protocols.noise.frame_cipher import PythonCipher
from protocols.noise.handshake import Session
from roles.runtime import kernel, sysexits
from roles.runtime.errors import OperatorError
from roles.runtime.kernel import ABI, choose, fault, source_digest
from tests.native_kernel import native_kernel


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module where the native one would lie, built for this program."""
    module = ModuleType("hashpool_kernel")
    attributes = {
        "ABI": ABI,
        "SOURCE": source_digest(),
        "IS_FAST": True,
        "SHA256": "sha-ni",
        "CHACHA20": "avx2",
        "Bench": object,
        "Course": object,
        "Finder": Mock,
        "Hub": Mock,
        "Inlet": object,
        "Lane": object,
        "Lanes": object,
        "Outlet": object,
        "Prover": object,
        "Signer": lambda addresses: ("signer", len(addresses)),
        "Transport": object,
        "judge": object,
        "take": object,
        "rows": object,
    }
    for name, value in attributes.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "hashpool_kernel", module)
    return module


def test_the_native_kernel_is_chosen_where_it_is_built() -> None:
    chosen = native_kernel()
    assert chosen.name in {"native", "native-cipher"}
    assert choose("") == chosen or choose("").name == chosen.name
    one = chosen.cipher(Session(b"", None, bytes(32), bytes(32)), lambda _: None)
    other = PythonCipher(Session(b"", None, bytes(32), bytes(32)), lambda _: None)
    header = b"\0\0\0\1\0\0"
    assert other.receive(one.send(header, b"x")) == [(header, b"x")]


def test_it_can_be_done_without(built: Any) -> None:
    chosen = choose("off")
    assert (chosen.name, chosen.prover, chosen.cipher, chosen.complaint) == (
        "python",
        PythonProver,
        PythonCipher,
        "",
    )


def test_where_it_is_not_built_python_runs_and_nobody_complains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hashpool_kernel", None)
    assert choose("") == kernel.PYTHON
    with pytest.raises(OperatorError, match="not built") as caught:
        choose("on")
    assert caught.value.hint == "build it with ./hashpool kernel build"
    assert caught.value.exit_code == sysexits.UNAVAILABLE


@pytest.mark.parametrize(("name", "value"), [("ABI", ABI + 1), ("SOURCE", "0" * 64), ("ABI", None)])
def test_a_stale_build_is_refused_and_python_runs(built: Any, name: str, value: object) -> None:
    setattr(built, name, value)
    chosen = choose("")
    assert (chosen.name, chosen.prover) == ("python", PythonProver)
    assert "the native kernel" in chosen.complaint
    with pytest.raises(OperatorError, match="the native kernel"):
        choose("on")


def test_a_build_that_does_not_load_is_complained_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "hashpool_kernel", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken()])
    assert choose("").complaint == "the native kernel cannot be loaded: undefined symbol"


class Broken:
    """Finds every module, and fails to load it."""

    def find_spec(self, *_: object) -> None:
        raise ImportError("undefined symbol", name="hashpool_kernel")


def test_without_sha_extensions_hashing_stays_with_hashlib(built: Any) -> None:
    built.IS_FAST = False
    chosen = choose("on")
    assert (chosen.name, chosen.prover) == ("native-cipher", PythonProver)
    assert chosen.engines == "hashlib, avx2"


def test_a_setting_that_is_none_is_refused() -> None:
    with pytest.raises(OperatorError, match="HASHPOOL_KERNEL is 'maybe'"):
        choose("maybe")


def test_an_installed_program_looks_at_the_interface_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "checkout", lambda: None)
    assert source_digest() is None
    assert fault(ABI, "whatever") == ""
    assert f"interface {ABI + 1}" in fault(ABI + 1, "whatever")
