"""A fake node, and what it says."""

from collections.abc import Callable

import pytest

from roles.node_client.answers import NodeTemplate, TemplateTransaction
from roles.node_client.errors import NodeError, NodeTimeout
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
def long_poll_ran_out() -> NodeError:
    return NodeTimeout("no answer")


@pytest.fixture
def recorded() -> list[bytes]:
    return recorded_frames()
