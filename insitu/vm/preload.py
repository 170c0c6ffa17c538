"""What Open vSwitch is preloaded with in the guest: compiled once and cached."""

import hashlib
import subprocess
from pathlib import Path

from insitu.cache import cached
from insitu.vm.failure import MachineError

_SOURCE = Path(__file__).parent / "one-time-a-turn.c"


def library() -> Path:
    """The shared library of one-time-a-turn.c. Raises MachineError."""
    key = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    return cached("preload", key, _compile) / "preload.so"


def _compile(folder: Path) -> None:
    command = ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(folder / "preload.so"), str(_SOURCE)]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise MachineError("input", "compiling for the machine needs gcc: apt-get install gcc libc6-dev") from None
    except subprocess.CalledProcessError as error:
        first = next(iter(error.stderr.splitlines()), "it said nothing")
        raise MachineError("input", f"gcc failed: {first}") from None
