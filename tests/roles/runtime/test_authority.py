from pathlib import Path

import pytest

from roles.runtime.authority import FILE_NAME, authority_secret
from roles.runtime.errors import SecretUnusable


def test_a_listener_keeps_the_key_that_it_made_first(tmp_path: Path) -> None:
    secret = authority_secret(tmp_path)
    assert len(secret) == 32
    assert authority_secret(tmp_path) == secret
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret.hex() not in path.read_text()


def test_a_damaged_key_is_refused_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text("not a key\n")
    path.chmod(0o600)
    with pytest.raises(SecretUnusable, match="backup"):
        authority_secret(tmp_path)
    assert path.read_text() == "not a key\n"
