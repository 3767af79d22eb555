"""SV1 firmware as data: what each says, how it writes it, and what it can bear.

One scripted miner plays them all (`scripted_miner`). Difficulties are those of the real device; the script
hashes 2^32 times slower and scales them down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

USER: Final = "$user"
PASSWORD: Final = "$password"
SESSION: Final = "$session"
HOST: Final = "$host"


@dataclass(frozen=True)
class Say:
    """One request; `keys` stand beside method and params, `scaled` params are difficulties."""

    method: str
    params: tuple[Any, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    is_answered: bool = True
    is_scaled: bool = False


Answers = Literal["blind", "awaited", "one-line"]
"""Segments are sent blindly, after the answers to the one before, or after one line, an answer."""


@dataclass(frozen=True)
class Profile:
    """One firmware.

    `user`: its own name if empty. `segments`: the requests of its introduction, each tuple in one write.
    `id_form`, `submit_id`: how ids are written, and that of every share.
    `bits`: what stands in the sixth field: rolled bits alone, the whole version, nothing, or no
    field. `coinbase_bytes`, `line_bytes`: more than this it cannot take. `last_ids`: how many job ids it
    remembers and ignores.
    """

    name: str
    segments: tuple[tuple[Say, ...], ...]
    after: tuple[Say, ...] = ()
    user: str = ""
    password: str = "x"
    answers: Answers = "awaited"
    first_id: int = 1
    id_form: str = "{}"
    submit_id: str | None = None
    is_id_last: bool = False
    line_end: bytes = b"\n"
    number_form: Literal["lower", "upper", "short", "numbers", "prefixed"] = "lower"
    bits: Literal["rolled", "version", "empty", "short-zero", "missing"] = "missing"
    rolls: tuple[int, ...] = (0,)
    extranonce2: Literal["restarts", "goes-on", "fixed"] = "restarts"
    ntime_ahead: int = 0
    name_bytes: int = 255
    submits_twice: bool = False
    works_on: int = 1
    """Of how many of the newest jobs it submits shares in turn."""
    has_fractions: bool = True
    extranonce2_sizes: tuple[int, ...] = (4, 8)
    coinbase_bytes: int = 6_500
    line_bytes: int = 65_536
    last_ids: int = 16


def configure(mask: str, **options: Any) -> Say:
    """mining.configure for version rolling."""
    return Say("mining.configure", (["version-rolling"], {"version-rolling.mask": mask, **options}))


def subscribe(*params: Any) -> Say:
    """mining.subscribe."""
    return Say("mining.subscribe", params)


def suggest(difficulty: float) -> Say:
    """mining.suggest_difficulty, which nobody answers."""
    return Say("mining.suggest_difficulty", (difficulty,), is_answered=False, is_scaled=True)


AUTHORIZE: Final = Say("mining.authorize", (USER, PASSWORD))
XNSUB: Final = Say("mining.extranonce.subscribe")
ROLLED: Final = tuple(1 << n for n in range(13, 29))


def bitaxe(name: str, version: str, *after: Say, **others: Any) -> Profile:
    """Three blind requests in one segment, six fields, extranonce2 from 0 with each job."""
    agent = f"bitaxe/BM1370/{version}"
    segment = (configure("ffffffff"), subscribe(agent), AUTHORIZE)
    return Profile(
        name,
        (segment,),
        (suggest(1000), *after),
        answers="blind",
        bits="rolled",
        rolls=ROLLED,
        **others,
    )


def cgminer(name: str, agent: str, **others: Any) -> Profile:
    """Each request awaited, ids of the whole process, the id behind the rest."""
    given: dict[str, Any] = {
        "segments": ((configure("ffffffff"),), (subscribe(agent, SESSION),), (AUTHORIZE,)),
        "is_id_last": True,
        "bits": "rolled",
        "rolls": ROLLED[:4],
        "extranonce2": "goes-on",
    }
    return Profile(name, **given | others)


def plain(name: str, agent: str = "plain/1.0", **others: Any) -> Profile:
    """Nothing but the two requests that every miner makes."""
    given: dict[str, Any] = {"segments": ((subscribe(agent),), (AUTHORIZE,))}
    return Profile(name, **given | others)


def rolling(name: str, **others: Any) -> Profile:
    """A miner that differs in its sixth field."""
    return Profile(
        name, ((configure("1fffe000"), subscribe("literal/1"), AUTHORIZE),), answers="blind", **others
    )


PROFILES: Final = (
    bitaxe("bitaxe", "v2.15.0"),
    bitaxe("bitaxe-old", "v2.13.2", has_fractions=False, last_ids=0),
    bitaxe("bitaxe-xnsub", "v2.15.0", XNSUB),
    Profile(
        "nerdqaxe",
        ((configure("1fffe000"), subscribe("NerdQAxe++/BM1370/v1.0.36"), AUTHORIZE),),
        (suggest(1000),),
        answers="blind",
        bits="rolled",
        rolls=ROLLED,
        submits_twice=True,
        line_bytes=16_384,
    ),
    plain(
        "nerdminer",
        segments=((subscribe("NerdMinerV2/V1.8.3"),), (AUTHORIZE, suggest(0.00015))),
        after=(suggest(0.00015),),
        answers="one-line",
        number_form="short",
        extranonce2="fixed",
        extranonce2_sizes=(2, 4, 8),
        coinbase_bytes=255,
        line_bytes=4_096,
    ),
    plain("minerd", "cpuminer/2.5.1", answers="one-line", submit_id="4", extranonce2="goes-on"),
    cgminer("cgminer", "cgminer/4.12"),
    cgminer(
        "antminer-s9j",
        "bmminer/2.0.0",
        segments=(
            (subscribe("bmminer/2.0.0"),),
            (AUTHORIZE,),
            (configure("00c00000", **{"version-rolling.min-bit-count": 2}),),
            (Say("mining.multi_version", (1,)),),
        ),
        rolls=(0, 1 << 22, 1 << 23, 3 << 22),
    ),
    cgminer(
        "antminer-s19",
        "cgminer/4.11.1",
        first_id=34_406,
        ntime_ahead=3,
        coinbase_bytes=730,
        user="rig#xnsub.one",
    ),
    Profile(
        "whatsminer",
        (
            (subscribe("whatsminer/v1.1", SESSION),),
            (Say("mining.authorize", (USER, ""), {"ttl": 2}),),
            (configure("1fffe000"),),
        ),
        user="farm%2Erow%2D7.one",
        bits="rolled",
        rolls=ROLLED[:8],
        ntime_ahead=2,
    ),
    cgminer(
        "avalon",
        "cgminer/4.11.1-avalon",
        user="the-third-hall-of-the-farm-behind-the-old-railway-station-7.worker",
        name_bytes=63,
    ),
    Profile(
        "braiins-os",
        (
            (
                Say(
                    "mining.configure",
                    (
                        ["version-rolling"],
                        {"version-rolling.mask": "1fffe000", "version-rolling.bit-count": 16},
                    ),
                ),
                subscribe("bosminer-plus-tuner 23.12", None, HOST, None),
            ),
            (AUTHORIZE,),
        ),
        bits="rolled",
        rolls=ROLLED,
        extranonce2="goes-on",
        works_on=16,
    ),
    plain(
        "cpuminer-opt",
        segments=(
            (subscribe("cpuminer-opt-3.20.3-x64L"),),
            (Say("mining.authorize", (USER, PASSWORD, ["anything"])),),
        ),
        submit_id="4",
    ),
    plain(
        "nicehash",
        segments=(
            (configure("1fffe000"),),
            (subscribe("NiceHash/1.0.0"),),
            tuple(Say("mining.authorize", (f"buyer.{n}", PASSWORD)) for n in range(3)),
            (XNSUB,),
        ),
        user="buyer.2",
        bits="rolled",
        rolls=ROLLED,
        extranonce2="goes-on",
        coinbase_bytes=500,
    ),
    plain("authorize-first", segments=((AUTHORIZE, subscribe("early/1")),), answers="blind"),
    rolling("literal-whole-version", bits="version", rolls=ROLLED),
    rolling("literal-upper-case", bits="rolled", rolls=ROLLED, number_form="upper"),
    rolling("literal-short", bits="rolled", rolls=ROLLED, number_form="short"),
    rolling("literal-empty", bits="empty"),
    rolling("literal-zero", bits="short-zero"),
    rolling("literal-missing", bits="missing"),
    plain("odd-string-ids", id_form='"rig \\u0041 {}"'),
    plain("odd-float-ids", id_form="{}.50"),
    plain("odd-null-ids", id_form="null"),
    plain("odd-large-ids", first_id=(1 << 64) + 7),
    plain("odd-one-id", id_form="7", line_end=b"\r\n"),
    plain("odd-numbers", number_form="numbers"),
    plain("odd-prefixes", number_form="prefixed", line_end=b"  \r\n"),
    plain(
        "odd-markup",
        user='\a\x1b[2J<img src=x>{a="b"}\n.one',
    ),
)
