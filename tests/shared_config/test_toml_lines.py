import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_config.toml_lines import key_lines, split_key

TEXT = '''# a = 1
a = 1  # b = 2

[table]
"quoted key" = "has = and # in it"
dotted.key = [
    1, # three = 3
    [2, "]"],
]
multi = """
fake = 1
[fake]
"""
literal = \'\'\'
also_fake = 2
\'\'\'
inline = { x = 1, y = { z = 2 } }

[[array]]
name = "first"
[array.sub]
x = 1
[[array]]
name = "second"
[[array.inner]]
y = 1
[table.below]
last = true'''


def test_every_key_has_the_line_it_stands_on() -> None:
    assert key_lines(TEXT) == {
        ("a",): 2,
        ("table",): 4,
        ("table", "quoted key"): 5,
        ("table", "dotted", "key"): 6,
        ("table", "multi"): 10,
        ("table", "literal"): 14,
        ("table", "inline"): 17,
        ("array",): 19,
        ("array", 0): 19,
        ("array", 0, "name"): 20,
        ("array", 0, "sub"): 21,
        ("array", 0, "sub", "x"): 22,
        ("array", 1): 23,
        ("array", 1, "name"): 24,
        ("array", 1, "inner"): 25,
        ("array", 1, "inner", 0): 25,
        ("array", 1, "inner", 0, "y"): 26,
        ("table", "below"): 27,
        ("table", "below", "last"): 28,
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a", ("a",)), ("a.b-c.0", ("a", "b-c", "0")), (' "a.b" . c ', ("a.b", "c")), ("'x y'", ("x y",))],
)
def test_a_dotted_key_is_split(text: str, parts: tuple[str, ...]) -> None:
    assert split_key(text) == parts


@pytest.mark.parametrize("text", ["", " ", "a.", ".a", "a..b", "a b", "a=b", '"a', "ä"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        split_key(text)


keys = st.text("abc", min_size=1, max_size=3)
values = st.sampled_from(
    ['"x"', "1", "[\n1,\n2]", '"""\n[t]\nk=1"""', "'''\n'''", "{ k = 1 }", '"a#b\\"c"', "[]"]
)
spaces = st.sampled_from(["", "\n", "# k = 1\n", "  \n\n"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(keys, st.tuples(spaces, values), max_size=6), spaces)
def test_the_line_of_a_key_is_where_its_text_begins(items: dict[str, tuple[str, str]], end: str) -> None:
    text, expected = "", {}
    for key, (space, value) in items.items():
        text += space
        expected[(key,)] = text.count("\n") + 1
        text += f"{key} = {value} # {key} = 0\n"
    text += end
    tomli.loads(text)
    assert key_lines(text) == expected
