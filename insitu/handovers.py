"""The machine's part of handovers: tells the controller in time, and moves ports at their times."""

from insitu.control import Control
from scenarios import records
from scenarios.plan import Device
from topology.net import Network

# So long before its time the controller is told of a handover: enough for two decisions of the dearest policy, 20 ms each (one may
# be under way), and for barriers. A source gNB too prepares between a measurement report and its command to the UE.
PREPARATION_NS = 50_000_000
EXECUTION_LIMIT_S = 0.02  # for the controller's answer; then the port moves all the same


def prepared_at(device: Device, place: int) -> int:
    """When a device's handover to its attachment `place` is prepared: not before the one before it."""
    before, after = device.attachments[place - 1], device.attachments[place]
    return max(before.time_ns, after.time_ns - PREPARATION_NS)


class Handovers:
    """Prepared and carried out, with the controller's help where there is one."""

    def __init__(self, network: Network, control: Control, recorder: records.Recorder) -> None:
        self._network, self._control, self._recorder = network, control, recorder

    def prepare(self, device: Device, place: int) -> None:
        self._control.ask("prepare", device.host, place)

    def carry_out(self, device: Device, place: int) -> None:
        """Moves the port, when packets are led to the new cell if the controller is prepared, and now if it is not."""
        prepared = self._control.is_done("prepared", device.host, place)
        if prepared:
            self._control.ask("execute", device.host, place)
            prepared = self._control.is_done("executed", device.host, place, EXECUTION_LIMIT_S)
        began = self._recorder.now()
        self._network.hand_over(device, place)
        now, cell = self._recorder.now(), device.attachments[place].cell
        self._recorder.write(records.Handover(now, device.host, cell, prepared, now - began))
