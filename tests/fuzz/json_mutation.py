"""JSON that is nearly right: the texts of valid examples with values, names and whole branches exchanged."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.fuzz.mutation import Mutator

ODD_VALUES: Final = (
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"-1",
    b"1",
    b"0.5",
    b"1.0",
    b"1e3",
    b"1E400",
    b"-1E400",
    b"1e-400",
    b"9007199254740993",
    b"4294967296",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1" * 40,
    b"9" * 400,
    b"7" * 5000,
    b"NaN",
    b"Infinity",
    b'""',
    b'"0"',
    b'"-1"',
    b'"1e999999999"',
    b'"x"',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\xff\xfe"',
    b'"\xe2\x84\xaa"',
    b'"' + b"ab" * 33 + b'"',
    b'"' + b"02" * 33 + b'"',
    b'"' + b"A" * 3000 + b'"',
    b"[]",
    b"{}",
    b"[null]",
    b"[[]]",
    b'{"":null}',
    b'{"a":1,"a":2}',
    b'["[","]"]',
    b"[" * 300 + b"]" * 300,
    b"[" * 1010 + b"]" * 1010,
    b'{"a":' * 1010 + b"1" + b"}" * 1010,
    b"[" * 5000,
    b"[0" + b",0" * 1500 + b"]",
)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\[\]{},:"\s]+|[\[\]{},:]')
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")


@dataclass(slots=True)
class _Example:
    """The tokens of one valid text; `values` are their spans, `names` the places of names in objects."""

    tokens: list[bytes]
    values: list[tuple[int, int]] = field(default_factory=list)
    names: list[int] = field(default_factory=list)


class JsonSamples:
    """Valid JSON texts to make inputs of."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.texts = tuple(texts)
        self._examples = [_read(text) for text in texts]
        self._names = [example.tokens[place] for example in self._examples for place in example.names]
        self._values = [
            b"".join(example.tokens[start:end]) for example in self._examples for start, end in example.values
        ]

    def damage(self, mutator: Mutator) -> bytes:
        """One of the texts, mostly with a few changes, some of which are no JSON."""
        if mutator.happens(1 / 8):
            return mutator.damage(self.texts)
        example = mutator.pick(self._examples)
        tokens = list(example.tokens)
        for _ in range(mutator.below(3)):
            self._exchange(tokens, example, mutator)
        if mutator.happens(1 / 3):
            self._reshape(tokens, example, mutator)
        return b"".join(tokens)

    def _exchange(self, tokens: list[bytes], example: _Example, mutator: Mutator) -> None:
        """Another value, or another name, in one place; the number of tokens stays."""
        if example.names and mutator.happens(1 / 6):
            tokens[mutator.pick(example.names)] = mutator.pick(self._names)
            return
        start, end = mutator.pick(example.values)
        if mutator.happens(1 / 3):
            new = mutator.damage([b"".join(tokens[start:end])])
        else:
            new = mutator.pick(ODD_VALUES if mutator.happens(2 / 3) else self._values)
        tokens[start:end] = [new, *[b""] * (end - start - 1)]

    def _reshape(self, tokens: list[bytes], example: _Example, mutator: Mutator) -> None:
        """A value is repeated, left out, or wrapped."""
        start, end = mutator.pick(example.values)
        match mutator.below(3):
            case 0:
                tokens[start:end] = [*tokens[start:end], b","] * (1 + mutator.below(8)) + tokens[start:end]
            case 1 if end < len(tokens) and tokens[end] == b",":
                name = 2 if start - 2 in example.names else 0
                del tokens[start - name : end + 1]
            case _:
                tokens[start:end] = [b"[", *tokens[start:end], b"]"]


def _read(text: bytes) -> _Example:
    example = _Example(_TOKEN.findall(text))
    open_at: list[int] = []
    for place, token in enumerate(example.tokens):
        if token in _OPENING:
            open_at.append(place)
        elif token in _CLOSING:
            example.values.append((open_at.pop(), place + 1))
        elif example.tokens[place + 1 : place + 2] == [b":"]:
            example.names.append(place)
        elif token not in (b",", b":"):
            example.values.append((place, place + 1))
    return example
