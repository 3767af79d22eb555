"""What stops a daemon that takes templates from a node.

::

    OperatorError
    ├── WrongChain           the node is on another chain than the configuration says
    └── FeedUnavailable      ZMQ is configured and pyzmq is not installed
"""

from roles.runtime.errors import OperatorError


class WrongChain(OperatorError):
    """The node and the configuration name different chains."""


class FeedUnavailable(OperatorError):
    """zmq_block_address is set, and the zmq extra is not installed."""
