"""The life of sessions: asked for, decided, set up, changed, moved, ended. Called from green threads.

A session is at the ports of its path as classes and on its switches as flows. Classes come first and go last, so that no packet
ever names a queue that is not there. Whatever refuses, the kernel or a switch, undoes the session, and the run goes on.

A session ends when it is deleted, when its duration is over, or when the network cannot carry it any more. Its owner is whoever
made it; one that dies without deleting it leaves it for the rest of its duration, not longer. (Edge libraries ask for what a
download has left of its time, and delete when it ends or breaks off.)
"""

import heapq
import itertools
import uuid
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from controller import slices
from controller.classes import Classes
from controller.decisions import Asked, Decisions
from controller.journal import AnyLine, Ended, Numbered, State, Written
from controller.paths import Paths
from controller.policies.view import Decision, Flow, Grant, SlicingPolicy
from controller.session import Direction, Request, Session
from controller.switches import SwitchError, Switches
from linux.tree import FIRST_SESSION, LAST_SESSION
from scenarios import recording, records
from scenarios.plan import Plan

# Why a session ended: CAMARA's statusInfo
EXPIRED, NETWORK, DELETED = "DURATION_EXPIRED", "NETWORK_TERMINATED", "DELETE_REQUESTED"
NODE = "nef"  # where records say that it happened
DRAIN_S = 0.1  # a port holds what its delay holds and 50 ms of traffic
_SECOND = 10**9


class Refused(Exception):
    """There is no session, and nothing of it is left; the message says why."""


@dataclass
class _Live:
    """A session that is granted: what policies see of it, what is set for it, and the timer of its end."""

    session: Session
    flow: Flow
    lock: Any  # held by whoever sets it up, moves it or ends it
    needs: tuple[str, ...]  # the switches of its path
    rates: dict[Direction, int]  # of its classes; empty before they are set, and for one that shares its slice's
    timer: Any = None


class Sessions:
    """All sessions. A request is in `sessions` from when it is granted; what is there is AVAILABLE, or on the way to it.

    `hub` is os-ken's or Ryu's: green threads, events, timers. `views` is the folder for what made a policy fail.
    """

    def __init__(
        self,
        plan: Plan,
        paths: Paths,
        policy: SlicingPolicy,
        switches: Switches,
        classes: Classes,
        recorder: recording.Recorder,
        hub: Any,
        views: Path,
        journal: Callable[[AnyLine], None] = lambda line: None,
    ) -> None:
        self.sessions: dict[str, Session] = {}
        # Told of each change after it: "AVAILABLE" (set up), "EXTENDED", why a rate or a path is another one
        # ("POLICY", "HANDOVER", "FAILURE"), or, when `ended` is set, why it ended
        self.on_change: list[Callable[[Session, str], None]] = []
        self._paths, self._switches, self._classes = paths, switches, classes
        self._recorder, self._hub, self._journal = recorder, hub, journal
        self._queues = {entry.name: entry.queue for entry in plan.slices}
        self._live: dict[str, _Live] = {}
        self._numbers = Numbers(FIRST_SESSION, LAST_SESSION)
        self._counter = itertools.count(1)
        self._namespace = uuid.uuid5(uuid.NAMESPACE_OID, f"sessions of seed {plan.seed}")
        self._decisions = Decisions(
            plan,
            paths,
            policy,
            hub,
            views,
            now=recorder.now,
            running=lambda: (live.flow for live in self._live.values()),
            carry_out=self._carry_out,
            failed=lambda why, view: recorder.write(records.PolicyFailed(recorder.now(), NODE, why, view)),
        )

    def new_id(self) -> str:
        """The next session's id: a UUID of the plan's seed and a counter."""
        number = next(self._counter)
        self._journal(Numbered(number))
        return str(uuid.uuid5(self._namespace, str(number)))

    def restore(self, found: State) -> list[tuple[int, int, dict[Direction, int]]]:
        """Goes on where a controller that was killed has stopped. Sessions that were AVAILABLE still are, but for those whose time
        is over, which end as soon as green threads run; what had only begun has ended. Gives each session's queue, its slice's
        queue and its rates, for `Classes.restore`."""
        self._counter = itertools.count(found.number + 1)
        self._numbers.go_on({written.session.queue for written in found.sessions.values()})
        for written in list(found.sessions.values()):
            session, request = written.session, written.session.request
            if session.status != "AVAILABLE":
                self._journal(Ended(request.id))
                self._numbers.give_back(session.queue)
                self._record(records.SessionEnded, request, NETWORK)
                continue
            session.switches = written.switches
            rates = (session.down_bps, session.variant, written.shared, session.started_ns)
            flow = Flow(request, session.path, session.back, *rates)
            live = _Live(session, flow, self._hub.Semaphore(1), written.switches, {})
            live.rates = _rates(live)
            self.sessions[request.id], self._live[request.id] = session, live
            self._set_timer(live)
        return [
            (live.session.queue, self._queues[live.session.request.slice], live.rates) for live in self._live.values()
        ]

    def create(self, request: Request) -> Session:
        """Returns when the session is AVAILABLE. Raises Refused."""
        r = request
        about = (r.device, r.server, r.profile, r.download, r.down_bps, r.up_bps, r.duration_ns)
        self._record(records.SessionAsked, request, *about)
        asked = self._decisions.ask(request)
        asked.decided.wait()
        if request.id not in self._live:
            raise Refused(asked.why)
        return self._set_up(self._live[request.id])

    def end(self, id: str, cause: str = DELETED) -> Session | None:
        """Returns when nothing of the session is left; None when there is no such session (any more)."""
        if id not in self.sessions:
            return None
        live = self._live[id]
        with live.lock:
            if live.session.ended:
                return None
            self._tear_down(live, cause)
        return live.session

    def extend(self, id: str, duration_ns: int) -> Session | None:
        """The session lasts so much longer; None when there is no such session (any more)."""
        session = self.sessions.get(id)
        if session is None or session.status != "AVAILABLE":
            return None
        session.expires_ns += duration_ns
        self._write(self._live[id])
        self._set_timer(self._live[id])
        self._changed(self._live[id], "EXTENDED")
        return session

    def move(self, device: str, between: Callable[[], None] = lambda: None) -> None:
        """A device's sessions follow it to where `Paths` has it now: decided anew, make before break.

        `between` is called when everything is set on the new path and nothing has gone from the old one.
        """
        mine = [live for live in self._live.values() if live.session.request.device == device]
        self._follow(mine, "HANDOVER", between)

    def renew(self, device: str) -> None:
        """The port of a device was made anew, as when it moves: its sessions' classes are set there again. Raises OSError."""
        for direction in {
            live.flow.path[-1]: None for live in self._live.values() if live.flow.request.device == device
        }:
            self._classes.renew(direction)

    def reroute(self, links_down: Collection[str]) -> None:
        """These links are down now, all others up: sessions follow their paths, as `Paths` has them."""
        self._paths.set_down(set(links_down))
        self._follow(list(self._live.values()), "FAILURE")

    def entries(self) -> Iterator[slices.Entry]:
        """The flows that sessions have."""
        for live in self._live.values():
            session = live.session
            queue = self._queues[session.request.slice] if live.flow.shared else session.queue
            yield from slices.session_entries(self._paths, session.request, queue, session.queue, session.switches)

    def _carry_out(self, batch: list[Asked], decision: Decision) -> None:
        """Books what is granted, so that the next decision sees it; those that run get their new rates at once."""
        for asked in batch:
            if asked.request.id not in self._live:
                self._decided(asked)
        waited = {asked.request.id for asked in batch}
        for id, grant in decision.grants.items():
            live = self._live.get(id)
            if live and id not in waited and (grant.down_bps, grant.variant) != (live.flow.down_bps, live.flow.variant):
                self._change_rate(live, grant)

    def _decided(self, asked: Asked) -> None:
        request, grant, now = asked.request, asked.grant, self._recorder.now()
        word: Literal["granted", "reduced", "refused"] = "refused"
        if grant.down_bps:
            word = "granted" if grant.down_bps >= request.down_bps else "reduced"
        told = (grant.down_bps, word, grant.variant, asked.charged_ns)
        self._record(records.Session, request, request.device, request.down_bps, *told)
        if not asked.flow or not grant.down_bps:
            return
        queue = self._numbers.take()
        session = Session(request, queue, 0, request.up_bps, "", "REQUESTED", now, now + request.duration_ns)
        live = _Live(session, asked.flow, self._hub.Semaphore(1), self._switches_of(asked.flow), {})
        _place(live, replace(asked.flow, since_ns=now, shared=grant.shared), grant)
        self.sessions[request.id], self._live[request.id] = session, live
        self._write(live)

    def _change_rate(self, live: _Live, grant: Grant) -> None:
        """Of one that runs. It stays in its own class, or its slice's, as it is."""
        _place(live, live.flow, grant)
        self._write(live)
        if live.session.status == "AVAILABLE":
            try:
                self._set_classes(live, _rates(live))
            except OSError:
                self._hub.spawn(self.end, live.session.request.id, NETWORK)
            else:
                self._changed(live, "POLICY")

    def _set_up(self, live: _Live) -> Session:
        session = live.session
        with live.lock:
            if session.ended:  # the path went while this waited
                raise Refused(session.ended)
            try:
                self._set_classes(live, _rates(live))
                self._set_flows(live, live.needs)
            except (OSError, SwitchError) as error:
                self._tear_down(live, NETWORK)
                raise Refused(str(error)) from None
            session.status, session.started_ns = "AVAILABLE", self._recorder.now()
            session.expires_ns = session.started_ns + session.request.duration_ns
            self._set_timer(live)
            self._write(live)
            self._record(records.SessionAvailable, session.request, session.queue)
            self._tell(session, "AVAILABLE")
        return session

    def _follow(self, moving: list[_Live], cause: str, between: Callable[[], None] = lambda: None) -> None:
        """On the new paths everything is set before anything goes from the old ones."""
        self._decisions.network_changed()
        asked = []
        for live in moving:
            flow = self._decisions.flow(live.session.request)
            if flow is None or (flow.path, flow.back) != (live.flow.path, live.flow.back):
                asked.append((live, self._decisions.ask(live.session.request)))
        for live, answer in asked:
            answer.decided.wait()
            with live.lock:
                if not live.session.ended:
                    self._make(live, answer)
        between()
        for live, _ in asked:
            with live.lock:
                if not live.session.ended:
                    self._break(live, cause)

    def _make(self, live: _Live, answer: Asked) -> None:
        """The new path beside the old one; a session that nothing is granted on it ends."""
        session = live.session
        if not answer.flow or not answer.grant.down_bps:
            self._tear_down(live, NETWORK)
            return
        _place(live, replace(answer.flow, since_ns=live.flow.since_ns, shared=live.flow.shared), answer.grant)
        live.needs = self._switches_of(live.flow)
        self._write(live)
        if session.status == "REQUESTED":
            return  # and is set up there
        try:
            self._set_classes(live, {**live.rates, **_rates(live)})
            self._set_flows(live, [name for name in live.needs if name not in session.switches])
        except (OSError, SwitchError):
            self._tear_down(live, NETWORK)

    def _break(self, live: _Live, cause: str) -> None:
        """What only the old path had goes."""
        session = live.session
        if session.status == "REQUESTED":
            return
        left = [name for name in session.switches if name not in live.needs]
        self._switches.remove_all(left, session.queue)
        session.switches = tuple(name for name in session.switches if name not in left)
        try:
            self._set_classes(live, _rates(live))
        except OSError:
            self._tear_down(live, NETWORK)
        else:
            self._changed(live, cause)

    def _tear_down(self, live: _Live, cause: str) -> None:
        """Whatever is set of it goes, flows first; then its number is free. Raises SwitchError, OSError: something is left."""
        session, request, was_available = live.session, live.session.request, live.session.status == "AVAILABLE"
        self._journal(Ended(request.id))
        session.ended, session.status = cause, "UNAVAILABLE"
        self.sessions.pop(request.id)
        if live.timer is not None:
            live.timer.cancel()
        self._switches.remove_all(session.switches, session.queue)
        session.switches = ()
        if (
            cause == EXPIRED and live.rates
        ):  # in the middle of a transfer: what is on its way in the classes is not to be lost
            self._hub.sleep(DRAIN_S)
        self._classes.remove(session.queue, self._queues[request.slice], live.rates)
        del self._live[request.id]
        self._numbers.give_back(session.queue)
        self._record(records.SessionEnded, request, cause)
        if was_available:
            self._tell(session, cause)

    def _set_classes(self, live: _Live, rates: dict[Direction, int]) -> None:
        session = live.session
        self._classes.change(session.queue, self._queues[session.request.slice], live.rates, rates)
        live.rates = rates

    def _set_flows(self, live: _Live, switches: Collection[str]) -> None:
        """On these switches too. What was begun counts as set, so that it is removed when a switch refuses."""
        session = live.session
        session.switches = (*session.switches, *switches)
        queue = self._queues[session.request.slice] if live.flow.shared else session.queue
        self._switches.add(slices.session_entries(self._paths, session.request, queue, session.queue, switches))

    def _switches_of(self, flow: Flow) -> tuple[str, ...]:
        server, device = flow.request.server, flow.request.device
        hops = [*self._paths.path(server, device), *self._paths.path(device, server)]
        return tuple(dict.fromkeys(hop.switch for hop in hops))

    def _set_timer(self, live: _Live) -> None:
        if live.timer is not None:
            live.timer.cancel()
        left = max(0, live.session.expires_ns - self._recorder.now())
        live.timer = self._hub.spawn_after(left / _SECOND, self.end, live.session.request.id, EXPIRED)

    def _write(self, live: _Live) -> None:
        """Into the journal, before anything that follows from it."""
        self._journal(Written(live.session, live.needs, live.flow.shared))

    def _changed(self, live: _Live, cause: str) -> None:
        session = live.session
        self._record(records.SessionChanged, session.request, session.down_bps, session.variant, cause)
        self._tell(session, cause)

    def _tell(self, session: Session, cause: str) -> None:
        for listener in self.on_change:
            listener(session, cause)

    def _record(self, kind: Callable[..., records.Event], request: Request, *what: object) -> None:
        self._recorder.write(kind(self._recorder.now(), NODE, request.id, request.slice, *what))


def _place(live: _Live, flow: Flow, grant: Grant) -> None:
    """The session has this path and this rate from now on; nothing is set yet."""
    session = live.session
    live.flow = replace(flow, down_bps=grant.down_bps, variant=grant.variant)
    session.down_bps, session.variant = grant.down_bps, grant.variant
    session.path, session.back = flow.path, flow.back


def _rates(live: _Live) -> dict[Direction, int]:
    """Of the classes that it is to have: none where it shares its slice's."""
    if live.flow.shared:
        return {}
    down, up = live.session.down_bps, live.session.up_bps
    return {**dict.fromkeys(live.flow.path, down), **dict.fromkeys(live.flow.back, up)}


class Numbers:
    """Numbers that are given out, the lowest first, and come back."""

    def __init__(self, first: int, last: int) -> None:
        self._next, self._last, self._back = first, last, list[int]()

    def take(self) -> int:
        if self._back:
            return heapq.heappop(self._back)
        if self._next > self._last:
            raise OverflowError(f"there is no number over {self._last}")
        self._next += 1
        return self._next - 1

    def go_on(self, taken: Set[int]) -> None:
        """These have been given out and have not come back."""
        first, self._next = self._next, max(taken, default=self._next - 1) + 1
        self._back = sorted(set(range(first, self._next)) - taken)

    def give_back(self, number: int) -> None:
        heapq.heappush(self._back, number)
