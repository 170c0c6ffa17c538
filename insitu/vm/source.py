"""Where the guest kernel's source comes from: a folder, a tarball, or the newest package that apt offers."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Report = Callable[[str], None]
Run = Callable[[list[str], Path], None]

OLDEST = (6, 12)  # 6.1 panics when a veth comes up
SECCOMP = (6, 16)  # before it, every system call of the guest is traced: 1.6 times slower

_BACKPORTS = ("trixie-backports", "bookworm-backports")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PACKAGE = re.compile(r"^(linux-source-(\d+)\.(\d+)(?:\.\d+)*) - ", re.MULTILINE)


class KernelError(Exception):
    """There is no kernel to run, and why: one line."""


class Source(Protocol):
    """A kernel's source: what it is, and how to unpack it."""

    @property
    def label(self) -> str:
        """What the user may call it."""

    def identity(self) -> str:
        """Equal for equal sources."""

    def unpack(self, into: Path, run: Run, report: Report) -> None:
        """Put the source tree into `into`, an empty folder; `run(argv, cwd)` executes a command."""


@dataclass(frozen=True)
class Tree:
    """A folder with a kernel's source. It is copied, never changed."""

    path: Path

    @property
    def label(self) -> str:
        return str(self.path)

    def identity(self) -> str:
        """Of the names, sizes and times of its files: reading 1.5 GB would take longer than it is worth."""
        digest = hashlib.sha256((self.path / "Makefile").read_bytes())
        for folder, folders, files in os.walk(self.path):
            folders[:] = sorted(name for name in folders if name != ".git")
            for name in sorted(files):
                status = os.lstat(os.path.join(folder, name))
                digest.update(
                    f"{folder[len(str(self.path)) :]}/{name} {status.st_size} {status.st_mtime_ns}\n".encode()
                )
        return f"tree {digest.hexdigest()}"

    def unpack(self, into: Path, run: Run, report: Report) -> None:
        report(f"kernel: copying {self.path}")
        leave = ["--exclude=.git", "--exclude=*.o", "--exclude=*.a"]
        run(["tar", "cf", "../tree.tar", *leave, "-C", str(self.path), "."], into)
        run(["tar", "xf", "../tree.tar"], into)
        (into.parent / "tree.tar").unlink()
        run(["make", "ARCH=um", "mrproper"], into)


@dataclass(frozen=True)
class Tarball:
    """A tarball of one folder with a kernel's source, compressed in any way that tar knows."""

    path: Path

    @property
    def label(self) -> str:
        return str(self.path)

    def identity(self) -> str:
        with open(self.path, "rb") as file:
            return f"tarball {hashlib.file_digest(file, 'sha256').hexdigest()}"

    def unpack(self, into: Path, run: Run, report: Report) -> None:
        report(f"kernel: unpacking {self.path.name}")
        run(["tar", "xf", str(self.path), "--strip-components=1"], into)


@dataclass(frozen=True)
class Package:
    """A package `linux-source-*` that apt can download with `options`."""

    name: str
    version: str
    size: int  # bytes
    release: tuple[int, int]
    options: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}"

    def identity(self) -> str:
        return f"package {self.name} {self.version}"

    def unpack(self, into: Path, run: Run, report: Report) -> None:
        report(f"kernel: downloading {self.name} ({self.size / 1e6:.0f} MB)")
        deb = into.parent / "deb"
        deb.mkdir()
        run(["apt-get", *self.options, "download", self.name], deb)
        run(["dpkg-deb", "-x", str(next(deb.glob("*.deb"))), "files"], deb)
        tarballs = [path for path in deb.glob("files/usr/src/**/*.tar.*") if path.is_file() and not path.is_symlink()]
        if len(tarballs) != 1:
            raise KernelError(f"kernel: {self.label} holds {len(tarballs)} tarballs in /usr/src, not one")
        Tarball(tarballs[0]).unpack(into, run, report)
        shutil.rmtree(deb)


def given(path: Path) -> Source:
    """The source that the user names. KernelError if it is none."""
    if (path / "Makefile").is_file() and (path / "arch" / "um").is_dir():
        return Tree(path.resolve())
    if path.is_file():
        return Tarball(path.resolve())
    raise KernelError(f"kernel: {path}: neither a kernel's source (a folder with Makefile and arch/um) nor its tarball")


def newest_package(scratch: Path, report: Report) -> Package:
    """The newest kernel source that apt offers here, Debian's backports included though they may not be configured.

    `scratch` is an empty folder that holds apt's lists until the package has been downloaded.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise KernelError("kernel: this machine has no apt; give a kernel's source (kernel.org has them) with --source")
    report("kernel: asking apt for the newest kernel source")
    packages = _offered(())
    backports = _backports(scratch)
    if backports:
        # A suite that a mirror lacks makes apt fail, but not forget the others.
        subprocess.run(["apt-get", *backports, "update"], capture_output=True, check=False)
        packages += _offered(backports)
    if not packages:
        raise KernelError("kernel: apt offers no linux-source package here; give a kernel's source with --source")
    newest = max(packages, key=lambda package: package.release)
    if newest.release < OLDEST:
        raise KernelError(
            f"kernel: apt's newest is {newest.label}, but {OLDEST[0]}.{OLDEST[1]} or newer is needed; "
            "give a kernel's source with --source"
        )
    return newest


def _backports(scratch: Path) -> tuple[str, ...]:
    """Options that make apt read Debian's backports from this machine's own mirror, with all state in `scratch`."""
    targets = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(SITE)", "Created-By: Packages"]
    lines = subprocess.run(targets, capture_output=True, text=True, check=False).stdout.splitlines()
    sites = [line.split("|")[2] for line in lines if line.startswith("Debian|Debian|")]
    if not sites or not _KEYRING.exists():
        return ()
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    sources = scratch / "sources.list"
    sources.write_text("".join(f"deb [signed-by={_KEYRING}] {sites[0]} {suite} main\n" for suite in _BACKPORTS))
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Get::List-Cleanup": "0",
        "APT::Sandbox::User": "root",  # the user _apt may not enter our private folder
    }
    return tuple(part for key, value in settings.items() for part in ("-o", f"{key}={value}"))


def _offered(options: tuple[str, ...]) -> list[Package]:
    """The kernel sources that apt knows of, with these options."""
    search = ["apt-cache", *options, "search", "--names-only", "^linux-source-[0-9.]+$"]
    found = _PACKAGE.findall(subprocess.run(search, capture_output=True, text=True, check=False).stdout)
    return [_package(name, (int(major), int(minor)), options) for name, major, minor in found]


def _package(name: str, release: tuple[int, int], options: tuple[str, ...]) -> Package:
    show = ["apt-cache", *options, "show", "--no-all-versions", name]
    text = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))
    return Package(name, fields["Version"], int(fields["Size"]), release, options)
