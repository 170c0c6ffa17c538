"""Caching policies: which objects a bounded store keeps. Pure: they know names and sizes, not bytes.

All follow one rule: a new object displaces those that are worth less than itself, the least worth first, and stays out where that
does not make room. A policy is what an object is worth.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any


class Policy:
    """Keeps at most `capacity` bytes. What was evicted or never admitted may still be asked for, and be admitted later."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._sizes: dict[str, int] = {}  # of the objects that are held
        self._used = 0
        self._asks = 0  # so far, of anything: the time by which asks are ordered
        self._last: dict[str, int] = {}  # when each was asked for last

    def models(self, models: dict[str, Collection[str]]) -> None:
        """Which objects make up each model, for a policy that cares; given before anything is asked for."""

    def asked(self, name: str, size: int) -> None:
        """An object that exists, held or not, was asked for."""
        self._asks += 1
        self._last[name] = self._asks

    def worth(self, name: str, size: int) -> Any:
        """What orders the objects; equal worth is decided by the name."""
        raise NotImplementedError

    def admit(self, name: str, size: int) -> list[str] | None:
        """What has to go for a new object; None when it stays out, and then nothing goes."""
        missing = self._used + size - self._capacity
        evicted = []
        if missing > 0:
            worth = self.worth(name, size)
            for old in sorted(self._sizes, key=lambda held: (self.worth(held, self._sizes[held]), held)):
                if missing <= 0 or not self.worth(old, self._sizes[old]) < worth:
                    break
                evicted.append(old)
                missing -= self._sizes[old]
            if missing > 0:
                return None
        for old in evicted:
            self.remove(old)
        self._sizes[name] = size
        self._used += size
        return evicted

    def remove(self, name: str) -> None:
        """A held object is gone."""
        self._used -= self._sizes.pop(name)


class Lru(Policy):
    """Least recently used goes first (Mattson et al., "Evaluation techniques for storage hierarchies", 1970)."""

    def worth(self, name: str, size: int) -> int:
        return self._last[name]


class Lfu(Policy):
    """Least frequently used goes first, of equals the least recently used; what was evicted keeps its count.

    (Aho, Denning, Ullman, "Principles of optimal page replacement", 1971: optimal where asks are independent.)
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._counts: Counter[str] = Counter()

    def asked(self, name: str, size: int) -> None:
        super().asked(name, size)
        self._counts[name] += 1

    def worth(self, name: str, size: int) -> tuple[int, int]:
        return self._counts[name], self._last[name]


class Popularity(Policy):
    """A block is worth the popularity of all models that use it, per byte, so shared blocks stay longest.

    After Qu et al., "TrimCaching: Parameter-sharing AI Model Caching in Wireless Edge Networks" (2024), whose greedy placement
    counts the hits that a parameter block brings to every model that shares it. There popularities are given; here they are
    counted: an ask for an object is one n-th of a request for a model of n objects, shared among the models that use the object.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._users: defaultdict[str, list[str]] = defaultdict(list)
        self._parts: dict[str, int] = {}
        self._requests: Counter[str] = Counter()

    def models(self, models: dict[str, Collection[str]]) -> None:
        for model, objects in models.items():
            self._parts[model] = len(objects)
            for name in objects:
                self._users[name].append(model)

    def asked(self, name: str, size: int) -> None:
        super().asked(name, size)
        users = self._users.get(name, ())
        for model in users:
            self._requests[model] += 1 / len(users) / self._parts[model]  # type: ignore[assignment]

    def worth(self, name: str, size: int) -> tuple[float, int]:
        return sum(self._requests[model] for model in self._users.get(name, ())) / max(1, size), self._last[name]


class Pinned(Policy):
    """What was put first stays, and nothing ever goes: what a prefetch has placed cannot be displaced by what devices ask for."""

    def worth(self, name: str, size: int) -> int:
        return 0


CACHING: dict[str, type[Policy]] = {"lru": Lru, "lfu": Lfu, "popularity": Popularity, "pinned": Pinned}
