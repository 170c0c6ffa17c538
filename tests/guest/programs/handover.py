"""Handovers as a UDP stream sees them from outside, beside what the records say."""

import time
from typing import Any

from emulation import OUT, emulation, read_plan, write_result
from stream import Stream, interruption

from insitu.control import Control
from insitu.handovers import PREPARATION_NS, Handovers
from scenarios import records
from topology.net import Network


def streamed(network: Network, handovers: Handovers, place: int, source: str, prepared: bool) -> dict[str, Any]:
    """A handover of the rover to its attachment `place` while a stream comes to it."""
    rover = next(device for device in network.plan.devices if device.host == "rover")
    stream = Stream(network, source, rover.host)
    time.sleep(0.3)
    if prepared:
        handovers.prepare(rover, place)
    time.sleep(PREPARATION_NS / 1e9)
    began = time.monotonic_ns()
    handovers.carry_out(rover, place)
    time.sleep(0.3)
    return interruption(stream.end(), began) | {"source": source, "place": place, "prepared": prepared}


def main() -> None:
    plan, control = read_plan(), Control()
    with emulation(plan, control) as (network, _):
        recorder = records.Recorder(OUT / "events", "machine")
        recorder.write(records.Started(recorder.now(), "machine"))
        handovers = Handovers(network, control, recorder)
        sources = ["central", "west-local", "a-edge", "b-edge", "other"]
        situations = [(source, prepared) for prepared in (True, False) for source in sources]
        results = [streamed(network, handovers, place, *situation) for place, situation in enumerate(situations, 1)]
        recorder.close()
    write_result({"streamed": results})


main()
