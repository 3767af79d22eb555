"""Classes of firmware: whom a name puts where."""

from typing import get_args

import pytest

from protocols.translation.difficulty import Rounding
from roles.stratum.firmware import CLASSES, classify
from shared_config.sv1_listener import FirmwareClass


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("bitaxe/BM1370/v2.15.0", "bitaxe"),
        ("bitaxe/BM1370/v3.0.0", "bitaxe"),
        ("bitaxe/BM1370/v2.14.0", "bitaxe"),
        ("bitaxe/BM1370/v2.13.9", "bitaxe-old"),
        ("bitaxe/BM1366/2.9.1", "bitaxe-old"),
        ("NerdQAxe++/BM1370/v1.0.36", "bitaxe"),
        ("NerdMinerV2/V1.8.3", "nerdminer"),
        ("cpuminer/2.5.1", "cpu"),
        ("cpuminer-opt-3.20.3-x64L", "cpu"),
        ("Antminer S21/Wed Jan 3", "antminer-s21"),
        ("bmminer/2.0.0", "antminer"),
        ("Antminer S19/1", "antminer"),
        ("whatsminer/v1.1", "asic"),
        ("bosminer-plus-tuner 23.12", "asic"),
        ("xminer-1.2", "asic"),
        ("NiceHash/1.0.0", "nicehash"),
        ("cgminer/4.12", "other"),
        ("", "other"),
    ],
)
def test_a_user_agent_tells_the_class(agent: str, name: str) -> None:
    assert classify(agent).name == name


def test_the_class_of_a_port_is_that_of_all_its_miners_but_those_that_cannot_read_fractions() -> None:
    assert classify("cgminer/4.12", "rental").name == "rental"
    assert classify("", "antminer").name == "antminer"
    old = classify("bitaxe/BM1370/v2.13.2", "rental")
    assert (old.rounding, old.least_difficulty) == (Rounding.INTEGER, 1)


def test_operators_name_the_same_classes() -> None:
    assert {each.name for each in CLASSES} == set(get_args(FirmwareClass))


def test_no_class_starts_below_what_is_of_use_to_it() -> None:
    assert all(0 <= each.least_difficulty <= each.start_difficulty for each in CLASSES)
