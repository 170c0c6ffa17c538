"""A user's own Mininet topology, from a file of theirs, as `mn --custom FILE --topo NAME` takes it."""

import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mininet.topo import Topo
from mininet.util import splitArgs

_MODULE = "__topology__"  # the name under which the file runs: not `__main__`


class TopologyError(Exception):
    """A topology cannot be made; one line says where and why."""


def load(file: Path, wanted: str) -> Topo:
    """Makes what `wanted` names: a class of the file, or an entry of its `topos`; `NAME,3,depth=2` gives arguments.

    Raises TopologyError.
    """
    sys.path.insert(0, str(file.parent))  # so that it finds what lies beside it
    name, arguments, parameters = splitArgs(wanted)
    with errors_of(file, wanted):
        there = runpy.run_path(str(file), run_name=_MODULE)
        classes = {key: value for key, value in there.items() if isinstance(value, type) and issubclass(value, Topo)}
        entries = there.get("topos", {})
        if name not in classes | entries:
            own = sorted({key for key, value in classes.items() if value.__module__ == _MODULE} | set(entries))
            raise TopologyError(f"{file}: no topology {name}; it has {', '.join(own) or 'none'}")
        made = (classes | entries)[name](*arguments, **parameters)
    if not isinstance(made, Topo):
        raise TopologyError(f"{file}: {name} makes a {type(made).__name__}; what is wanted is a mininet.topo.Topo")
    return made


@contextmanager
def errors_of(file: Path, wanted: str) -> Iterator[None]:
    """Whatever a user's file raises, as a TopologyError: the last line of that file that took part, and what it says."""
    try:
        yield
    except TopologyError:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        if isinstance(error, SyntaxError):
            lines.append(error.lineno)
        where = f"{file}:{lines[-1]}" if lines else f"{file}: {wanted}"
        said = str(error).partition("\n")[0]
        raise TopologyError(f"{where}: {type(error).__name__}: {said}") from None
