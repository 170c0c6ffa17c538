"""Handovers as a UDP stream sees them from outside, with sessions and without, beside what the records say."""

import json
import os
import signal
import subprocess
import threading
from typing import Any

from emulation import OUT, emulation, read_plan, write_result
from moving import Moving

from insitu.control import Control
from insitu.handovers import Handovers
from scenarios import recording
from topology.net import Network

SILENCE_S = 0.5  # from before the stream: 0.15 s after the port has moved


def tables(network: Network) -> dict[str, list[str]]:
    """Each switch's flow entries, and the classes of its ports."""
    found = {}
    for switch in network.plan.switches:
        flows = output("ovs-ofctl", "-OOpenFlow13", "--no-stats", "dump-flows", switch.name)
        ports = [
            end.interface for link in network.plan.links for end in link.ends if end.port and end.node == switch.name
        ]
        classes = [f"{port} {line}" for port in ports for line in output("tc", "class", "show", "dev", port)]
        found[switch.name] = sorted([*flows, *classes])
    return found


def output(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def silence(pid: int, seconds: float) -> None:
    """The process does not run meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(seconds, os.kill, (pid, signal.SIGCONT)).start()


def measure(moving: Moving, controller: int) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    found: dict[str, Any] = {"at_a": tables(moving.network)}
    seen["to_b"] = moving.hand_over("central")
    found["at_b"] = tables(moving.network)
    seen["to_a"] = moving.hand_over("central")
    found["again_at_a"] = tables(moving.network)

    kept = moving.reserve("rover", 10_000_000)
    seen["kept_to_b"] = moving.hand_over("central")
    found["kept_at_b"] = tables(moving.network)
    moving.end(kept["sessionId"])
    found["without_at_b"] = tables(moving.network)
    seen["from_edge_to_a"] = moving.hand_over("a-edge")

    reduced = moving.reserve("rover", 30_000_000)
    seen["reduced_to_b"] = moving.hand_over("central")
    moving.end(reduced["sessionId"])
    moving.hand_over("central")

    others = moving.reserve("other", 18_750_000)
    ended = moving.reserve("rover", 20_000_000)
    seen["ended_to_b"] = moving.hand_over("central")
    moving.end(others["sessionId"])
    found["ended_at_b"] = tables(moving.network)

    seen["untold_to_a"] = moving.hand_over("central", told=False)
    silence(controller, SILENCE_S)
    seen["silent_to_b"] = moving.hand_over("central")
    seen["after_silence_to_a"] = moving.hand_over("central")
    sessions = {"kept": kept, "reduced": reduced, "others": others, "ended": ended}
    return {"seen": seen, "tables": found, "sessions": sessions}


def events(*kinds: str) -> list[dict[str, Any]]:
    """What was recorded."""
    lines = [json.loads(line) for file in (OUT / "events").iterdir() for line in file.read_text().splitlines()]
    return [line for line in lines if line["kind"] in kinds]


def main() -> None:
    plan, control = read_plan(), Control()
    with emulation(plan, control) as (network, controller):
        recorder = recording.Recorder(OUT / "events", "machine")
        result = measure(Moving(network, Handovers(network, control, recorder)), controller.pid)
        recorder.close()
    handovers = events("handover")
    for seen in result["seen"].values():
        event = handovers[seen["place"] - 1]
        seen |= {"prepared": event["prepared"], "away_ms": event["away_ns"] / 1e6}
    write_result(result | {"events": events("handover", "rerouted", "sessionchanged", "sessionended")})


main()
