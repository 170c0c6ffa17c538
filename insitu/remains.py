"""Temporary folders that are written down before they are made, so that those of a process that was killed can be removed.

Each has an entry in `cache_dir()/remains-UID`: a file that holds the folder's path and is locked while its owner lives. A machine
holds a lock on the folder itself as well, for as long as any process of it lives.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from insitu.cache import cache_dir


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A fresh folder PREFIXxxxxxxxx in `parent`; at the end it is removed, unless it has another name by then."""
    folder = parent.resolve() / f"{prefix}{secrets.token_hex(4)}"
    with _entry(folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)


def clean() -> Iterator[str]:
    """Removes what dead processes of this user have left; says each thing that it does."""
    with _registry() as registry:
        for entry in sorted(registry.iterdir()):
            with entry.open() as file:
                if _locked(file.fileno()):
                    continue
                folder = Path(file.read())
                if not folder.exists():  # it was renamed or removed, and only then its owner was killed
                    entry.unlink()
                elif _in_use(folder):
                    yield f"left {folder}: its machine is still running"
                else:
                    shutil.rmtree(folder)
                    entry.unlink()
                    yield f"removed {folder}"


@contextmanager
def _entry(folder: Path) -> Iterator[None]:
    with _registry() as registry:
        path = registry / folder.name
        file = path.open("x")
        file.write(str(folder))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
    with file:
        try:
            yield
        finally:
            path.unlink()


@contextmanager
def _registry() -> Iterator[Path]:
    """The folder of entries; nobody else makes or judges one meanwhile."""
    registry = cache_dir() / f"remains-{os.getuid()}"
    registry.mkdir(parents=True, exist_ok=True)
    lock = os.open(registry, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield registry
    finally:
        os.close(lock)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _in_use(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return _locked(descriptor)
    finally:
        os.close(descriptor)
