"""What is expensive to make and the same for everyone: made once, kept in one folder, never half written."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """The folder of everything cached: $INSITU_CACHE, or ~/.cache/insitu. It need not exist yet."""
    chosen = os.environ.get("INSITU_CACHE")
    return Path(chosen).absolute() if chosen else Path.home() / ".cache" / "insitu"


def cached(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `cache_dir()/NAME-KEY`, filled by `make(folder)` if it does not exist yet.

    `make` gets a fresh folder beside it, which is renamed into place when it returns. If it raises, the fresh folder
    is removed and the exception passed on. Of several processes asking at once, one makes and the others wait for it.
    """
    final = cache_dir() / f"{name}-{key}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with _lock(final):
        if final.is_dir():
            return final
        # We hold the lock, so whoever began one of these is dead.
        for stale in final.parent.glob(f".{final.name}.*.partial"):
            shutil.rmtree(stale)
        partial = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".partial", dir=final.parent))
        try:
            make(partial)
            partial.chmod(0o755)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return final


@contextmanager
def _lock(final: Path) -> Iterator[None]:
    """Hold the lock on making `final`; it goes when we die. Its empty file stays: removing it would race."""
    with open(final.parent / f".{final.name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
