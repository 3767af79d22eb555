"""Both provers: the header and hash that the plain parts of the house give, whatever the shape of the job."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.merkle import root_from_path
from protocols.mining.prover import ProverMaker, PythonProver
from tests.native_kernel import native_prover

Chosen = Callable[[], ProverMaker]

pytestmark = pytest.mark.parametrize(
    "chosen", [pytest.param(lambda: PythonProver, id="python"), pytest.param(native_prover, id="native")]
)

HASH = st.binary(min_size=32, max_size=32)
U32 = st.integers(0, 0xFFFFFFFF)
PREVIOUS = bytes(range(32))


@settings(max_examples=100, deadline=None)
@given(
    prefix=st.binary(max_size=300),
    suffix=st.binary(max_size=300),
    extranonce=st.binary(max_size=40),
    path=st.lists(HASH, max_size=14).map(tuple),
    previous=HASH,
    fields=st.tuples(U32, U32, U32, U32),
)
@example(b"prefix", b"suffix", b"extranonce", (PREVIOUS, bytes(32)), PREVIOUS, (1, 2, 3, 4))
@example(b"", b"", b"", (), PREVIOUS, (0, 0, 0, 0))
def test_header_and_hash_are_those_of_the_parts(
    chosen: Chosen,
    prefix: bytes,
    suffix: bytes,
    extranonce: bytes,
    path: tuple[bytes, ...],
    previous: bytes,
    fields: tuple[int, int, int, int],
) -> None:
    version, ntime, bits, nonce = fields
    root = root_from_path(sha256d(prefix + extranonce + suffix), path)
    header = Header(version, previous, root, ntime, bits, nonce).pack()
    prover = chosen()(prefix, suffix, path, previous, bits)
    assert prover.root(extranonce) == root
    assert prover.prove(extranonce, version, ntime, nonce) == (header, sha256d(header))
    assert prover.prove_root(root, version, ntime, nonce) == (header, sha256d(header))


def test_coinbases_of_every_length_around_the_block_boundaries_are_hashed_right(chosen: Chosen) -> None:
    data = bytes(index * 11 & 0xFF for index in range(200))
    make = chosen()
    for cut in (0, 1, 55, 56, 63, 64, 65, 100):
        for end in range(cut, 200):
            prover = make(data[:cut], data[end:], (), PREVIOUS, 0)
            assert prover.root(data[cut:end]) == sha256d(data), (cut, end)


def test_a_prover_serves_any_number_of_shares(chosen: Chosen) -> None:
    prover = chosen()(b"prefix", b"suffix", (PREVIOUS,), PREVIOUS, 0x1D00FFFF)
    first = prover.prove(b"a", 1, 2, 3)
    assert prover.prove(b"b", 1, 2, 3) != first
    assert prover.prove(b"a", 1, 2, 4)[1] != first[1]
    assert prover.prove(b"a", 1, 2, 3) == first


def test_hashes_of_another_size_make_no_prover(chosen: Chosen) -> None:
    with pytest.raises(ValueError, match="bytes"):
        chosen()(b"", b"", (), bytes(31), 0)
    with pytest.raises(ValueError, match="bytes"):
        chosen()(b"", b"", (bytes(32), bytes(33)), bytes(32), 0)


@pytest.mark.parametrize("number", [-1, 1 << 32, 1 << 70])
def test_numbers_beyond_32_bits_make_no_header(chosen: Chosen, number: int) -> None:
    prover = chosen()(b"", b"", (), PREVIOUS, 0)
    for fields in [(number, 0, 0), (0, number, 0), (0, 0, number)]:
        with pytest.raises(
            Exception, match=r"32 bits|negative|too large|int too big|format|unsigned|argument"
        ):
            prover.prove(b"", *fields)
