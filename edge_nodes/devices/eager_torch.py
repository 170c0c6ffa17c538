"""Imports PyTorch for running models and nothing else: half a second less for each guest.

Two things that only PyTorch's compiler needs are left out: the shape functions of all operators (`torch._meta_registrations`),
and the source lines of every function that registers one.
"""

import inspect
import sys
from importlib import import_module
from types import ModuleType

_COMPILERS = "torch._meta_registrations"


def _module_by_name(thing: object, _filename: str | None = None) -> ModuleType | None:
    """`inspect.getmodule` without resolving the paths of all modules for each call."""
    name = getattr(thing, "__module__", None) or getattr(thing, "f_globals", {}).get("__name__")
    return sys.modules.get(name) if isinstance(name, str) else None


def load() -> None:
    """Imports `torch`; to be called before anything else does."""
    thorough = inspect.getmodule
    sys.modules[_COMPILERS] = ModuleType(_COMPILERS)
    inspect.getmodule = _module_by_name  # type: ignore[assignment]
    try:
        import_module("torch")
    finally:
        inspect.getmodule = thorough
        del sys.modules[_COMPILERS]  # who wants it after all gets the real one
