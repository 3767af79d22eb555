from collections.abc import Callable

import pytest

from roles.node_client.answers import NodeTemplate
from roles.template_provider.book import MAX_FORGOTTEN, MAX_TEMPLATES, Absence, Book
from roles.templates.draft import Draft
from roles.templates.selection import Constraints


@pytest.fixture
def draft(template: Callable[..., NodeTemplate]) -> Callable[[str], Draft]:
    return lambda tip: Draft.make(template(tip), Constraints(0, 0))


def test_a_template_is_found_by_its_id(draft: Callable[[str], Draft]) -> None:
    book, first, second = Book(), draft("a"), draft("a")
    book.add(1, first)
    book.add(2, second)
    assert book.find(1) is first
    assert book.find(3) is Absence.UNKNOWN
    assert book.drafts() == (second, first)


def test_templates_of_the_tip_before_stay_for_a_while_and_are_stale_then(
    draft: Callable[[str], Draft],
) -> None:
    book, old, new = Book(), draft("a"), draft("b")
    book.add(1, old)
    book.turn(new.previous, leave_at=110)
    book.add(2, new)
    book.turn(new.previous, leave_at=150)
    book.prune(109.9)
    assert book.find(1) is old
    book.prune(110)
    assert book.find(1) is Absence.STALE
    book.prune(1e9)
    assert book.find(2) is new


def test_a_chain_that_turns_back_revives_what_was_built_on_it(draft: Callable[[str], Draft]) -> None:
    book, old = Book(), draft("a")
    book.add(1, old)
    book.turn(draft("b").previous, leave_at=10)
    book.turn(old.previous, leave_at=20)
    book.prune(1e9)
    assert book.find(1) is old


def test_no_more_are_kept_than_the_bound_and_the_oldest_goes(draft: Callable[[str], Draft]) -> None:
    book, only = Book(), draft("a")
    for number in range(MAX_TEMPLATES + MAX_FORGOTTEN + 2):
        book.add(number, only)
    assert len(book.drafts()) == MAX_TEMPLATES
    assert book.find(0) is Absence.UNKNOWN
    assert book.find(2) is Absence.STALE
    assert book.find(MAX_TEMPLATES + MAX_FORGOTTEN + 1) is only
