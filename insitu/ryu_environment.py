"""Ryu 4.34 in a virtual environment of its own, made once and kept in the cache. `python -m insitu.ryu_environment` (`make ryu`)
makes it and prints where its programs are.
"""

import hashlib
import platform
import subprocess
import sys
from pathlib import Path

from insitu.cache import cache_dir, cached
from scenarios.plan import RYU_PACKAGES

PROJECT = Path(__file__).resolve().parent.parent
_PINS = (PROJECT / "constraints.txt", PROJECT / "controller" / "ryu-constraints.txt")
_PATCH = PROJECT / "controller" / "ryu.patch"
_TO_BUILD = ("setuptools", "wheel", "pbr")  # of the pinned versions: Ryu's own build would take the newest
_PACKAGES = ("ryu", "msgspec", "numpy", "scipy")  # Ryu, and what the controller imports


class NoRyu(Exception):
    """The environment is not there, or cannot be made: one line."""


def find() -> Path | None:
    """The environment, if `make ryu` has made it."""
    folder = _folder()
    return folder if folder.is_dir() else None


def require() -> Path:
    """The environment. Raises NoRyu."""
    if folder := find():
        return folder
    raise NoRyu("controller: ryu: its environment is not there; run `make ryu`")


def require_for(controller: str) -> None:
    """What a scenario's controller needs is there. Raises NoRyu."""
    if controller == "ryu":
        require()


def mounts(controller: str) -> dict[str, Path]:
    """What the machine has to see, for a plan's controller to start. Raises NoRyu."""
    return {Path(RYU_PACKAGES).name: _packages(require())} if controller == "ryu" else {}


def _packages(environment: Path) -> Path:
    """The folder from which the environment's Python imports."""
    return environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def make() -> Path:
    """The environment, made if it is not there. Raises NoRyu."""
    return cached("ryu", _key(), _fill)


def _key() -> str:
    digest = hashlib.sha256(f"{platform.python_version()} {_PACKAGES}".encode())
    for file in (Path(__file__), _PATCH, *_PINS):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _folder() -> Path:
    return cache_dir() / f"ryu-{_key()}"


def _fill(folder: Path) -> None:
    python, site = folder / "bin" / "python", _packages(folder)
    pins: list[str | Path] = [word for file in _PINS for word in ("-c", file)]
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-compile",
        *pins,
    ]
    _execute([Path(sys._base_executable).resolve(), "-m", "venv", folder])  # type: ignore[attr-defined]
    _execute([*install, *_TO_BUILD])
    _execute([*install, "--no-build-isolation", *_PACKAGES])
    _execute(["patch", "-p1", "-s", "-d", site, "-i", _PATCH])
    # Compiled under the name that it has in the guest, as the environment that insitu runs in
    _execute([python, "-m", "compileall", "-q", "-j", "2", "-s", site, "-p", RYU_PACKAGES, site])
    for program in (folder / "bin").iterdir():  # they name the folder, which is renamed when all is there
        text = program.read_bytes()
        if not program.is_symlink() and text.startswith(b"#!"):
            program.write_bytes(text.replace(str(folder).encode(), str(_folder()).encode()))


def _execute(command: list[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise NoRyu(
            f"Ryu's environment cannot be made: {Path(command[0]).name}: {said[-1] if said else 'it said nothing'}"
        )


if __name__ == "__main__":
    try:
        print(make() / "bin")
    except NoRyu as error:
        sys.exit(str(error))
