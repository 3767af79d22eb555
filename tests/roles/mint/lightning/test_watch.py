import asyncio
import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from roles.mint.lightning.errors import BackendUnavailable
from roles.mint.lightning.watch import CONDITION, NodeWatch
from roles.runtime.readiness import Readiness
from tests.roles.mint.lightning.bank import Bank, foreign_invoice


async def test_a_node_that_is_away_is_told_of_and_nothing_that_needs_it_is_begun(
    bank: Bank, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    quote = await bank.melt_quote(foreign_invoice(8_000))
    proofs = await bank.tokens(8, 2)
    readiness, metrics = Readiness(), CollectorRegistry()
    watch = NodeWatch(bank.lightning.backend, metrics, every_s=0.001)
    watching = asyncio.create_task(watch.run(readiness))
    async with asyncio.timeout(30):
        await readiness.wait()
        (tmp_path / "fake.away").touch()
        while readiness.ready:
            await asyncio.sleep(0.001)
        assert "told to be away" in readiness.reasons[CONDITION]
        assert metrics.get_sample_value("hashpool_mint_lightning_up") == 0
        for needing in (
            bank.quote(5),
            bank.melt_quote(foreign_invoice(8_000, number=2)),
            bank.desk.melt(bank.melt(quote, proofs)),
        ):
            with pytest.raises(BackendUnavailable):
                await needing
        assert await bank.states(proofs) == ["UNSPENT", "UNSPENT"]
        (tmp_path / "fake.away").unlink()
        await readiness.wait()
    assert (await bank.desk.melt(bank.melt(quote, proofs))).state == "PAID"
    assert metrics.get_sample_value("hashpool_mint_lightning_up") == 1
    watching.cancel()
    told = [record.getMessage() for record in caplog.records if record.name == watch.__module__]
    assert [text.partition(":")[0] for text in told] == [
        "the Lightning node is away",
        "the Lightning node is there again",
    ]
