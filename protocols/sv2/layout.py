"""Messages declared as data: a decorated class names its number and fields, its layout follows from them.

    @message(0x18, channel=True)
    class CloseChannel(Message):
        channel_id: U32
        reason_code: Str255

makes a frozen dataclass with slots. Neighbouring plain integers go through one precompiled struct. A field
with a default value may be absent at the end of a received payload.
"""

import struct
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform, get_type_hints

from protocols.sv2.errors import EncodeError, MalformedMessage
from protocols.sv2.types import Kind, kind_of


class Record:
    """A group of fields without a message number, for elements of a sequence."""

    __slots__ = ()
    layout: ClassVar["Layout"]


class Message(Record):
    """A message of the wire; its numbers and its layout are attributes of the class."""

    __slots__ = ()
    extension: ClassVar[int]
    msg_type: ClassVar[int]
    channel: ClassVar[bool]


class Integers(Kind):
    """Two or more neighbouring plain integers, handled by one struct."""

    def __init__(self, codes: str) -> None:
        self.struct = struct.Struct("<" + codes)
        self.max_size = self.struct.size

    def read(self, data: bytes, offset: int) -> tuple[tuple[int, ...], int]:
        try:
            return self.struct.unpack_from(data, offset), offset + self.max_size
        except struct.error as error:
            raise MalformedMessage("payload ends inside its fixed part") from error

    def write(self, value: tuple[int, ...], out: bytearray) -> None:
        try:
            out += self.struct.pack(*value)
        except struct.error as error:
            raise EncodeError(f"a number does not fit its field: {error}") from error


class Step(NamedTuple):
    """One read or write: how, from which attributes, whether several, and what stands for an absent one."""

    kind: Kind
    get: Callable[[Any], Any]
    several: bool
    absent: Any


class Layout(Kind):
    """The fields of one record in the order of the wire."""

    def __init__(self, record: Any) -> None:
        self.record: Callable[..., Any] = record
        self.steps: list[Step] = []
        hints = get_type_hints(record, include_extras=True)
        run: list[tuple[str, Kind]] = []
        for field in fields(record):
            kind = kind_of(hints[field.name])
            if kind.code is not None and field.default is MISSING:
                run.append((field.name, kind))
                continue
            self._join(run)
            run = []
            self.steps.append(Step(kind, attrgetter(field.name), several=False, absent=field.default))
        self._join(run)
        self.max_size = sum(step.kind.max_size for step in self.steps)

    def _join(self, run: list[tuple[str, Kind]]) -> None:
        names = [name for name, _ in run]
        if len(run) == 1:
            self.steps.append(Step(run[0][1], attrgetter(names[0]), several=False, absent=MISSING))
        elif run:
            codes = "".join(str(kind.code) for _, kind in run)
            self.steps.append(Step(Integers(codes), attrgetter(*names), several=True, absent=MISSING))

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        values: list[Any] = []
        for kind, _, several, absent in self.steps:
            if absent is not MISSING and offset == len(data):
                values.append(absent)
                continue
            value, offset = kind.read(data, offset)
            if several:
                values += value
            else:
                values.append(value)
        return self.record(*values), offset

    def write(self, value: Any, out: bytearray) -> None:
        for kind, get, _, _ in self.steps:
            kind.write(get(value), out)


R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=Message)


@dataclass_transform(frozen_default=True)
def record(cls: type[R]) -> type[R]:
    """Turn a class with annotated fields into a frozen record with a layout."""
    made = dataclass(frozen=True, slots=True)(cls)
    made.layout = Layout(made)
    return made


@dataclass_transform(frozen_default=True)
def message(msg_type: int, *, channel: bool = False, extension: int = 0) -> Callable[[type[M]], type[M]]:
    """Declare a message: its type, whether it has the channel bit, its extension (0: the core protocol)."""

    def declare(cls: type[M]) -> type[M]:
        made = record(cls)
        made.extension, made.msg_type, made.channel = extension, msg_type, channel
        return made

    return declare
