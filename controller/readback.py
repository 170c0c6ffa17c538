"""What a switch holds: its flow entries, read back."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controller.slices import Entry

READ_LIMIT_S = 10  # in which a switch has to answer


def normal(entry: Entry) -> Entry:
    """Of an entry whose match may be written in several orders, the one form."""
    return entry._replace(match=tuple(sorted(entry.match)))


def entry_of(switch: str, flow: Any) -> Entry:
    """A flow's statistics as an entry in its normal form; what insitu never sets, such as a group, is left out and so differs."""
    queue = mac = port = None
    for instruction in flow.instructions:
        for action in getattr(instruction, "actions", ()):
            if hasattr(action, "queue_id"):
                queue = action.queue_id
            elif hasattr(action, "port"):
                port = action.port
            elif getattr(action, "key", None) == "eth_dst":
                mac = action.value
    match = tuple(flow.match.items())
    return normal(Entry(switch, flow.table_id, flow.priority, match, queue, mac, port, flow.cookie))


class Readback:
    """Asks switches for their flow entries; whoever asks is a green thread, and waits."""

    def __init__(self, new_event: Callable[[], Any]) -> None:
        self._new_event = new_event
        self._asked: dict[str, tuple[Any, list[Entry]]] = {}

    def entries(self, datapaths: Mapping[str, Any]) -> dict[str, list[Entry]]:
        """What each of these switches holds. Raises TimeoutError when one does not say so; one that disconnects holds nothing."""
        for name, datapath in datapaths.items():
            self._asked[name] = self._new_event(), []
            datapath.send_msg(datapath.ofproto_parser.OFPFlowStatsRequest(datapath))
        waiting = {name: self._asked[name] for name in datapaths}
        for name, (answered, _) in waiting.items():
            if not answered.wait(timeout=READ_LIMIT_S):
                raise TimeoutError(f"{name} has not said within {READ_LIMIT_S} s what it holds")
        return {name: entries for name, (_, entries) in waiting.items()}

    def arrived(self, name: str, flows: Iterable[Any], more: bool) -> None:
        """A part of an answer."""
        answered, entries = self._asked[name]
        entries += [entry_of(name, flow) for flow in flows]
        if not more:
            del self._asked[name]
            answered.set()

    def disconnected(self, name: str) -> None:
        if name in self._asked:
            self._asked.pop(name)[0].set()
