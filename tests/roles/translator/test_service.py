"""The whole daemon in one process: real Noise to a scripted proxy, real SV1 to a fake miner."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key, xonly
from protocols.ehash.messages import MINING_MESSAGES
from protocols.sv2.codec import MINING
from protocols.sv2.limits import FrameLimits
from roles.runtime import sv2_connection
from roles.runtime.daemon import Daemon
from roles.runtime.errors import ConnectionLost, PortInUse, TlsUnusable
from roles.runtime.sv2_connection import Sv2Connection
from roles.translator.__main__ import main
from roles.translator.hub import hub_maker
from roles.translator.service import service
from shared_config.address import Address
from shared_config.miner_side import MinerSide, MintUrlSettings, PoolPeerSettings, ProxyPeerSettings
from shared_config.sv1_listener import LineLimits, TlsSettings
from shared_config.translator import TranslatorSettings
from tests.reload_page import told_of
from tests.roles.runtime.certificates import Pair, make_pair

SECRET = b"\x07" * 32
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
async def proxy_port(scripted_proxy: Any, upstream: Any, scripted_connection: Any) -> AsyncIterator[int]:
    """The scripted proxy behind a real Noise listener."""

    async def handle(connection: Sv2Connection) -> None:
        script = scripted_connection()
        upstream.dialled.put_nowait(script)

        async def answer() -> None:
            while (frames := await script.to_client.get()) is not None:
                connection.send(*frames)
            connection.close()

        task = asyncio.create_task(answer())
        try:
            while True:
                script.from_client.put_nowait(await connection.receive())
        except ConnectionLost:
            pass
        finally:
            task.cancel()

    server = sv2_connection.serve(
        Address("127.0.0.1", 0),
        SECRET,
        handle,
        limit=FrameLimits(MINING.with_messages(*MINING_MESSAGES)),
        setting="test",
    )
    tasks = [asyncio.create_task(server.run()), asyncio.create_task(scripted_proxy.run())]
    yield server.address.port
    for task in tasks:
        task.cancel()
        await asyncio.wait({task})


def daemon(
    state: Path, port: int, key: bytes | None, listen: int = 0, **settings: Any
) -> Daemon[TranslatorSettings, MinerSide]:
    config = TranslatorSettings(
        listen_address=Address("127.0.0.1", listen),
        health_address=Address("127.0.0.1", 0),
        start_difficulty=0.0000153,
        **settings,
    )
    shared = MinerSide(
        pool=PoolPeerSettings(address=Address("127.0.0.1", 1)),
        mint=MintUrlSettings(url="http://127.0.0.1:1"),
        proxy=ProxyPeerSettings(address=Address("127.0.0.1", port), authority_key=key),
    )
    return Daemon("translator", config, shared, state)


async def test_the_daemon_is_ready_serves_and_stops(
    tmp_path: Path, proxy_port: int, free_port: int, fake_miner: Any, scripted_proxy: Any
) -> None:
    translator = daemon(tmp_path, proxy_port, xonly(public_key(SECRET)), free_port)
    running = asyncio.create_task(service(translator))
    async with asyncio.timeout(30):
        await translator.readiness.wait()
    miner = await fake_miner().connect(free_port)
    await miner.start()
    assert (await miner.mine())["result"] is True
    assert scripted_proxy.bad == []
    count = translator.metrics.get_sample_value
    assert count("hashpool_translator_shares_total", {"result": "accepted"}) == 1
    assert count("hashpool_upstream_channels") == count("hashpool_sv1_connections") == 1
    assert count("hashpool_translator_miners") == 1
    assert count("hashpool_translator_miners_seated") == (hub_maker() is not None)
    translator.stopping.set()
    async with asyncio.timeout(30):
        await running
    await miner.until(lambda: miner.is_gone)
    await miner.close()
    assert count("hashpool_translator_miners_seated") == 0
    assert [message.reason_code for message in scripted_proxy.closed] == ["the miner left"]


async def test_miners_may_speak_tls_and_the_certificate_is_read_anew(
    tmp_path: Path, proxy_port: int, free_port: int, fake_miner: Any, scripted_proxy: Any
) -> None:
    first, second = make_pair(tmp_path, "first"), make_pair(tmp_path, "second")
    files = TlsSettings(certificate=Path("first.pem"), key=Path("first.key"))
    state = tmp_path / "translator"
    translator = daemon(state, proxy_port, xonly(public_key(SECRET)), free_port, tls=files)
    running = asyncio.create_task(service(translator))
    async with asyncio.timeout(30):
        await translator.readiness.wait()

    async def mined(secured_by: Pair | None) -> None:
        miner = fake_miner()
        context = ssl.create_default_context(cafile=str(secured_by.certificate)) if secured_by else None
        miner.reader, miner.writer = await asyncio.open_connection("127.0.0.1", free_port, ssl=context)
        await miner.start()
        assert (await miner.mine())["result"] is True
        await miner.close()

    async with asyncio.timeout(30):
        for secured_by in (None, first):
            await mined(secured_by)
        wanted = TlsSettings(certificate=Path("second.pem"), key=Path("first.key"))
        with pytest.raises(TlsUnusable, match="is not the key of the certificate"):
            translator.take(translator.config.model_copy(update={"tls": wanted}), translator.shared)
        await mined(first)
        wanted = TlsSettings(certificate=Path("second.pem"), key=Path("second.key"))
        translator.take(translator.config.model_copy(update={"tls": wanted}), translator.shared)
        await mined(second)
        first.key.unlink()
        translator.take(translator.config, translator.shared)
        await mined(second)
    assert translator.reloads.keys == told_of("translator")
    assert scripted_proxy.bad == []
    assert translator.metrics.get_sample_value("hashpool_sv1_tls_handshakes_total", {"result": "made"}) == 4
    translator.stopping.set()
    async with asyncio.timeout(30):
        await running


async def test_a_certificate_that_cannot_be_used_ends_the_start_with_a_hint(
    tmp_path: Path, proxy_port: int
) -> None:
    files = TlsSettings(certificate=Path("none.pem"), key=Path("none.key"))
    with pytest.raises(TlsUnusable) as caught:
        await service(daemon(tmp_path / "translator", proxy_port, None, tls=files))
    assert caught.value.text == f"{tmp_path}/none.pem cannot be read: No such file or directory"
    assert "tls.certificate" in caught.value.hint


def test_check_looks_at_the_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = make_pair(tmp_path, "one"), make_pair(tmp_path, "other")
    arguments = ["--check", "--state", str(tmp_path), "--set", "tls.certificate=one.pem", "--set"]
    assert main([*arguments, f"tls.key={one.key}"]) == 0
    assert "are sound" in capsys.readouterr().out
    assert main([*arguments, f"tls.key={other.key}"]) == 78
    said = capsys.readouterr().err
    assert said.startswith(
        f"translator: {other.key} is not the key of the certificate in {tmp_path}/one.pem ("
    )
    assert not (tmp_path / "translator").exists()


async def test_a_proxy_with_another_authority_key_is_not_mined_at(
    tmp_path: Path, proxy_port: int, free_port: int, eventually: Eventually
) -> None:
    translator = daemon(tmp_path, proxy_port, xonly(public_key(b"\x08" * 32)), free_port)
    running = asyncio.create_task(service(translator))
    count = translator.metrics.get_sample_value
    await eventually(lambda: count("hashpool_upstream_failures_total", {"cause": "ConnectFailed"}))
    assert "no connection with" in translator.readiness.reasons["proxy"]
    assert not translator.readiness.ready
    translator.stopping.set()
    await running


async def test_a_port_in_use_names_the_setting(tmp_path: Path, proxy_port: int, upstream: Any) -> None:
    with pytest.raises(PortInUse) as caught:
        await service(daemon(tmp_path, proxy_port, None, proxy_port))
    assert "listen_address" in caught.value.hint


@pytest.mark.parametrize("bound", ["host", "subnet"])
async def test_a_host_and_a_subnet_have_bounded_numbers_of_connections(
    tmp_path: Path, proxy_port: int, free_port: int, fake_miner: Any, bound: str
) -> None:
    translator = daemon(tmp_path, proxy_port, xonly(public_key(SECRET)), free_port)
    limits = LineLimits.model_validate({f"connections_per_{bound}": 1})
    running = asyncio.create_task(service(translator))
    async with asyncio.timeout(30):
        await translator.readiness.wait()
    translator.take(translator.config.model_copy(update={"limits": limits}), translator.shared)
    first = await fake_miner().connect(free_port)
    await first.start()
    second = await fake_miner().connect(free_port)
    second.listen()
    await second.until(lambda: second.is_gone)
    labels = {"reason": f"too-many-of-{bound}"}
    assert translator.metrics.get_sample_value("hashpool_sv1_connections_ended_total", labels) == 1
    assert (await first.mine())["result"] is True
    for miner in (first, second):
        await miner.close()
    translator.stopping.set()
    async with asyncio.timeout(30):
        await running
