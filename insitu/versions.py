"""The versions of everything that a run's records can depend on: equal versions and an equal plan give equal digests."""

import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from insitu.vm.kernel import Kernel
from scenarios.plan import FORMAT

DEBIAN = ("bash", "libc6", "mininet", "openvswitch-switch", "python3.11", "zlib1g")


def versions(kernel: Kernel | None, program: str, models: dict[str, str]) -> dict[str, str]:
    """Name -> version. `program` is the key of insitu's own sources, `models` the manifests' digests; no kernel is the host's."""
    return {
        "insitu": program,
        "plan format": str(FORMAT),
        "kernel": f"{kernel.version} {kernel.sha256[:16]}" if kernel else platform.release(),
        "python": platform.python_version(),
        "models": " ".join(f"{name}={digest[-16:]}" for name, digest in sorted(models.items())),
        **_debian(),
        **_packages(),
    }


def _packages() -> dict[str, str]:
    """The Python packages of our environment."""
    here = Path(sys.prefix)
    found = {str(d.name): d.version for d in distributions() if Path(str(d.locate_file(""))).is_relative_to(here)}
    return {name: found[name] for name in sorted(found, key=str.lower) if name != "insitu"}


def _debian() -> dict[str, str]:
    """The distribution's own packages, as far as it is Debian's kind."""
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *DEBIAN]
    try:
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in sorted(lines) if " " in line)
