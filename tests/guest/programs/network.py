"""Measures a network by the tools of its users: ping, iperf3, tcpdump, tc, ovs-ofctl, curl."""

import json
import re
import subprocess
import time
from typing import Any

from emulation import OUT, emulation, interfaces, read_plan, write_result

from linux import namespace
from topology.net import Network


def ping(network: Network, source: str, target: str, *options: str) -> dict[str, Any]:
    """Round-trip times in ms (least and mean to the us, all of them roughly) and the packets that came back."""
    address = network.get(target).IP()
    text = network.get(source).cmd("ping", *options, address)
    least, mean = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/", text).groups()
    return {
        "least_ms": float(least),
        "mean_ms": float(mean),
        "rtt_ms": [float(value) for value in re.findall(r"time=([\d.]+) ms", text)],
        "sent": int(re.search(r"(\d+) packets transmitted", text)[1]),
        "received": int(re.search(r"(\d+) received", text)[1]),
    }


def goodput(network: Network, flows: list[tuple[str, int]], seconds: int) -> dict[str, float]:
    """TCP from central to each (device, port) at once; Mbit/s that arrived after the first second."""
    central = network.get("central")
    servers = [network.get(d).popen(f"iperf3 -s -1 -p {port}", stdout=subprocess.DEVNULL) for d, port in flows]
    time.sleep(0.5)
    clients = [
        central.popen(f"iperf3 -c {network.get(d).IP()} -p {port} -t {seconds} -O 1 -J", stderr=subprocess.STDOUT)
        for d, port in flows
    ]
    reports = [json.loads(client.communicate()[0]) for client in clients]
    for server in servers:
        server.wait()
    return {d: r["end"]["sum_received"]["bits_per_second"] / 1e6 for (d, _), r in zip(flows, reports, strict=True)}


def handover(network: Network, device: str) -> dict[str, Any]:
    """Moves a device while a TCP transfer to it runs."""
    planned = next(d for d in network.plan.devices if d.host == device)
    server = network.get(device).popen("iperf3 -s -1 -p 9000", stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    client = network.get("central").popen(f"iperf3 -c {network.get(device).IP()} -p 9000 -n 20M -J")
    time.sleep(0.5)
    network.hand_over([(planned, 1)])
    report = json.loads(client.communicate()[0])
    server.wait()
    return {
        "bytes": report["end"]["sum_received"]["bytes"],
        "error": report.get("error", ""),
        "least_ms": ping(network, "central", device, "-c", "5", "-i", "0.1")["least_ms"],
        "from_old_cell": ping(network, "phone1", device, "-c", "5", "-i", "0.1")["received"],
        "readings": [r for e, r in network.read_back() if e.interface == planned.interface],
    }


def northbound(network: Network) -> dict[str, Any]:
    """A session by curl from the edge library's host: created, seen in the switch, gone after its end."""
    device, edge, nef = (network.get(name) for name in ("phone1", "a-edge", "nef"))
    body = {
        "device": {"ipv4Address": {"publicAddress": device.IP(), "privateAddress": device.IP()}},
        "applicationServer": {"ipv4Address": edge.IP()},
        "slice": "gold",
        "download": "by hand",
        "rate": 10_000_000,
        "time_left_ns": 60 * 10**9,
        "duration_ns": 60 * 10**9,
    }
    root, kind = f"http://{nef.IP()}:8080", ["-H", "content-type: application/json"]
    downloads, url = f"{root}/insitu/v1/downloads", f"{root}/quality-on-demand/v1/sessions"
    before = sessions_in_switch("a-cell")
    timed = ["-w", "\n%{http_code} %{time_total}"]
    text = edge.popen(["curl", "-s", *timed, *kind, "-d", json.dumps(body), downloads]).communicate()[0]
    answer, _, last = text.decode().rpartition("\n")
    during = sessions_in_switch("a-cell")
    created = json.loads(answer)
    got = edge.popen(["curl", "-s", f"{url}/{created['sessionId']}"]).communicate()[0]
    gone = edge.popen(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", f"{url}/{created['sessionId']}"]
    )
    deleted = gone.communicate()[0].decode()
    greedy = json.dumps(body | {"rate": 10**9})
    reduced = json.loads(edge.popen(["curl", "-s", *kind, "-d", greedy, downloads]).communicate()[0])
    status = ["-w", "%{http_code}", "-o", "/dev/null"]
    bad = edge.popen(["curl", "-s", *status, *kind, "-d", "{}", url]).communicate()[0].decode()
    return {
        "status": last.split()[0], "seconds": float(last.split()[1]), "created": created, "got": json.loads(got),
        "before": before, "during": during, "deleted": deleted, "reduced": reduced, "bad": bad,
    }  # fmt: skip


def sessions_in_switch(switch: str) -> int:
    text = subprocess.run(
        ["ovs-ofctl", "-OOpenFlow13", "dump-flows", switch, "table=0"], capture_output=True, text=True
    )
    return text.stdout.count("priority=30")


def tampered(network: Network) -> list[tuple[str, str]]:
    """What is read back after somebody else has changed a queue."""
    interface = network.plan.links[0].ends[1].interface
    subprocess.run(
        f"tc qdisc change dev {interface} parent 1:1 netem delay 9ms rate 1gbit limit 77", shell=True, check=True
    )
    return [(r.planned, r.read) for e, r in network.read_back() if r.planned != r.read]


def main() -> None:
    plan = read_plan()
    result: dict[str, Any] = {"interfaces_before": interfaces()}
    with emulation(plan) as (network, _):
        arp = subprocess.Popen(
            ["tcpdump", "-nn", "-i", "ue0", "-w", str(OUT / "arp.pcap"), "arp"], stderr=subprocess.DEVNULL
        )
        time.sleep(0.5)
        result["settings"] = [(e.interface, r.setting, r.planned, r.read) for e, r in network.read_back()]
        result["ping_all_loss"] = network.pingAll()
        result["small"] = ping(network, "central", "phone1", "-c", "20", "-i", "0.05")
        result["full"] = ping(network, "central", "phone1", "-c", "20", "-i", "0.05", "-s", "1472")
        result["lossy"] = ping(network, "central", "lossy1", "-c", "2000", "-i", "0.01", "-W", "1")
        result["jittery"] = ping(network, "central", "jitter1", "-c", "1000", "-i", "0.02")
        result["alone"] = goodput(network, [("phone1", 20000)], 4)
        result["shares"] = goodput(network, [("phone1", 20000), ("phone2", 20001), ("phone3", 20002)], 8)
        result["handover"] = handover(network, "rover")
        result["northbound"] = northbound(network)
        result["popen"] = network.get("phone1").popen("ip -br address").communicate()[0].decode()
        result["tampered"] = tampered(network)
        arp.terminate()
        arp.wait()
        result["arp_bytes"] = (OUT / "arp.pcap").stat().st_size
    result["interfaces_after"] = interfaces()
    result["namespaces_after"] = sorted(path.name for path in namespace.FOLDER.iterdir())
    write_result(result)


main()
