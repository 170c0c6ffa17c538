"""Folders of runs that were never run: a plan, records made up at random (from a seed), and all that follows from them."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builders import planned

from insitu import provenance, table
from insitu.summary import summarise
from scenarios import plan as plans
from scenarios import records as r
from scenarios.plan import Device, Plan

EXPECTED = "downloads.on_time >= 95 %"
MS, SECOND = 10**6, 10**9
MODELS = dict.fromkeys(("digits", "digits@rain", "digits@night"), "sha256:" + "a" * 64)


def town_plan(cells: int, devices: int, **more: Any) -> Plan:
    """`cells` in four regions with `devices` each; rain at 4 s and more, night 10 s later; some devices move, a link fails."""
    gnbs_of = {region: [f"{region}{n}" for n in range(cells // 4)] for region in ("n", "s", "e", "w")}
    gnbs = [gnb for of_region in gnbs_of.values() for gnb in of_region]
    scenario: dict[str, Any] = {
        "name": "town",
        "duration": "40 s",
        "network": {
            "regions": [{"name": name, "gnbs": [{"name": gnb} for gnb in here]} for name, here in gnbs_of.items()]
        },
        "slices": [
            {"name": "models", "guarantee": "40 %"},
            {"name": "video", "guarantee": "20 %", "ceiling": "60 %"},
            {"name": "default"},
        ],
        "devices": [_group(gnbs, number, devices) for number in range(cells)],
        "situations": [
            *(situation for number, gnb in enumerate(gnbs) for situation in _rain_and_night(gnb, 4 + number % 8)),
            {"model": "digits"},
        ],
        "requests": {"deadline": "400 ms"},
        "faults": [{"link": "e0-link", "at": "8 s", "for": "3 s"}],
        "expect": [EXPECTED],
        **more,
    }
    return planned(MODELS, **scenario)


def _group(gnbs: list[str], number: int, count: int) -> dict[str, Any]:
    gnb = gnbs[number]
    group = {"name": f"user-{gnb}-x", "count": count, "at": gnb, "infer": "1/s", "slice": "models"}
    return group | ({"route": {"25 s": gnbs[number - 1]}} if number % 5 == 4 or number == 1 else {})


def _rain_and_night(gnb: str, at: int) -> list[dict[str, str]]:
    return [
        {"location": gnb, "time": f"{at} s..{at + 10} s", "model": "digits@rain"},
        {"location": gnb, "time": f"{at + 10} s..", "model": "digits@night"},
    ]


def made_up(plan: Plan, seed: int = 1) -> list[r.AnyEvent]:
    """Every need of every device leads to a download; one in twenty is late, one in two hundred fails."""
    chance = random.Random(seed)
    events: list[r.AnyEvent] = [r.Started(0, "machine")]
    for device in plan.devices:
        events += _inferences(device, plan, chance)
        for number, need in enumerate(device.needs[1:], 1):
            events += _download(device, f"{device.host}-{number}", need.model, need.time_ns, chance)
        events += (r.Handover(place.time_ns, device.host, place.cell, True, MS) for place in device.attachments[1:])
    for fault in plan.faults:
        events.append(r.Fault(fault.time_ns, fault.name, fault.kind, fault.up))
    events += _use(plan, chance)
    for library in plan.libraries:
        for n in range(40):
            events.append(r.Served(n * SECOND, library.host, "sha256:0", 4000 + n, n % 3 > 0))
            if library.tier != "central":
                events.append(r.Pulled(n * SECOND, library.host, "sha256:0", 1500, "central"))
    return sorted(events, key=lambda event: event.t)


def folder_of(plan: Plan, events: list[r.AnyEvent], folder: Path) -> Path:
    """What a run with these events leaves."""
    folder.mkdir(parents=True)
    scenario = "name: town\n"
    source = provenance.source(Path("town.yaml"), scenario.encode(), [], [EXPECTED])
    (folder / "scenario.yaml").write_text(scenario)
    (folder / "plan.json").write_bytes(plans.canonical(plan))
    table.write(events, folder / "events.parquet")
    (folder / "summary.json").write_text(json.dumps(summarise(plan, events, None, 12.5)))
    provenance.write(provenance.of(plan, source, {"python": "3.11"}, "vm", ["insitu", "run", "town.yaml"]), folder)
    return folder


def _inferences(device: Device, plan: Plan, chance: random.Random) -> Iterator[r.Inference]:
    for t in range(device.phase_ns, plan.duration_ns, device.infer_interval_ns):
        need = max((n for n in device.needs if n.time_ns <= t), key=lambda n: n.time_ns)
        fits = t - need.time_ns > 150 * MS or need is device.needs[0]
        yield r.Inference(
            t,
            device.host,
            need.model if fits else "digits",
            "d1w1b1",
            need.model,
            chance.random() < (0.9 if fits else 0.4),
        )


def _download(device: Device, name: str, model: str, at: int, chance: random.Random) -> Iterator[r.AnyEvent]:
    t = at + chance.randrange(300 * MS)
    host, edge = device.host, f"{device.attachments[0].gnb}-edge"
    latency = round(min(5000, chance.lognormvariate(4.2, 0.5) * (8 if chance.random() < 0.05 else 1)) * MS)
    on_time = latency <= device.deadline_ns
    decision: Any = chance.choices(["granted", "reduced", "refused"], [90, 7, 3])[0]
    granted = {"granted": 4_000_000, "reduced": 1_000_000, "refused": 0}[decision]
    yield r.Need(at, host, model)
    yield r.Requested(t, host, name, model, edge, device.deadline_ns)
    yield r.SessionAsked(
        t + 8 * MS, "nef", name, "models", host, edge, "insitu.download", name, 4_000_000, 64_000, SECOND
    )
    yield r.Session(t + 9 * MS, "nef", name, "models", host, 4_000_000, granted, decision)
    yield r.Chosen(t + 12 * MS, edge, name, "d2w1b4", 60_000, name if granted else "", "d2w1b4 fits")
    yield r.FirstByte(t + 13 * MS, host, name)
    if chance.random() < 0.005:
        yield r.Failed(t + latency, host, name, model, "no tier has it")
        return
    yield r.Runnable(t + latency // 2, host, name, model, "d1w1b1", 10_000, latency // 2, on_time, 0.8)
    yield r.Completed(t + latency, host, name, model, "d2w1b4", 60_000, latency, on_time, 0.9)
    yield r.Swapped(t + latency + 10_000, host, name, model, "d2w1b4", 0.4, 0.9)
    if granted:
        yield r.SessionEnded(t + latency + MS, "nef", name, "models", "DELETE_REQUESTED")


def _use(plan: Plan, chance: random.Random) -> Iterator[r.AnyEvent]:
    """Of links between switches, in half of the samples."""
    interval = plan.sample_interval_ns
    for link in plan.links:
        for end in link.ends if all(end.port for end in link.ends) else ():
            full = end.shape.rate_bps * interval // (8 * SECOND)
            for t in range(interval, plan.duration_ns, interval):
                if chance.random() < 0.5 and 4 * SECOND < t < 25 * SECOND:
                    parts = {queue.slice: round(full * chance.random() / len(end.queues)) for queue in end.queues}
                    yield r.LinkUse(t, end.node, link.name, sum(parts.values()))
                    yield from (r.SliceUse(t, end.node, link.name, name, size) for name, size in parts.items())
