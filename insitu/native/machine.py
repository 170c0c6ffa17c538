"""A run on this machine itself, as root: the guest's programs in namespaces of their own, with the machine's kernel and clock.

Network, mounts and processes are the run's own, so no name in it can meet one of the machine or of another run, and nothing
needs to be found to be removed: when the run's process 1 dies, the kernel ends and frees everything. Only folders can be left.
"""

import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath

from insitu.vm.failure import MachineError
from insitu.vm.machine import ENVIRONMENT, only_user
from insitu.vm.process import cleaning_up_on_signals, dies_with_parent

_HERE = Path(__file__).parent
_START_OPENVSWITCH = _HERE.parent / "vm" / "start-openvswitch"
_POLL_S = 0.05


def run(
    command: list[str],
    out: Path,
    *,
    wall_limit_s: float,
    cwd: PurePath,
    env: Mapping[str, str],
    mounts: Mapping[str, Path],
    on_poll: Callable[[], None],
) -> int:
    """Runs `command` as `insitu.vm.machine.run` does, on this machine's own kernel; gives its exit status.

    `out` is /run/out, each folder of `mounts` is /run/NAME, read-only. `out/logs` gets init.log, ovs-vswitchd.log and
    command.log. Nothing of it is left afterwards. Raises MachineError.
    """
    out = out.resolve()
    with cleaning_up_on_signals(), only_user(out) as lock, _private_folder(out) as private:
        (out / "logs").mkdir(exist_ok=True)
        shutil.copyfile(_START_OPENVSWITCH, private / _START_OPENVSWITCH.name)
        for name, folder in mounts.items():
            (private / "mounts" / name).symlink_to(folder.resolve())
        (private / "command").write_text(_script(command, cwd, {**ENVIRONMENT, "TMPDIR": "/run/tmp", **env}))
        with _started(out, lock) as process:
            _watch(process, wall_limit_s, on_poll)
        return _status(private, process.returncode, out / "logs" / "init.log")


@contextmanager
def _private_folder(out: Path) -> Iterator[Path]:
    private = out / ".machine"
    shutil.rmtree(private, ignore_errors=True)  # of a run that was killed
    (private / "mounts").mkdir(parents=True)
    try:
        yield private
    finally:
        shutil.rmtree(private)


def _script(command: list[str], cwd: PurePath, env: Mapping[str, str]) -> str:
    words = ["env", "-i", *(f"{name}={value}" for name, value in env.items()), *command]
    streams = "</dev/null >/run/out/logs/command.log 2>&1"
    return f"cd {shlex.quote(str(cwd))} || exit 127\nexec {streams} {shlex.join(words)}\n"


@contextmanager
def _started(out: Path, lock: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process that holds the namespaces. All in them inherit the lock on the folder: it is free when nothing is left."""
    with open(out / "logs" / "init.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_HERE / "enter.py"), "/bin/bash", str(_HERE / "init"), str(out)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is ours to deal with
            preexec_fn=dies_with_parent(os.getpid()),
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _watch(process: subprocess.Popen[bytes], wall_limit_s: float, on_poll: Callable[[], None]) -> None:
    """Until the run ends. MachineError at the limit."""
    deadline = time.monotonic() + wall_limit_s
    descriptor = os.pidfd_open(process.pid)
    try:
        while not select.select([descriptor], [], [], _POLL_S)[0]:
            on_poll()
            if time.monotonic() > deadline:
                raise MachineError("limit", f"the run reached its wall-clock limit of {wall_limit_s:g} s")
    finally:
        os.close(descriptor)


def _status(private: Path, ended: int, log: Path) -> int:
    """The command's own status, which process 1 leaves last; `ended` is the status of what held the namespaces."""
    try:
        return int((private / "status").read_text())
    except (FileNotFoundError, ValueError):  # not written, or no room for it
        number = -ended if ended < 0 else ended - 128
        if number > 0:
            raise MachineError("ended", f"the run was killed by signal {number} (log: {log})") from None
        lines = log.read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        raise MachineError("ended", f"the run ended before its command: {last.strip()} (log: {log})") from None
