from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.sv2.codec import encode
from protocols.sv2.errors import EncodeError
from protocols.sv2.job_frame import LONGEST, JobForm, write_tip
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash

U32 = st.integers(0, (1 << 32) - 1)
HASH = st.binary(min_size=32, max_size=32)
JOBS = st.builds(
    NewExtendedMiningJob,
    U32,
    U32,
    st.none() | U32,
    U32,
    st.booleans(),
    st.lists(HASH, max_size=14).map(tuple),
    st.binary(max_size=300),
    st.binary(max_size=300),
)


@settings(max_examples=100, deadline=None)
@given(JOBS, U32, U32, st.binary(max_size=32))
def test_a_form_is_filled_in_to_what_the_codec_makes(
    job: NewExtendedMiningJob, channel_id: int, job_id: int, head: bytes
) -> None:
    whole = replace(
        job, channel_id=channel_id, job_id=job_id, coinbase_tx_prefix=job.coinbase_tx_prefix + head
    )
    frame = encode(whole)
    assert JobForm(job).fill(channel_id, job_id, head) == (frame.header(), frame.payload)


def test_a_job_of_more_than_64_kib_has_its_size_in_the_header() -> None:
    job = NewExtendedMiningJob(1, 2, None, 3, True, (), bytes(LONGEST - 4), bytes(LONGEST))
    frame = encode(replace(job, coinbase_tx_prefix=bytes(LONGEST)))
    assert JobForm(job).fill(1, 2, bytes(4)) == (frame.header(), frame.payload)
    with pytest.raises(EncodeError):
        JobForm(job).fill(1, 2, bytes(5))


@settings(max_examples=50, deadline=None)
@given(U32, U32, HASH, U32, U32)
@example(1, 2, bytes(32), 3, 4)
def test_a_tip_is_written_as_the_codec_writes_it(
    channel_id: int, job_id: int, previous: bytes, min_ntime: int, bits: int
) -> None:
    frame = encode(SetNewPrevHash(channel_id, job_id, previous, min_ntime, bits))
    written = write_tip(channel_id, job_id, previous=previous, min_ntime=min_ntime, bits=bits)
    assert written == (frame.header(), frame.payload)
