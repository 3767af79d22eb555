import re
from pathlib import Path

import pytest

from shared_config.errors import ConfigInvalid
from shared_config.loader import Loaded, describe, load
from shared_config.miner_side import MinerSide
from shared_config.mint import MintSettings
from shared_config.roster import ROLES, models
from shared_config.settings import DaemonSettings, SharedSettings

CONFIG = Path(__file__).parents[2] / "config"
POOL_KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
AUTHORITY = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"


class Tree:
    """A copy of the development configuration in which a test makes its mistake."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "shared").mkdir()
        for path in CONFIG.glob("*.toml"):
            (root / path.name).write_text(path.read_text())
        for path in (CONFIG / "shared").glob("*.toml"):
            (root / "shared" / path.name).write_text(path.read_text())

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def append(self, file: str, text: str) -> None:
        path = self.root / file
        path.write_text(f"{path.read_text()}{text}\n")

    def load(
        self, role: str, *overrides: str, credentials: Path | None = None
    ) -> Loaded[DaemonSettings, SharedSettings]:
        own, shared = models(role)
        return load(
            own,
            self.root / f"{role}.toml",
            shared,
            self.root / "shared" / f"{own.side}.toml",
            overrides=overrides,
            credentials=credentials,
        )

    def problems(self, role: str, *overrides: str) -> list[str]:
        with pytest.raises(ConfigInvalid) as caught:
            self.load(role, *overrides)
        return [str(problem).replace(f"{self.root}/", "") for problem in caught.value.problems]

    def wanted(self, role: str, *overrides: str) -> list[str]:
        return [str(problem).replace(f"{self.root}/", "") for problem in self.load(role, *overrides).wanted]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize("root", [CONFIG, CONFIG / "prod"], ids=["development", "production"])
@pytest.mark.parametrize("role", ROLES)
def test_both_trees_load(root: Path, role: str) -> None:
    own, shared = models(role)
    path = root / f"{role}.toml"
    if root.name == "prod" and role in {"regtest_node", "cpu_miner"}:
        assert not path.exists()
        return
    load(own, path, shared, root / "shared" / f"{own.side}.toml")


def test_no_file_of_the_trees_is_left_unread() -> None:
    for root in (CONFIG, CONFIG / "prod"):
        assert {path.stem for path in root.glob("*.toml")} <= set(ROLES)
        assert {path.stem for path in (root / "shared").glob("*.toml")} == {"pool", "miner"}


def test_an_unknown_key_names_the_nearest_known_one_with_file_line_key_and_value(tree: Tree) -> None:
    tree.replace("pool.toml", "server_id = 1 ", "servr_id = 1 ")
    assert tree.problems("pool") == [
        "pool.toml: server_id: is missing",
        "pool.toml:3: servr_id = 1: unknown key (did you mean server_id?)",
    ]


def test_an_unknown_key_of_a_table_is_compared_with_that_table(tree: Tree) -> None:
    tree.replace("pool.toml", "floor_hashes", "flour_hashes")
    assert tree.problems("pool") == [
        "pool.toml:9: vardiff.flour_hashes = 65536: unknown key (did you mean vardiff.floor_hashes?)"
    ]


def test_half_a_key_names_the_whole_one(tree: Tree) -> None:
    assert tree.problems("pool", "vardiff.floor=3") == [
        "--set over pool.toml: vardiff.floor = 3: unknown key (did you mean vardiff.floor_hashes?)"
    ]


def test_a_key_in_the_wrong_table_or_file_is_sent_where_it_belongs(tree: Tree) -> None:
    tree.append("pool.toml", "floor_hashes = 1\n[ehash]\nminimum_difficulty = 8")
    assert tree.problems("pool") == [
        "pool.toml:14: acknowledgement.floor_hashes = 1: unknown key (did you mean vardiff.floor_hashes?)",
        "pool.toml:15: ehash: unknown key ([ehash] belongs into shared/pool.toml)",
    ]


def test_a_key_like_nothing_known_gets_no_guess(tree: Tree) -> None:
    tree.append("pool.toml", "zzz = 1")
    assert tree.problems("pool") == ["pool.toml:14: acknowledgement.zzz = 1: unknown key"]


def test_an_obsolete_key_says_what_to_write_instead(tree: Tree) -> None:
    tree.replace("pool.toml", "coinbase_tag", "pool_signature")
    assert tree.problems("pool") == [
        'pool.toml:5: pool_signature = "hashpool": is obsolete (write coinbase_tag)'
    ]


def test_all_problems_of_both_files_come_at_once(tree: Tree) -> None:
    tree.replace("pool.toml", "server_id = 1 ", "server_id = 256 ")
    tree.replace("pool.toml", "shares = 10 ", 'shares = "ten" ')
    tree.replace("shared/pool.toml", "minimum_difficulty = 8 ", "minimum_difficulty = 8.5 ")
    tree.replace("shared/pool.toml", '"127.0.0.1:18447"', '"127.0.0.1"')
    assert tree.problems("pool", "drain_s=-1") == [
        "--set over pool.toml: drain_s = -1: must be at least 0",
        "pool.toml:3: server_id = 256: must be at most 255",
        'pool.toml:12: acknowledgement.shares = "ten": must be a whole number',
        "shared/pool.toml:10: ehash.minimum_difficulty = 8.5: must be a whole number",
        (
            'shared/pool.toml:24: template_provider.address = "127.0.0.1": needs a host and a port,'
            " as in 127.0.0.1:34254"
        ),
    ]


@pytest.mark.parametrize(
    ("role", "override", "reason"),
    [
        ("pool", "listen_address=1", "must be text in quotes|needs a host and a port"),
        ("pool", "listen_address=localhost:99999", "port must be a number"),
        ("pool", "coinbase_tag=" + "x" * 33, "at most 32 printable ASCII"),
        ("pool", "coinbase_tag=ä", "at most 32 printable ASCII"),
        ("pool", "vardiff.shares_per_minute=nan", "must be a finite number"),
        ("pool", "vardiff.shares_per_minute=inf", "must be a finite number"),
        ("pool", "vardiff=1", "must be a table"),
        ("pool", "server_id=true", "must be a whole number"),
        ("pool", "log.level=loud", "must be one of 'debug', 'info', 'warning' or 'error'"),
        (
            "pool",
            "coinbase_reward_script=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "no address or descriptor of regtest",
        ),
        ("pool", "coinbase_reward_script=addr(nonsense)", "no address or descriptor of regtest"),
        ("pool", "shared.network=mainnet", "must be one of main, testnet4, signet, regtest"),
        ("pool", "shared.mint.url=ftp://x", "must be a URL"),
        ("pool", "shared.mint.url=http://x?a=1", "query or a fragment"),
        ("pool", "shared.mint.url=http://x:99999", "out of range"),
        ("pool", "shared.mint.issuance_address=0.0.0.0:1", "an address to listen on"),
        ("pool", "shared.mint.issuance_address=x:0", "cannot be 0"),
        ("pool", "shared.mint.authority_key=" + AUTHORITY[:-1] + "3", "checksum"),
        ("pool", "shared.mint.authority_key=hello", "authority key"),
        ("pool", "shared.bitcoin.rpc_cookie_file=''", "must name a file"),
        ("mint", "issuers.0.identity=04" + POOL_KEY[2:], "66 hex digits that begin with 02 or 03"),
        ("mint", "issuers.0.identity=02" + "f" * 64, "not a point on the curve"),
        ("mint", "issuers=1", "must be an array"),
        ("mint", "issuers.0.work_per_minute=0", "must be at least 1"),
        ("mint", "issuers.0.reward=payments", "exclude each other"),
        ("proxy", "shared.hold_s=never", 'seconds from 0 to 86400, or "forever"'),
        ("proxy", "shared.hold_s=true", 'seconds from 0 to 86400, or "forever"'),
        ("translator", "extranonce2_size=9", "must be one of 4 or 8"),
        ("translator", "start_difficulty=0", "must be more than 0"),
        (
            "translator",
            'ports=[{listen_address="0.0.0.0:1",tls=true}]',
            "needs a certificate, and there is none",
        ),
        ("translator", "tls.key=''", "must name a file"),
        ("translator", "session_s=3601", "must be at most 3600"),
        ("cpu_miner", "protocol=sv3", "must be one of 'sv1' or 'sv2'"),
        ("cpu_miner", "user=''", "must have at least 1 character"),
        ("regtest_node", "shared.network=main", "must be regtest for regtest_node"),
    ],
)
def test_a_wrong_value_says_why(tree: Tree, role: str, override: str, reason: str) -> None:
    problems = tree.problems(role, override)
    assert any(re.search(reason, problem) for problem in problems), problems


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["shared.bitcoin.rpc_user=u"], "rpc_user and rpc_password_file go together"),
        (
            ["shared.bitcoin.rpc_user=u", "shared.bitcoin.rpc_password_file=p"],
            "needs either rpc_cookie_file or rpc_user with rpc_password_file",
        ),
        (["shared.network=testnet4"], "regtest: has no place on testnet4"),
        (["shared.network=main", "shared.ehash.valuation=achieved"], "pays by luck"),
    ],
)
def test_values_that_do_not_go_together_say_so(tree: Tree, overrides: list[str], reason: str) -> None:
    problems = tree.problems("pool", *overrides)
    assert any(reason in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("section", "role", "reason"),
    [
        ("bitcoin", "pool", "the node to speak to (write [bitcoin] with rpc_url)"),
        ("bitcoin", "template_provider", "the node to speak to (write [bitcoin] with rpc_url)"),
        ("bitcoin", "solo_pool", "the node to speak to (write [bitcoin] with rpc_url)"),
        (
            "template_provider",
            "pool",
            "where the pool takes templates from (write [template_provider] with address)",
        ),
    ],
)
def test_a_table_that_some_daemons_do_not_use_is_missed_by_the_others(
    tree: Tree, section: str, role: str, reason: str
) -> None:
    path = tree.root / "shared" / "pool.toml"
    before, _, table = path.read_text().partition(f"[{section}]\n")
    _, mark, after = table.partition("\n[")
    path.write_text(before + mark.strip("\n") + after)
    assert tree.problems(role) == [f"shared/pool.toml: {section}: is missing: {reason}"]
    for other in ("sv1_proxy_pool", "mint"):
        tree.load(other)


def test_regtest_needs_its_own_block_difficulty(tree: Tree) -> None:
    tree.replace("shared/pool.toml", "shifts_per_block = 1 ", "")
    tree.replace("shared/pool.toml", "[regtest]\nblock_difficulty = 1048576 ", "")
    assert tree.problems("pool") == [
        (
            "shared/pool.toml: regtest.block_difficulty: is missing: on regtest every second hash would be a"
            " block (for example 1048576)"
        ),
    ]


def test_an_issuer_listed_twice_is_refused(tree: Tree) -> None:
    issuer = f'{{ identity = "{POOL_KEY}", reward = "payments" }}'
    assert tree.problems("mint", f"issuers=[{issuer}, {issuer}]") == [
        f'--set over mint.toml: issuers.1.identity = "{POOL_KEY}": is listed twice'
    ]


def test_no_secret_is_shown_in_an_error(tree: Tree) -> None:
    tree.replace("shared/pool.toml", "[ehash]", 'rpc_password = "hunter2"\nwallet_seed = "hunter2"\n[ehash]')
    tree.replace("shared/pool.toml", "http://127.0.0.1:3338", "http://user:hunter2@127.0.0.1:3338")
    problems = "\n".join(tree.problems("pool"))
    assert "hunter2" not in problems
    assert "rpc_password = <redacted>: is obsolete (name a file of mode 0600" in problems
    assert 'mint.url = "http://<redacted>@127.0.0.1:3338": a password does not belong' in problems


def test_what_is_no_toml_is_placed_by_line_and_column(tree: Tree) -> None:
    tree.append("pool.toml", "x = = 1")
    tree.append("shared/pool.toml", "y =")
    problems = tree.problems("pool")
    assert problems[0].startswith("pool.toml:14: is not TOML: Invalid value, at column 5")
    assert problems[1].startswith("shared/pool.toml:26: is not TOML")


def test_a_shared_file_that_is_not_there_is_explained(tree: Tree) -> None:
    (tree.root / "shared" / "pool.toml").unlink()
    assert tree.problems("pool") == [
        (
            "shared/pool.toml: cannot be read: No such file or directory"
            " (what all daemons of the pool side share; -g names another file)"
        )
    ]


def test_files_that_cannot_be_read_are_named(tree: Tree) -> None:
    (tree.root / "pool.toml").unlink()
    (tree.root / "shared" / "pool.toml").write_bytes(b"\xff")
    assert tree.problems("pool") == [
        "pool.toml: cannot be read: No such file or directory",
        "shared/pool.toml: is not UTF-8 text",
    ]
    (tree.root / "pool.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    assert tree.problems("pool")[0] == "pool.toml: is larger than 1048576 bytes"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("x", "9" * 5_000),
        (".".join("a" * 1_500), "1"),
        ("x", "[" * 1_500 + "]" * 1_500),
        ("x", "{a=" * 1_500 + "1" + "}" * 1_500),
    ],
)
def test_what_is_too_much_for_the_reader_of_toml_is_named(tree: Tree, key: str, value: str) -> None:
    tree.append("pool.toml", f"{key} = {value}")
    assert tree.problems("pool")[0].startswith("pool.toml")
    assert tree.problems("mint", f"{key}={value}")


def test_the_command_line_overrides_any_key_of_both_files(tree: Tree) -> None:
    loaded = tree.load(
        "mint",
        "http_address=0.0.0.0:80",
        "bolt11.backend=off",
        "info.name=123",
        f"issuers.0.identity={POOL_KEY}",
        f"issuers.1.identity=03{POOL_KEY[2:]}",
        "issuers.1.reward=payments",
        f"shared.mint.authority_key={AUTHORITY}",
    )
    assert isinstance(loaded.config, MintSettings)
    assert str(loaded.config.http_address) == "0.0.0.0:80"
    assert loaded.config.info.name == "123"
    assert [issuer.identity and issuer.identity[0] for issuer in loaded.config.issuers] == [2, 3]
    assert len(loaded.shared.model_dump()["mint"]["authority_key"]) == 32
    assert loaded.wanted == ()


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("drain_s", "--set: drain_s: --set needs key=value"),
        ("=1", "is not a key"),
        ("drain_s.deep=1", "drain_s is not a table"),
        ("\udce1=1", "--set needs text in UTF-8"),
        ("issuers.5.identity=x", "5 does not number an element of the array issuers"),
        ("issuers.first.identity=x", "first does not number an element of the array issuers"),
    ],
)
def test_an_override_that_leads_nowhere_says_so(tree: Tree, override: str, reason: str) -> None:
    tree.replace("mint.toml", "[info]", "drain_s = 1\n[info]")
    assert reason in "\n".join(tree.problems("mint", override))


def test_what_only_the_operator_can_fill_in_is_wanted_and_not_wrong(tree: Tree) -> None:
    assert tree.wanted("pool") == [
        (
            "shared/pool.toml:18: mint.authority_key: is missing: the pool hands credits to no mint"
            " that it does not know (hashpool keys show mint)"
        ),
    ]
    assert tree.wanted("pool", f"shared.mint.authority_key={AUTHORITY}") == []
    assert tree.wanted("translator") == []
    assert tree.wanted("proxy") != []
    assert tree.wanted("mint") != []
    tree.replace("mint.toml", "[[issuers]]", "[other]")
    assert any("other: unknown key" in problem for problem in tree.problems("mint"))


def test_a_peer_on_another_machine_is_wanted_by_its_key(tree: Tree) -> None:
    assert any(
        "template_provider.authority_key" in text
        for text in tree.wanted("pool", "shared.template_provider.address=tp.example.org:18447")
    )
    assert any(
        "proxy.authority_key" in text
        for text in tree.wanted("translator", "shared.proxy.address=10.0.0.1:34256")
    )


def test_a_systemd_credential_stands_for_a_secret_file_that_is_not_named(tree: Tree, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "bitcoin_rpc_password").write_text("hunter2")
    tree.replace("shared/pool.toml", "rpc_cookie_file = ", 'rpc_user = "u"\n#')
    loaded = tree.load("pool", credentials=credentials)
    assert loaded.shared.model_dump()["bitcoin"]["rpc_password_file"] == credentials / "bitcoin_rpc_password"
    text = describe(loaded)
    assert f'rpc_password_file = "{credentials}/bitcoin_rpc_password"  # credential' in text
    assert "hunter2" not in text


def test_printing_shows_every_value_with_its_origin(tree: Tree) -> None:
    loaded = tree.load("mint", f"issuers.0.identity={POOL_KEY}", "limits.connections=3")
    text = describe(loaded).replace(f"{tree.root}/", "")
    assert text.startswith("# mint.toml\n")
    assert 'http_address = "127.0.0.1:3338"  # mint.toml:1\n' in text
    assert "drain_s = 10.0  # default\n" in text
    assert "[limits]\nconnections = 3  # --set\n" in text
    assert f'[[issuers]]\nidentity = "{POOL_KEY}"  # --set\n' in text
    assert "# work_per_minute is not set\n" in text
    assert '\n# shared/pool.toml\nnetwork = "regtest"  # shared/pool.toml:3\n' in text


def test_what_is_printed_loads_again_to_the_same(tree: Tree) -> None:
    loaded = tree.load("mint", f"issuers.0.identity={POOL_KEY}")
    own, shared = re.split(r"\n(?=# \S*shared/pool\.toml\n)", describe(loaded))
    (tree.root / "mint.toml").write_text(own)
    (tree.root / "shared" / "pool.toml").write_text(shared)
    again = tree.load("mint")
    assert (again.config, again.shared) == (loaded.config, loaded.shared)


def test_forever_is_written_as_a_word(tree: Tree) -> None:
    assert tree.load("proxy", "shared.hold_s=forever").shared.model_dump()["hold_s"] is None
    assert tree.load("proxy", "shared.hold_s=5").shared.model_dump()["hold_s"] == 5.0


TWO_POOLS = f"""
[[upstreams]]
address = "127.0.0.1:35001"
authority_key = "{AUTHORITY}"
name = "second"

[[upstreams]]
address = "127.0.0.1:35002"
"""


def test_pools_are_mined_at_in_the_order_in_which_they_stand(tree: Tree) -> None:
    tree.append("shared/miner.toml", TWO_POOLS)
    shared = tree.load("proxy").shared
    assert isinstance(shared, MinerSide)
    assert [pool.label for pool in shared.pools] == ["127.0.0.1:34254", "second", "127.0.0.1:35002"]
    (first, last) = tree.wanted("proxy")
    assert first.startswith("shared/miner.toml:5: pool.authority_key: is missing")
    assert "upstreams.1.authority_key: is missing" in last
    tree.replace("shared/miner.toml", '[pool]\naddress = "127.0.0.1:34254"\n', "")
    alone = tree.load("proxy").shared
    assert isinstance(alone, MinerSide)
    assert [pool.label for pool in alone.pools] == ["second", "127.0.0.1:35002"]
    assert "[[upstreams]]" in describe(tree.load("proxy"))


def test_no_pool_and_one_that_stands_there_twice_are_told_with_their_places(tree: Tree) -> None:
    tree.replace("shared/miner.toml", '[pool]\naddress = "127.0.0.1:34254"\n', "")
    (problem,) = tree.problems("proxy")
    assert problem == (
        "shared/miner.toml: pool: is missing: there is no pool to mine at"
        " (write [pool], or [[upstreams]] for several)"
    )
    tree.append("shared/miner.toml", TWO_POOLS)
    tree.replace("shared/miner.toml", "35002", "35001")
    (problem,) = tree.problems("proxy")
    assert problem.endswith('upstreams.1.address = "127.0.0.1:35001": is also that of upstreams.0')
    named = ("shared.upstreams.1.address=127.0.0.1:35003", "shared.upstreams.1.name=second")
    (problem,) = tree.problems("proxy", *named)
    assert 'upstreams.1.name = "second": is also that of upstreams.0' in problem


def test_pools_in_the_proxys_own_file_are_sent_to_the_shared_one(tree: Tree) -> None:
    (problem,) = tree.problems("proxy", 'upstreams=[{address = "127.0.0.1:1"}]')
    assert "write [pool] or [[upstreams]] in the shared file" in problem
