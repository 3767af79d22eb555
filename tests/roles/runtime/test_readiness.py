import asyncio

import pytest

from roles.runtime.readiness import Readiness


def test_a_daemon_that_declared_nothing_yet_is_not_ready() -> None:
    assert not Readiness().ready


def test_a_daemon_is_ready_when_all_it_declared_is_met() -> None:
    readiness = Readiness()
    readiness.declare("upstream")
    readiness.declare("listener")
    readiness.met("upstream")
    assert readiness.reasons == {"listener": "starting"}
    readiness.met("listener")
    assert readiness.ready
    assert readiness.reasons == {}


def test_a_condition_that_is_lost_gives_its_reason_and_the_newest_one() -> None:
    readiness = Readiness()
    readiness.declare("upstream")
    readiness.met("upstream")
    readiness.unmet("upstream", "connection refused")
    readiness.unmet("upstream", "timed out")
    assert not readiness.ready
    assert readiness.reasons == {"upstream": "timed out"}


def test_what_was_never_declared_cannot_be_met() -> None:
    with pytest.raises(LookupError, match="upstream"):
        Readiness().met("upstream")


async def test_waiting_ends_when_everything_is_met() -> None:
    readiness = Readiness()
    readiness.declare("upstream")
    waiter = asyncio.create_task(readiness.wait())
    await asyncio.sleep(0)
    assert not waiter.done()
    readiness.met("upstream")
    await asyncio.wait_for(waiter, 30)


def test_the_log_tells_once_that_all_is_there_and_once_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="roles.runtime.readiness")
    readiness = Readiness()
    for condition in ("upstream", "listener"):
        readiness.declare(condition)
    for condition in ("upstream", "listener", "listener"):
        readiness.met(condition)
    readiness.unmet("upstream", "connection refused")
    readiness.unmet("upstream", "timed out")
    readiness.met("upstream")
    assert [record.message for record in caplog.records] == ["ready", "no longer ready", "ready"]
    assert caplog.records[1].__dict__["waits_for"] == "upstream: connection refused"


def test_a_note_is_told_while_its_condition_is_met() -> None:
    readiness = Readiness()
    readiness.declare("upstream")
    readiness.note("upstream", "mining at the second pool")
    assert readiness.notes == {}
    readiness.met("upstream")
    assert readiness.notes == {"upstream": "mining at the second pool"}
    readiness.note("upstream", "")
    assert readiness.notes == {}
