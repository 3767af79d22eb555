"""Tokens that go from a branch to the keeper and back, and what comes of those that find nobody."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.ehash.resume_token import ResumeToken
from protocols.mining.channel import ExtendedChannel
from protocols.mining.job import Template, Tip
from roles.pool import intercom, remote_books
from roles.pool.branch_desk import BranchDesk
from roles.pool.claims import KeptClaims
from roles.pool.intercom import Garbled, Word
from roles.pool.meters import Meters
from roles.pool.records import Records
from roles.pool.remote_books import RemoteClaims, RemotePrefixes
from roles.pool.resume_layout import (
    PAGE,
    SLOT,
    ChannelState,
    TargetRecord,
    pack_template,
    read_template,
    unpack_template,
)
from roles.pool.resume_store import BOOT_ID, Raw, Result, ResumeFile, ResumeStore, former_tips
from tests.roles.pool.neighbours import KEY, soon

RECIPE = b"8 bytes."
TIP = Tip(b"\x07" * 32, 1_000, 0x207FFFFF, 1 << 250, 1_010)
TEMPLATE = Template(
    (3, 4), 5, CoinbaseTemplate(2, b"\x01\x70", 6, 7, 1, b"outputs", 8), (b"\x0a" * 32, b"\x0b" * 32)
)


class Line:
    """An intercom that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[Word, bytes]] = []

    def say(self, word: Word, payload: bytes = b"") -> None:
        self.said.append((word, payload))

    def close(self) -> None:
        """Nothing is there to be closed."""


class Told:
    """What became of tokens."""

    def __init__(self) -> None:
        self.heard: list[Result] = []

    def __call__(self, result: Result, raw: Raw | None) -> None:
        del raw
        self.heard.append(result)


class Prefixes:
    """A book of prefixes that notes what is taken up again."""

    def __init__(self) -> None:
        self.reclaimed: list[bytes] = []

    def reclaim(self, prefix: bytes) -> None:
        self.reclaimed.append(prefix)


def claims_of(directory: Path, *, now: float = 1_000.0, life_s: float = 5.0) -> tuple[KeptClaims, Prefixes]:
    prefixes: Any = Prefixes()
    records: Any = type("Nothing", (), {"store": None})()
    return (
        KeptClaims(records, prefixes, directory, recipe=RECIPE, life_s=life_s, clock=lambda: now),
        prefixes,
    )


def recorded(directory: Path, now: float) -> bytes:
    """A channel in the file of a process that is gone; returns its token."""
    store = ResumeStore.create(directory, 0xABC, RECIPE, limit=10, life_s=5.0)
    assert store is not None
    store.note_template(TEMPLATE, TIP, 1, 4)
    session = store.begin_session()
    assert session is not None
    session.job(1, 1, 0)
    channel = ExtendedChannel(2, b"\1\0\0\7", target=99, max_target=100, key=KEY)
    made = store.begin_channel(session, channel, [TargetRecord(0, 99)])
    assert made is not None
    store.sweep(now)
    store.close()
    return made[1]


def test_a_claim_and_its_answer_cross_the_intercom() -> None:
    assert intercom.unpack_claim(intercom.pack_claim(7, b"token", KEY)) == (7, b"token", KEY)
    assert intercom.unpack_claim(intercom.pack_claim(7, b"", None)) == (7, b"", None)
    packed = pack_template(TEMPLATE, TIP, 9, 4)
    assert packed is not None
    raw = Raw(bytes(SLOT), b"\1" * SLOT, (packed, packed))
    assert intercom.unpack_claimed(intercom.pack_claimed(3, Result.RESUMED, raw)) == (3, Result.RESUMED, raw)
    assert intercom.unpack_claimed(intercom.pack_claimed(3, Result.USED, None)) == (3, Result.USED, None)


async def test_who_hears_nothing_in_time_opens_a_new_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_books, "CLAIM_S", 0.01)
    monkeypatch.setattr(remote_books, "MAX_CLAIMS", 1)
    line: Any = Line()
    claims, told = RemoteClaims(line), Told()
    for _ in range(2):
        claims.claim(b"t" * 32, KEY, told)
    assert told.heard == [Result.UNANSWERED]
    await soon(lambda: len(told.heard) == 2)
    claims.answered(1, Result.RESUMED, None)
    assert told.heard == [Result.UNANSWERED, Result.UNANSWERED]


async def test_a_branch_that_ends_has_released_nothing() -> None:
    line: Any = Line()
    nothing: Any = None
    desk, told = BranchDesk(line, nothing, report=nothing, departed=nothing, store=9), Told()
    desk.release(b"t" * 32, KEY, told)
    assert line.said == [(Word.RELEASE, intercom.pack_claim(1, b"t" * 32, KEY))]
    desk.close()
    assert told.heard == [Result.UNANSWERED]
    with pytest.raises(Garbled):
        desk.hear(Word.RELEASED, intercom.pack_claimed(1, Result.UNKNOWN, None))


def test_a_channel_that_is_resumed_before_its_prefix_went_back_keeps_it() -> None:
    line: Any = Line()
    prefixes = RemotePrefixes(line)
    for prefix in (b"\1\0\0\1", b"\1\0\0\2"):
        prefixes.release(prefix)
    prefixes.withhold(b"\1\0\0\1")
    prefixes.withhold(b"\1\0\0\3")
    prefixes.give_back()
    assert line.said == [(Word.PREFIXES_LEFT, b"\1\0\0\2")]


def test_the_file_of_a_process_that_is_gone_gives_a_channel_once_and_is_deleted_in_time(
    tmp_path: Path,
) -> None:
    token = recorded(tmp_path, 998.0)
    claims, prefixes = claims_of(tmp_path)
    told = Told()
    for key in (None, KEY, KEY):
        claims.claim(token, key, told)
    claims.claim(b"short", KEY, told)
    assert told.heard == [Result.UNKNOWN, Result.RESUMED, Result.USED, Result.UNKNOWN]
    assert prefixes.reclaimed == [b"\1\0\0\7"]
    (path,) = tmp_path.iterdir()
    os.utime(path, (1_000, 1_000))
    claims.sweep(1_000.0)
    assert path.exists()
    claims.sweep(1_001.0)
    assert path.exists(), "looked at too often"
    claims.sweep(2_000.0)
    assert not path.exists()
    claims.close()


def test_who_comes_late_is_told_so(tmp_path: Path) -> None:
    token = recorded(tmp_path, 990.0)
    claims, told = claims_of(tmp_path)[0], Told()
    claims.claim(token, KEY, told)
    assert told.heard == [Result.EXPIRED]
    claims.close()


def test_what_another_boot_of_the_machine_left_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = recorded(tmp_path, 998.0)
    assert former_tips(tmp_path, RECIPE) == {TIP.previous: TIP}
    monkeypatch.setattr("roles.pool.resume_store.BOOT_ID", BOOT_ID.with_name("no-such-file"))
    claims, told = claims_of(tmp_path)[0], Told()
    claims.claim(token, KEY, told)
    assert told.heard == [Result.UNKNOWN]
    assert former_tips(tmp_path, RECIPE) == {}


def test_a_template_is_read_as_it_was_written_unless_it_is_another_or_too_long() -> None:
    packed = pack_template(TEMPLATE, TIP, 9, 4)
    assert packed is not None
    page = packed.ljust(PAGE, b"\0")
    assert read_template(page, 9) == packed
    assert read_template(page, 10) is None
    assert unpack_template(packed) == (replace(TEMPLATE, origin=(0, 4)), TIP)
    long = replace(TEMPLATE, merkle_path=(b"\x0c" * 32,) * 200)
    assert pack_template(long, TIP, 9, 4) is None


def test_a_slot_holds_the_newest_of_what_does_not_fit() -> None:
    targets = tuple(TargetRecord(since, since + 1) for since in range(9))
    state = ChannelState(1, True, b"\1\0\0\7", b"d" * 16, 3, 4, 5, targets, ())
    assert len(state.pack()) == SLOT
    assert ChannelState.unpack(state.pack()) == replace(state, targets=targets[-5:])


def test_a_place_where_no_file_can_be_made_leaves_channels_without_tokens(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert ResumeStore.create(tmp_path / "file", 1, RECIPE, limit=10, life_s=5.0) is None
    assert ResumeFile.open(tmp_path / "none", RECIPE) is None
    nothing: Any = None
    records = Records(None, nothing, Meters(CollectorRegistry()), life_s=5.0)
    assert records.release(ResumeToken(1, 2, bytes(24)), KEY).result is Result.UNKNOWN
