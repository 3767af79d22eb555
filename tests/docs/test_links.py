"""README and docs/ lead where they say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULE = re.compile(r"`([a-z_0-9]+(?:/[a-z_0-9]+)+(?:/?\{[a-z_,]+\})?)(?:\.[A-Za-z_]+)*`")
PLACES = ("", "roles", "roles/mint", "roles/runtime", "protocols", "tests", "tests/roles")
"""Where a page that speaks of a package says its modules' names without it."""
KEPT = re.compile(r"(pool|mint|proxy|wallet)/(ledger|mint|wallet|resume)")
"""Files of the state directory."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_heading_that_are_there(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= {link.partition("#")[0] for link in linked}


def modules(text: str) -> set[str]:
    """The modules that a page names, `a/{b,c}` taken apart."""
    found: set[str] = set()
    for name in MODULE.findall(text):
        stem, _, choice = name.partition("{")
        found |= {stem + each for each in choice.rstrip("}").split(",")}
    return found


def test_every_module_that_maintainers_are_sent_to_is_there() -> None:
    named = modules((ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8"))
    lost = {
        name
        for name in named
        if not KEPT.fullmatch(name)
        and not any((ROOT / place / f"{name}{end}").exists() for place in PLACES for end in ("", ".py", ".c"))
    }
    assert len(named) > 150
    assert not lost
