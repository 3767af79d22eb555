"""Jobs and tips are read as the catalogue decodes them, or not at all."""

from dataclasses import replace

import pytest

from protocols.sv2.codec import MINING, encode
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SetTarget
from protocols.sv2.work_reader import WorkReader

PATH = tuple(bytes([number]) * 32 for number in range(3))
JOB = NewExtendedMiningJob(7, 1, 1_700_000_000, 0x20000000, True, PATH, b"prefix" * 9, b"suffix" * 20)
FUTURE = replace(JOB, min_ntime=None, merkle_path=())
TIP = SetNewPrevHash(7, 1, b"\xab" * 32, 1_700_000_000, 0x207FFFFF)


def taught(job: NewExtendedMiningJob) -> WorkReader:
    reader = WorkReader()
    reader.learn(job, encode(job).payload)
    return reader


def read(reader: WorkReader, message: Message) -> Message | None:
    frame = encode(message)
    found = reader.read(frame.header(), frame.payload)
    assert found is None or found == MINING.decode(frame)[0]
    return found


@pytest.mark.parametrize("job", [JOB, FUTURE])
def test_a_job_of_another_channel_is_read_as_it_is_decoded(job: NewExtendedMiningJob) -> None:
    reader = taught(job)
    for other in (job, replace(job, channel_id=0xFFFFFFFF, job_id=9, coinbase_tx_prefix=b"PREFIX" * 9)):
        found = read(reader, other)
        assert isinstance(found, NewExtendedMiningJob)
        assert found == other
        assert found.merkle_path is job.merkle_path


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, min_ntime=1_700_000_001),
        replace(JOB, min_ntime=None),
        replace(JOB, version=0x20000001),
        replace(JOB, version_rolling_allowed=False),
        replace(JOB, merkle_path=(*PATH[:2], bytes(32))),
        replace(JOB, merkle_path=PATH[:2]),
        replace(JOB, coinbase_tx_prefix=b"prefix" * 8),
        replace(JOB, coinbase_tx_prefix=b"p" * 55, coinbase_tx_suffix=b"suffix" * 20 + b"!"),
        replace(JOB, coinbase_tx_prefix=b"p" * 55, coinbase_tx_suffix=b"s" * 119),
        replace(JOB, coinbase_tx_suffix=b"SUFFIX" * 20),
        NewMiningJob(7, 1, None, 0x20000000, bytes(32)),
        SetTarget(7, 1),
    ],
)
def test_whatever_else_differs_is_left(other: Message) -> None:
    assert read(taught(JOB), other) is None
    assert read(WorkReader(), other) is None


def test_a_tip_is_read_as_it_is_decoded() -> None:
    assert read(WorkReader(), TIP) == TIP


def test_bytes_that_follow_are_left() -> None:
    for message in (JOB, TIP):
        frame = encode(message)
        longer = Frame(0, True, message.msg_type, frame.payload + b"\x00")
        reader = taught(JOB)
        assert reader.read(longer.header(), longer.payload) is None
        assert reader.read(frame.header(), longer.payload) is None
    reader.learn(JOB, encode(JOB).payload + b"\x02\x00\x01\x01\x00\x05")
    assert read(reader, JOB) is None


def test_another_kind_of_frame_of_the_same_payload_is_left() -> None:
    frame = Frame(0, True, SetTarget.msg_type, encode(JOB).payload)
    assert taught(JOB).read(frame.header(), frame.payload) is None
    unaddressed = Frame(0, False, JOB.msg_type, frame.payload)
    assert taught(JOB).read(unaddressed.header(), frame.payload) is None
