"""The templates that one client was sent, as long as it may come back to them."""

from collections import deque
from enum import Enum

from roles.templates.draft import Draft

MAX_TEMPLATES = 512
MAX_FORGOTTEN = 1_024


class Absence(Enum):
    """Why a template cannot be had, by its code on the wire."""

    STALE = "stale-template-id"
    UNKNOWN = "template-id-not-found"


class Book:
    """Drafts by template id: of the present tip, and of earlier ones for a while; bounded.

    When there are too many, the oldest goes.
    """

    def __init__(self) -> None:
        self._drafts: dict[int, Draft] = {}
        self._leaves: dict[int, float] = {}
        self._forgotten: deque[int] = deque(maxlen=MAX_FORGOTTEN)

    def add(self, template_id: int, draft: Draft) -> None:
        """Keep a template, before it is sent."""
        if len(self._drafts) >= MAX_TEMPLATES:
            self._forget(next(iter(self._drafts)))
        self._drafts[template_id] = draft

    def turn(self, previous: bytes, leave_at: float) -> None:
        """The tip is now `previous`: templates of other tips are kept until the clock shows `leave_at`."""
        for template_id, draft in self._drafts.items():
            if draft.previous == previous:
                # A chain that turns back revives what was built on it.
                self._leaves.pop(template_id, None)
            else:
                self._leaves.setdefault(template_id, leave_at)

    def prune(self, now: float) -> None:
        """Forget the templates whose time has come."""
        for template_id in [each for each, leave_at in self._leaves.items() if leave_at <= now]:
            self._forget(template_id)

    def find(self, template_id: int) -> Draft | Absence:
        """The template with this id, or why it is not there."""
        found = self._drafts.get(template_id)
        if found is not None:
            return found
        return Absence.STALE if template_id in self._forgotten else Absence.UNKNOWN

    def drafts(self) -> tuple[Draft, ...]:
        """All that are kept, the newest first."""
        return tuple(reversed(self._drafts.values()))

    def _forget(self, template_id: int) -> None:
        del self._drafts[template_id]
        self._leaves.pop(template_id, None)
        self._forgotten.append(template_id)
