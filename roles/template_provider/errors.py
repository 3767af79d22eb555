"""What the template provider raises.

::

    TemplateProviderError
    └── SolutionRefused      a solution that no node would accept; carries `verdict`, a word for metrics
"""


class TemplateProviderError(Exception):
    """Root of the tree."""


class SolutionRefused(TemplateProviderError):
    """A solution that no node would accept; `verdict` is a BIP22 word where there is one."""

    def __init__(self, verdict: str, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict
