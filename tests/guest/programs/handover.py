"""Handovers as a UDP stream sees them from outside, with sessions and without, beside what the records say."""

import json
import os
import signal
import subprocess
import threading
import time
from typing import Any

from emulation import OUT, emulation, read_plan, write_result
from stream import Stream, interruption

from insitu.control import Control
from insitu.handovers import PREPARATION_NS, Handovers
from scenarios import records
from scenarios.plan import NORTHBOUND_PORT
from topology.net import Network

SESSIONS = "quality-on-demand/v1/sessions"
BEFORE_S, AFTER_S = 0.1, 0.3  # of a stream
SILENCE_S = 0.3  # from before the stream
DOWNLOADS = "insitu/v1/downloads"


class Bench:
    """The network, the machine's part of handovers, and the rover, which goes from each attachment to the next."""

    def __init__(self, network: Network, handovers: Handovers) -> None:
        self.network, self._handovers = network, handovers
        self._rover = next(device for device in network.plan.devices if device.host == "rover")
        self._place = 0

    def hand_over(self, source: str, *, told: bool = True) -> dict[str, Any]:
        """The next handover, while a stream comes from a host. Times are ms since it began."""
        self._place += 1
        stream = Stream(self.network, source, self._rover.host)
        time.sleep(BEFORE_S)
        if told:
            self._handovers.prepare(self._rover, self._place)
        time.sleep(PREPARATION_NS / 1e9)
        began = time.monotonic_ns()
        self._handovers.carry_out(self._rover, self._place)
        time.sleep(AFTER_S)
        return interruption(stream.end(), began) | {"place": self._place}

    def reserve(self, device: str, rate_bps: int) -> dict[str, Any]:
        """A session for what comes from central, asked for there."""
        body = {
            "device": {
                "ipv4Address": {"privateAddress": self._address(device), "publicAddress": self._address(device)}
            },
            "applicationServer": {"ipv4Address": self._address("central")},
            "slice": "gold",
            "download": device,
            "rate": rate_bps,
            "time_left_ns": 60 * 10**9,
            "duration_ns": 60 * 10**9,
        }
        return self._call(DOWNLOADS, "-H", "Content-Type: application/json", "-d", json.dumps(body))

    def end(self, session: str) -> None:
        self._call(f"{SESSIONS}/{session}", "-X", "DELETE")

    def _call(self, path: str, *options: str) -> dict[str, Any]:
        url = f"http://{self._address('nef')}:{NORTHBOUND_PORT}/{path}"
        text = self.network.get("central").popen(["curl", "-s", *options, url]).communicate()[0]
        answer: dict[str, Any] = json.loads(text) if text else {}
        return answer

    def _address(self, host: str) -> str:
        return str(self.network.get(host).IP())


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


def measure(bench: Bench, controller: int) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    found: dict[str, Any] = {"at_a": tables(bench.network)}
    seen["to_b"] = bench.hand_over("central")
    found["at_b"] = tables(bench.network)
    seen["to_a"] = bench.hand_over("central")
    found["again_at_a"] = tables(bench.network)

    kept = bench.reserve("rover", 10_000_000)
    seen["kept_to_b"] = bench.hand_over("central")
    found["kept_at_b"] = tables(bench.network)
    bench.end(kept["sessionId"])
    found["without_at_b"] = tables(bench.network)
    seen["from_edge_to_a"] = bench.hand_over("a-edge")

    reduced = bench.reserve("rover", 40_000_000)
    seen["reduced_to_b"] = bench.hand_over("central")
    bench.end(reduced["sessionId"])
    bench.hand_over("central")

    others = bench.reserve("other", 25_000_000)
    ended = bench.reserve("rover", 20_000_000)
    seen["ended_to_b"] = bench.hand_over("central")
    bench.end(others["sessionId"])
    found["ended_at_b"] = tables(bench.network)

    seen["untold_to_a"] = bench.hand_over("central", told=False)
    silence(controller, SILENCE_S)
    seen["silent_to_b"] = bench.hand_over("central")
    seen["after_silence_to_a"] = bench.hand_over("central")
    sessions = {"kept": kept, "reduced": reduced, "others": others, "ended": ended}
    return {"seen": seen, "tables": found, "sessions": sessions}


def events(*kinds: str) -> list[dict[str, Any]]:
    """What was recorded."""
    lines = [json.loads(line) for file in (OUT / "events").iterdir() for line in file.read_text().splitlines()]
    return [line for line in lines if line["kind"] in kinds]


def main() -> None:
    plan, control = read_plan(), Control()
    with emulation(plan, control) as (network, controller):
        recorder = records.Recorder(OUT / "events", "machine")
        result = measure(Bench(network, Handovers(network, control, recorder)), controller.pid)
        recorder.close()
    handovers = events("handover")
    for seen in result["seen"].values():
        event = handovers[seen["place"] - 1]
        seen |= {"prepared": event["prepared"], "away_ms": event["away_ns"] / 1e6}
    write_result(result | {"events": events("handover", "rerouted", "sessionchanged", "sessionended")})


main()
