from roles.stratum.miner_roll import NAMESAKES, MinerRoll
from roles.stratum.tally import Tally


def left(roll: MinerRoll, name: str, host: str, accepted: int) -> Tally:
    tally = roll.begin(0.0)
    tally.accepted = accepted
    roll.leave(name, host, tally)
    return tally


def test_a_miner_that_comes_back_goes_on_with_its_figures_and_its_number() -> None:
    roll = MinerRoll(10)
    known = left(roll, "rig.1", "192.0.2.1", 5)
    known.rejected["stale"] = 2
    fresh = roll.begin(7.0)
    fresh.rejected["unauthorized"] = 1
    again = roll.recall("rig.1", "192.0.2.9", fresh)
    assert again is known
    assert (again.number, again.accepted, again.rejected) == (1, 5, {"stale": 2, "unauthorized": 1})
    assert len(roll) == 0


def test_of_namesakes_the_one_from_the_same_host_is_meant_else_the_last() -> None:
    roll = MinerRoll(10)
    first = left(roll, "rig", "192.0.2.1", 1)
    second = left(roll, "rig", "192.0.2.2", 2)
    third = left(roll, "rig", "192.0.2.3", 3)
    assert roll.recall("rig", "192.0.2.1", roll.begin(0)) is first
    assert roll.recall("rig", "192.0.2.7", roll.begin(0)) is third
    assert roll.recall("rig", "192.0.2.7", roll.begin(0)) is second
    nobody = roll.begin(0)
    assert roll.recall("rig", "192.0.2.1", nobody) is nobody


def test_who_left_longest_ago_is_forgotten() -> None:
    roll = MinerRoll(3)
    for number in range(5):
        left(roll, f"rig.{number}", "", number)
    assert len(roll) == 3
    fresh = roll.begin(0)
    assert roll.recall("rig.1", "", fresh) is fresh
    assert roll.recall("rig.2", "", fresh).accepted == 2
    crowded = MinerRoll(10_000)
    for number in range(NAMESAKES + 5):
        left(crowded, "rig", "", number)
    assert len(crowded) == NAMESAKES


def test_no_one_is_remembered_where_the_limit_is_none() -> None:
    roll = MinerRoll(0)
    left(roll, "rig", "", 1)
    assert len(roll) == 0
