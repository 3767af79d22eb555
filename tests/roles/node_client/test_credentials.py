from pathlib import Path

import pytest

from roles.node_client.credentials import CookieFile, PasswordFile
from roles.node_client.errors import NodeCredentialsMissing


def test_a_cookie_is_user_and_password(tmp_path: Path) -> None:
    path = tmp_path / ".cookie"
    path.write_text("__cookie__:ab:cd\n")
    assert CookieFile(path).load() == ("__cookie__", "ab:cd")


@pytest.mark.parametrize("content", [b"", b"__cookie__", b"__cookie__:", b"\xff\xfe:x"])
def test_a_cookie_that_is_not_complete_is_missing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ".cookie"
    path.write_bytes(content)
    with pytest.raises(NodeCredentialsMissing):
        CookieFile(path).load()


def test_a_cookie_that_cannot_be_read_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NodeCredentialsMissing, match="cannot be read"):
        CookieFile(tmp_path).load()


def test_a_password_comes_from_its_file_and_is_not_repeated_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "password"
    with pytest.raises(NodeCredentialsMissing, match="no password"):
        PasswordFile("me", path).load()
    path.write_text("open sesame\n")
    path.chmod(0o644)
    with pytest.raises(NodeCredentialsMissing, match="chmod 600") as caught:
        PasswordFile("me", path).load()
    assert "sesame" not in str(caught.value)
    path.chmod(0o600)
    assert PasswordFile("me", path).load() == ("me", "open sesame")
