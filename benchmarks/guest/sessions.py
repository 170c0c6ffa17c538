"""How fast the controller sets up and tears down sessions, seen by clients at a region's library, with the guest's real clock.

/run/out/order.json: {"operations": N, "standing": [S, ...], "clients": [C, ...]}; the network is that of /run/out/plan.json.
/run/out/result.json gets, for each number of sessions that stand meanwhile and each of clients that ask at once, the seconds that
each set-up took and that all of them took, set-ups and tear-downs, and the processor time of controller and switches.
"""

import json
import re
import socket
import time
from itertools import count
from typing import Any

from emulation import OUT, emulation, read_plan, write_result

from linux import namespace
from scenarios.plan import NORTHBOUND_PORT, Plan
from topology import openvswitch

ROOT = "/quality-on-demand/v1/sessions"
_PORTS = count(1024)


class Client:
    """One connection to the NEF from a host: a plain HTTP/1.1 client, so that little but the controller is measured."""

    def __init__(self, plan: Plan, host: str) -> None:
        self._addresses = {entry.name: entry.ip for entry in plan.hosts}
        self._host = host
        self._socket = namespace.tcp_socket(host)
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect((self._addresses["nef"], NORTHBOUND_PORT))

    def ask(self, method: str, path: str, body: object = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: nef\r\nContent-Type: application/json\r\n"
        self._socket.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)

    def answer(self) -> tuple[int, Any]:
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(65536)
        heads, _, rest = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", heads)
        while length and len(rest) < int(length[1]):
            rest += self._socket.recv(65536)
        return int(heads.split()[1]), json.loads(rest) if rest else None

    def ask_for_session(self, device: str) -> None:
        ip = self._addresses[device]
        body = {
            "device": {"ipv4Address": {"publicAddress": ip, "privateAddress": ip}},
            "applicationServer": {"ipv4Address": self._addresses[self._host]},
            "devicePorts": {"ports": [next(_PORTS)]},
            "qosProfile": "small",
            "duration": 3000,
        }
        self.ask("POST", ROOT, body)

    def session(self) -> str:
        status, answer = self.answer()
        if status != 201 or answer["qosStatus"] != "AVAILABLE":
            raise RuntimeError(f"{status}: {answer}")
        return str(answer["sessionId"])


def cpu_s(pid: int) -> float:
    """The processor time of a process: its clock, as clock_getcpuclockid(3) finds it."""
    return time.clock_gettime(~pid << 3 | 2)


def churn(clients: list[Client], devices: list[str], operations: int) -> dict[str, Any]:
    """All clients ask for a session at once, and when all have one they end them at once, again and again."""
    up, start = [], time.perf_counter()
    for number in range(operations // len(clients)):
        asked = []
        for client in clients:
            asked.append(time.perf_counter())
            client.ask_for_session(devices[number % len(devices)])
        sessions = []
        for client, at in zip(clients, asked, strict=True):
            sessions.append(client.session())
            up.append(time.perf_counter() - at)
        for client, session in zip(clients, sessions, strict=True):
            client.ask("DELETE", f"{ROOT}/{session}")
        for client in clients:
            client.answer()
    return {"clients": len(clients), "up_s": up, "whole_s": time.perf_counter() - start}


def main() -> None:
    plan, order = read_plan(), json.loads((OUT / "order.json").read_text())
    region = {device.host: device.attachments[0].gnb.partition("-")[0] for device in plan.devices}
    devices = [device.host for device in plan.devices]
    near = [device for device in devices if region[device] == region[devices[0]]]
    result = []
    with emulation(plan) as (_, controller):
        vswitchd = int((openvswitch.FOLDER / "ovs-vswitchd.pid").read_text())
        fillers = {name: Client(plan, f"{name}-local") for name in sorted(set(region.values()))}
        clients = [Client(plan, f"{region[devices[0]]}-local") for _ in range(max(order["clients"]))]
        standing = 0
        for wanted in order["standing"]:
            start = time.perf_counter()
            for number in range(standing, wanted):
                device = devices[number % len(devices)]
                fillers[region[device]].ask_for_session(device)
                fillers[region[device]].session()
            about = {"standing": wanted, "filled": wanted - standing, "filled_s": time.perf_counter() - start}
            standing = wanted
            for number in order["clients"]:
                before = cpu_s(controller.pid), cpu_s(vswitchd)
                measured = churn(clients[:number], near, order["operations"])
                used = {"controller": cpu_s(controller.pid) - before[0], "switches": cpu_s(vswitchd) - before[1]}
                result.append(about | measured | {"cpu_s": used})
    write_result({"runs": result})


main()
