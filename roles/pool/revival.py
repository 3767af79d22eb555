"""What can be gone on with of a channel that was recorded: jobs of the present tip, made anew from their
templates.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from protocols.bitcoin.errors import CoinbaseError
from protocols.mining.job import GroupJob, Template, Tip, Work
from roles.pool import resume_layout as layout
from roles.pool.resume_layout import ChannelState, TargetRecord
from roles.pool.resume_store import Raw, Result
from roles.pool.workshop import Workshop, same_tip

MAX_WORKS: Final = 1024


class Revived(NamedTuple):
    """A channel to go on with; `jobs` in their order, and with each its template as it was recorded."""

    prefix: bytes
    targets: tuple[TargetRecord, ...]
    jobs: tuple[GroupJob, ...]
    templates: tuple[bytes, ...]
    last_id: int

    @property
    def target(self) -> int:
        """The target of work to come."""
        return self.targets[-1].target

    @property
    def records(self) -> list[tuple[int, bytes, int]]:
        """Its jobs as they are recorded again."""
        together = zip(self.jobs, self.templates, strict=True)
        return [(job.job_id, packed, job.work.revision) for job, packed in together]


class Revival:
    """Makes work of recorded templates; what many channels have in common is made once."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._tip: Tip | None = None
        self._templates: dict[bytes, tuple[Template, Tip] | None] = {}
        self._works: OrderedDict[tuple[bytes, int], Work] = OrderedDict()

    def revive(self, raw: Raw, *, is_extended: bool, max_target: int) -> Revived | Result:
        """The channel of a record as a client asks for it now, or why it is not to be had."""
        if self._tip is not self._workshop.tip:
            self._tip = self._workshop.tip
            self._templates.clear()
            self._works.clear()
        state = ChannelState.unpack(raw.channel)
        if state.is_extended != is_extended or not state.targets or state.targets[-1].target > max_target:
            return Result.UNFIT
        records = sorted({*state.jobs, *layout.session_jobs(raw.session)})
        packed = {layout.number_of(each): each for each in raw.templates}
        jobs: list[GroupJob] = []
        templates: list[bytes] = []
        for job_id, number, revision in records:
            if number not in packed or revision < state.targets[0].since:
                continue
            known = self._template(packed[number])
            work = None if known is None else self._work(packed[number], known[0], revision)
            if known is not None and work is not None:
                jobs.append(GroupJob(job_id, work, known[1]))
                templates.append(packed[number])
        if not jobs:
            return Result.OTHER_TIP
        last_id = max(each.job_id for each in records)
        return Revived(state.prefix, state.targets, tuple(jobs), tuple(templates), last_id)

    def _template(self, packed: bytes) -> tuple[Template, Tip] | None:
        """A template and its tip, None unless that is the present one."""
        if packed not in self._templates:
            template, tip = layout.unpack_template(packed)
            present = self._workshop.tip
            if present is None or not same_tip(present, tip):
                self._templates[packed] = None
            else:
                # One that is the same in all is the same object, too, by which some tell.
                is_present = (present.min_ntime, present.received) == (tip.min_ntime, tip.received)
                self._templates[packed] = (template, present if is_present else tip)
        return self._templates[packed]

    def _work(self, packed: bytes, template: Template, revision: int) -> Work | None:
        name = packed, revision
        work = self._works.get(name)
        if work is None:
            try:
                work = self._workshop.rebuild(template, revision)
            except CoinbaseError:
                return None
            self._works[name] = work
            if len(self._works) > MAX_WORKS:
                self._works.popitem(last=False)
        return work
