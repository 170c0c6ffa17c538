"""A device that goes from cell to cell while a stream comes to it, and sessions for what comes from central."""

import json
import time
from typing import Any

from stream import Stream, Transfer, goodput, interruption

from insitu.handovers import PREPARATION_NS, Handovers
from scenarios.plan import NORTHBOUND_PORT
from topology.net import Network

SESSIONS = "quality-on-demand/v1/sessions"
DOWNLOADS = "insitu/v1/downloads"
BEFORE_S, AFTER_S, TRANSFER_S = 0.3, 0.3, 1.5  # a stream or a transfer, and its handover


class Moving:
    """The network, the machine's part of handovers, and the rover, which goes from each attachment to the next."""

    def __init__(self, network: Network, handovers: Handovers) -> None:
        self.network, self._handovers = network, handovers
        self._rover = next(device for device in network.plan.devices if device.host == "rover")
        self._place = 0

    def hand_over(self, source: str, *, told: bool = True) -> dict[str, Any]:
        """The next handover, while a stream comes from a host. Times are ms since it began."""
        stream = Stream(self.network, source, self._rover.host)
        began = self._go(told)
        time.sleep(AFTER_S)
        return interruption(stream.end(), began) | {"place": self._place}

    def download(self, *, told: bool = True) -> dict[str, Any]:
        """The next handover, while a TCP transfer comes from central."""
        transfer = Transfer(self.network, "central", self._rover.host)
        began = self._go(told)
        time.sleep(TRANSFER_S)
        return goodput(transfer.end(), began) | {"place": self._place}

    def _go(self, told: bool) -> int:
        """When it began, ns."""
        self._place += 1
        time.sleep(BEFORE_S)
        if told:
            self._handovers.prepare(self._rover, self._place)
        time.sleep(PREPARATION_NS / 1e9)
        began = time.monotonic_ns()
        self._handovers.carry_out(self._rover, self._place)
        return began

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
