"""A fake node, and what a real template provider said."""

from collections.abc import Callable

import pytest

from roles.node_client.answers import NodeTemplate, TemplateTransaction
from tests.roles.templates.fake_node import FakeNode, make_template, make_transaction
from tests.roles.templates.recording import recorded_frames


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def transaction() -> Callable[..., TemplateTransaction]:
    return make_transaction


@pytest.fixture
def template() -> Callable[..., NodeTemplate]:
    return make_template


@pytest.fixture
def recorded() -> list[bytes]:
    return recorded_frames()
