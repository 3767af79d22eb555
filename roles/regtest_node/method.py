"""RPC methods as data: names, parameters with types and defaults, and the binding of a call's arguments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from roles.regtest_node.errors import INVALID_PARAMETER, MISC_ERROR, TYPE_ERROR, RpcError
from roles.regtest_node.jsonrpc import Json


class Kind(StrEnum):
    """A JSON type under the name that bitcoind gives it."""

    STRING = "string"
    NUMBER = "number"
    BOOL = "bool"
    OBJECT = "object"
    ARRAY = "array"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter; ``name`` may hold several, separated by |; no kinds means any; text is its help."""

    name: str
    kinds: tuple[Kind, ...]
    text: str
    required: bool = True
    default: Json = None

    @property
    def names(self) -> list[str]:
        """All names by which it can be given."""
        return self.name.split("|")


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its name, a heading in the help, what it does in a sentence, and what carries it out."""

    name: str
    topic: str
    text: str
    parameters: tuple[Parameter, ...]
    run: Callable[..., Json]

    @property
    def signature(self) -> str:
        """Its line in the help."""
        words = [self.name]
        for parameter in self.parameters:
            name = parameter.names[0]
            shown = f'"{name}"' if parameter.kinds == (Kind.STRING,) else name
            words.append(shown if parameter.required else f"( {shown} )")
        return " ".join(words)

    @property
    def help(self) -> str:
        """Everything that the help says of it."""
        lines = [self.signature, "", self.text]
        if self.parameters:
            lines += ["", "Arguments:"]
        for number, parameter in enumerate(self.parameters, 1):
            need = "required" if parameter.required else "optional"
            kinds = " or ".join(parameter.kinds) or "any"
            lines.append(f"{number}. {parameter.name}    ({kinds}, {need}) {parameter.text}")
        return "\n".join(lines)

    def bind(self, given: Sequence[Json] | dict[str, Json]) -> list[Json]:
        """One argument a parameter, defaults filled in; raises RpcError."""
        positional = self._positional(given) if isinstance(given, dict) else list(given)
        needed = sum(parameter.required for parameter in self.parameters)
        if not needed <= len(positional) <= len(self.parameters):
            raise RpcError(MISC_ERROR, self.help)
        positional += [None] * (len(self.parameters) - len(positional))
        wrong = [
            f'    "Position {number} ({parameter.name})": "JSON value of type {kind_of(value)} is not of '
            f'expected type {" or ".join(parameter.kinds)}"'
            for number, (parameter, value) in enumerate(zip(self.parameters, positional, strict=True), 1)
            if not _fits(parameter, value)
        ]
        if wrong:
            raise RpcError(TYPE_ERROR, "Wrong type passed:\n{\n" + ",\n".join(wrong) + "\n}")
        return [
            parameter.default if value is None else value
            for parameter, value in zip(self.parameters, positional, strict=True)
        ]

    def _positional(self, named: dict[str, Json]) -> list[Json]:
        left = dict(named)
        first = left.pop("args", [])
        positional: list[Json] = list(first) if isinstance(first, list) else [first]
        for number, parameter in enumerate(self.parameters):
            values = [left.pop(name) for name in parameter.names if name in left]
            if values and (len(values) > 1 or number < len(positional)):
                raise RpcError(
                    INVALID_PARAMETER,
                    f"Parameter {parameter.names[0]} specified twice both as positional and named argument",
                )
            if number >= len(positional):
                positional.append(values[0] if values else None)
        if left:
            raise RpcError(INVALID_PARAMETER, f"Unknown named parameter {next(iter(left))}")
        while positional and positional[-1] is None:
            positional.pop()
        return positional


def kind_of(value: Json) -> Kind:
    """The JSON type of a decoded value."""
    if isinstance(value, bool):
        return Kind.BOOL
    if isinstance(value, int | float):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.STRING
    if isinstance(value, dict):
        return Kind.OBJECT
    return Kind.ARRAY if isinstance(value, list) else Kind.NULL


def whole(value: Json, *, least: int = -(1 << 31), most: int = (1 << 31) - 1) -> int:
    """An argument that must be an integer in a range; raises RpcError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RpcError(MISC_ERROR, "JSON value is not an integer as expected")
    if not least <= value <= most:
        raise RpcError(MISC_ERROR, "JSON integer out of range")
    return value


def hash_from(text: str, name: str) -> bytes:
    """A hash in internal order from an argument in display order; raises RpcError."""
    if len(text) != 64:
        raise RpcError(INVALID_PARAMETER, f"{name} must be of length 64 (not {len(text)}, for '{text[:80]}')")
    if not all(digit in "0123456789abcdefABCDEF" for digit in text):
        raise RpcError(INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{text}')")
    return bytes.fromhex(text)[::-1]


def _fits(parameter: Parameter, value: Json) -> bool:
    if value is None:
        return not parameter.required
    return not parameter.kinds or kind_of(value) in parameter.kinds
