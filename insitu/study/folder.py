"""A study's folder: which one it is, that only one study uses it at a time, and runs that get into it whole."""

import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from insitu.study.errors import WrongStudy

_STUDY = "study.json"


class FolderInUse(WrongStudy):
    """The folder is another study's, or none of a study: one line."""


@contextmanager
def study_folder(name: str, study: dict[str, Any], out: Path | None = None) -> Iterator[Path]:
    """The folder of a study, which is made if it is not there, and which nobody else's study uses meanwhile.

    `study` says what is asked (plain JSON) and is kept in study.json. Without `out` the folder is the first of runs/NAME,
    runs/NAME-2, … that is free or has this very study, which then goes on. In `out` may be another study of before: what they
    have in common is not run again. Raises FolderInUse.
    """
    text = json.dumps(study, indent=2) + "\n"
    folder = _choose(name, text) if out is None else out
    if folder.exists() and _study(folder) is None:
        raise FolderInUse(f"{folder} exists and is no study's folder; name another with --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)  # the lock goes when we die
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(f"{folder}: another study is running in it; wait for its end, or use --out") from None
        write_whole(folder / _STUDY, text.encode())
        yield folder
    finally:
        os.close(lock)


def _choose(name: str, text: str) -> Path:
    choices = (Path("runs") / (name if n == 1 else f"{name}-{n}") for n in count(1))
    return next(choice for choice in choices if not choice.exists() or _study(choice) == text)


def _study(folder: Path) -> str | None:
    file = folder / _STUDY
    return file.read_text() if file.is_file() else None


def write_whole(file: Path, content: bytes) -> None:
    """Nobody sees half of it."""
    beside = file.with_name(f".{file.name}.partial")
    beside.write_bytes(content)
    beside.rename(file)


def pack(folder: Path) -> bytes:
    """A folder as it is sent."""
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return packed.getvalue()


def unpack(packed: bytes, target: Path) -> None:
    """Makes the folder `target` of what `pack` gave, in the place of an earlier one; nobody sees half of it."""
    beside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)  # of a study that was killed
    beside.mkdir(parents=True)
    with ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(beside)
    if target.exists():
        shutil.rmtree(target)
    beside.rename(target)
