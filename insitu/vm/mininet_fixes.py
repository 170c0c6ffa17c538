"""Places of Debian's Mininet (2.3.0) that hang on Debian 12 or under the virtual clock; the machine has them mended.

Mininet's `iperf` waits for a report of the connection by which it looks whether the server listens, and iperf 2.1 gives none
(mininet/mininet#1060). While a node runs a command, the CLI polls its input too, to pass keys on: a file is always readable,
so it eats the commands that follow, in a loop that never sleeps. `monitor` polls whether it could write, which it always
can: another such loop. Computing takes no virtual time, so under the virtual clock such a loop never gives way.
"""

import importlib.util
from pathlib import Path

_MENDED = {
    "net.py": [
        ("count = 2 if l4Type == 'TCP' else 1", "count = 1"),
        ("poller.register( host.stdout )", "poller.register( host.stdout, select.POLLIN )"),
    ],
    "cli.py": [
        ("bothPoller.register( self.stdin, POLLIN )", "self.isatty() and bothPoller.register( self.stdin, POLLIN )"),
        ("if isReadable( self.inPoller ):", "if self.isatty() and isReadable( self.inPoller ):"),
    ],
}


def mended_files() -> dict[Path, str]:
    """Mininet's files as the machine is to see them; none where Mininet is not installed, or has other text there."""
    found = importlib.util.find_spec("mininet")
    if found is None or found.origin is None:
        return {}
    mended = {}
    for name, places in _MENDED.items():
        file = Path(found.origin).with_name(name)
        text = file.read_text()
        if all(old in text for old, _ in places):
            for old, new in places:
                text = text.replace(old, new)
            mended[file] = text
    return mended
