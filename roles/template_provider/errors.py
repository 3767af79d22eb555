"""What the template provider raises.

::

    TemplateProviderError
    ├── SolutionRefused      a solution that no node would accept; carries `verdict`, a word for metrics
    ├── WrongChain           the node is on another chain than the configuration says (an OperatorError)
    └── FeedUnavailable      ZMQ is configured and pyzmq is not installed (an OperatorError)
"""

from roles.runtime.errors import OperatorError


class TemplateProviderError(Exception):
    """Root of the tree."""


class SolutionRefused(TemplateProviderError):
    """A solution that no node would accept; `verdict` is a BIP22 word where there is one."""

    def __init__(self, verdict: str, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict


class WrongChain(TemplateProviderError, OperatorError):
    """The node and the configuration name different chains."""


class FeedUnavailable(TemplateProviderError, OperatorError):
    """zmq_block_address is set, and the zmq extra is not installed."""
