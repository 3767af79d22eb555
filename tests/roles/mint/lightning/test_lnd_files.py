from pathlib import Path

import pytest

from protocols.bitcoin.networks import Network
from roles.mint.lightning.service import examine
from roles.runtime.errors import SecretUnusable
from shared_config.address import Address
from shared_config.bolt11 import Bolt11Settings
from tests.roles.mint.lightning.fake_lnd import certificate

WHERE = "https://127.0.0.1:8080"


def settings(**lnd: object) -> Bolt11Settings:
    return Bolt11Settings.model_validate({"backend": "lnd", "lnd": lnd})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "lnd.macaroon").write_bytes(b"\x02\x01\x03lnd")
    (tmp_path / "lnd.macaroon").chmod(0o600)
    (tmp_path / "lnd.cert").write_text(certificate(tmp_path))
    return tmp_path


def test_where_lnd_is_and_what_lets_us_in_must_be_named() -> None:
    address = Address("127.0.0.1", 3338)
    missing = {finding.key for finding in settings().review(address, Network.MAIN)}
    assert missing == {"bolt11.lnd.url", "bolt11.lnd.macaroon_file"}
    plain = settings(url="http://10.0.0.1:8080", macaroon_file=Path("lnd.macaroon"))
    (finding,) = plain.review(address, Network.MAIN)
    assert "https" in finding.reason


def test_files_of_lnd_are_looked_at_before_the_mint_starts(directory: Path) -> None:
    files = {"macaroon_file": Path("lnd.macaroon"), "certificate_file": Path("lnd.cert")}
    good = settings(url=WHERE, **files)
    examine(good, directory.joinpath)
    examine(Bolt11Settings(backend="off"), directory.joinpath)
    (directory / "lnd.macaroon").chmod(0o604)
    with pytest.raises(SecretUnusable, match="read by anybody"):
        examine(good, directory.joinpath)
    (directory / "lnd.macaroon").chmod(0o640)
    (directory / "lnd.cert").write_text("no certificate")
    with pytest.raises(SecretUnusable, match=r"lnd\.cert"):
        examine(good, directory.joinpath)
    (directory / "lnd.cert").unlink()
    with pytest.raises(SecretUnusable, match=r"lnd\.cert"):
        examine(good, directory.joinpath)
    examine(settings(url=WHERE, macaroon_file=Path("lnd.macaroon")), directory.joinpath)
    with pytest.raises(SecretUnusable, match=r"none\.macaroon"):
        examine(settings(url=WHERE, macaroon_file=Path("none.macaroon")), directory.joinpath)
