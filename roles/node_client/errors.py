"""What a call to the node raises.

::

    NodeError                    carries a hint for the operator, and a reason of few words for metrics
    ├── NodeUnreachable          no connection, or it broke
    │   └── NodeTimeout          no answer in time
    ├── NodeBusy                 its work queue is full (503)
    ├── NodeWarmingUp            it is loading its chain (-28)
    ├── NodeCredentialsMissing   the cookie or password file cannot be read
    ├── NodeUnauthorized         it knows other credentials (401), or does not serve this machine (403)
    ├── NodeMalformed            the answer is not what bitcoind would say
    └── NodeRefused              the answer is an error; carries bitcoind's code and message

All but NodeRefused and NodeMalformed can pass by waiting. Credentials and answers never stand in a text.
"""

from typing import ClassVar


class NodeError(Exception):
    """Root of the node's errors: what happened, and what an operator may do about it."""

    reason: ClassVar[str] = "error"

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


class NodeUnreachable(NodeError):
    """No connection to the node, or it broke."""

    reason = "unreachable"


class NodeTimeout(NodeUnreachable):
    """No answer in time."""

    reason = "timeout"


class NodeBusy(NodeError):
    """The node's work queue is full."""

    reason = "busy"


class NodeWarmingUp(NodeError):
    """The node is starting and does not answer questions about its chain yet."""

    reason = "warming-up"


class NodeCredentialsMissing(NodeError):
    """The file with the credentials is not there or cannot be read."""

    reason = "credentials-missing"


class NodeUnauthorized(NodeError):
    """The node does not accept the credentials, or not from this address."""

    reason = "unauthorized"


class NodeMalformed(NodeError):
    """An answer that bitcoind would not give."""

    reason = "malformed"


class NodeRefused(NodeError):
    """An error answer; `code` and `message` are bitcoind's."""

    reason = "refused"

    def __init__(self, method: str, code: int, message: str, *, hint: str = "") -> None:
        super().__init__(f"the node refuses {method}: {message} (code {code})", hint=hint)
        self.code = code
        self.message = message
