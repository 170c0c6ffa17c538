"""Sessions as clients of the northbound see them in the network of /run/out/plan.json: when they are there, what a sink is told,
and what becomes of them and of their packets when a link gets another rate."""

import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from clients import SESSIONS, Client
from emulation import OUT, emulation, read_plan, write_result

from insitu.control import Control
from linux import namespace, netlink, tree
from scenarios.plan import LIBRARY_PORT, Plan
from topology.net import Network

SINK_PORT, FLOOD_PORT = 8443, 7000
FLOOD_S, FLOOD_BPS, FRAME, PAYLOAD = 1.0, 60_000_000, 1514, 1472
SETTLE_S = 0.3
CERTIFICATE = Path(__file__).parents[2] / "unit" / "sink.pem"
RADIO = "a-radio"


class Sink:
    """An HTTPS server on a host that takes CloudEvents."""

    def __init__(self, host: str) -> None:
        self.events: list[dict[str, Any]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                about = {
                    "path": self.path,
                    "type": self.headers["Content-Type"],
                    "token": self.headers["Authorization"],
                }
                sink.events.append({"headers": about, "body": body})
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("0.0.0.0", SINK_PORT), Handler, bind_and_activate=False)
        server.socket.close()
        plain = namespace.listening_socket(host, SINK_PORT)
        plain.setblocking(True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(plain, server_side=True)
        threading.Thread(target=server.serve_forever, args=(10**6,), daemon=True).start()


def timed(client: Client, call: Any, *about: Any) -> dict[str, Any]:
    """A call's answer, how long it took, and how many bytes went there and back."""
    began = time.monotonic_ns()
    status, answer = call(*about)
    took = time.monotonic_ns() - began
    return {"status": status, "answer": answer, "took_ns": took, "sent": client.sent, "received": client.received}


def camara(plan: Plan, client: Client, port: int, duration: int, sink: str) -> dict[str, Any]:
    body = {
        "device": client.named("phone1"),
        "applicationServer": {"ipv4Address": next(host.ip for host in plan.hosts if host.name == "central")},
        "devicePorts": {"ports": [port]},
        "qosProfile": "one",
        "duration": duration,
        "sink": f"https://{sink}:{SINK_PORT}/events",
        "sinkCredential": {
            "credentialType": "ACCESSTOKEN",
            "accessToken": "s3cret",
            "accessTokenType": "bearer",
            "accessTokenExpiresUtc": "2999-01-01T00:00:00Z",
        },
    }
    status, answer = client.call("POST", SESSIONS, body)
    assert status == 201, (status, answer)
    return dict(answer)


def classes(plan: Plan) -> dict[int, list[int]]:
    """Sessions' classes at the radio, towards the devices: the slice's queue, rate and ceiling, by queue."""
    end = next(link for link in plan.links if link.name == RADIO).ends[1]
    found = tree.sessions(socket.if_nametoindex(end.interface), netlink.Netlink())
    return {queue: list(session[:3]) for queue, session in found.items()}


def flood(network: Network, flows: list[tuple[str, int]]) -> list[float]:
    """UDP from the edge library to devices, all at once, each by a port of the library: what arrives at the radio's rate, bit/s."""
    begin = time.monotonic() + 0.05
    received = [0] * len(flows)

    def socket_at(host: str, port: int) -> socket.socket:
        with namespace.inside(host):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("0.0.0.0", port))
        return made

    def send(number: int, device: str, port: int) -> None:
        out = socket_at("a-edge", port)
        gap = FRAME * 8 / FLOOD_BPS
        time.sleep(begin - time.monotonic())
        for _ in range(int((FLOOD_S + SETTLE_S) / gap)):
            out.sendto(bytes(PAYLOAD), (network.get(device).IP(), FLOOD_PORT + number))
            time.sleep(gap)
        out.close()

    def receive(number: int, device: str) -> None:
        there = socket_at(device, FLOOD_PORT + number)
        there.settimeout(SETTLE_S)
        try:
            while True:
                size = len(there.recv(2048))
                received[number] += size if SETTLE_S <= time.monotonic() - begin < SETTLE_S + FLOOD_S else 0
        except TimeoutError:
            there.close()

    threads = [threading.Thread(target=receive, args=(n, device)) for n, (device, _) in enumerate(flows)]
    threads += [threading.Thread(target=send, args=(n, device, port)) for n, (device, port) in enumerate(flows)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [size * 8 * FRAME / PAYLOAD / FLOOD_S for size in received]


def main() -> None:
    plan = read_plan()
    control = Control()
    result: dict[str, Any] = {}
    with emulation(plan, control) as (network, _):
        time.sleep(1)
        client, hour = Client(plan, "central"), 3600 * 10**9
        untold = camara(plan, client, 9000, 60, "phone2")  # where nobody listens: that holds nobody up
        made = [
            timed(client, client.create, device, "a-edge", 10**6, hour) for device in ("phone1", "phone2", "phone3")
        ]
        result["available"] = made
        client.call("DELETE", f"{SESSIONS}/{untold['sessionId']}")
        result["deleted"] = [
            timed(client, client.call, "DELETE", f"{SESSIONS}/{entry['answer']['sessionId']}") for entry in made
        ]

        first = client.create("phone1", "a-edge", 30_000_000, hour)[1]
        second = client.create("phone2", "a-edge", 20_000_000, hour)[1]
        result["radio"] = {"sessions": [first["sessionId"], second["sessionId"]], "before": classes(plan)}
        flows = [("phone1", LIBRARY_PORT), ("phone2", LIBRARY_PORT), ("phone3", LIBRARY_PORT + 1)]
        for number, change in enumerate(plan.changes):
            network.change(change)
            control.tell_of_change(number)
            time.sleep(SETTLE_S)
            status = [client.call("GET", f"{SESSIONS}/{id}") for id in result["radio"]["sessions"]]
            result["radio"][f"change {number}"] = {"classes": classes(plan), "status": status}
            if number == 0:
                result["radio"]["arrived"] = flood(network, flows)
        for id in result["radio"]["sessions"]:
            client.call("DELETE", f"{SESSIONS}/{id}")
        result["radio"]["after"] = classes(plan)

        sink = Sink("phone3")
        expired, cut = camara(plan, client, 9001, 1, "phone3"), camara(plan, client, 9002, 60, "phone3")
        time.sleep(2)
        network.set_link("phone1-link", False)
        time.sleep(2)
        result["events"] = {"expired": expired, "cut": cut, "told": sink.events}
    lines = (OUT / "events" / "controller.jsonl").read_text().splitlines()
    result["records"] = [json.loads(line) for line in lines]
    write_result(result)


main()
