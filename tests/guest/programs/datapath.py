"""Looks at the packets of a TCP transfer on a link, and at what its receiver is given."""

import json
import re
import subprocess
import time
from typing import Any

from emulation import OUT, emulation, read_plan, write_result


def frames(pcap: str) -> list[int]:
    """The lengths of the frames in a capture."""
    text = subprocess.run(["tcpdump", "-nner", pcap, "tcp"], capture_output=True, text=True, check=True).stdout
    return [int(length) for length in re.findall(r", length (\d+): 10\.", text)]


def main() -> None:
    plan = read_plan()
    result: dict[str, Any] = {}
    with emulation(plan) as (network, _):
        central, phone = network.get("central"), network.get("phone")
        text = central.cmd(f"ping -c 20 -i 0.05 {phone.IP()}")
        result["rtt_ms"] = [float(value) for value in re.search(r"= ([\d.]+)/[\d.]+/([\d.]+)/", text).groups()]
        captures = {"link": ([], "ue0"), "host": (["ip", "netns", "exec", "phone"], "eth0")}
        dumps = [
            subprocess.Popen(
                [*prefix, "tcpdump", "-s", "96", "-c", "5000", "-i", interface, "-w", str(OUT / f"{name}.pcap")],
                stderr=subprocess.DEVNULL,
            )
            for name, (prefix, interface) in captures.items()
        ]
        time.sleep(0.5)
        server = phone.popen("iperf3 -s -1", stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        client = central.popen(f"iperf3 -c {phone.IP()} -t 3 -O 1 -J", stderr=subprocess.DEVNULL)
        result["goodput_bps"] = json.loads(client.communicate()[0])["end"]["sum_received"]["bits_per_second"]
        server.wait()
        for dump in dumps:
            dump.terminate()
            dump.wait()
        for name in captures:
            result[name] = frames(str(OUT / f"{name}.pcap"))
    write_result(result)


main()
