"""Random operations on sessions, by clients of the northbound, on real switches: what is there before and after.

/run/out/order.json: {"operations": N}. Of N operations some are refused by a switch whose table is full, some sessions expire, and
some devices move.
"""

import json
import random
import re
import socket
import subprocess
import time
from collections import Counter
from typing import Any

from emulation import OUT, emulation, read_plan, write_result

from linux import namespace
from scenarios.plan import NORTHBOUND_PORT, Plan

DOWNLOADS, SESSIONS = "/insitu/v1/downloads", "/quality-on-demand/v1/sessions"


class Client:
    """One connection to the NEF from a host."""

    def __init__(self, plan: Plan, host: str) -> None:
        self._addresses = {entry.name: entry.ip for entry in plan.hosts}
        self._socket = namespace.tcp_socket(host)
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect((self._addresses["nef"], NORTHBOUND_PORT))

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: nef\r\nContent-Type: application/json\r\n"
        self._socket.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(65536)
        heads, _, rest = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", heads)
        while length and len(rest) < int(length[1]):
            rest += self._socket.recv(65536)
        return int(heads.split()[1]), json.loads(rest) if rest else None

    def create(self, device: str, server: str, rate: int, duration_ns: int) -> tuple[int, Any]:
        ip = self._addresses[device]
        body = {
            "device": {"ipv4Address": {"publicAddress": ip, "privateAddress": ip}},
            "applicationServer": {"ipv4Address": self._addresses[server]},
            "slice": "models",
            "download": "random",
            "rate": rate,
            "time_left_ns": duration_ns,
            "duration_ns": duration_ns,
        }
        return self.call("POST", DOWNLOADS, body)


def state(plan: Plan) -> dict[str, list[str]]:
    """All flows without their counters, and all classes and qdiscs of switches' ports without theirs."""
    found = {}
    for switch in plan.switches:
        found[switch.name] = flows_of(switch.name)
    for kind in ("class", "qdisc"):
        for end in (end for link in plan.links for end in link.ends if end.port):
            found[f"{kind} {end.interface}"] = sorted(_run(f"tc {kind} show dev {end.interface}").splitlines())
    return found


def flows_of(switch: str) -> list[str]:
    lines = _run(f"ovs-ofctl -OOpenFlow13 --no-stats --names dump-flows {switch}").splitlines()
    return sorted(line.strip() for line in lines if "actions" in line)


def _run(command: str) -> str:
    return subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout


def full(switch: str, flows: int) -> None:
    """The switch's table 0 takes no entry beyond those that it has."""
    table = f"--id=@t create Flow_Table flow_limit={flows} overflow_policy=refuse"
    _run(f"ovs-vsctl -- {table} -- set Bridge {switch} flow_tables:0=@t")


def main() -> None:
    plan, order = read_plan(), json.loads((OUT / "order.json").read_text())
    draw = random.Random(plan.seed)
    outcomes: Counter[str] = Counter()
    with emulation(plan) as (network, _):
        before = state(plan)
        client = Client(plan, "west-local")
        movers = [device for device in plan.devices if len(device.attachments) > 1]
        places = {device.host: 0 for device in movers}
        open_sessions: list[str] = []
        refusing = ""
        most: dict[str, list[str]] = {}
        for number in range(order["operations"]):
            kind = draw.choices(["create", "delete", "extend", "expire", "move"], [40, 30, 10, 10, 1])[0]
            if number % 50 == 0:
                if refusing:
                    _run(f"ovs-vsctl clear Bridge {refusing} flow_tables")
                refusing = "" if refusing else draw.choice(plan.switches).name
                if refusing:
                    full(refusing, sum("table=1," not in flow for flow in flows_of(refusing)))
            if kind in ("create", "expire"):
                device = draw.choice(plan.devices).host
                server = draw.choice(["west-local", "central", f"{draw.choice(['a', 'b', 'c'])}-edge"])
                duration = 1_000_000_000 if kind == "expire" else 3600_000_000_000
                status, answer = client.create(device, server, draw.choice([10**5, 10**6, 10**9]), duration)
                outcomes[f"{kind} {status}"] += 1
                if status == 201:
                    open_sessions.append(answer["sessionId"])
            elif kind == "move" and movers:
                device = draw.choice(movers)
                if places[device.host] + 1 < len(device.attachments):
                    places[device.host] += 1
                    network.hand_over([(device, places[device.host])])
                    time.sleep(0.2)
                    outcomes["move"] += 1
            elif open_sessions:
                session = open_sessions.pop(draw.randrange(len(open_sessions)))
                if kind == "delete":
                    outcomes[f"delete {client.call('DELETE', f'{SESSIONS}/{session}')[0]}"] += 1
                else:
                    body = {"requestedAdditionalDuration": 1}
                    outcomes[f"extend {client.call('POST', f'{SESSIONS}/{session}/extend', body)[0]}"] += 1
                    open_sessions.append(session)
            if number == order["operations"] // 2:
                most = state(plan)
        if refusing:
            _run(f"ovs-vsctl clear Bridge {refusing} flow_tables")
        for session in open_sessions:
            client.call("DELETE", f"{SESSIONS}/{session}")
        for device in movers:
            for place in range(places[device.host] + 1, len(device.attachments)):
                network.hand_over([(device, place)])
                time.sleep(1)
        time.sleep(5)  # the last that expire
        after = state(plan)
    result = {"outcomes": outcomes, "during": sum(map(len, most.values())) - sum(map(len, before.values()))}
    changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    write_result(result | {"changed": changed})


main()
