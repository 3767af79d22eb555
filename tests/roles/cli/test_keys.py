import json
import tomllib
from pathlib import Path

import pytest

from roles.cli import keys
from roles.cli.fleet import SV1
from roles.runtime import sysexits
from shared_config.loader import load
from shared_config.roster import models

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def run(state: Path, *arguments: str) -> int:
    return keys.main([*arguments, "--state", str(state)])


def test_init_makes_what_is_missing_once_and_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "init") == sysexits.OK
    made = capsys.readouterr()
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "mint/authority.key",
        "mint/seed.key",
        "pool/authority.key",
        "pool/identity.key",
        "proxy/authority.key",
        "proxy/seed.words",
        "template_provider/authority.key",
    ]
    assert all((tmp_path / file).stat().st_mode & 0o777 == 0o600 for file in files)
    assert made.err.count("made ") == len(files)
    assert run(tmp_path, "init") == sysexits.OK
    again = capsys.readouterr()
    assert (again.out, again.err) == (made.out, "")


def test_no_secret_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "init")
    run(tmp_path, "show", "--json")
    captured = capsys.readouterr()
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert path.read_text().strip() not in captured.out + captured.err


def test_what_is_shown_is_toml_that_tells_where_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "init", "pool")
    text = capsys.readouterr().out
    assert "# mint.toml, at the mint" in text
    shown = tomllib.loads(text)
    halves = keys.public_halves(tmp_path)
    assert shown == {"pool": {"authority_key": halves.pool}, "issuers": [{"identity": halves.issuer}]}


def test_json_holds_the_same_keys_by_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = keys.public_halves(tmp_path)
    assert run(tmp_path, "show", "--json", "proxy") == sysexits.OK
    assert json.loads(capsys.readouterr().out) == {"proxy": {"authority": halves.proxy}}
    assert run(tmp_path, "show", "--json") == sysexits.OK
    assert json.loads(capsys.readouterr().out) == {
        "template_provider": {"authority": halves.template_provider},
        "pool": {"authority": halves.pool, "identity": halves.issuer},
        "mint": {"authority": halves.mint},
        "proxy": {"authority": halves.proxy},
    }


def test_sv1_proxy_has_keys_where_it_is_asked_for_and_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "init", "sv1_proxy_pool") == sysexits.OK
    shown = tomllib.loads(capsys.readouterr().out)
    assert shown == {"issuers": [{"identity": keys.public_halves(tmp_path, SV1).sv1_issuer}]}
    assert (tmp_path / "sv1_proxy-pool" / "identity.key").stat().st_mode & 0o777 == 0o600
    assert run(tmp_path, "init", "sv1_proxy_miner") == sysexits.OK
    assert (tmp_path / "sv1_proxy-miner" / "seed.words").exists()
    assert not (tmp_path / "pool").exists()


def test_showing_makes_no_keys_but_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "show", "mint") == sysexits.CONFIG
    assert "make them with hashpool keys init" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == []


def test_a_key_file_that_others_can_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "init", "mint")
    (tmp_path / "mint" / "authority.key").chmod(0o644)
    assert run(tmp_path, "show", "mint") == sysexits.PERMISSION
    assert "chmod 600" in capsys.readouterr().err


def test_the_keys_are_what_the_configuration_wants(tmp_path: Path) -> None:
    halves = keys.public_halves(tmp_path)
    overrides = {
        "pool": [f"shared.mint.authority_key={halves.mint}"],
        "mint": [f"issuers.0.identity={halves.issuer}"],
        "proxy": [f"shared.pool.authority_key={halves.pool}"],
        "translator": [f"shared.proxy.authority_key={halves.proxy}"],
        "template_provider": [f"shared.template_provider.authority_key={halves.template_provider}"],
    }
    for role, settings in overrides.items():
        own, shared = models(role)
        path, shared_path = CONFIG / f"{role}.toml", CONFIG / "shared" / f"{own.side}.toml"
        assert load(own, path, shared, shared_path, overrides=settings).wanted == ()
