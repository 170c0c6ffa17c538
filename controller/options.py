"""What the controller is told.

The machine tells it by its environment: INSITU_PLAN, the plan's file; INSITU_EVENTS, the folder for its records;
INSITU_NORTHBOUND, a listening socket's descriptor in the NEF's namespace; INSITU_READY, a descriptor that gets one byte when
every switch is set; INSITU_CONTROL, a socket to the machine that moves devices (`handover`); INSITU_NAME, by which its records
go; INSITU_JOURNAL, a file that outlives it. Whoever starts it themselves writes `plan`, `records`, `journal` and `northbound`
(HOST:PORT) under `[insitu]` in the file that they give Ryu by `--config-file`, or sets INSITU_PLAN alone.
"""

import logging
import os
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import msgspec

from controller.journal import Journal, JournalError
from controller.ryu import CONF, cfg
from scenarios.plan import NORTHBOUND_PORT, Plan, parse
from scenarios.recording import Recorder

_LOG = logging.getLogger("insitu")
_INPUT = 2  # the exit code of bad input, as insitu's own
CONF.register_opts(
    [
        cfg.StrOpt("plan", help="a plan's file, as the folder of a run has it"),
        cfg.StrOpt("records", help="an existing folder for the records; none are kept without"),
        cfg.StrOpt("journal", help="a file by which sessions outlive the controller; they are forgotten without"),
        cfg.StrOpt("northbound", default=f"127.0.0.1:{NORTHBOUND_PORT}", help="where sessions are asked for"),
    ],
    group="insitu",
)


def plan_file() -> Path:
    """The plan's file. Without one there is nothing to do: the process ends with a line that says why."""
    file = os.environ.get("INSITU_PLAN") or CONF.insitu.plan
    if not file:
        _end("no plan: set INSITU_PLAN to a plan's file, or write `plan = FILE` under [insitu] in the --config-file")
    return Path(file)


def plan(file: Path) -> Plan:
    """What the plan's file has."""
    try:
        return parse(file.read_bytes())
    except OSError as error:
        _end(f"{file}: {error.strerror}")
    except msgspec.DecodeError as error:
        _end(f"{file}: not a plan: {error}")


def recorder() -> Recorder:
    """Where the records go; nowhere, if no folder is given."""
    folder = os.environ.get("INSITU_EVENTS") or CONF.insitu.records
    try:
        return Recorder(Path(folder) if folder else None, os.environ.get("INSITU_NAME", "controller"), at_once=True)
    except OSError as error:
        _end(f"records: {error.filename}: {error.strerror}")


def journal() -> Journal:
    """What outlives the process; without a file it goes with it."""
    file = os.environ.get("INSITU_JOURNAL") or CONF.insitu.journal
    try:
        if file:
            return Journal(Path(file))
        with TemporaryDirectory() as folder:
            return Journal(Path(folder) / "journal")
    except (OSError, JournalError) as error:
        _end(f"journal: {error}")


def machine() -> socket.socket | None:
    """The socket to the machine that moves devices, if there is one."""
    given = os.environ.get("INSITU_CONTROL")
    return socket.socket(fileno=int(given)) if given else None


def logs() -> Path:
    """The folder for what a failure leaves to look at."""
    events = os.environ.get("INSITU_EVENTS")
    return Path(events).parent / "logs" if events else Path(CONF.insitu.records or ".")


def northbound() -> socket.socket:
    """A listening socket."""
    if given := os.environ.get("INSITU_NORTHBOUND"):
        return socket.socket(fileno=int(given))
    host, _, port = CONF.insitu.northbound.rpartition(":")
    if not (host and port.isdecimal()):
        _end(f"northbound: {CONF.insitu.northbound}: write HOST:PORT")
    try:
        return socket.create_server((host, int(port)))
    except OSError as error:
        _end(f"northbound: {CONF.insitu.northbound}: {error.strerror}")


def tell_ready() -> None:
    """Every switch is set."""
    if given := os.environ.get("INSITU_READY"):
        os.write(int(given), b"R")
    else:
        _LOG.warning("every switch is set; sessions are asked for at %s", CONF.insitu.northbound)


def _end(why: str) -> NoReturn:
    """One line and the exit code; Ryu would print an exception of a green thread, and go on without us."""
    print(f"insitu: {why}", file=sys.stderr, flush=True)
    os._exit(_INPUT)
