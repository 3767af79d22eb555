"""The fuzzing would notice: planted faults of every kind are found, and found again by their seed."""

import json
import time
from random import Random

import pytest

from tests.fuzz import campaign
from tests.fuzz.campaign import BATCH, Parser, explore, make_batch
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import MAX_SIZE, Mutator

SAMPLES = (b"length 12, then the rest", bytes(range(64)))


def damage(mutator: Mutator) -> bytes:
    return mutator.damage(SAMPLES, (b"\xff\xff",))


def refuse_short(data: bytes) -> None:
    if len(data) < 20:
        raise ValueError("short")


def test_what_is_taken_and_what_is_refused_is_counted() -> None:
    tally = explore(Parser("sound", damage, refuse_short, (ValueError,)), inputs=1_000, seed=1)
    assert tally.accepted > 100
    assert tally.refused > 100
    assert tally.accepted + tally.refused == 1_000


def test_an_error_that_is_no_refusal_is_reported_with_seed_batch_and_input() -> None:
    def read(data: bytes) -> None:
        assert len(data) < 64

    with pytest.raises(AssertionError, match="careless does not stand an input of batch 0, seed 2") as caught:
        explore(Parser("careless", damage, read, ()), inputs=1_000, seed=2)
    reported = bytes.fromhex(str(caught.value).splitlines()[-1])
    assert len(reported) >= 64


def test_an_input_that_keeps_its_parser_busy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "HANG_S", 0.01)

    def read(data: bytes) -> None:
        while data.startswith(b"\0"):
            pass

    with pytest.raises(AssertionError, match="Hang: still busy"):
        explore(Parser("endless", damage, read, ()), inputs=1_000, seed=3)


def test_an_input_that_takes_too_long_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "HANG_S", 0.1)

    def read(data: bytes) -> None:
        started = time.process_time()
        while len(data) > 100 and time.process_time() < started + 0.12:
            pass

    with pytest.raises(AssertionError, match=r"Hang: \d"):
        explore(Parser("slow", damage, read, ()), inputs=2_000, seed=4)


@pytest.mark.parametrize("size", [1, 8_000])
def test_what_stays_in_memory_is_reported(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(campaign, "MAX_BLOCKS", 500)
    kept: list[list[bytes]] = []

    def read(data: bytes) -> None:
        kept.append([data[:5] * size])

    with pytest.raises(AssertionError, match="more after the second half"):
        explore(Parser("hoarder", damage, read, ()), inputs=2_000, seed=5)


def test_a_seed_makes_the_same_inputs_again() -> None:
    parser = Parser("same", damage, refuse_short, (ValueError,))
    first = list(make_batch(parser, 6, 0))
    assert first == list(make_batch(parser, 6, 0))
    assert first != list(make_batch(parser, 6, 1))
    assert first != list(make_batch(parser, 7, 0))
    assert len(set(first)) > BATCH * 0.8


def test_damaged_bytes_are_bounded_and_some_are_left_sound() -> None:
    mutator = Mutator(Random(8))
    made = [mutator.damage((*SAMPLES, bytes(MAX_SIZE))) for _ in range(3_000)]
    assert max(map(len, made)) == MAX_SIZE
    assert sum(each in SAMPLES for each in made) > 20


def test_pieces_join_to_the_whole() -> None:
    mutator = Mutator(Random(9))
    for size in (0, 1, 50, 5_000):
        for _ in range(50):
            assert b"".join(mutator.segments(bytes(size))) == bytes(size)


def test_damaged_json_is_mostly_json_and_mostly_another() -> None:
    samples = JsonSamples([b'{"a": [1, {"b": "text \\" , :"}, null], "c": {}}', b'["x", -1.5e3, true]'])
    mutator = Mutator(Random(10))
    sound = [json.loads(text) for text in samples.texts]
    made = list[object]()
    for _ in range(1_000):
        try:
            made.append(json.loads(samples.damage(mutator)))
        except (ValueError, RecursionError):
            continue
    assert 400 < len(made) < 950
    assert sum(each not in sound for each in made) > 200
