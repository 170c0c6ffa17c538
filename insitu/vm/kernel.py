"""The guest's kernel: User-Mode Linux, built once from source and cached."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insitu.cache import cache_dir, cached
from insitu.remains import temporary_folder
from insitu.vm.process import cleaning_up_on_signals, dies_with_parent
from insitu.vm.source import OLDEST, SECCOMP, KernelError, Report, Source, given, newest_package

__all__ = ["Kernel", "KernelError", "find_or_build"]

_HERE = Path(__file__).parent
_CONFIG = _HERE / "kernel.config"
_PATCHES = [
    _HERE / "deterministic-rng.patch",  # random numbers come from the kernel command line alone,
    _HERE / "untimed-rng.patch",  # and not from the moment either
    _HERE / "untimed-lookups.patch",  # where files lie on the host does not show in the virtual clock
    _HERE / "fault-ahead.patch",  # starts big programs a fifth faster
]
# The build stamp is one of the seeds of the guest's random numbers: the same for everyone.
_STAMP = {
    "KBUILD_BUILD_TIMESTAMP": "2025-01-01",
    "KBUILD_BUILD_USER": "insitu",
    "KBUILD_BUILD_HOST": "insitu",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",  # or a git checkout's state would show in `uname -r`
}
TOOLS = {  # that build it: command -> Debian package
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "xz": "xz-utils",
    "patch": "patch",
    "tar": "tar",
}
_ROOM = 3_000_000_000  # bytes: source 1.7 GB, its tarball, objects
_FILES = 1430  # about as many steps does `make` print


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted."""

    path: Path
    version: str
    sha256: str
    seccomp: bool  # without it (before 6.16) guests are 1.6 times slower


def find_or_build(report: Report, source: Path | None = None, *, refresh: bool = False) -> Kernel:
    """The kernel to boot: from the cache if it is there, built otherwise (about five minutes; 170 MB of download).

    `source` is a kernel's source folder or tarball; by default it is the newest that apt offers, looked for only if
    no kernel of this recipe has been built yet, or with `refresh`. `report` gets one line at a time of what is
    happening. Raises KernelError.
    """
    if source is not None:
        return _from(given(source), report)
    default = cache_dir() / f"kernel-default-{_recipe()[:16]}.json"
    if not refresh and default.exists():
        folder = cache_dir() / json.loads(default.read_text())["folder"]
        if (folder / "linux").exists():
            return _load(folder)
    _require_tools()
    with cleaning_up_on_signals(), temporary_folder(Path(tempfile.gettempdir()), "insitu-apt-") as scratch:
        kernel = _from(newest_package(scratch, report), report)
    beside = default.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps({"folder": kernel.path.parent.name}))
    beside.rename(default)
    return kernel


def _recipe() -> str:
    """The hash of everything that is ours in a kernel."""
    recipe = [path.read_bytes() for path in (_CONFIG, *_PATCHES)]
    return hashlib.sha256(b"".join(recipe) + json.dumps(_STAMP).encode()).hexdigest()


def _from(source: Source, report: Report) -> Kernel:
    _require_tools()
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    key = hashlib.sha256(f"{_recipe()}\n{source.identity()}\ngcc {gcc}\n".encode()).hexdigest()[:16]
    with cleaning_up_on_signals():
        return _load(cached("kernel", key, lambda folder: _Build(folder, report).make(source, gcc)))


def _load(folder: Path) -> Kernel:
    known = json.loads((folder / "kernel.json").read_text())
    return Kernel(folder / "linux", known["version"], known["sha256"], known["seccomp"])


def _require_tools() -> None:
    missing = [package for command, package in TOOLS.items() if shutil.which(command) is None]
    if not Path("/usr/include/stdio.h").exists():
        missing.append("libc6-dev")
    if missing:
        raise KernelError(f"kernel: building it needs more tools: apt-get install {' '.join(missing)}")


class _Build:
    """One build, in `folder`: `linux`, `config` and `kernel.json` are what remains in it."""

    def __init__(self, folder: Path, report: Report) -> None:
        self.folder = folder
        self.report = report
        self.tree = folder / "build"
        self.log = folder / "build.log"
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", **_STAMP}

    def make(self, source: Source, gcc: str) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < _ROOM:
            sizes = f"needs {_ROOM / 1e9:.0f} GB, and {free / 1e9:.1f} GB are free"
            raise KernelError(f"kernel: building it in {cache_dir()} {sizes}")
        self.tree.mkdir()
        source.unpack(self.tree, self.run, self.report)
        version = version_of(self.tree)
        release = release_of(version)
        if release < OLDEST:
            raise KernelError(f"kernel: {source.label} is Linux {version}; {OLDEST[0]}.{OLDEST[1]} or newer is needed")
        if release < SECCOMP:
            newer = f"{SECCOMP[0]}.{SECCOMP[1]}"
            self.report(f"kernel: warning: Linux {version} is 1.6 times slower in the machine than {newer} or newer")
        for patch in _PATCHES:
            self.patch(patch)
        self.configure(version)
        self.compile(version)
        self.keep({"version": version, "seccomp": release >= SECCOMP, "source": source.label, "gcc": gcc})

    def patch(self, patch: Path) -> None:
        command = ["patch", "-p1", "--force", "--input", str(patch)]
        undo = [*command, "--reverse", "--dry-run"]
        if subprocess.run(undo, cwd=self.tree, capture_output=True, check=False).returncode != 0:  # not in it already
            self.run(command, self.tree)

    def configure(self, version: str) -> None:
        self.run(["make", "ARCH=um", "tinyconfig"], self.tree)
        self.run(["scripts/kconfig/merge_config.sh", "-m", ".config", str(_CONFIG)], self.tree)
        self.run(["make", "ARCH=um", "olddefconfig"], self.tree)
        lost = lost_options(_CONFIG.read_text(), (self.tree / ".config").read_text())
        if lost:
            raise KernelError(f"kernel: Linux {version} cannot be built with {', '.join(lost)}")

    def compile(self, version: str) -> None:
        cores = len(os.sched_getaffinity(0))
        about = f"kernel: building Linux {version}, {max(1, round(9 / cores))} minutes on {cores} cores"
        self.report(f"{about} (0 of ~{_FILES} files)")
        steps, told = 0, time.monotonic()

        def progress() -> None:
            nonlocal steps, told
            steps += 1
            if time.monotonic() - told > 5:
                self.report(f"{about} ({steps} of ~{_FILES} files)")
                told = time.monotonic()

        self.run(["make", "ARCH=um", f"-j{cores}", "linux"], self.tree, progress)

    def keep(self, known: dict[str, Any]) -> None:
        (self.tree / "linux").rename(self.folder / "linux")
        (self.tree / ".config").rename(self.folder / "config")
        with open(self.folder / "linux", "rb") as file:
            known["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        shutil.rmtree(self.tree)
        self.log.unlink()
        (self.folder / "kernel.json").write_text(json.dumps(known, indent=1) + "\n")
        self.report(f"kernel: Linux {known['version']} is ready")

    def run(self, command: list[str], cwd: Path, on_line: Callable[[], None] | None = None) -> None:
        """Run a step of the build; everything it starts ends with us. KernelError with its last words if it fails."""
        with open(self.log, "ab") as log:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_parent(os.getpid()),
            )
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    log.write(line)
                    if on_line is not None:
                        on_line()
                status = child.wait()
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        if status != 0:
            raise KernelError(self.complaint(command[0]))

    def complaint(self, command: str) -> str:
        kept = cache_dir() / "kernel-build.log"
        shutil.copy(self.log, kept)
        lines = [line.strip() for line in kept.read_text(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"error:|^E: |FAILED|Reversed", line)]
        last = (telling or lines or ["it said nothing"])[-1]
        return f"kernel: {Path(command).name} failed: {last} (all of it: {kept})"


def version_of(tree: Path) -> str:
    """Such as "7.3.4", from the source's Makefile."""
    head = (tree / "Makefile").read_text().splitlines()[:20]
    values = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in head)}
    try:
        return ".".join(values[name] for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")) + values.get("EXTRAVERSION", "")
    except KeyError:
        raise KernelError(f"kernel: {tree}/Makefile tells no version; is it a kernel's source?") from None


def release_of(version: str) -> tuple[int, int]:
    """(7, 3) of "7.3.4"."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def lost_options(wanted: str, got: str) -> list[str]:
    """The options asked for that `make olddefconfig` dropped, as it does without a word."""
    have = set(got.splitlines())
    lost = []
    for line in wanted.splitlines():
        if line.startswith("CONFIG_") and line not in have:
            lost.append(line.partition("=")[0])
        elif line.endswith(" is not set") and f"{line.split()[1]}=y" in have:
            lost.append(line.split()[1])
    return lost
