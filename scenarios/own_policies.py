"""Policies that are a user's own: `module:Class`, the module beside the scenario or installed, or an entry point's name."""

import hashlib
import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

METHODS = {"slicing": "decide", "compression": "choose"}  # what a policy of each kind has to have


class NoPolicy(Exception):
    """A name that stands for no policy; the message says why, in a line."""


def named(kind: str) -> list[str]:
    """The policies of a kind that installed packages offer, as entry points of `insitu.KIND`."""
    return sorted({point.name for point in entry_points(group=f"insitu.{kind}")})


def file_of(name: str, folder: Path | None) -> Path | None:
    """The file beside the scenario that a policy comes from; None for one that is installed or built in."""
    module, colon, _ = name.partition(":")
    if not colon or folder is None or not module.isidentifier():
        return None
    file = folder / f"{module}.py"
    return file if file.is_file() else None


def make(kind: str, name: str, folder: Path | None) -> object:
    """A user's policy, made without arguments. Raises NoPolicy."""
    module, colon, attribute = _written_out(kind, name).partition(":")
    if not (colon and module and attribute):
        raise NoPolicy(f'no {kind} policy "{name}"; write module:Class for one of your own')
    file = file_of(f"{module}:{attribute}", folder)
    code = _import_file(file) if file else _import(module)
    found = getattr(code, attribute, None)
    if not isinstance(found, type):
        raise NoPolicy(f"{file.name if file else module} has no class {attribute}")
    try:
        policy: object = found()
    except Exception as error:
        raise NoPolicy(f"{attribute}() cannot be made: {_said(error)}") from error
    if not callable(getattr(policy, METHODS[kind], None)):
        raise NoPolicy(f"{attribute} has no method {METHODS[kind]}, which a {kind} policy needs")
    return policy


def _written_out(kind: str, name: str) -> str:
    """An entry point's name as its `module:Class`."""
    if ":" in name:
        return name
    return next((point.value for point in entry_points(group=f"insitu.{kind}") if point.name == name), name)


def _import_file(file: Path) -> ModuleType:
    """Under a name of its content, so that no other module is in its way."""
    key = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    name = f"insitu_own_{file.stem}_{key}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    code = importlib.util.module_from_spec(spec)
    sys.modules[name] = code
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left beside the user's file
    try:
        spec.loader.exec_module(code)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise NoPolicy(f"{file.name} cannot be imported: {_said(error)}") from error
    finally:
        sys.dont_write_bytecode = before
    return code


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise NoPolicy(
                f"no module {module}: there is no {module}.py beside the scenario, and none is installed"
            ) from None
        raise NoPolicy(f"{module} cannot be imported: {_said(error)}") from error
    except (Exception, SystemExit) as error:
        raise NoPolicy(f"{module} cannot be imported: {_said(error)}") from error


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
