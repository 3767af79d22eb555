from typing import Any

import pytest

from protocols.sv1.errors import MalformedError
from protocols.sv1.results import Subscription, read_subscription, read_version_mask, subscription


def test_a_subscription_names_notify_and_is_read_as_it_was_written() -> None:
    granted = Subscription(b"\x01\x02\x03\x04", 8, "6b4d")
    result = subscription(granted)
    assert result == [[["mining.set_difficulty", "6b4d"], ["mining.notify", "6b4d"]], "01020304", 8]
    assert read_subscription(result) == granted


@pytest.mark.parametrize(
    ("subscriptions", "session"),
    [
        ([["mining.notify", "a"]], "a"),
        (["mining.notify", "b"], "b"),
        ([["mining.notify"]], ""),
        ([["mining.notify", 5]], ""),
        ([[], 7, ["mining.set_difficulty", "x"]], ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_session_is_found_in_either_nesting(subscriptions: Any, session: str) -> None:
    assert read_subscription([subscriptions, "0102030405", 3]) == Subscription(b"\1\2\3\4\5", 3, session)


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        [[], "00"],
        [[], "0", 4],
        [[], "00", "4"],
        [[], "00", -1],
        [[], "00" * 20, 16],
        [[], "00", True],
    ],
)
def test_a_subscription_without_an_extranonce_is_refused(result: Any) -> None:
    with pytest.raises(MalformedError):
        read_subscription(result)


@pytest.mark.parametrize(
    ("result", "mask"),
    [
        ({"version-rolling": True, "version-rolling.mask": "1fffe000"}, 0x1FFFE000),
        ({"version-rolling": True}, 0),
        ({"version-rolling": False, "version-rolling.mask": "1fffe000"}, 0),
        ({"version-rolling": "yes"}, 0),
        (None, 0),
    ],
)
def test_a_mask_is_granted_only_in_so_many_words(result: Any, mask: int) -> None:
    assert read_version_mask(result) == mask
