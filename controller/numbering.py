"""The numbers of sessions' queues."""

import heapq
from collections.abc import Set


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
