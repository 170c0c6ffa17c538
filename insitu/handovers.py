"""The machine's part of handovers: tells the controller in time, and moves ports at their times."""

import time
from collections import defaultdict
from collections.abc import Sequence

from insitu.control import Control, Done
from scenarios import recording, records
from scenarios.plan import Device, Plan
from topology.net import Network

# So long before its time the controller is told of a handover: enough for two decisions of the dearest policy, 20 ms each (one may
# be under way), and for barriers. A source gNB too prepares between a measurement report and its command to the UE.
PREPARATION_NS = 50_000_000
EXECUTION_LIMIT_S = 0.02  # for the controller's answer; then the port moves all the same


Move = tuple[Device, int]  # to its attachment of that number


def moves_by_time(plan: Plan) -> dict[int, list[Move]]:
    """All handovers of a plan; those of one time are one."""
    moves: dict[int, list[Move]] = defaultdict(list)
    for device in plan.devices:
        for place, attachment in enumerate(device.attachments[1:], 1):
            moves[attachment.time_ns].append((device, place))
    return moves


def prepared_at(device: Device, place: int) -> int:
    """When a device's handover to its attachment `place` is prepared: not before the one before it."""
    before, after = device.attachments[place - 1], device.attachments[place]
    return max(before.time_ns, after.time_ns - PREPARATION_NS)


class Handovers:
    """Prepared and carried out, with the controller's help where there is one."""

    def __init__(self, network: Network, control: Control, recorder: recording.Recorder) -> None:
        self._network, self._control, self._recorder = network, control, recorder

    def prepare(self, device: Device, place: int) -> None:
        self._control.ask("prepare", device.host, place)

    def carry_out(self, moves: Sequence[Move]) -> None:
        """Moves ports, all at once: when packets are led to their new cells if the controller is prepared, and now if not."""
        ready = [move for move in moves if self._is_done("prepared", move)]
        for device, place in ready:
            self._control.ask("execute", device.host, place)
        end = time.monotonic() + EXECUTION_LIMIT_S
        led = [self._is_done("executed", move, end) for move in ready]
        began = self._recorder.now()
        self._network.hand_over(moves)
        now = self._recorder.now()
        for device, place in moves:
            prepared = (device, place) in ready and led[ready.index((device, place))]
            event = records.Handover(now, device.host, device.attachments[place].cell, prepared, now - began)
            self._recorder.write(event)

    def _is_done(self, what: Done, move: Move, end: float = 0) -> bool:
        device, place = move
        return self._control.is_done(what, device.host, place, max(0, end - time.monotonic()))
