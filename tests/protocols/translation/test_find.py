"""Both finders of plain shares in lines: what they find, and what they leave to those who know all."""

import gc
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mining.prover import ProverMaker, PythonProver
from protocols.sv1.plain_submit import PlainSubmit, read_plain_submit
from protocols.translation.share import Find, JudgedShare, find_plain, judge_plain
from protocols.translation.work import Draft, Tip, Work
from tests.native_kernel import native_kernel, native_prover

NOW = 1_700_000_000
EASY = (1 << 256) - 1
OWN = (b"\1\2\3\4", 8)
MASK = 0x1FFFE000
PARAMS = ["rig.1", "1f", "0102030405060708", f"{NOW:08x}", "DEADbeef"]


@dataclass(frozen=True)
class Job:
    """What a finder looks for a share's work in."""

    work: Any


@dataclass(frozen=True)
class Forms:
    """The parts of one kernel."""

    find: Find
    prover: ProverMaker


def python() -> Forms:
    return Forms(find_plain, PythonProver)


def native() -> Forms:
    native_kernel()
    from hashpool_kernel import Finder

    return Forms(Finder(PlainSubmit, JudgedShare).find, native_prover())


both = pytest.mark.parametrize("forms", [python, native])
Chosen = Callable[[], Forms]


def work(forms: Forms, target: int = EASY, version: int = 0x20000000, rollable: int = 0x1FFFFFE0) -> Work:
    tip = Tip(b"\x07" * 32, NOW - 100, 0x207FFFFF)
    draft = Draft(version, (b"\5" * 32,), b"\x01" * 60, b"\x02" * 40, rollable=rollable, maker=forms.prover)
    return Work(3, draft.on(tip), NOW - 100, b"\xaa" * 40, b"\0\0", target)


def line(params: Any = PARAMS, **more: Any) -> bytes:
    return json.dumps({"id": 7, "method": "mining.submit", "params": params} | more).encode()


def found(forms: Forms, text: bytes, of: Any = None, mask: int = MASK) -> Any:
    return forms.find(text, {"1f": Job(of or work(forms))}, OWN, mask, NOW)


@both
def test_a_share_is_found_as_it_is_read_and_judged(forms: Chosen) -> None:
    kernel = forms()
    for text in (line(), line([*PARAMS, ""]), line([*PARAMS, "00006000"]), line(jsonrpc="2.0", id=0)):
        of = work(kernel)
        submit, share, job = found(kernel, text, of)
        assert submit == read_plain_submit(text, 8)
        assert share == judge_plain(submit, of, extranonce1=OWN[0], mask=MASK, now=NOW)
        assert (type(submit), type(share), job) == (PlainSubmit, JudgedShare, Job(of))
        assert share.extranonce == b"\0\0" + OWN[0] + bytes(range(1, 9))


def with_param(place: int, value: Any) -> bytes:
    return line([*PARAMS[:place], value, *PARAMS[place + 1 :]])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"null",
        b'"mining.submit"',
        line()[:-1],
        line() + b"}",
        line() + b" x",
        line(id="7"),
        line(id=None),
        line(id=1.5),
        line(id=True),
        line(method="mining.ping"),
        line(PARAMS[:4]),
        line([*PARAMS, "", ""]),
        line([*PARAMS, "6000"]),
        line([*PARAMS, None]),
        line([*PARAMS, "00000001"]),
        line({}),
        with_param(0, 5),
        with_param(1, "1e"),
        with_param(1, 31),
        with_param(2, "01020304"),
        with_param(2, "01 2030405060708"),
        with_param(3, "0"),
        with_param(3, "00000001"),
        with_param(3, f"{NOW + 1:08x}"),
        with_param(4, "gggggggg"),
        with_param(4, "0x12345 "),
        line().replace(b'"id": 7', b'"id": 07'),
        line().replace(b'"id": 7', b'"id": 7e1'),
        line().replace(b'"id": 7', b'"id": +7'),
        line().replace(b'"id": 7', b'"id": -'),
        line().replace(b'"id": 7', b'"id": 7x'),
        line().replace(b'"id": 7, ', b""),
        line().replace(b"]", b",]"),
        line().replace(b"}", b",}"),
        line().replace(b"1f", b"\xff"),
        line().replace(b"1f", b"\x1f"),
        line().replace(b'"params"', b"params"),
    ],
)
@both
def test_any_other_line_is_left_alone(forms: Chosen, text: bytes) -> None:
    assert found(forms(), text) is None


@pytest.mark.parametrize("number", [10**18 - 1, 1 - 10**18, 10**18, 10**19 - 1, 1 - 10**19, 10**30])
def test_an_id_of_any_length_is_read_as_it_is_or_left_alone_by_c(number: int) -> None:
    text, mine = line(id=number), found(native(), line(id=number))
    assert (mine is not None) == (abs(number) < 10**18)
    if mine is not None:
        assert mine[:2] == found(python(), text)[:2]
        assert mine[0].id == number


@both
def test_what_is_unusual_about_a_share_is_left_alone(forms: Chosen) -> None:
    kernel, rolled = forms(), line([*PARAMS, "00006000"])
    assert found(kernel, line(), work(kernel, target=1)) is None
    assert found(kernel, rolled, work(kernel, version=0x20006000)) is None
    assert found(kernel, rolled, work(kernel, rollable=0)) is None
    assert found(kernel, rolled, mask=0x4000) is None
    assert found(kernel, line(), work(kernel, version=0x20006000)) is None
    assert found(kernel, line(), work(kernel, version=0x20006000), mask=0) is not None


@both
def test_the_target_itself_is_met(forms: Chosen) -> None:
    kernel = forms()
    share = found(kernel, line())[1]
    number = int.from_bytes(share.share_hash, "little")
    assert found(kernel, line(), work(kernel, target=number))[1] == share
    assert found(kernel, line(), work(kernel, target=number - 1)) is None


WHERE = st.integers(0, 400)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(WHERE, st.sampled_from(b'"\\{}[]:, 0123456789abcdefABCDEF-e.\x00\xc3'), st.booleans()))
)
def test_what_c_finds_in_damaged_lines_python_finds_too(damage: list[tuple[int, int, bool]]) -> None:
    text = bytearray(line([*PARAMS, "00006000"]))
    for at, letter, replaces in damage:
        place = at % len(text)
        text[place : place + replaces] = bytes([letter])
    one, other = native(), python()
    mine = found(one, bytes(text))
    if mine is not None:
        assert mine[:2] == found(other, bytes(text))[:2]


def test_c_asks_only_for_named_tuples_that_it_knows() -> None:
    native_kernel()
    from hashpool_kernel import Finder

    wrong: list[tuple[Any, ...]] = [(PlainSubmit, tuple), (JudgedShare, PlainSubmit), (int, str), ()]
    for kinds in wrong:
        with pytest.raises((TypeError, AttributeError)):
            Finder(*kinds)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({0: "text"}, TypeError),
        ({1: []}, TypeError),
        ({2: (b"",)}, TypeError),
        ({2: ("", 8)}, TypeError),
        ({2: (b"", "8")}, TypeError),
        ({3: 1 << 32}, OverflowError),
        ({4: "now"}, TypeError),
        ({1: {"1f": None}}, AttributeError),
        ({1: {"1f": Job(None)}}, AttributeError),
    ],
)
def test_c_refuses_what_no_caller_of_ours_gives(change: dict[int, Any], error: type[Exception]) -> None:
    kernel = native()
    arguments: list[Any] = [line(), {"1f": Job(work(kernel))}, OWN, MASK, NOW]
    for place, value in change.items():
        arguments[place] = value
    with pytest.raises(error):
        kernel.find(*arguments)


def test_c_takes_any_object_that_has_the_attributes() -> None:
    class Loose:
        def __init__(self, of: Any, **more: Any) -> None:
            self.__dict__.update(
                {name: getattr(of, name) for name in ("pattern", "end", "padding", "target")}
            )
            self.__dict__.update(more)

    kernel = native()
    of = work(kernel)
    for _ in range(2):
        assert found(kernel, line(), of)[:2] == found(kernel, line(), Loose(of))[:2]
    assert found(kernel, line(), Loose(of, end=bytes(300))) is None
    for name, value in {"end": "text", "target": -1, "padding": None}.items():
        with pytest.raises((TypeError, OverflowError)):
            found(kernel, line(), Loose(of, **{name: value}))


def test_c_leaves_provers_of_others_alone() -> None:
    assert found(native(), line(), work(python())) is None


def test_c_keeps_nothing() -> None:
    kernel = native()
    of, chance = work(kernel), random.Random(1)
    kept = [line(), line([*PARAMS, "00006000"]), line()[:-1], with_param(1, "1e"), with_param(3, "0")]
    for text in kept * 10:
        found(kernel, text, of)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(2_000):
        found(kernel, chance.choice(kept), of)
    gc.collect()
    # Whoever keeps one object a call keeps hundreds of each kind.
    assert sys.getallocatedblocks() - before < 200
