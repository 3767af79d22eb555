"""Pools that are spoken to by TLS: who may vouch for them, and which certificate they may show."""

import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from roles.runtime.errors import ConnectionLost, TlsUnusable
from roles.stratum.sv1_opener import PoolTerms, Sv1Opener, Sv1Pool
from shared_config.sv1_upstream import Sv1PoolSettings
from tests.roles.runtime.certificates import Pair, make_pair
from tests.roles.stratum.fake_pool import FakePool


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


@asynccontextmanager
async def secure_pool(pair: Pair, address: str = "127.0.0.1") -> AsyncIterator[FakePool]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    pool = FakePool()
    await pool.open(ssl=context)
    try:
        yield pool
    finally:
        pool.close()


def opener(pool: FakePool, **settings: object) -> Sv1Opener:
    read = Sv1PoolSettings.model_validate({"address": str(pool.address), "tls": True} | settings)
    found = Sv1Pool.of(read, Path, user="us", password="x", suggest_difficulty=1.0)
    return Sv1Opener(found, PoolTerms())


def fingerprint(pair: Pair) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())).hexdigest()


async def test_a_pool_whose_certificate_an_authority_of_ours_vouches_for_is_mined_at(pair: Pair) -> None:
    async with secure_pool(pair) as pool:
        link = await opener(pool, tls_ca_file=str(pair.certificate)).open()
        assert link.granted.extranonce2_size == 8
        await pool.until(lambda: "mining.suggest_difficulty" in [method for method, _ in pool.last.heard])
        link.close()


async def test_a_pool_that_shows_the_very_certificate_is_mined_at_whoever_vouches_for_it(pair: Pair) -> None:
    async with secure_pool(pair) as pool:
        link = await opener(pool, tls_fingerprint=fingerprint(pair).upper()).open()
        link.close()


def other_pin(_pair: Pair) -> dict[str, str]:
    return {"tls_fingerprint": "00" * 32}


def nobody(_pair: Pair) -> dict[str, str]:
    return {}


@pytest.mark.parametrize(
    ("settings", "code", "reason"),
    [
        (other_pin, "wrong-certificate", "another certificate"),
        (nobody, "tls-failed", "self-signed certificate"),
    ],
)
async def test_a_pool_that_nobody_vouches_for_is_told_nothing(
    pair: Pair, settings: Callable[[Pair], dict[str, str]], code: str, reason: str
) -> None:
    async with secure_pool(pair) as pool:
        with pytest.raises(ConnectionLost, match=reason) as failure:
            await opener(pool, **settings(pair)).open()
        assert failure.value.code == code
        assert not any(peer.heard for peer in pool.peers)


async def test_a_certificate_for_another_host_is_not_taken(pair: Pair) -> None:
    async with secure_pool(pair) as pool:
        one = opener(pool, tls_ca_file=str(pair.certificate))
        assert one.pool.tls is not None
        named = Sv1Pool("x", pool.address, "us", tls=one.pool.tls.named("pool.example"))
        with pytest.raises(ConnectionLost, match="Hostname mismatch"):
            await Sv1Opener(named, PoolTerms()).open()


async def test_a_pool_without_tls_is_no_pool_with_it(pair: Pair) -> None:
    pool = FakePool()
    await pool.open()
    try:
        with pytest.raises(ConnectionLost):
            await opener(pool, tls_ca_file=str(pair.certificate)).open()
    finally:
        pool.close()


async def test_a_file_of_authorities_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not at all")
    for path in (wrong, tmp_path / "missing.pem"):
        settings = Sv1PoolSettings.model_validate(
            {"address": "a.example:1", "tls": True, "tls_ca_file": str(path)}
        )
        with pytest.raises(TlsUnusable, match="holds no certificates"):
            Sv1Pool.of(settings, Path, user="", password="", suggest_difficulty=None)
