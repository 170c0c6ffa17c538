"""A user's own functions, from a file of theirs: `FILE.py:NAME`."""

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any


class ProgramError(ValueError):
    """A function cannot be had or fails; one line says where and why."""


def split(reference: str) -> tuple[Path, str]:
    """The file and the function that `FILE.py:NAME` names. Raises ProgramError."""
    file, colon, name = reference.rpartition(":")
    if not colon or not name.isidentifier():
        raise ProgramError(f"{reference}: no function is named; write FILE.py:FUNCTION")
    if not Path(file).is_file():
        raise ProgramError(f"{file}: no such file")
    return Path(file), name


def read(file: Path) -> bytes:
    """Raises ProgramError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ProgramError(f"{file}: {error.strerror}") from None


def sha256(source: bytes) -> str:
    """The name of a program in a library's folder."""
    return hashlib.sha256(source).hexdigest()


def result_of(source: bytes, file: Path, name: str, beside: bool = False) -> Any:
    """What function `name` of this source gives. With `beside` it may import what lies beside `file`. Raises ProgramError."""
    function = _function(source, str(file), name, beside)
    with _errors_of(str(file), name), _path(file.parent, beside):
        return function()


def _function(source: bytes, file: str, name: str, beside: bool) -> Callable[[], Any]:
    module = ModuleType(f"program_{sha256(source)[:16]}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # where dataclasses look for it
    with _errors_of(file, name), _path(Path(file).parent, beside):
        exec(compile(source, file, "exec"), module.__dict__)
    function = getattr(module, name, None)
    if not callable(function):
        own = sorted(
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        )
        raise ProgramError(f"{file}: no function {name}; it has {', '.join(own) or 'none'}")
    return function  # type: ignore[no-any-return]


@contextmanager
def _path(folder: Path, beside: bool) -> Iterator[None]:
    """Modules in `folder` are found, or (since they will not be there when the program runs elsewhere) are not."""
    before = list(sys.path)
    others = [entry for entry in before if Path(entry or ".").resolve() != folder.resolve()]
    sys.path[:] = [str(folder), *others] if beside else others
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _errors_of(file: str, name: str) -> Iterator[None]:
    """Whatever a user's file raises, as a ProgramError: the last line of that file that took part, and what it says."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        if isinstance(error, SyntaxError):
            lines.append(error.lineno)
        where = f"{file}:{lines[-1]}" if lines else f"{file}: {name}"
        said = str(error).partition("\n")[0]
        raise ProgramError(f"{where}: {type(error).__name__}: {said}") from None
