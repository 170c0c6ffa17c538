"""Open vSwitch's daemons: one transaction for many commands, and a nudge."""

import json
import socket
import subprocess
from pathlib import Path

FOLDER = Path("/run/openvswitch")


def transact(commands: list[str]) -> None:
    """One `ovs-vsctl` for all commands; returns when ovs-vswitchd has carried them out. Raises CalledProcessError."""
    words: list[str] = []
    for command in commands:
        words += ["--", *command.split()]
    if words:
        subprocess.run(["ovs-vsctl", *words[1:]], check=True, capture_output=True, text=True)


def forget_flows(switch: str) -> None:
    """Empties a switch's flow tables. Raises CalledProcessError."""
    command = ["ovs-ofctl", "-O", "OpenFlow13", "del-flows", switch]
    subprocess.run(command, check=True, capture_output=True, text=True)


def nudge() -> None:
    """Lets ovs-vswitchd look at its connections to controllers.

    Its main loop (3.1) does not wait for one that is being made: without this it goes on when a timer of something else wakes it.
    """
    pid = (FOLDER / "ovs-vswitchd.pid").read_text().strip()
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(FOLDER / f"ovs-vswitchd.{pid}.ctl"))
        control.sendall(json.dumps({"id": 0, "method": "version", "params": []}).encode())
        control.recv(4096)
