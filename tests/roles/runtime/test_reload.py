from collections.abc import Callable

import pytest

from roles.runtime.errors import OperatorError
from roles.runtime.reload import Reloads
from shared_config.limits import ConnectionLimits
from shared_config.settings import DaemonSettings, LogSettings, SharedSettings


class Own(DaemonSettings):
    side = "miner"

    name: str = "a"
    limits: ConnectionLimits = ConnectionLimits()
    log: LogSettings = LogSettings()


class Common(SharedSettings):
    side = "miner"

    hold_s: float = 60.0


OWN = {"health_address": "127.0.0.1:0"}


def own(**settings: object) -> Own:
    return Own.model_validate(OWN | settings)


def test_what_a_part_takes_over_is_changed_and_the_rest_is_named_and_kept() -> None:
    reloads, seen = Reloads[Own, Common](), []
    reloads.on(["limits"], lambda config, _: seen.append(config.limits.connections))
    wanted = own(limits={"connections": 7, "handshake_s": 3}, name="b")
    change = reloads.take((own(), Common()), (wanted, Common(hold_s=5)))
    assert seen == [7]
    assert change.taken == ("limits.connections", "limits.handshake_s")
    assert change.kept == ("name", "shared.hold_s")
    assert (change.config.limits, change.config.name, change.shared.hold_s) == (wanted.limits, "a", 60)


def test_one_setting_of_a_table_is_taken_over_without_its_neighbours() -> None:
    reloads = Reloads[Own, Common]()
    reloads.on(["limits.connections", "shared.hold_s"], lambda *_: None)
    wanted = own(limits={"connections": 7, "handshake_s": 3})
    change = reloads.take((own(), Common()), (wanted, Common(hold_s=5)))
    assert change.kept == ("limits.handshake_s",)
    assert change.config.limits == ConnectionLimits(connections=7)
    assert change.shared.hold_s == 5
    again = reloads.take((change.config, change.shared), (wanted, Common(hold_s=5)))
    assert (again.taken, again.kept) == ((), ("limits.handshake_s",))


def test_a_part_that_cannot_take_over_leaves_everything_as_it_was() -> None:
    reloads, seen = Reloads[Own, Common](), []

    def fail(config: Own, shared: Common) -> Callable[[], None]:
        raise OperatorError("the file is empty")

    reloads.on(["name"], lambda config, _: seen.append(config.name))
    reloads.prepare(["limits"], fail, always=True)
    with pytest.raises(OperatorError, match="the file is empty"):
        reloads.take((own(), Common()), (own(name="b"), Common()))
    assert seen == []


def test_a_part_that_names_a_file_is_asked_also_where_no_setting_has_changed() -> None:
    reloads, asked = Reloads[Own, Common](), []
    reloads.on(["name"], lambda *_: asked.append("name"))
    reloads.prepare(["limits"], lambda *_: lambda: asked.append("limits"), always=True)
    reloads.take((own(), Common()), (own(), Common()))
    assert asked == ["limits"]
