"""Messages that a peer could send, and should not: sound in form, with values at the edges of their types."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from random import Random
from typing import Any

from protocols.sv2.codec import Catalogue, encode
from protocols.sv2.frame import Frame
from tests.fuzz.mutation import Mutator
from tests.fuzz.sv2_parsers import MINING_LINK, message_of


def odd_frame(
    chance: Random, likely: Mapping[str, Sequence[Any]], catalogue: Catalogue = MINING_LINK
) -> Frame:
    """Any message of a catalogue; `likely` are values by field that mean something to the receiver."""
    made = message_of(chance.choice(tuple(catalogue.messages.values())), chance)
    known = {
        field.name: chance.choice(likely[field.name])
        for field in fields(made)
        if field.name in likely and chance.random() < 0.9
    }
    frame = encode(replace(made, **known))
    if chance.random() < 0.05:
        return frame._replace(payload=Mutator(chance).damage([frame.payload]))
    return frame
