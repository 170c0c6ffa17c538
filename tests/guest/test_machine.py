"""The guest: what it sees, that it repeats, how it ends. Needs a kernel (built on first use, minutes)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from insitu.vm.host import reserved_cpu
from insitu.vm.kernel import Kernel, find_or_build
from insitu.vm.machine import Machine, MachineError, run

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
Guest = Callable[..., tuple[int, str]]

RANDOM = """
cat /proc/sys/kernel/random/uuid; python3 -c 'import os; print(os.urandom(8).hex(), hash("a"))'
ip netns add a; ip link add v0 type veth peer name v1 netns a; ip addr add 10.0.0.1/24 dev v0; ip link set v0 up
ip -n a addr add 10.0.0.2/24 dev v1; tc -n a qdisc add dev v1 root netem delay 5ms 1ms loss 10%; ip -n a link set v1 up
ping -c 50 -i 0.01 10.0.0.2
"""

HUNGRY = 'x = [b"x" * (n << 10) for n in range(2000)]'

CHILD = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup make test` leaves it ignored
from pathlib import Path
from insitu.vm.kernel import find_or_build
from insitu.vm.machine import Machine, run
run(Machine(find_or_build(print), 1), ["sh", "-c", sys.argv[2]], Path(sys.argv[1]), wall_limit_s=60, cwd=Path("/"))
"""


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    return find_or_build(print)


@pytest.fixture
def guest(kernel: Kernel, tmp_path: Path) -> Guest:
    """Run shell commands in a guest: their exit status and output."""

    def call(
        script: str, *, out: Path = tmp_path / "out", limit: float = 60, memory: int = 3072, seed: int = 1, **env: str
    ) -> tuple[int, str]:
        machine = Machine(kernel, seed, memory_mb=memory)
        status = run(machine, ["sh", "-c", script], out, wall_limit_s=limit, cwd=ROOT, env=env)
        return status, (out / "logs/command.log").read_text()

    return call


@pytest.fixture
def nothing_left(kernel: Kernel, tmp_path: Path) -> Iterator[None]:
    """Afterwards no process of ours runs a kernel (other guests of the machine may), and no file of ours is there."""
    yield
    deadline = time.monotonic() + 2
    while mine(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mine(tmp_path) == []
    assert not (tmp_path / "out/.machine").exists()


def mine(folder: Path) -> list[str]:
    """The processes that work in or below `folder`: a guest's kernel and its processes do."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            where = os.readlink(link)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if where.startswith(str(folder)):
            found.append(f"{link} {where}")
    return found


def test_status_and_output(guest: Guest, nothing_left: None) -> None:
    assert guest("pwd; id -u; hostname; echo wrong >&2; exit 7") == (7, f"{ROOT}\n0\ninsitu\nwrong\n")


def test_writes_go_to_out_and_nowhere_else(guest: Guest, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    status, output = guest(f"echo kept >/run/out/kept; echo lost >{beside}; cat {beside}; rm {__file__}; ls {__file__}")
    assert status != 0 and "lost" in output
    assert (tmp_path / "out/kept").read_text() == "kept\n"
    assert not beside.exists() and Path(__file__).exists()


def test_environment_is_ours(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "secret")
    status, output = guest("env; cat /etc/hosts /proc/cpuinfo; uname -a; date +%Z", GIVEN="a b")
    assert status == 0
    assert "GIVEN=a b\n" in output and "PYTHONHASHSEED=0\n" in output and "HOME=/run/home\n" in output
    assert "secret" not in output and os.uname().release not in output
    assert "UTC" in output


def test_open_vswitch_is_up(guest: Guest) -> None:
    status, output = guest("ovs-vsctl add-br s1 && ovs-vsctl list-br && ovs-appctl upcall/show")
    assert status == 0 and "s1\n" in output


def test_same_seed_same_run(guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = guest(RANDOM)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as hog:
        try:
            second = guest(RANDOM, out=tmp_path / "a longer/path to/another folder")
        finally:
            hog.kill()
    assert first == second and first[0] == 0
    assert guest(RANDOM, seed=2) != first


def test_random_numbers_do_not_depend_on_the_moment(guest: Guest) -> None:
    """A failed system call takes a virtual microsecond, and where files lie decides how many fail."""
    draw = "cat /proc/sys/kernel/random/uuid"
    assert guest(f"cd /; cd /; {draw}")[1] == guest(f"cd /; [ -e /nowhere ] || {draw}")[1]


def test_an_idle_hour_takes_seconds(guest: Guest) -> None:
    began = time.monotonic()
    assert guest("sleep 3600")[0] == 0
    assert time.monotonic() - began < 20


def test_real_clock(kernel: Kernel, tmp_path: Path) -> None:
    machine = Machine(kernel, 1, "real")
    began = time.monotonic()
    assert run(machine, ["sleep", "1"], tmp_path / "out", wall_limit_s=60, cwd=ROOT) == 0
    assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    "script, kind, words",
    [
        ("while :; do :; done", "hang", "its clock stood still at 10 s"),
        ("while :; do sleep 1; done", "limit", "its clock ran, to "),
    ],
)
def test_the_wall_limit(guest: Guest, nothing_left: None, script: str, kind: str, words: str) -> None:
    with pytest.raises(MachineError, match="reached its wall-clock limit of 5 s") as raised:
        guest(script, limit=5)
    assert raised.value.kind == kind and words in str(raised.value)


@pytest.mark.parametrize(
    "script, memory, kind, words",
    [
        ("echo c >/proc/sysrq-trigger", 512, "crash", "kernel crashed: sysrq triggered crash"),
        ("echo o >/proc/sysrq-trigger; sleep 9", 512, "ended", "the machine ended before its command"),
        (f"python3 -c '{HUNGRY}'", 256, "memory", "out of its 256 MB of memory, and killed python3"),
    ],
)
def test_what_went_wrong_is_told(
    guest: Guest, nothing_left: None, script: str, memory: int, kind: str, words: str
) -> None:
    with pytest.raises(MachineError) as raised:
        guest(script, memory=memory)
    assert (raised.value.kind, "\n" in str(raised.value)) == (kind, False)
    assert words in str(raised.value) and "guest.log" in str(raised.value)


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small disk")
def test_a_full_disk_is_told(guest: Guest, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", disk], check=True)
    try:
        with pytest.raises(MachineError, match="is full") as raised:
            guest("head -c 9000000 /dev/zero >/run/out/big", out=disk)
        assert raised.value.kind == "disk"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_room_for_memory(guest: Guest) -> None:
    with pytest.raises(MachineError, match=r"no room for the machine's 99999999 MB of memory in .*; set TMPDIR"):
        guest("true", memory=99_999_999)


def test_hidden_folders_are_refused(kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"^/dev/shm: the machine has its own /dev"):
        run(Machine(kernel, 1), ["true"], tmp_path, wall_limit_s=9, cwd=Path("/dev/shm"))


def test_one_folder_serves_one_guest(guest: Guest, kernel: Kernel, tmp_path: Path) -> None:
    def another(_: int) -> None:
        with pytest.raises(MachineError, match="another machine is writing into it"):
            guest("true")

    machine = Machine(kernel, 1)
    assert run(machine, ["true"], tmp_path / "out", wall_limit_s=60, cwd=ROOT, on_poll=another) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("script", ["sleep 1000000000", "while :; do :; done"])
def test_it_dies_with_us(kernel: Kernel, tmp_path: Path, number: signal.Signals, script: str) -> None:
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CHILD, str(out), f"echo >/run/out/up; {script}"]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not (out / "up").exists():
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(number)
    began = time.monotonic()
    child.wait(10)
    while mine(tmp_path):
        assert time.monotonic() - began < 2
        time.sleep(0.02)
    if number != signal.SIGKILL:  # which lets nobody tidy up
        assert not (out / ".machine").exists()


def test_attached(kernel: Kernel, tmp_path: Path) -> None:
    """With `attach` the command has the caller's streams, kept apart, while it runs."""
    program = CHILD.replace("wall_limit_s", "attach=True, wall_limit_s").replace("\nrun(", "\nstatus = run(")
    command = [sys.executable, "-c", program + "sys.exit(status)", str(tmp_path / "out"), "tac; echo error >&2; exit 3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, input="one\ntwo\n", text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "two\none\n", "error\n")


def test_two_at_once_take_two_cpus() -> None:
    with reserved_cpu() as first, reserved_cpu() as second:
        assert first != second or len(os.sched_getaffinity(0)) == 1
