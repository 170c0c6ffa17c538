"""Random operations on sessions, by many clients of the northbound at once, on real switches: what is there before and after.

/run/out/order.json: {"operations": N, "clients": M}. Of N operations some are refused by a switch whose table is full or by the
policy, some sessions expire, and a device moves from cell to cell meanwhile.
"""

import json
import random
import subprocess
import threading
import time
from collections import Counter

from clients import SESSIONS, Client
from emulation import OUT, emulation, read_plan, write_result

from scenarios.plan import Plan
from topology.net import Network

KINDS = {"create": 40, "delete": 36, "extend": 14, "expire": 10}
SECOND = 10**9
TURN_S = 0.1  # of what happens meanwhile
MOST_OPEN = 4  # sessions of a client


class Worker:
    """One client that does its share, in a thread of its own."""

    def __init__(self, plan: Plan, number: int, operations: int) -> None:
        self._draw = random.Random(f"{plan.seed} {number}")
        self._client, self._operations = Client(plan, "central"), operations
        self._devices = [device.host for device in plan.devices]
        self._servers = ["central", *(f"{gnb}-edge" for gnb in ("a", "b"))]
        self.outcomes: Counter[str] = Counter()
        self._open: list[str] = []
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        for _ in range(self._operations):
            kind = self._draw.choices([*KINDS], [*KINDS.values()])[0]
            if kind == "delete" and self._open or len(self._open) >= MOST_OPEN:
                self._delete(self._open.pop(self._draw.randrange(len(self._open))))
            elif kind == "extend" and self._open:
                body = {"requestedAdditionalDuration": 1}
                self._note(
                    kind, self._client.call("POST", f"{SESSIONS}/{self._draw.choice(self._open)}/extend", body)[0]
                )
            else:
                self._create("expire" if kind == "expire" else "create")
        for session in self._open:
            self._delete(session)

    def _create(self, kind: str) -> None:
        device, server = self._draw.choice(self._devices), self._draw.choice(self._servers)
        rate = self._draw.choice([10**5, 10**6, 10**7])
        status, answer = self._client.create(device, server, rate, SECOND // 10 if kind == "expire" else 3600 * SECOND)
        self._note(kind, status)
        if status == 201 and kind == "create":
            self._open.append(answer["sessionId"])

    def _delete(self, session: str) -> None:
        self._note("delete", self._client.call("DELETE", f"{SESSIONS}/{session}")[0])

    def _note(self, kind: str, status: int) -> None:
        self.outcomes[f"{kind} {status}"] += 1


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


def disturb(network: Network, workers: list[Worker], draw: random.Random) -> int:
    """While clients work, and until it is at home again, a device moves; a switch is full now and then. Gives the moves."""
    (device,) = [device for device in network.plan.devices if len(device.attachments) > 1]
    for place in range(1, len(device.attachments)):
        if any(worker.thread.is_alive() for worker in workers):
            refusing = draw.choice(network.plan.switches).name
            full(refusing, sum("table=1," not in flow for flow in flows_of(refusing)))
            time.sleep(TURN_S)
            _run(f"ovs-vsctl clear Bridge {refusing} flow_tables")
        network.hand_over([(device, place)])
        time.sleep(TURN_S)
    return place


def main() -> None:
    plan, order = read_plan(), json.loads((OUT / "order.json").read_text())
    with emulation(plan) as (network, _):
        before = state(plan)
        workers = [Worker(plan, n, order["operations"] // order["clients"]) for n in range(order["clients"])]
        for worker in workers:
            worker.thread.start()
        time.sleep(TURN_S)
        during = state(plan)
        moves = disturb(network, workers, random.Random(plan.seed))
        for worker in workers:
            worker.thread.join()
        time.sleep(5)  # the last that expire
        after = state(plan)
    outcomes = sum((worker.outcomes for worker in workers), Counter())
    changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    more = sum(map(len, during.values())) - sum(map(len, before.values()))
    write_result({"outcomes": {**outcomes, "move": moves}, "during": more, "changed": changed})


main()
