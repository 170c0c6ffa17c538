"""What became of slices and sessions: planned, set, measured. Pure: plan and records -> rows, and rows -> tables.

Times are ns since the run's start, rates bit/s of Ethernet frames; None is what there is no record of.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Table

from scenarios import records
from scenarios.plan import Plan
from scenarios.quantity import about

AS_PLANNED = "as planned"


class SliceRow(NamedTuple):
    """A slice on one link, in the direction that leaves at `sender`. The last four are of a run."""

    link: str
    sender: str
    slice: str
    guarantee_bps: int
    ceiling_bps: int
    priority: int  # 0 is lent first
    kernel: str | None  # AS_PLANNED, or what the kernel read back of what is otherwise
    bytes: int | None
    mean_bps: float | None
    dropped: int | None


class ChangeRow(NamedTuple):
    """A session that lasts has another rate, variant, path or end, and why."""

    t: int
    granted_bps: int
    variant: str
    cause: str


class SessionRow(NamedTuple):
    """A session's life. `bytes` are those of its download's variant, `mean_bps` what they came at once it was available."""

    session: str
    slice: str
    device: str
    server: str
    profile: str
    download: str  # "" without one
    requested_bps: int  # towards the device, as the rates that follow
    asked: int
    decided: int | None
    decision: str | None
    granted_bps: int | None
    variant: str
    charged_ns: int | None  # for the decision
    queue: int | None  # its class's
    available: int | None
    changes: list[ChangeRow]
    ended: int | None
    cause: str
    bytes: int | None
    mean_bps: float | None


def slice_rows(plan: Plan, events: Sequence[records.AnyEvent] | None = None) -> list[SliceRow]:
    """Every slice at every switch's port, as the run starts; the devices' own links are left out. With a run's events, what
    became of it."""
    devices = {device.host for device in plan.devices}
    links = [link for link in plan.links if not any(end.node in devices for end in link.ends)]
    planned = [
        SliceRow(link.name, end.node, q.slice, q.rate_bps, q.ceiling_bps, q.priority, None, None, None, None)
        for link in links
        for end in link.ends
        for q in end.queues
    ]
    if events is None:
        return planned
    interfaces = {(link.name, end.node): end.interface for link in links for end in link.ends}
    checked = {e.interface for e in events if isinstance(e, records.Checked)}
    settings = [e for e in events if isinstance(e, records.Setting)]
    totals = {(e.link, e.node, e.slice): e for e in events if isinstance(e, records.LinkTotal)}
    return [
        _carried(
            row._replace(kernel=_kernel(interfaces[row.link, row.sender], row.slice, checked, settings)),
            totals.get((row.link, row.sender, row.slice)),
            plan.duration_ns,
        )
        for row in planned
    ]


def session_rows(events: Sequence[records.AnyEvent]) -> list[SessionRow]:
    """Every session that was asked for, in that order."""
    rows: dict[str, SessionRow] = {}
    for event in events:
        match event:
            case records.SessionAsked():
                rows[event.session] = _asked(event)
            case records.Session():
                rows[event.session] = rows[event.session]._replace(
                    decided=event.t,
                    decision=event.decision,
                    granted_bps=event.granted_bps,
                    variant=event.variant,
                    charged_ns=event.charged_ns,
                )
            case records.SessionAvailable():
                rows[event.session] = rows[event.session]._replace(available=event.t, queue=event.queue)
            case records.SessionChanged():
                rows[event.session].changes.append(ChangeRow(event.t, event.granted_bps, event.variant, event.cause))
            case records.SessionEnded():
                rows[event.session] = rows[event.session]._replace(ended=event.t, cause=event.cause)
    completed = {event.download: event for event in events if isinstance(event, records.Completed)}
    return [_measured(row, completed.get(row.download)) for row in rows.values()]


def as_json(rows: Sequence[SliceRow], sessions: Sequence[SessionRow]) -> dict[str, Any]:
    """The same figures for a program: `{"slices": [...], "sessions": [...]}`, the rows' fields by name."""
    return {
        "slices": [row._asdict() for row in rows],
        "sessions": [{**row._asdict(), "changes": [change._asdict() for change in row.changes]} for row in sessions],
    }


def slices_table(rows: Sequence[SliceRow]) -> Table:
    """For a person; the columns of a run only where there is one."""
    of_a_run = any(row.kernel is not None for row in rows)
    table = Table("link", "from", "slice", "guarantee", "ceiling", "priority")
    for name in ("in the kernel", "carried", "mean rate", "dropped") if of_a_run else ():
        table.add_column(name)
    before: tuple[str, str] | None = None
    for row in rows:
        place = (row.link, row.sender)
        cells = [*(place if place != before else ("", "")), row.slice]
        cells += [about(row.guarantee_bps, "rate"), about(row.ceiling_bps, "rate"), str(row.priority)]
        if of_a_run:
            cells += [row.kernel or "not read", _size(row.bytes), _rate(row.mean_bps), _number(row.dropped)]
        table.add_row(*cells)
        before = place
    return table


def sessions_table(rows: Sequence[SessionRow]) -> Table:
    """For a person: a row a session, and one below it for each change."""
    table = Table(
        "session", "device", "slice", "profile", "asked", "decided", "available", "ended", "rate", "measured", "what"
    )
    for row in rows:
        rate = about(row.requested_bps, "rate")
        if row.decision == "reduced":
            rate = f"{_rate(row.granted_bps)} of {rate}"
        what = ", ".join(filter(None, (row.decision, row.variant, row.cause)))
        times = [_time(at) for at in (row.asked, row.decided, row.available, row.ended)]
        table.add_row(row.session[:8], row.device, row.slice, row.profile, *times, rate, _rate(row.mean_bps), what)
        for change in row.changes:
            why = ", ".join(filter(None, (change.variant, change.cause)))
            table.add_row("", "", "", "", "", "", _time(change.t), "", _rate(change.granted_bps), "", why)
    return table


def _kernel(interface: str, name: str, checked: set[str], settings: Sequence[records.Setting]) -> str | None:
    """Of a slice at an interface: its class, its default class and its queue, the settings "class NAME" and so on."""
    if interface not in checked:
        return None
    here = (e for e in settings if e.interface == interface and e.setting.partition(" ")[2] == name)
    return "; ".join(f"{e.setting}: {e.read}" for e in here) or AS_PLANNED


def _carried(row: SliceRow, total: records.LinkTotal | None, duration_ns: int) -> SliceRow:
    if total is None:
        return row
    return row._replace(bytes=total.bytes, mean_bps=round(total.bytes * 8e9 / duration_ns, 1), dropped=total.dropped)


def _asked(e: records.SessionAsked) -> SessionRow:
    about_it = (e.session, e.slice, e.device, e.server, e.profile, e.download, e.down_bps, e.t)
    return SessionRow(*about_it, None, None, None, "", None, None, None, [], None, "", None, None)


def _measured(row: SessionRow, completed: records.Completed | None) -> SessionRow:
    if completed is None or row.available is None or completed.t <= row.available:
        return row
    return row._replace(bytes=completed.bytes, mean_bps=round(completed.bytes * 8e9 / (completed.t - row.available), 1))


def _time(ns: int | None) -> str:
    return "–" if ns is None else f"{ns / 1e9:.4f} s"


def _rate(bps: float | None) -> str:
    return "–" if bps is None else about(bps, "rate")


def _size(number: int | None) -> str:
    return "–" if number is None else about(number, "size")


def _number(number: int | None) -> str:
    return "–" if number is None else str(number)
