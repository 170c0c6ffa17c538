"""A run's timeline in the Trace Event Format, which Perfetto's viewer opens (ui.perfetto.dev): one track a node.

Format: "Trace Event Format", Google (docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU); times are us.
Processes are the sites (core, each region, each gNB with the devices that start there), threads their nodes. A download is a slice
at its device with its phases inside, and a flow leads from its request to the library's choice and to the first byte.
"""

from collections import defaultdict
from typing import Any

import msgspec
import polars as pl

from insitu.report.downloads import downloads
from insitu.report.reading import Run, milliseconds
from scenarios.plan import Plan

Json = dict[str, Any]
_INSTANT_NS = (
    200  # of what takes no time: less than a step of the virtual clock, so that two of them never overlap in part
)


class Tracks:
    """Which process and thread a node is, and those that overlapping downloads of one device have beside it."""

    def __init__(self, plan: Plan) -> None:
        self.events: list[Json] = []
        self._ids: dict[str, tuple[int, int]] = {}
        self._sites: dict[str, int] = {}
        above = {
            end.node: other.node for link in plan.links for end, other in (link.ends, link.ends[::-1]) if not end.port
        }
        cell_of = {device.host: device.attachments[0].gnb for device in plan.devices}
        self.add("core", "controller")
        for switch in plan.switches:
            if switch.role != "cell":
                self._site(switch.name)
        for host in plan.hosts:
            self.add(cell_of.get(host.name) or above.get(host.name, "core"), host.name)

    def add(self, site: str, node: str) -> None:
        pid, tid = self._site(site), len(self._ids) + 1
        self._ids[node] = (pid, tid)
        self.events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": node}})
        self.events.append(
            {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}
        )

    def _site(self, site: str) -> int:
        if site not in self._sites:
            pid = self._sites[site] = len(self._sites) + 1
            self.events.append({"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": site}})
            self.events.append(
                {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
            )
        return self._sites[site]

    def of(self, node: str, lane: int = 0) -> Json:
        """`lane` 1 and up are tracks of their own."""
        name = node if lane == 0 else f"{node} ({lane + 1})"
        if name not in self._ids:
            self.add(next(site for site, pid in self._sites.items() if pid == self._ids[node][0]), name)
        pid, tid = self._ids[name]
        return {"pid": pid, "tid": tid}

    def site_of(self, name: str) -> Json:
        """The process of a site."""
        return {"pid": self._sites.get(name, self._sites["core"]), "tid": 0}

    def knows(self, node: str) -> bool:
        return node in self._ids


def to_json(run: Run) -> bytes:
    return msgspec.json.encode({"displayTimeUnit": "ms", "otherData": _about(run), "traceEvents": trace_events(run)})


def trace_events(run: Run) -> list[Json]:
    """All events; names of tracks first, then by time."""
    tracks = Tracks(run.plan)
    timed = [*_downloads(run, tracks), *_sessions(run, tracks), *_instants(run, tracks), *_counters(run, tracks)]
    return [*tracks.events, *sorted(timed, key=lambda event: event["ts"])]


def _about(run: Run) -> Json:
    return {"scenario": run.plan.scenario, "seed": str(run.plan.seed), "digest": run.summary["digest"]}


def _us(ns: float) -> float:
    return ns / 1000


def _slice(name: str, category: str, ns: int, length_ns: int, track: Json, **args: object) -> Json:
    return {"ph": "X", "name": name, "cat": category, "ts": _us(ns), "dur": _us(length_ns), **track, "args": args}


def _downloads(run: Run, tracks: Tracks) -> list[Json]:
    events: list[Json] = []
    free: dict[str, list[int]] = defaultdict(list)  # of each device: when each of its tracks is free again
    chosen = dict(run.of("chosen").group_by("download").agg(pl.struct("t", "node").last()).iter_rows())
    for number, row in enumerate(downloads(run).iter_rows(named=True), 1):
        asked, length, device = row["asked"], max(row["end"], 1), row["device"]
        lanes = free[device]
        lane = next((n for n, until in enumerate(lanes) if until <= asked), len(lanes))
        lanes[lane : lane + 1] = [asked + length]
        track = tracks.of(device, lane)
        record = {
            "download": row["download"], "outcome": row["outcome"], "library": row["library"], "session": row["decision"] or "none",
            "latency": milliseconds(row["done"]), "deadline": milliseconds(row["deadline_ns"]), "bytes": row["bytes"],
            "reason": row["reason"] or "",
        }  # fmt: skip
        name = f"{row['model']} {row['variant'] or ''}".strip()
        whole = f"{name} ({row['outcome']})" if row["outcome"] != "on time" else name
        events.append(_slice(whole, "download", asked, length, track, **record))
        ends = [
            ("request", row["first_byte"]),
            ("until a better part runs", row["runnable"]),
            ("until all is loaded", row["end"]),
        ]
        at = 0
        for phase, until in ends:
            if until is not None and at < until <= length:
                events.append(_slice(phase, "phase", asked + at, until - at, track))
                at = until
        flow = {"name": "download", "cat": "flow", "id": number}
        events.append({"ph": "s", **flow, "ts": _us(asked), **track})
        if row["download"] in chosen:
            at_library = chosen[row["download"]]
            choosing = tracks.of(at_library["node"])
            events.append(
                _slice(
                    f"chooses {name} for {device}",
                    "library",
                    at_library["t"],
                    _INSTANT_NS,
                    choosing,
                    reason=row["reason"],
                )
            )
            events.append({"ph": "t", **flow, "ts": _us(at_library["t"]), **choosing})
        last = max(at_library["t"] - asked if row["download"] in chosen else 0, row["first_byte"] or 0)
        events.append({"ph": "f", "bp": "e", **flow, "ts": _us(asked + min(last, length - 1)), **track})
    return events


def _sessions(run: Run, tracks: Tracks) -> list[Json]:
    """Asynchronous slices of the NEF, which may overlap."""
    events: list[Json] = []
    ended = dict(run.of("sessionended").select("session", "t").iter_rows())
    decided = run.of("session").select("session", "t", "slice", "device", "decision", "requested_bps", "granted_bps")
    for row in decided.unique("session", keep="first", maintain_order=True).iter_rows(named=True):
        if row["decision"] == "refused":
            continue
        same = {"cat": "session", "id": row["session"], "name": f"session of {row['device']}", **tracks.of("nef")}
        record = {name: row[name] for name in ("slice", "decision", "requested_bps", "granted_bps")}
        events.append({"ph": "b", **same, "ts": _us(row["t"]), "args": record})
        events.append({"ph": "e", **same, "ts": _us(max(row["t"], ended.get(row["session"], run.plan.duration_ns)))})
    return events


def _instants(run: Run, tracks: Tracks) -> list[Json]:
    """Handovers, faults, changes of situation and of links; swaps of models."""
    names = {
        "handover": lambda e: f"handover to {e['cell']}", "need": lambda e: f"situation: {e['model']}",
        "swapped": lambda e: f"swapped to {e['model']} {e['variant']}", "rolledback": lambda e: f"back to {e['old_model']}",
        "fault": lambda e: f"{e['of']} {e['node']} {'comes back' if e['up'] else 'fails'}",
        "changed": lambda e: f"{e['link']} changes", "failover": lambda e: f"failover: {e['flows']} flows",
        "session": lambda e: f"refused for {e['device']}",
    }  # fmt: skip
    events = []
    shown = run.of(*names).filter((pl.col("kind") != "session") | (pl.col("decision") == "refused"))
    for event in shown.iter_rows(named=True):
        here = tracks.of(event["node"]) if tracks.knows(event["node"]) else tracks.site_of(event["node"])
        record = {name: value for name, value in event.items() if value is not None and name not in ("t", "kind")}
        scope = "g" if event["kind"] == "fault" else "t"
        name = names[event["kind"]](event)
        events.append(
            {"ph": "i", "s": scope, "name": name, "cat": event["kind"], "ts": _us(event["t"]), **here, "args": record}
        )
    return events


def _counters(run: Run, tracks: Tracks) -> list[Json]:
    """Mbit/s of each direction of each link, at the site that sends; back to 0 where a sample found nothing."""
    interval = run.plan.sample_interval_ns
    events: list[Json] = []
    used = run.of("linkuse").select("t", "link", "node", "bytes").partition_by("link", "node", as_dict=True)
    for (link, node), part in used.items():
        here = {"ph": "C", "name": f"{link} from {node}, Mbit/s", "pid": tracks.site_of(str(node))["pid"], "tid": 0}
        before = -2 * interval
        for t, sent in part.select("t", "bytes").iter_rows():
            began = t - interval
            if began > before + interval // 2 and before > 0:
                events.append({**here, "ts": _us(before), "args": {"Mbit/s": 0}})
            events.append({**here, "ts": _us(max(0, began)), "args": {"Mbit/s": round(sent * 8e3 / interval, 3)}})
            before = t
        events.append({**here, "ts": _us(before), "args": {"Mbit/s": 0}})
    return events
