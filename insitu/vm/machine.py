"""The guest: a User-Mode Linux kernel that sees the host's files through a throw-away overlay and runs one command.

It needs no root. Nothing outlives the call: no process, no folder but the caller's own, no lock.
"""

import fcntl
import os
import select
import shlex
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO, Literal

from insitu.vm.failure import MachineError, diagnose, overdue
from insitu.vm.host import memory_folder, memory_folders, reserved_cpu
from insitu.vm.kernel import Kernel
from insitu.vm.preload import library
from insitu.vm.process import cleaning_up_on_signals, dies_with_parent

__all__ = ["ENVIRONMENT", "SYSTEM_PATH", "Machine", "MachineError", "only_user", "run"]

_HERE = Path(__file__).parent
_PROGRAMS = ("init", "start-openvswitch", "controller")  # the guest's
_POLL_S = 0.05
_STILL_S = 30.0  # after which somebody who sits there is told that the clock stands still
_START = 1_700_000_000_000_000_000  # ns since 1970: the date of every run under the virtual clock
_PRIVATE = ("/run", "/dev", "/proc", "/sys")  # the guest has its own
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "PATH": SYSTEM_PATH
    if sys.prefix == sys.base_prefix
    else f"{sys.prefix}/bin:{SYSTEM_PATH}",  # so `python` is the one we run on
    "HOME": "/run/home",  # empty: the host's may be unreadable, and is none of the guest's business
    "USER": "root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Machine:
    """What a guest is made of; with the command, its files and the seed, all that its behaviour depends on."""

    kernel: Kernel
    seed: int
    clock: Literal["virtual", "real"] = "virtual"
    memory_mb: int = 3072

    def command_line(self) -> list[str]:
        """The kernel's arguments. They seed every random number in the guest: nothing of the host may stand here."""
        virtual = ["time-travel=inf-cpu", f"time-travel-start={_START}"]
        return [
            *(virtual if self.clock == "virtual" else []),
            f"seed={self.seed}",
            *(["seccomp=auto"] if self.kernel.seccomp else []),
            f"mem={self.memory_mb}M",
            *("ipv6.disable=1", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init=/proc/self/cwd/init"),
            *("con=null", "con0=null,fd:2", "con1=fd:0,fd:1", "loglevel=5"),
            *("printk.devkmsg=on", "ifb.numifbs=0", "dummy.numdummies=0", "panic=-1", "noreboot"),
        ]


def run(
    machine: Machine,
    command: list[str],
    out: Path,
    *,
    wall_limit_s: float,
    cwd: PurePath,
    env: Mapping[str, str] | None = None,
    mounts: Mapping[str, Path] | None = None,
    files: Mapping[Path, str] | None = None,
    attach: bool = False,
    on_poll: Callable[[int], None] | None = None,
) -> int:
    """Run `command` as root in a fresh guest, in the folder `cwd`, and return its exit status.

    `out`, a folder of the host, is /run/out in the guest. `out/logs` gets guest.log (kernel and init), ovs-vswitchd.log
    and the command's output: command.log. The command's environment is a fixed minimum and `env`, nothing of ours.

    `mounts` shows folders of the host at /run/NAME too. What works only with such names is the same wherever it lies on
    the host, to the bit: each part of a path that is looked at in vain takes a virtual microsecond.

    `files` are those that have another text in the guest than on the host.

    With `attach`, the command has our standard streams: our input (read to its end first if it is no terminal), and its
    output as it comes, kept in command.out and command.err. If input and output are a terminal, it gets the terminal.

    `on_poll` is called about 20 times a second and at the end, with the number of the guest's CPU. Raises MachineError, also after
    `wall_limit_s` seconds of wall time.
    """
    folders = {name: folder.resolve() for name, folder in (mounts or {}).items()}
    _require_visible(*folders.values() or (Path(cwd), Path(sys.prefix)))
    folder = memory_folder(machine.memory_mb << 20)
    if folder is None:
        room = f"no room for the machine's {machine.memory_mb} MB of memory"
        raise MachineError("input", f"{room} in {', '.join(memory_folders())}; set TMPDIR")
    with cleaning_up_on_signals(), only_user(out), reserved_cpu() as cpu:
        guest = _Guest(machine, out.resolve(), wall_limit_s, attach)
        try:
            guest.prepare(command, cwd, {**ENVIRONMENT, **(env or {})}, folders, files or {})
            guest.start(cpu, folder)
            guest.watch(partial(on_poll, cpu) if on_poll else None)
            return guest.result()
        finally:
            guest.end()


def _require_visible(*paths: Path) -> None:
    for path in paths:
        hidden = [place for place in _PRIVATE if path.resolve().is_relative_to(place)]
        if hidden:
            raise MachineError("input", f"{path}: the machine has its own {hidden[0]}; use another folder")


@contextmanager
def only_user(out: Path) -> Iterator[int]:
    """Hold a lock on the folder `out`, so that no two machines write into it; it goes when we die.

    It is held as long as the file descriptor that this gives is open, here or in a process that has inherited it.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    except BlockingIOError:
        raise MachineError("input", f"{out}: another machine is writing into it; use another folder") from None
    finally:
        os.close(folder)


class _Guest:
    """One guest, from its preparation to its end."""

    def __init__(self, machine: Machine, out: Path, wall_limit_s: float, attach: bool) -> None:
        self.machine = machine
        self.out = out
        self.logs = out / "logs"
        self.private = out / ".machine"
        self.deadline = time.monotonic() + wall_limit_s
        self.wall_limit_s = wall_limit_s
        self.attach = attach
        self.terminal = attach and sys.stdin.isatty() and sys.stdout.isatty()
        self.terminal_state = termios.tcgetattr(sys.stdin) if self.terminal else None
        self.followed: list[tuple[BinaryIO, BinaryIO]] = []
        self.child: subprocess.Popen[bytes] | None = None
        self.beat = ("", time.monotonic())  # the guest's clock, and when we saw it move
        self.told = False

    def prepare(
        self,
        command: list[str],
        cwd: PurePath,
        env: dict[str, str],
        mounts: Mapping[str, Path],
        files: Mapping[Path, str],
    ) -> None:
        """Put what the guest needs into the private folder."""
        try:
            self.logs.mkdir(exist_ok=True)
            shutil.rmtree(self.private, ignore_errors=True)  # of a run that was killed
            self.private.mkdir()
            for program in _PROGRAMS:
                shutil.copyfile(_HERE / program, self.private / program)
                (self.private / program).chmod(0o755)
            shutil.copyfile(library(), self.private / "preload.so")
            (self.private / "stdin").touch()
            if self.attach and not sys.stdin.isatty():
                self.copy_input()
            if self.terminal:
                env["TERM"] = os.environ.get("TERM", "dumb")
            words = ["env", "-i", *(f"{name}={value}" for name, value in env.items()), *command]
            lines = [self.mount(name, folder) for name, folder in mounts.items()]
            lines += [f"printf %s {shlex.quote(text)} >{shlex.quote(str(file))}" for file, text in files.items()]
            lines += [f"cd {shlex.quote(str(cwd))} || exit 127", f"exec {self.streams()} {shlex.join(words)}"]
            (self.private / "command").write_text("\n".join(lines) + "\n")
        except OSError as error:
            raise MachineError("disk", f"{error.filename or self.out}: {error.strerror}") from error

    def mount(self, name: str, folder: Path) -> str:
        """The guest's command that shows a folder at /run/NAME, read-only; the link hides from it where that is on the host."""
        link = self.private / "mounts" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
        return f"mkdir -p /run/{name} && mount -r -t hostfs {name} -o /proc/self/cwd/mounts/{name}/. /run/{name}"

    def streams(self) -> str:
        """Shell words that give the command its standard streams; the beginning of those files, if we follow them."""
        if self.terminal:
            size = os.get_terminal_size()
            return f"</dev/tty1 >/dev/tty1 2>&1; stty rows {size.lines} cols {size.columns}; exec setsid --ctty --wait"
        if not self.attach:
            return "</dev/null >/run/out/logs/command.log 2>&1"
        for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
            path = self.logs / f"command.{name}"
            path.write_bytes(b"")
            self.followed.append((path.open("rb"), stream.buffer))
        return "</run/out/.machine/stdin >/run/out/logs/command.out 2>/run/out/logs/command.err"

    def copy_input(self) -> None:
        """Our input into a file, to its end: a pipe from the host would bring the host's time into the guest."""
        source = sys.stdin.fileno()
        with open(self.private / "stdin", "wb") as copy:
            while True:
                if not select.select([source], [], [], max(0, self.deadline - time.monotonic()))[0]:
                    raise MachineError("input", f"standard input had no end within {self.wall_limit_s:g} s")
                data = os.read(source, 1 << 20)
                if not data:
                    return
                copy.write(data)

    def start(self, cpu: int, memory: Path) -> None:
        """Standard error is the guest's kernel log, the other two are its terminal."""
        with open(self.logs / "guest.log", "wb") as log:
            self.child = subprocess.Popen(
                [str(self.machine.kernel.path), *self.machine.command_line()],
                cwd=self.private,
                env={"TMPDIR": str(memory), "HOME": str(self.private)},  # it makes a folder .uml in its home
                stdin=None if self.terminal else subprocess.DEVNULL,
                stdout=None if self.terminal else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to deal with
                preexec_fn=dies_with_parent(os.getpid(), cpu),
            )

    def watch(self, on_poll: Callable[[], None] | None) -> None:
        """Until the guest ends. MachineError at the limit."""
        assert self.child is not None
        descriptor = os.pidfd_open(self.child.pid)
        try:
            while not select.select([descriptor], [], [], _POLL_S)[0]:
                self.follow()
                self.see_beat()
                if on_poll is not None:
                    on_poll()
                if time.monotonic() > self.deadline:
                    beat, since = self.beat
                    raise overdue(self.logs / "guest.log", self.wall_limit_s, beat, time.monotonic() - since)
        finally:
            os.close(descriptor)
        self.child.wait()
        self.follow()
        if on_poll is not None:
            on_poll()

    def follow(self) -> None:
        """Pass on what the command has written since the last time."""
        for file, stream in self.followed:
            if data := file.read():
                stream.write(data)
                stream.flush()

    def see_beat(self) -> None:
        try:
            beats = (self.private / "heartbeat").read_text().split()
        except FileNotFoundError:
            return
        if beats and beats[-1] != self.beat[0]:
            self.beat = (beats[-1], time.monotonic())
        elif self.attach and not self.told and time.monotonic() - self.beat[1] > _STILL_S:
            self.told = True
            still = (
                f"the machine's clock has stood still for {_STILL_S:.0f} s: it computes, which takes no virtual time"
            )
            advice = "(traffic over a link without a rate has no end: give it one, or say --clock real)"
            print(f"insitu: {still} {advice}", file=sys.stderr, end="\r\n" if self.terminal else "\n", flush=True)

    def result(self) -> int:
        assert self.child is not None
        try:
            status = int((self.private / "status").read_text())
        except (FileNotFoundError, ValueError):  # not written, or no room for it
            status = None
        error = diagnose(self.logs / "guest.log", status, self.child.returncode, self.machine.memory_mb)
        if error is not None:
            raise error
        assert status is not None
        return status

    def end(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.kill()  # its processes die with it
            self.child.wait()
        for file, _ in self.followed:
            file.close()
        if self.terminal_state is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.terminal_state)
        shutil.rmtree(self.private, ignore_errors=True)
