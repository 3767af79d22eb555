"""Inputs that are nearly right: valid examples, damaged in the ways that parsers are known to break by."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Literal, TypeVar

T = TypeVar("T")

MAX_SIZE: Final = 1 << 16
"""Bytes that a damaged input has at most; a rare one may be as large."""
EDGES: Final = (
    0,
    1,
    0x7F,
    0x80,
    0xFC,
    0xFD,
    0xFE,
    0xFF,
    0x7FFF,
    0xFFFF,
    0xFFFFFF,
    1 << 31,
    (1 << 32) - 1,
    1 << 63,
    (1 << 64) - 1,
)
"""Numbers at which lengths, counts and signs turn over."""
WIDTHS: Final = (1, 1, 2, 2, 3, 4, 8)
ORDERS: Final[tuple[Literal["little", "big"], ...]] = ("little", "little", "big")
STRANGERS: Final = "\0\n\t \u0130\u0660\u00b2\uff11\U0001d7d9\ud800\U0010ffff"
"""Characters that text from a peer may hold, and that few readers think of."""
DOUBLES: Final = (
    ("k", "\u212a"),
    ("K", "\u212a"),
    ("s", "\u017f"),
    ("S", "\u017f"),
    ("1", "\uff11"),
    ("0", "\u0660"),
)
"""Letters and digits, and what Python takes for the same in another case or script."""


class Mutator:
    """Makes inputs; every choice comes from `chance`, so that a seed makes the same inputs again."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self._random = chance.random
        self._edits: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._flip,
            self._overwrite,
            self._overwrite,
            self._number,
            self._number,
            self._nudge,
            self._cut_end,
            self._cut_out,
            self._insert,
            self._repeat,
            self._swap,
        )

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1."""
        return int(self._random() * limit)

    def pick(self, items: Sequence[T]) -> T:
        """One of several."""
        return items[int(self._random() * len(items))]

    def happens(self, probability: float) -> bool:
        """True as often as asked for."""
        return self._random() < probability

    def noise(self, size: int) -> bytes:
        """So many random bytes."""
        return self.chance.randbytes(size)

    def damage(self, samples: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
        """One of the samples, mostly with a few edits; `words` are pieces that mean something to a parser."""
        data = bytearray(self.pick(samples))
        if self.happens(1 / 32):
            return bytes(data)
        if self.happens(1 / 8):
            self._splice(data, self.pick(samples))
        if words and self.happens(1 / 4):
            self._place(data, self.pick(words))
        for _ in range(1 + self.below(3)):
            self.pick(self._edits)(data)
        return bytes(data[:MAX_SIZE])

    def text(self, samples: Sequence[str], words: Sequence[str] = ()) -> str:
        """The same for text; it may hold characters of any size and, rarely, halves of surrogate pairs."""
        damaged = self.damage([each.encode() for each in samples], [each.encode() for each in words])
        text = damaged.decode("utf-8", "surrogateescape" if self.happens(0.1) else "ignore")
        if self.happens(1 / 16):
            place = self.below(len(text) + 1)
            text = text[:place] + self.pick(STRANGERS) + text[place:]
        if self.happens(1 / 16):
            letter, double = self.pick(DOUBLES)
            text = text.replace(letter, double, 1)
        return text

    def segments(self, data: bytes) -> list[bytes]:
        """The same bytes in pieces, as a network may deliver them."""
        if self.happens(1 / 4):
            return [data]
        most = self.pick((1, 3, 20, 100, 2000)) if len(data) < 300 else self.pick((50, 700, 5000))
        pieces, start = [], 0
        while start < len(data):
            size = 1 + self.below(most)
            pieces.append(data[start : start + size])
            start += size
        return pieces

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.below(len(data))] ^= 1 << self.below(8)

    def _overwrite(self, data: bytearray) -> None:
        if data:
            data[self.below(len(data))] = self.below(256)

    def _number(self, data: bytearray) -> None:
        """As if a length, a count or an amount were another one."""
        if data:
            width, start = self.pick(WIDTHS), self.below(len(data))
            number = self.pick(EDGES) & ((1 << 8 * width) - 1)
            data[start : start + width] = number.to_bytes(width, self.pick(ORDERS))

    def _nudge(self, data: bytearray) -> None:
        """As if a length were a little wrong."""
        if data:
            place = self.below(len(data))
            data[place] = (data[place] + self.below(9) - 4) & 0xFF

    def _cut_end(self, data: bytearray) -> None:
        del data[self.below(len(data) + 1) :]

    def _cut_out(self, data: bytearray) -> None:
        start = self.below(len(data) + 1)
        del data[start : start + 1 + self.below(16)]

    def _insert(self, data: bytearray) -> None:
        start = self.below(len(data) + 1)
        data[start:start] = self.noise(1 + self.below(16))

    def _repeat(self, data: bytearray) -> None:
        if data:
            start = self.below(len(data))
            piece = data[start : start + 1 + self.below(64)]
            times = 1 + self.below(600 if self.happens(1 / 64) else 6)
            data[start:start] = piece * times

    def _swap(self, data: bytearray) -> None:
        middle, size = self.below(len(data) + 1), 1 + self.below(16)
        data[middle - size : middle + size] = data[middle : middle + size] + data[middle - size : middle]

    def _splice(self, data: bytearray, other: bytes) -> None:
        data[self.below(len(data) + 1) :] = other[self.below(len(other) + 1) :]

    def _place(self, data: bytearray, word: bytes) -> None:
        start = self.below(len(data) + 1)
        end = start + len(word) if self.happens(1 / 2) else start
        data[start:end] = word
