import errno
import os
from pathlib import Path

import pytest

from roles.runtime.errors import SecretUnusable
from roles.runtime.secret import SecretFile


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    file = SecretFile(tmp_path / "pool" / "authority.key")
    assert file.load() is None
    assert file.load_or_create_bytes(32, lambda: bytes(range(32))) == bytes(range(32))
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["authority.key"]
    assert SecretFile(file.path).load_or_create_bytes(32, lambda: bytes(32)) == bytes(range(32))
    assert file.load() == bytes(range(32)).hex()


def test_of_two_that_make_it_at_once_the_first_one_counts(tmp_path: Path) -> None:
    file = SecretFile(tmp_path / "seed.words")

    def meanwhile() -> str:
        SecretFile(file.path).load_or_create(lambda: "first")
        return "second"

    assert file.load_or_create(meanwhile) == "first"


def test_a_secret_that_others_can_read_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "authority.key"
    path.write_text("00" * 32)
    path.chmod(0o640)
    with pytest.raises(SecretUnusable, match=f"chmod 600 {path}"):
        SecretFile(path).load()


@pytest.mark.parametrize("content", ["", "zz" * 32, "00" * 31, "\xff"])
def test_a_damaged_secret_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "authority.key"
    path.touch(mode=0o600)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(SecretUnusable) as caught:
        SecretFile(path).load_or_create_bytes(32, lambda: bytes(32))
    assert "zz" not in str(caught.value)


def test_a_systemd_credential_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "authority.key").write_text("11" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "given"))
    file = SecretFile(tmp_path / "state" / "authority.key")
    assert file.load_or_create_bytes(32, lambda: bytes(32)) == b"\x11" * 32
    assert not file.path.exists()
    other = SecretFile(tmp_path / "state" / "identity.key")
    assert other.load_or_create_bytes(32, lambda: bytes(32)) == bytes(32)


def test_a_secret_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(SecretUnusable, match="cannot be"):
        SecretFile(tmp_path / "state" / "authority.key").load_or_create(lambda: "x")


@pytest.mark.parametrize(("number", "cure"), [(errno.ENOSPC, "make room"), (errno.EACCES, "who owns it")])
def test_why_a_secret_cannot_be_written_comes_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cure: str
) -> None:
    def refuse(*_arguments: object, **_options: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SecretUnusable) as caught:
        SecretFile(tmp_path / "authority.key").load_or_create(lambda: "x")
    assert os.strerror(number) in caught.value.text
    assert cure in caught.value.hint


def test_a_secret_that_a_store_depends_on_is_not_made_anew_beside_it(tmp_path: Path) -> None:
    store = tmp_path / "wallet.sqlite"
    file = SecretFile(tmp_path / "seed.words", store=store)
    assert file.load_or_create(lambda: "first") == "first"
    store.touch()
    assert file.load_or_create(lambda: "second") == "first"
    file.path.unlink()
    with pytest.raises(SecretUnusable, match="is of no use without it") as caught:
        file.load_or_create(lambda: "second")
    assert "backup" in caught.value.hint
    assert not file.path.exists()
