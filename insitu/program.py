"""The program that a guest runs: insitu's own packages as this checkout has them, and the Python and modules that they need."""

import compileall
import hashlib
import platform
import shutil
import sys
from pathlib import Path

from insitu import cache

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("insitu", "topology", "linux", "controller", "edge_nodes", "scenarios")


def python() -> str:
    """The interpreter that the environment was made from: its own link would read where the environment is."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def module_path() -> str:
    """Where the guest's Python finds modules: ours, the environment's, the system's; `-S` keeps it from looking for more."""
    here = Path(sys.prefix)
    site = [Path(p) for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    ours = [str(Path("/run/python") / p.relative_to(here)) for p in site if p.is_relative_to(here)]
    return ":".join(["/run/project", *ours, *(str(p) for p in site if not p.is_relative_to(here))])


def key() -> str:
    """The version of insitu: a hash of its sources and of Python's own version."""
    hasher = hashlib.sha256(platform.python_version().encode())
    for file in _sources():
        hasher.update(f"{file.relative_to(PROJECT)} sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return hasher.hexdigest()[:16]


def folder() -> Path:
    """A copy of the packages, compiled under the name that it has in the guest.

    Python keeps the names of a module's folder and file in memory, and what lies where in memory decides the order of its sets.
    So neither the checkout's path nor other files in it may be seen.
    """

    def copy(made: Path) -> None:
        for file in _sources():
            target = made / file.relative_to(PROJECT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        compileall.compile_dir(made, quiet=2, stripdir=str(made), prependdir="/run/project")

    return cache.cached("program", key(), copy)


def _sources() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((PROJECT / package).rglob("*.py"))]
