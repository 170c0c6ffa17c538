"""What went wrong with a guest, from what it left: its kernel's log, its status, the disk."""

import re
import shutil
from pathlib import Path
from typing import Literal

Kind = Literal["crash", "memory", "disk", "hang", "limit", "ended", "input"]

_DISK_FULL = 1 << 20  # bytes: with less than this left, a write has failed or is about to
_STAMP = re.compile(r"^(<\d+>)?\[ *[\d.]+\] ?")
_KILLED = re.compile(r"Out of memory: Killed process \d+ \((.*?)\)")
_NO_MEMORY = re.compile(r"Kernel panic - not syncing: .*memory|Failed to allocate .* memory", re.IGNORECASE)
_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")


class MachineError(Exception):
    """The guest did not get to the end of its command: one line that says what happened and where the log is.

    `kind` is "crash" (the kernel), "memory" (the guest had too little), "disk" (the host's is full), "hang" (the wall
    limit was reached with the guest's clock standing still), "limit" (it was reached, the clock ran), "ended" (the
    guest ended and told no exit status) or "input" (what was asked for cannot be done).
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def diagnose(log: Path, status: int | None, exit_code: int, memory_mb: int) -> MachineError | None:
    """What to say of a guest that has ended, or None if its command's exit `status` is to be believed.

    `exit_code` is the kernel's own. A guest that had to kill for memory is never believed, whatever its command says.
    """
    lines = [_STAMP.sub("", line).strip() for line in log.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    text = "\n".join(lines)
    see = f"(log: {log})"
    killed, panic = _KILLED.search(text), _PANIC.search(text)
    if killed or _NO_MEMORY.search(text):
        who = f", and killed {killed[1]}" if killed else ""
        return MachineError("memory", f"the machine ran out of its {memory_mb} MB of memory{who} {see}")
    if panic:
        return MachineError("crash", f"the machine's kernel crashed: {panic[1]} {see}")
    if status != 0 and shutil.disk_usage(log.parent).free < _DISK_FULL:
        return MachineError("disk", f"the disk with {log.parent} is full {see}")
    if status is not None:
        return None
    last = lines[-1] if lines else "it said nothing"
    if exit_code != 0:
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with {exit_code}"
        return MachineError("crash", f"the machine's kernel {how}: {last} {see}")
    return MachineError("ended", f"the machine ended before its command: {last} {see}")


def overdue(log: Path, wall_limit_s: float, beat: str, still_s: float) -> MachineError:
    """What to say of a guest that is still running after `wall_limit_s`; its clock said `beat`, for `still_s` now."""
    limit = f"the machine reached its wall-clock limit of {wall_limit_s:g} s"
    if not beat:
        return MachineError("hang", f"{limit} before its clock started (log: {log})")
    if still_s > wall_limit_s / 2:
        stood = f"its clock stood still at {beat} s for {still_s:.0f} s"
        reason = "something in it computes or spins without sleeping"
        return MachineError("hang", f"{limit}; {stood}: {reason} (log: {log})")
    return MachineError("limit", f"{limit}; its clock ran, to {beat} s (log: {log})")
