"""A user's machine: it has an Open vSwitch and a namespace of its own, and `insitu run --on host` is used on it.

`host.py side-by-side|alone`: two runs of which one is killed, or one run. What the machine was before and is after goes to
result.json, and what insitu said.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from insitu.native import machine as native
from insitu.vm.failure import MachineError

OUT = Path("/run/out")
HELLO = "scenarios/hello.yaml"
INSITU = [sys.executable, "-m", "insitu.cli"]
LIMIT_S = 120
TCP_BUFFERS = Path("/proc/sys/net/ipv4/tcp_rmem")
MOUNTS = {"project": Path.cwd()}


def shell(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def make_what_a_user_has() -> None:
    """Names that the runs use too."""
    shell(
        "ovs-vsctl add-br square -- add-br core && ip netns add phone1 && ip link add s1-eth1 type veth peer name s1-eth2"
    )


def machine() -> dict[str, Any]:
    """All of it that a run could have touched."""
    database = json.loads(shell("ovsdb-client -f json dump").replace("\n", ",").join("[]").replace(",]", "]"))
    return {
        "interfaces": shell("ip -o link | cut -d' ' -f2,3 | sort"),
        "names": sorted(path.name for path in Path("/run/netns").iterdir()),
        "namespaces": sorted({link for link in map(namespaces_of, processes()) if link}),
        "processes": sorted(filter(None, map(command_of, processes()))),
        "mounts": sorted(line.split(" - ")[0].split(" ", 4)[4] for line in Path("/proc/self/mountinfo").open()),
        "database": [table for table in database if "statistics" not in str(table)],
        "flows": shell("ovs-ofctl dump-flows square | grep -o 'priority=.*'"),
        "settings": TCP_BUFFERS.read_text(),
        "folders": {name: shell(f"find {name} -xdev -not -path '/run/out*' | sort") for name in ("/run", "/etc")},
    }


def processes() -> list[Path]:
    return [path for path in Path("/proc").iterdir() if path.name.isdigit() and path.name != str(os.getpid())]


def namespaces_of(process: Path) -> str:
    try:
        return " ".join(os.readlink(process / "ns" / kind) for kind in ("net", "mnt", "pid", "ipc", "uts"))
    except OSError:  # it has ended
        return ""


def command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().replace("\0", " ").strip()
    except OSError:  # it has ended
        return ""


def start(name: str, seed: int) -> subprocess.Popen[str]:
    command = [*INSITU, "run", HELLO, "--on", "host", "--seed", str(seed), "--out", str(OUT / name), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_phase(name: str, phase: str) -> None:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if any(phase in file.read_text().split() for file in OUT.glob(f".{name}.*/progress")):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{name} did not come to phase {phase}")


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=LIMIT_S)
    return {"status": process.returncode, "summary": json.loads(out) if out else None, "stderr": err}


def clean() -> list[str]:
    return subprocess.run([*INSITU, "clean"], capture_output=True, text=True, check=True).stdout.splitlines()


def side_by_side() -> dict[str, Any]:
    """Both networks are up under the same names; then the first is killed, and its remains are cleaned while the second runs."""
    first, second = start("first", 1), start("second", 2)
    for name in ("first", "second"):
        wait_for_phase(name, "run")
    result: dict[str, Any] = {"cleaned_too_early": clean()}
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(0.5)
    result["left"] = sorted(path.name.rpartition(".")[0] for path in OUT.glob(".*.*"))
    result["cleaned"] = clean()
    result["second_lived"] = second.poll() is None
    return result | {"second": ended(second)}


def tcp_buffer_of_a_device() -> int:
    """The most that a socket may hold on phone1 of the only run, asked from outside."""
    inside = next(process for process in processes() if "-m insitu.guest" in command_of(process))
    look = "nsenter --net=/run/netns/phone1 cat /proc/sys/net/ipv4/tcp_rmem"
    return int(shell(f"nsenter --target {inside.name} --mount {look}").split()[2])


def interrupted() -> dict[str, Any]:
    run = start("interrupted", 3)
    wait_for_phase("interrupted", "services")
    buffer = tcp_buffer_of_a_device()
    run.send_signal(signal.SIGTERM)
    return ended(run) | {"tcp_buffer": buffer}


def beheaded() -> dict[str, Any]:
    """The process that holds the run's namespaces is killed."""
    run = start("beheaded", 4)
    wait_for_phase("beheaded", "network")
    (holder,) = [process for process in processes() if parent_of(process) == run.pid]
    os.kill(int(holder.name), signal.SIGKILL)
    return ended(run)


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


def overdue() -> str:
    """What is said of a run that does not end."""
    try:
        native.run(
            ["sleep", "1000"],
            OUT / "overdue",
            wall_limit_s=3,
            cwd=Path("/"),
            env={},
            mounts=MOUNTS,
            on_poll=lambda _: None,
        )
    except MachineError as error:
        return str(error)
    return "nothing"


def without_kernel_datapath(*arguments: str) -> subprocess.Popen[str]:
    """insitu as on a machine whose kernel has no Open vSwitch."""
    forget = (
        "from insitu import cli; from insitu.native import probe; probe._kernel_datapath = lambda: False; cli.main()"
    )
    command = [sys.executable, "-c", forget, "run", *arguments, "--on", "host", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def as_nobody() -> dict[str, Any]:
    command = ["setpriv", "--reuid=65534", *INSITU, "run", HELLO, "--on", "host", "--out", "/tmp/nobody"]
    done = subprocess.run(command, capture_output=True, text=True)
    return {"status": done.returncode, "stderr": done.stderr}


def main() -> None:
    make_what_a_user_has()
    result: dict[str, Any] = {"before": machine()}
    if sys.argv[1:] == ["side-by-side"]:
        result |= {"as_nobody": as_nobody(), "interrupted": interrupted(), "overdue": overdue(), "beheaded": beheaded()}
        result["userspace"] = ended(without_kernel_datapath(HELLO, "--out", str(OUT / "userspace")))
        result["datapath"] = json.loads((OUT / "userspace" / "provenance.json").read_text())["datapath"]
        result["sliced"] = ended(without_kernel_datapath("scenarios/campus.yaml"))
        result |= side_by_side()
    else:
        result["alone"] = ended(start("alone", 1))
    result |= {"after": machine(), "left_in_out": sorted(path.name for path in OUT.iterdir())}
    (OUT / "result.json").write_text(json.dumps(result))


main()
