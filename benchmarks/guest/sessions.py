"""How fast the controller sets up and tears down sessions, seen by a client at the region's library, with the guest's real clock.

/run/out/order.json: {"operations": N, "standing": [S, ...]}; the network is that of /run/out/plan.json. /run/out/result.json gets, for
each number S of sessions that stand meanwhile, the seconds that each set-up and each tear-down took.
"""

import json
import os
import socket
import time
from itertools import count
from typing import Any

from emulation import OUT, emulation, read_plan, write_result

from linux import namespace
from scenarios.plan import NORTHBOUND_PORT, Plan

ROOT = "/quality-on-demand/v1/sessions"


class Client:
    """One connection to the NEF from a host: a plain HTTP/1.1 client, so that little but the controller is measured."""

    def __init__(self, plan: Plan, host: str) -> None:
        self.addresses = {entry.name: entry.ip for entry in plan.hosts}
        self._server = host
        self._ports = count(1024)
        self._socket = namespace.tcp_socket(host)
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect((self.addresses["nef"], NORTHBOUND_PORT))

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: nef\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self._socket.sendall(head.encode() + data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(65536)
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = next((int(l.split(b":")[1]) for l in head.lower().split(b"\r\n") if l.startswith(b"content-length")), 0)
        while len(rest) < length:
            rest += self._socket.recv(65536)
        return int(head.split()[1]), json.loads(rest) if rest else None

    def create(self, device: str) -> str:
        body = {
            "device": {"ipv4Address": {"publicAddress": self.addresses[device], "privateAddress": self.addresses[device]}},
            "applicationServer": {"ipv4Address": self.addresses[self._server]},
            "devicePorts": {"ports": [next(self._ports)]},
            "qosProfile": "small",
            "duration": 3000,
        }
        status, answer = self.call("POST", ROOT, body)
        if status != 201 or answer["qosStatus"] != "AVAILABLE":
            raise RuntimeError(f"{status}: {answer}")
        return str(answer["sessionId"])

    def delete(self, session: str) -> None:
        status, answer = self.call("DELETE", f"{ROOT}/{session}")
        if status != 204:
            raise RuntimeError(f"{status}: {answer}")


def churn(client: Client, devices: list[str], operations: int) -> dict[str, list[float]]:
    """Sets up a session and tears it down, one after the other; seconds of each."""
    up, down = [], []
    for number in range(operations):
        start = time.perf_counter()
        session = client.create(devices[number % len(devices)])
        between = time.perf_counter()
        client.delete(session)
        up.append(between - start)
        down.append(time.perf_counter() - between)
    return {"up": up, "down": down}


def main() -> None:
    plan, order = read_plan(), json.loads((OUT / "order.json").read_text())
    devices = [device.host for device in plan.devices]
    result = []
    with emulation(plan) as (_, controller):
        clients = {host.name.removesuffix("-local"): Client(plan, host.name) for host in plan.hosts if host.role == "local"}
        region = {device.host: f"{device.attachments[0].gnb.partition('-')[0]}" for device in plan.devices}
        standing = 0
        if os.environ.get("SPROF"): os.kill(controller.pid, 10)
        for wanted in order["standing"]:
            start, before = time.perf_counter(), standing
            for standing in range(standing, wanted):
                device = devices[standing % len(devices)]
                clients[region[device]].create(device)
            standing, filled = wanted, time.perf_counter() - start
            first = devices[0]
            near = [device for device in devices if region[device] == region[first]]
            result.append({"standing": wanted, "filled": wanted - before, "seconds": filled, **churn(clients[region[first]], near, order["operations"])})
    write_result({"runs": result})


main()
