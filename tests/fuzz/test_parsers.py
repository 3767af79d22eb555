"""No bytes of a stranger crash a parser, keep it busy, or stay in its memory."""

import os
from typing import Any, Final

import pytest

from tests.fuzz import (
    bitcoin_parsers,
    cashu_parsers,
    configuration_parsers,
    ehash_parsers,
    http_parsers,
    lightning_parsers,
    mint_parsers,
    node_parsers,
    noise_parsers,
    payment_parsers,
    sv1_parsers,
    sv2_parsers,
)
from tests.fuzz.campaign import Parser, explore

PARSERS: Final[tuple[Parser[Any], ...]] = (
    *noise_parsers.PARSERS,
    *sv2_parsers.PARSERS,
    *sv1_parsers.PARSERS,
    *ehash_parsers.PARSERS,
    *cashu_parsers.PARSERS,
    *mint_parsers.PARSERS,
    *payment_parsers.PARSERS,
    *bitcoin_parsers.PARSERS,
    *lightning_parsers.PARSERS,
    *http_parsers.PARSERS,
    *node_parsers.PARSERS,
    *configuration_parsers.PARSERS,
)
INPUTS: Final = 1_000_000 if os.environ.get("HASHPOOL_TEST_LONG") else 2_000
SEED: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)


@pytest.mark.timeout(3 * INPUTS // 1_000 + 300)
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_no_input_breaks_a_parser(parser: Parser[Any]) -> None:
    print(f"seed {SEED}: {INPUTS} inputs")
    tally = explore(parser, inputs=INPUTS, seed=SEED)
    print(f"{tally.accepted} accepted, {tally.refused} refused, the slowest in {tally.slowest_s:.3f} s")
    assert tally.accepted + tally.refused == INPUTS
    assert tally.accepted
    assert tally.refused or not parser.refusals
