"""The decision loop: all requests that wait are decided together, and what a decision would take is charged.

Requests that come while one is being charged are in the next.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.paths import NoPath, Paths
from controller.policies import cost
from controller.policies.checking import PolicyError, decide
from controller.policies.view import Decision, Flow, Grant, LinkView, Room, Running, SliceView, SlicingPolicy
from controller.session import Direction, Request
from scenarios.plan import Plan

_LOG = logging.getLogger(__name__)
NOTHING = Grant(0)


@dataclass
class Asked:
    """A request that waits, and what it got."""

    request: Request
    decided: Any  # an event of the hub's
    flow: Flow | None = None  # on the path that there is now
    grant: Grant = NOTHING  # noqa: RUF009 - frozen
    why: str = ""  # nothing was granted
    charged_ns: int = 0


class Decisions:
    """Asks the policy. `running` are the flows that run; `carry_out` gets each decision before those who wait go on; `failed`
    is told why a policy was not followed, and the name of the view's file."""

    def __init__(
        self,
        plan: Plan,
        paths: Paths,
        policy: SlicingPolicy,
        hub: Any,
        views: Path,
        now: Callable[[], int],
        running: Running,
        carry_out: Callable[[list[Asked], Decision], None],
        failed: Callable[[str, str], None],
    ) -> None:
        self._paths, self._policy, self._hub, self._views, self._now = paths, policy, hub, views, now
        self._running, self._carry_out, self._failed = running, carry_out, failed
        self._slices = {s.name: SliceView(s.guarantee, s.ceiling) for s in plan.slices}
        self._links = {
            (link.name, number): LinkView(end.shape.rate_bps)
            for link in plan.links
            for number, end in enumerate(link.ends)
        }
        self._waiting: list[Asked] = []
        self._there_are = hub.Event()
        self._network = 0  # how often paths have changed
        hub.spawn(self._loop)

    def ask(self, request: Request) -> Asked:
        """Its `decided` is set when it is."""
        asked = Asked(request, self._hub.Event())
        self._waiting.append(asked)
        self._there_are.set()
        return asked

    def has_now(self, direction: Direction, rate_bps: int) -> None:
        """A direction of a link has another rate from now on."""
        self._links[direction] = LinkView(rate_bps)
        self.network_changed()

    def misfits(self, direction: Direction) -> list[str]:
        """Sessions, by id, that have not what they should at a direction of a link: more than it has, or less than they asked."""
        view = self._running.view(self._now(), self._links, self._slices)
        room = Room(view)
        found = []
        for flow in (flow for flow in view.running if direction in (*flow.path, *flow.back)):
            part = (direction, flow.request.slice)
            most = view.guaranteed_bps(part)
            over = flow.down_bps > most if flow.shared else room.free_bps(part) < 0
            if over or flow.down_bps < flow.request.down_bps:
                found.append(flow.request.id)
        return found

    def network_changed(self) -> None:
        """A decision that is being charged is taken again: its paths or rates are not those of now."""
        self._network += 1

    def flow(self, request: Request) -> Flow | None:
        """A request on its path of now; None where there is no path."""
        try:
            path = tuple(self._paths.ends_between(request.server, request.device))
            back = tuple(self._paths.ends_between(request.device, request.server))
        except NoPath:
            return None
        return Flow(request, path, back)

    def _loop(self) -> None:
        while True:
            self._there_are.wait()
            self._there_are.clear()
            batch, self._waiting = self._waiting, []
            seen = self._network
            for asked in batch:
                asked.flow = self.flow(asked.request)
            decision = self._decide(batch)
            if seen == self._network:
                self._carry_out(batch, decision)
                for asked in batch:
                    asked.decided.set()
            else:
                self._waiting = batch + self._waiting
                self._there_are.set()

    def _decide(self, batch: list[Asked]) -> Decision:
        """A policy that raises, or decides the impossible, gives nothing to anybody; records, log and a file say why."""
        waiting = tuple(asked.flow for asked in batch if asked.flow)
        decision, why, charged = Decision(), "the slice has nothing left for it", 0
        if waiting:
            view = self._running.view(self._now(), self._links, self._slices, waiting)
            charged = cost.decision_ns(self._policy, view)
            try:
                decision = decide(self._policy, view)
            except PolicyError as error:
                why, file = str(error), error.save(self._views).name
                self._failed(why, file)
                _LOG.error("%s; the view that made it so is %s", why, file)
            self._hub.sleep(charged / 10**9)
        for asked in batch:
            ends = f"{asked.request.server} and {asked.request.device}"
            asked.grant = decision.grants.get(asked.request.id, NOTHING) if asked.flow else NOTHING
            asked.why = why if asked.flow else f"there is no path between {ends} now"
            asked.charged_ns = charged
        return decision
