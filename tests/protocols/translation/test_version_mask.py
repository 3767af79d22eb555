from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.translation.version_mask import SV1_MASK, granted_mask, rolled_versions

ALL = ROLLABLE_VERSION_BITS

u32s = st.integers(0, 0xFFFFFFFF)


def test_the_mask_is_what_both_want_without_the_jobs_own_bits() -> None:
    assert granted_mask(0xFFFFFFFF, 0x20000000, rollable=ALL) == SV1_MASK
    assert granted_mask(0x00C00000, 0x20000000, rollable=ALL) == 0x00C00000
    assert granted_mask(0xFFFFFFFF, 0x32EF0000, rollable=ALL) == SV1_MASK & ~0x32EF0000
    assert granted_mask(0xFFFFFFFF, 0x20000000, rollable=0) == 0
    assert granted_mask(0xFFFFFFFF, 0x20000000, rollable=ALL, offered=0xFFFFFFFF) == 0x1FFFFFE0


@settings(max_examples=300, deadline=None)
@given(u32s, u32s, u32s)
def test_within_the_granted_mask_every_reading_is_the_same(asked: int, version: int, bits: int) -> None:
    mask = granted_mask(asked, version, rollable=ALL)
    assert rolled_versions(version, mask, bits & mask, rollable=ALL) == (version | (bits & mask),)


@settings(max_examples=300, deadline=None)
@given(u32s, u32s, u32s)
def test_no_reading_touches_a_bit_that_upstream_forbids(version: int, mask: int, bits: int) -> None:
    readings = rolled_versions(version, mask, bits, rollable=ALL)
    assert readings
    assert len(set(readings)) == len(readings)
    for reading in readings:
        assert (reading ^ version) & ~ROLLABLE_VERSION_BITS == 0
    assert rolled_versions(version, mask, bits, rollable=0) == (version,)


def test_firmware_that_combines_otherwise_is_understood() -> None:
    version, mask, bits = 0x20002000, 0x1FFFE000, 0x00006000
    assert rolled_versions(version, mask, bits, rollable=ALL) == (0x20006000, 0x20004000)
    assert rolled_versions(version, 0, bits, rollable=ALL) == (version, 0x20006000, 0x20004000)
