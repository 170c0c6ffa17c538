"""How long a packet takes there and back, idle and beside a saturated slice."""

from typing import Any

from benchmarks import theory
from benchmarks.cases import (
    FASTEST_OF_MININET,
    FULL,
    MS,
    PING_HEADERS,
    RATES,
    SECOND,
    SMALL,
    Case,
    Section,
    scenario,
)
from benchmarks.guests import Order
from benchmarks.network import lines, plan_of, there_and_back
from benchmarks.tables import Row
from benchmarks.theory import FULL_FRAME, Line
from scenarios.plan import Plan

ROUND_TRIPS = (0.1, 1.0, 10.0, 100.0, 500.0)  # ms of propagation, there and back
RTT_RATES = ("10 Mbit/s", "100 Mbit/s", "1 Gbit/s", "10 Gbit/s")


def tolerance(expected_ns: float) -> float:
    return max(10_000, expected_ns / 1000)


def rtt_scenario(rate: str, round_trip_ms: float) -> str:
    ns = round(round_trip_ms * MS / 2)
    return scenario(rate, f"{{rate: RATE, delay: {ns} ns}}", f"{{rate: RATE, delay: {ns // 3} ns}}")


def idle() -> Section:
    return Section(
        "Round-trip time, idle",
        "The mean of 10 pings. Theory: at every hop, there and back, the delay and the time to send the whole frame. "
        "nef's own link (40 Gbit/s, 10 us) is a hop more. Limit: 0.1 % or 10 us, whichever is more. Stock Mininet: a "
        "chain of TCLinks of the same delay, beside what theory gives for it.",
        (
            "delay, both ways",
            "rate",
            "hops",
            "frame, B",
            "theory, ms",
            "measured, ms",
            "error, us",
            "stock Mininet's error, us",
        ),
        [idle_case(rate, delay) for delay in ROUND_TRIPS for rate in RTT_RATES],
    )


def idle_case(rate: str, round_trip_ms: float) -> Case:
    text = rtt_scenario(rate, round_trip_ms)
    plan = plan_of(text)
    cases = [(target, payload) for target in ("central", "phone1") for payload in (SMALL, FULL)]
    steps = [
        {"do": "ping", "source": "nef", "target": t, "count": 10, "interval_s": 0.1, "payload": p} for t, p in cases
    ]
    name = f"rtt {rate} {round_trip_ms:g} ms"
    orders = [Order(name, steps, text)]
    with_stock = RATES[rate] <= FASTEST_OF_MININET
    stock_line = [
        Line(RATES[rate], round(round_trip_ms * MS / 2)),
        Line(RATES[rate], round(round_trip_ms * MS / 2 / 4)),
    ]
    if with_stock:
        for hops, line in zip((1, 4), stock_line, strict=True):
            pings = [
                {"do": "ping", "source": "h1", "target": "h2", "count": 10, "interval_s": 0.1, "payload": p}
                for p in (SMALL, FULL)
            ]
            chain = {"hops": hops, "rate_mbps": RATES[rate] / 1e6, "delay": f"{line.delay_ns / 1000:g}us"}
            orders.append(Order(f"stock {name} {hops}", pings, stock=chain))

    def judge(answers: list[Any]) -> list[Row]:
        rows = []
        for place, (target, payload) in enumerate(cases):
            hops, frame = {"central": 1, "phone1": 4}[target], payload + PING_HEADERS
            expected = theory.one_way(there_and_back(plan, "nef", target), frame)
            measured = answers[place]["mean_ms"] * MS
            beside = ""
            if with_stock:
                ideal = theory.one_way([stock_line[place // 2]] * 2 * hops, frame)
                beside = f"{(answers[len(cases) + place]['mean_ms'] * MS - ideal) / 1000:+.0f}"
            holds = abs(measured - expected) <= tolerance(expected) and answers[place]["received"] == 10
            cells = (
                f"{round_trip_ms:g} ms",
                rate,
                str(hops),
                str(frame),
                f"{expected / MS:.3f}",
                f"{measured / MS:.3f}",
            )
            rows.append(Row((*cells, f"{(measured - expected) / 1000:+.1f}", beside), holds))
        return rows

    return Case(name, tuple(orders), judge)


def saturated() -> Section:
    return Section(
        "Round-trip time beside a saturated slice",
        "nef pings phone1 in the default slice while the slice `video` fills three links of the path in both "
        "directions, core to region to gNB to cell, with full frames (central to phone2 and back, at 102 % of the "
        "rate). Theory: a line that sends slices packet by packet lets a packet wait for at most the one that is being "
        "sent, at each of the three, each way: between the idle round trip and that much more. insitu's slices share a "
        "link by HTB, whose burst lends the line to a slice within its guarantee at once: it stays at the lower bound. "
        "Limit: least and most within the bounds, give or take 0.1 % or 10 us.",
        ("delay, both ways", "rate", "frame, B", "theory, ms", "least, ms", "mean, ms", "most, ms"),
        [saturated_case(rate, delay) for delay in ROUND_TRIPS for rate in RTT_RATES],
    )


def saturated_case(rate: str, round_trip_ms: float) -> Case:
    text = rtt_scenario(rate, round_trip_ms)
    plan = plan_of(text)
    there = lines(plan, "nef", "phone1")
    frame_s = theory.serialisation(RATES[rate], FULL_FRAME) / SECOND
    interval = max(0.002, round(20 * frame_s, 3))
    lead = max(0.005, 10 * frame_s)
    seconds = 2 * lead + 10 * interval + 0.005
    away = theory.one_way(there, SMALL + PING_HEADERS) / SECOND  # when the answers start
    # central's link has the core's delay, nef's has 10 us: the flood starts so much earlier to be on the core's links in time
    earlier = plan_delay(plan, "central-link") / SECOND
    flood = {"rate_bps": RATES[rate] * 102 // 100, "seconds": seconds}
    forth = {**flood, "source": "central", "target": "phone2", "port": 20000, "start_s": 0.0}
    back = {**flood, "source": "phone2", "target": "central", "port": 20001, "start_s": earlier + away}
    steps = [
        {
            "do": "ping_beside", "floods": [forth, back], "ping_start_s": earlier + lead,
            "source": "nef", "target": "phone1", "count": 10, "interval_s": interval, "payload": payload,
        }
        for payload in (SMALL, FULL)
    ]  # fmt: skip
    name = f"beside {rate} {round_trip_ms:g} ms"

    def judge(answers: list[Any]) -> list[Row]:
        rows = []
        for payload, answer in zip((SMALL, FULL), answers, strict=True):
            frame = payload + PING_HEADERS
            low = theory.one_way(there_and_back(plan, "nef", "phone1"), frame)
            high = low + 2 * theory.longest_wait(there[1:4])
            least, mean, most = (answer[key] for key in ("least_ms", "mean_ms", "most_ms"))
            holds = (
                least * MS >= low - tolerance(low) and most * MS <= high + tolerance(high) and answer["received"] == 10
            )
            cells = (f"{round_trip_ms:g} ms", rate, str(frame), f"{low / MS:.3f} … {high / MS:.3f}")
            rows.append(Row((*cells, f"{least:.3f}", f"{mean:.3f}", f"{most:.3f}"), holds and answer["full"]))
        return rows

    return Case(name, (Order(name, steps, text),), judge)


def plan_delay(plan: Plan, link: str) -> int:
    return next(entry.ends[0].shape.delay_ns for entry in plan.links if entry.name == link)
