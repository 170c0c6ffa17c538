"""insitu from Python: the commands as functions, which give what a run left as figures and frames.

    run = insitu.run("campus.yaml", seed=3, set={"policies.slicing": "joint"})
    run.figures["downloads.on_time_share"], run.events["completed"]

Nothing is imported before it is used: the programs in the guest import this package too.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insitu.api import InsituError, Run, compare, load, repeat, run, sweep

__all__ = ["InsituError", "Run", "compare", "load", "repeat", "run", "sweep"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'insitu' has no attribute '{name}'")
    from insitu import api

    return getattr(api, name)
