"""Faults as a UDP stream sees them from outside, and what becomes of sessions: the network of /run/out/plan.json."""

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from emulation import OUT, read_plan, write_result
from stream import INTERVAL_NS, Stream

from insitu import processes
from insitu.control import Control
from insitu.controller_service import ControllerService
from insitu.processes import Service
from linux import namespace, netlink, tree
from scenarios.plan import NORTHBOUND_PORT, Plan
from topology import openvswitch
from topology.net import Network

SESSIONS = "/quality-on-demand/v1/sessions"
DOWN_S, AROUND_S, AFTER_S = 0.5, 0.3, 1.5
LONG_DOWN_S = 1.5  # in which a session of 1 s expires


class Machine:
    """A network with a controller that can be killed."""

    def __init__(self, plan: Plan) -> None:
        for name in ("events", "logs"):
            (OUT / name).mkdir(exist_ok=True)
        self.network = Network(plan)
        self._controllers = ControllerService(plan, OUT, Control())
        self.controller: Service = self._controllers.start()
        self.network.start()
        self.wait()

    def wait(self) -> None:
        """Until the controller has set every switch."""
        processes.wait_until_ready([self.controller], openvswitch.nudge)

    def kill(self) -> None:
        self._controllers.kill(self.controller)

    def start(self) -> None:
        self.controller = self._controllers.start()

    def stop(self) -> None:
        processes.stop([self.controller], 5.0)
        self.network.stop()


def call(plan: Plan, method: str, path: str = "", body: object = None) -> tuple[int, Any]:
    """Asks the northbound, from the central site; waits for as long as it takes."""
    nef = next(host.ip for host in plan.hosts if host.role == "nef")
    connection = http.client.HTTPConnection(nef, NORTHBOUND_PORT, timeout=10)
    with namespace.inside("central"):
        connection.connect()
    connection.request(
        method, SESSIONS + path, json.dumps(body) if body else None, {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content else None


def create(plan: Plan, port: int, duration: int = 1000) -> dict[str, Any]:
    """A session between the central site and a port of the phone."""
    ips = {host.name: host.ip for host in plan.hosts}
    device = {"ipv4Address": {"publicAddress": ips["phone"], "privateAddress": ips["phone"]}}
    server, ports = {"ipv4Address": ips["central"]}, {"ports": [port]}
    asked = {
        "device": device,
        "applicationServer": server,
        "devicePorts": ports,
        "qosProfile": "one",
        "duration": duration,
    }
    status, answer = call(plan, "POST", body=asked)
    assert status == 201, (status, answer)
    return dict(answer)


def classes(plan: Plan) -> dict[str, dict[int, int]]:
    """The rates of sessions' classes at each port that has some, by queue."""
    root, found = netlink.Netlink(), {}
    for link in plan.links:
        for end in link.ends:
            if end.port and end.queues and (there := tree.sessions(socket.if_nametoindex(end.interface), root)):
                found[end.interface] = {queue: session.rate_bps for queue, session in there.items()}
    return found


def flows(plan: Plan) -> dict[str, list[str]]:
    command = ["ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "--sort", "dump-flows"]
    return {
        switch.name: subprocess.run([*command, switch.name], check=True, capture_output=True, text=True).stdout.split(
            "\n"
        )
        for switch in plan.switches
    }


def streamed(machine: Machine, down: Callable[[], None], up: Callable[[], None], down_s: float) -> dict[str, Any]:
    """A stream from the central site to the phone while something is down: its gaps, as ms since the fault and ms long, and
    how many datagrams never came."""
    stream = Stream(machine.network, "central", "phone")
    time.sleep(AROUND_S)
    began = time.monotonic_ns()
    down()
    time.sleep(began / 1e9 + down_s - time.monotonic())
    up()
    wait_nudging(AFTER_S)
    arrivals = stream.end()
    pairs = zip(arrivals.came, arrivals.came[1:], strict=False)
    twice = len(arrivals.sent) - len(set(arrivals.sent))
    gaps = [((a - began) / 1e6, (b - a) / 1e6) for a, b in pairs if b - a > 1.5 * INTERVAL_NS]
    return {"gaps": gaps, "lost": arrivals.never_came + twice, "twice": twice}


def wait_nudging(seconds: float) -> None:
    """As the machine does after something has come back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        openvswitch.nudge()
        time.sleep(0.01)


def faults(machine: Machine) -> dict[str, Any]:
    network = machine.network
    return {
        "link": streamed(
            machine, partial(network.set_link, "west-link", False), partial(network.set_link, "west-link", True), DOWN_S
        ),
        "switch": streamed(
            machine, partial(network.set_switch, "west", False), partial(network.set_switch, "west", True), DOWN_S
        ),
        "controller": streamed(machine, machine.kill, machine.start, DOWN_S),
    }


def sessions_follow(machine: Machine, plan: Plan) -> dict[str, Any]:
    """A session whose link fails, and comes back: where its class is, and what it is called."""
    id = create(plan, 5000)["sessionId"]
    seen = {"before": classes(plan)}
    for name, up in (("during", False), ("after", True)):
        machine.network.set_link("west-link", up)
        time.sleep(0.1)
        status, answer = call(plan, "GET", f"/{id}")
        seen[name] = classes(plan)
        seen[f"status {name}"] = [status, answer.get("qosStatus")]
    machine.network.set_link("phone-link", False)
    time.sleep(0.1)
    seen["status without a way"] = [answer for _, answer in [call(plan, "GET", f"/{id}")]]
    seen["without a way"] = classes(plan)
    machine.network.set_link("phone-link", True)
    time.sleep(0.1)
    return seen


def controller_comes_back(machine: Machine, plan: Plan) -> dict[str, Any]:
    """Sessions before and after the controller was killed; meanwhile one expires, somebody else's flow and class appear, and a
    request waits."""
    kept = [create(plan, port)["sessionId"] for port in (5001, 5002, 5003)]
    before = classes(plan), flows(plan)
    short = create(plan, 5004, duration=1)["sessionId"]
    created: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: created.append(create(plan, 5005)))

    def down() -> None:
        machine.kill()
        strange(plan)
        asking.start()

    seen = streamed(machine, down, machine.start, LONG_DOWN_S)
    asking.join()
    new = created[0]["sessionId"]
    status = {id: call(plan, "GET", f"/{id}") for id in (*kept, short, new)}
    assert call(plan, "DELETE", f"/{new}")[0] == 204
    after = classes(plan), flows(plan)
    for id in kept:
        assert call(plan, "DELETE", f"/{id}")[0] == 204
    return {
        "stream": seen,
        "status": [[code, answer.get("qosStatus")] for code, answer in status.values()],
        "distinct": len(set(status)),
        "classes": [before[0], after[0]],
        "flows": [before[1], after[1]],
        "left": classes(plan),
    }


def strange(plan: Plan) -> None:
    """What a set-up leaves that is cut off: a class at one port, a flow on one switch."""
    end = next(end for link in plan.links if link.name == "west-link" for end in link.ends)
    netlink.Netlink().request(tree.session_class(end, socket.if_nametoindex(end.interface), 0, 900, 80_000))
    flow = "cookie=900,table=0,priority=20,ip,nw_src=10.9.9.9,actions=set_queue:900,goto_table:1"
    subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", end.node, flow], check=True)


def main() -> None:
    plan = read_plan()
    machine = Machine(plan)
    result: dict[str, Any] = {"faults": faults(machine)}
    if any(link.name == "quad-east" for link in plan.links):
        result["follow"] = sessions_follow(machine, plan)
        result["back"] = controller_comes_back(machine, plan)
    machine.stop()
    write_result(result)


main()
