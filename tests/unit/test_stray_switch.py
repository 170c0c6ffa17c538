"""A switch that the plan does not have connects to the controller: one line says so, nothing is sent to it, and all goes on."""

import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from builders import planned

from scenarios import plan as plans

HELLO, FEATURES_REQUEST, FEATURES_REPLY, SET_CONFIG, PORT_STATUS, FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = (
    0, 5, 6, 9, 12, 14, 18, 19
)  # fmt: skip
PORT_DESCRIPTION = 13
STRAY = 0xABCDEF
LIMIT_S = 60


def message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", 4, kind, 8 + len(body), 1) + body


class Switch:
    """As much of OpenFlow 1.3 as a switch needs to be connected."""

    def __init__(self, port: int, dpid: int) -> None:
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < end
                time.sleep(0.1)
        self._socket.sendall(message(HELLO))
        self.until(FEATURES_REQUEST)
        self._socket.sendall(message(FEATURES_REPLY, struct.pack("!QIBBHII", dpid, 0, 254, 0, 0, 0, 0)))
        self.until(MULTIPART_REQUEST)
        self._socket.sendall(message(MULTIPART_REPLY, struct.pack("!HHI", PORT_DESCRIPTION, 0, 0)))

    def says_that_a_port_is_there(self) -> None:
        self._socket.sendall(message(PORT_STATUS, struct.pack("!B7xI4x6s2x16s32x", 0, 1, b"\2\0\0\0\0\1", b"eth1")))

    def until(self, kind: int) -> None:
        """All messages up to one of a kind; raises TimeoutError."""
        while (got := self._next()) != kind:
            assert got != FLOW_MOD

    def _next(self) -> int:
        head = self._exactly(8)
        _, kind, length, _ = struct.unpack("!BBHI", head)
        self._exactly(length - 8)
        return int(kind)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            assert more, "the controller has hung up"
            data += more
        return data

    def is_left_alone(self) -> bool:
        """For a while nothing comes."""
        self._socket.settimeout(0.5)
        try:
            return self._next() == SET_CONFIG and self.is_left_alone()
        except TimeoutError:
            return True


def test_a_switch_that_the_plan_does_not_have_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(plans.canonical(planned()))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "controller.app", "--ofp-listen-host=127.0.0.1", f"--ofp-tcp-listen-port={port}"]
    environment = os.environ | {"INSITU_PLAN": str(tmp_path / "plan.json")}
    with (tmp_path / "log").open("wb") as log:
        controller = subprocess.Popen(command, stderr=log, env=environment, cwd=tmp_path)
    try:
        stray = Switch(port, STRAY)
        stray.says_that_a_port_is_there()
        assert stray.is_left_alone()
        assert controller.poll() is None
    finally:
        controller.kill()
        controller.wait()
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "switch" in line]
    assert lines == [
        "WARNING:controller.app:a switch that the plan does not have is left alone: datapath 0000000000abcdef"
    ]
    assert "Traceback" not in (tmp_path / "log").read_text()
