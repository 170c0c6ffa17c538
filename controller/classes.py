"""Sessions' classes at the ports of their paths, set by netlink: one request for all ports of a session.

What a session is guaranteed its slice's default class is not: that one keeps the slice's guarantee less those of the sessions.
"""

import errno
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec.structs import replace

from controller.session import Direction
from linux import tree
from linux.netlink import Message
from linux.tree import LEAST_BPS
from scenarios.plan import Change, Plan

Rates = Mapping[Direction, int]  # bit/s at each port
_GONE = (errno.ENOENT, errno.ENODEV, errno.EINVAL)  # the class, its interface, or the whole tree is not there


class Requests(Protocol):
    """A routing socket."""

    def request(self, messages: list[Message]) -> None:
        """Carries out all. Raises OSError for the first that is refused."""


class Classes:
    """What sessions have at each port. A port is a direction of a link, named by the end that sends."""

    def __init__(self, plan: Plan, netlink: Requests, index_of: Callable[[str], int]) -> None:
        self._netlink, self._index_of = netlink, index_of
        ends = {(link.name, number): end for link in plan.links for number, end in enumerate(link.ends)}
        self._ends = {direction: end for direction, end in ends.items() if end.port and end.queues}
        self._guarantees = {(d, queue.number): queue.rate_bps for d, end in self._ends.items() for queue in end.queues}
        self._sums: dict[tuple[Direction, int], int] = defaultdict(int)  # of sessions, by port and slice's queue
        self._there: dict[Direction, dict[int, tuple[int, int]]] = defaultdict(dict)  # queue -> slice's queue, rate
        self._indices: dict[str, int] = {}

    def change(self, queue: int, slice_queue: int, before: Rates, after: Rates) -> None:
        """Makes a session's classes those of `after`. Raises OSError when the kernel refuses one; all are as before then."""
        changed = [d for d in {**before, **after} if d in self._ends and before.get(d) != after.get(d)]
        grown = {d: after.get(d, 0) - before.get(d, 0) for d in changed}
        try:
            self._request(changed, queue, slice_queue, before, after, grown)
        except OSError:
            for direction in changed:
                self._restore(direction, queue, slice_queue, before.get(direction), after.get(direction))
            raise
        self._note(changed, queue, slice_queue, after, grown)

    def remove(self, queue: int, slice_queue: int, before: Rates) -> None:
        """Ends a session's classes. That one is gone already, with its port or by somebody else's hand, is what is wanted."""
        changed = [direction for direction in before if direction in self._ends]
        grown = {direction: -before[direction] for direction in changed}
        try:
            self._request(changed, queue, slice_queue, before, {}, grown)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        self._note(changed, queue, slice_queue, {}, grown)

    def renew(self, direction: Direction) -> None:
        """Sets all sessions' classes again at a port whose tree was made anew. Raises OSError."""
        if direction not in self._ends:
            return
        end = self._ends[direction]
        self._indices.pop(end.interface, None)
        index, messages = self._index(end.interface), list[Message]()
        for queue, (slice_queue, rate) in self._there[direction].items():
            messages += tree.session_class(end, index, slice_queue, queue, max(rate, LEAST_BPS))
        for slice_of in end.queues:
            messages += self._default(direction, slice_of.number, self._left(direction, slice_of.number))
        self._netlink.request(messages)

    def reshape(self, direction: Direction, change: Change) -> None:
        """A port has another shape: its sessions' classes get what they have to have there. Raises OSError."""
        if direction not in self._ends:
            return
        self._ends[direction] = replace(self._ends[direction], shape=change.shape, queues=change.queues)
        self._guarantees |= {(direction, queue.number): queue.rate_bps for queue in change.queues}
        self.renew(direction)

    def restore(
        self,
        kept: Iterable[tuple[int, int, Rates]],
        sessions_at: Callable[[int], Mapping[int, tree.Session]],
    ) -> None:
        """After a controller that was killed: sessions (their queue, their slice's, their rates) keep their classes, what is
        there of others goes, what is missing is set. `sessions_at` gives an interface's classes by its index. Raises OSError."""
        for queue, slice_queue, rates in kept:
            ports = [direction for direction in rates if direction in self._ends]
            self._note(ports, queue, slice_queue, rates, rates)
        for direction, end in self._ends.items():
            index, wanted = self._index(end.interface), self._there[direction]
            found = sessions_at(index)
            left = sorted(found.keys() - wanted.keys())
            messages = [part for queue in left for part in tree.without_session(end, index, queue)]
            for queue, (slice_queue, bps) in wanted.items():
                rate = max(bps, LEAST_BPS) // 8 * 8  # the kernel counts bytes
                if queue not in found or (found[queue].slice_queue, found[queue].rate_bps) != (slice_queue, rate):
                    messages += tree.session_class(end, index, slice_queue, queue, rate)
            if found or wanted:
                for slice_of in end.queues:
                    messages += tree.default_rate(end, index, slice_of.number, self._left(direction, slice_of.number))
            self._netlink.request(messages)

    def _request(
        self,
        ports: Iterable[Direction],
        queue: int,
        slice_queue: int,
        before: Rates,
        after: Rates,
        grown: Mapping[Direction, int],
    ) -> None:
        """One request. Sums that stay over the guarantee leave the default class as it is."""
        messages: list[Message] = []
        for direction in ports:
            messages += self._session(direction, queue, slice_queue, before.get(direction), after.get(direction))
            left = self._left(direction, slice_queue, grown[direction])
            if left != self._left(direction, slice_queue):
                messages += self._default(direction, slice_queue, left)
        self._netlink.request(messages)

    def _session(
        self, direction: Direction, queue: int, slice_queue: int, before: int | None, after: int | None
    ) -> list[Message]:
        end = self._ends[direction]
        index = self._index(end.interface)
        if after is None:
            return tree.without_session(end, index, queue)
        set_rate = tree.session_class if before is None else tree.session_rate
        return set_rate(end, index, slice_queue, queue, max(after, LEAST_BPS))

    def _default(self, direction: Direction, slice_queue: int, left: int) -> list[Message]:
        end = self._ends[direction]
        return tree.default_rate(end, self._index(end.interface), slice_queue, left)

    def _left(self, direction: Direction, slice_queue: int, grown: int = 0) -> int:
        return tree.left(self._guarantees[direction, slice_queue], self._sums[direction, slice_queue] + grown)

    def _restore(
        self, direction: Direction, queue: int, slice_queue: int, before: int | None, after: int | None
    ) -> None:
        """One port as it was, after a change of which perhaps not all was carried out."""
        for messages in (
            self._session(direction, queue, slice_queue, after, before),
            self._default(direction, slice_queue, self._left(direction, slice_queue)),
        ):
            try:
                self._netlink.request(messages)
            except OSError as error:
                if error.errno not in _GONE:
                    raise

    def _note(
        self, ports: Iterable[Direction], queue: int, slice_queue: int, after: Rates, grown: Mapping[Direction, int]
    ) -> None:
        for direction in ports:
            self._sums[direction, slice_queue] += grown[direction]
            if direction in after:
                self._there[direction][queue] = (slice_queue, after[direction])
            else:
                del self._there[direction][queue]

    def _index(self, interface: str) -> int:
        if interface not in self._indices:
            self._indices[interface] = self._index_of(interface)
        return self._indices[interface]
