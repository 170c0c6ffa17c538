"""What links do to single packets: loss, jitter, and queues that are full."""

from typing import Any

from benchmarks import theory
from benchmarks.cases import (
    FULL,
    MS,
    RATES,
    UDP_HEADERS,
    Case,
    Section,
    scenario,
)
from benchmarks.guests import Order
from benchmarks.network import lines, plan_of
from benchmarks.tables import Row
from benchmarks.theory import FULL_FRAME, Gilbert
from scenarios import tables
from scenarios.plan import Plan

PROBES = 10_000
PROBE = 100  # bytes of payload


def chance() -> Section:
    return Section(
        "Loss and jitter",
        f"{PROBES} UDP probes one way over one hop, with the kernel's time stamps. Counts: the 99 % interval of what was"
        " set (binomial; for Gilbert–Elliott that of the Markov chain). Distributions: delays by Kolmogorov–Smirnov's "
        "test, lengths of loss bursts by the chi² test against the geometric distribution. Limit: inside the interval, "
        "p of at least 0.01.",
        ("set", "figure", "theory", "measured", "p"),
        [
            *(loss_case(percent) for percent in (0.1, 1.0, 10.0)),
            gilbert_case("simple", Gilbert(0.01, 0.25)),
            gilbert_case("Elliott", Gilbert(0.02, 0.10, loss_bad=0.7, loss_good=0.01)),
            jitter_case("uniform"),
            *(jitter_case(name, tables.distribution(name)) for name in ("normal", "pareto")),
        ],
    )


def probes(name: str, core: str, interval_ns: int) -> tuple[Order, Plan]:
    """Probes from nef to central."""
    text = scenario("1 Gbit/s", core)
    series = {
        "do": "series",
        "source": "nef",
        "target": "central",
        "count": PROBES,
        "interval_ns": interval_ns,
        "payload": PROBE,
    }
    return Order(name, [series], text), plan_of(text)


def lost_of(answers: list[Any]) -> list[bool]:
    return [not delays for delays in answers[-1]["delays_ns"]]


def loss_case(percent: float) -> Case:
    share = percent / 100
    order, _ = probes(f"loss {percent:g} %", f"{{rate: RATE, delay: 1 ms, loss: {percent:g} %}}", MS)

    def judge(answers: list[Any]) -> list[Row]:
        lost = lost_of(answers)
        rows = [count_row(f"loss {percent:g} %", sum(lost), theory.count_interval(share, len(lost)))]
        bursts = theory.run_lengths(lost)
        if len(bursts) >= 50:  # fewer tell nothing of how long they are
            rows.append(burst_row(f"loss {percent:g} %", bursts, 1 - share))
        return rows

    return Case(order.name, (order,), judge)


def gilbert_case(kind: str, chain: Gilbert) -> Case:
    shares = {"enter": chain.enter, "leave": chain.leave, "loss": chain.loss_bad, "outside": chain.loss_good}
    setting = ", ".join(f"{name}: {100 * share:g} %" for name, share in shares.items())
    order, _ = probes(f"gilbert {kind}", f"{{rate: RATE, delay: 1 ms, bursts: {{{setting}}}}}", MS)

    def judge(answers: list[Any]) -> list[Row]:
        lost = lost_of(answers)
        what = f"Gilbert–Elliott {setting}"
        rows = [count_row(what, sum(lost), chain.interval(len(lost)))]
        if chain.loss_bad == 1 and chain.loss_good == 0:
            rows.append(burst_row(what, theory.run_lengths(lost), chain.leave))
            gaps = theory.run_lengths([not gone for gone in lost])
            verdict = theory.geometric_fits(gaps, chain.enter)
            cells = (
                what,
                "length of gaps, mean",
                f"{1 / chain.enter:.2f}",
                f"{sum(gaps) / len(gaps):.2f}",
                f"{verdict.p_value:.3f}",
            )
            rows.append(Row(cells, verdict.fits))
        return rows

    return Case(order.name, (order,), judge)


def count_row(what: str, count: int, interval: tuple[float, float]) -> Row:
    low, high = interval
    return Row((what, "packets lost", f"{low:.0f} … {high:.0f}", str(count), ""), low <= count <= high)


def burst_row(what: str, bursts: list[int], leave: float) -> Row:
    verdict = theory.geometric_fits(bursts, leave)
    mean = sum(bursts) / len(bursts)
    return Row(
        (what, "length of bursts, mean", f"{1 / leave:.2f}", f"{mean:.2f}", f"{verdict.p_value:.3f}"), verdict.fits
    )


def jitter_case(kind: str, distribution: tables.Distribution | None = None) -> Case:
    """10 ms around 50 ms, uniform or by a table."""
    core = f"{{rate: RATE, delay: 50 ms, jitter: 10 ms, distribution: {kind}}}"
    order, plan = probes(f"jitter {kind}", core, 100 * MS)

    def judge(answers: list[Any]) -> list[Row]:
        sample = [delay for delays in answers[-1]["delays_ns"] for delay in delays]
        centre, spread = theory.one_way(lines(plan, "nef", "central"), PROBE + UDP_HEADERS), 10 * MS
        expected = theory.table(centre, spread, distribution.table) if distribution else theory.uniform(centre, spread)
        verdict = theory.distribution_fits(sample, expected)
        mean = sum(sample) / len(sample)
        what = f"50 ms ± {spread // MS} ms, {kind}"
        cells = (what, "delay, mean, ms", f"{centre / MS:.3f}", f"{mean / MS:.3f}", f"{verdict.p_value:.3f}")
        return [Row(cells, verdict.fits and len(sample) == PROBES)]

    return Case(order.name, (order,), judge)


def queues() -> Section:
    return Section(
        "Queues",
        "A burst of full UDP frames, faster than the link, meets a FIFO queue: how many arrive, and how long the last "
        "one took. Theory: Lindley's recursion with a finite room. Without `queue:` it is counted in packets, and what is "
        "under way on the link takes room too; with it in bytes, and a packet takes room until its sending begins. "
        "Limit: as many arrive, each within 10 us of its time, and from 1 Gbit/s on 34 us: there a host lets a packet "
        "that follows others wait for the next one, 24 us at most, as a network card does.",
        (
            "rate",
            "delay",
            "room",
            "burst",
            "sent every",
            "arrive, theory",
            "arrive",
            "last one, theory, ms",
            "last one, ms",
        ),
        [
            queue_case("10 Mbit/s", "5 ms", 400, 0),
            queue_case("10 Mbit/s", "5 ms", 400, 600_000),
            queue_case("100 Mbit/s", "0 ms", 1000, 0),
            queue_case("1 Gbit/s", "1 ms", 5000, 6_000),
            queue_case("10 Mbit/s", "5 ms", 400, 0, "60 kB"),
            queue_case("10 Mbit/s", "5 ms", 400, 600_000, "100 ms"),
            queue_case("1 Gbit/s", "1 ms", 5000, 6_000, "1 MB"),
        ],
    )


def queue_case(rate: str, delay: str, count: int, interval_ns: int, queue: str = "") -> Case:
    text = scenario(rate, f"{{rate: RATE, delay: {delay}{', queue: ' + queue if queue else ''}}}")
    plan = plan_of(text)
    step = {
        "do": "series",
        "source": "nef",
        "target": "central",
        "count": count,
        "interval_ns": interval_ns,
        "payload": FULL,
    }
    name = f"queue {rate} {interval_ns} ns {queue}"
    shape = next(end.shape for link in plan.links if link.name == "central-link" for end in link.ends if end.port)
    room = shape.queue.bytes if shape.queue else shape.limit

    def judge(answers: list[Any]) -> list[Row]:
        access, line = lines(plan, "nef", "central")
        sent = [stamp - answers[0]["sent_ns"][0] for stamp in answers[0]["sent_ns"]]
        at_port = theory.fifo(sent, [FULL_FRAME] * count, access, count)
        passed = theory.fifo(
            [p.left_ns or 0 for p in at_port],
            [FULL_FRAME] * count,
            line,
            room,
            in_bytes=shape.queue is not None,
            until="begun" if shape.queue else "arrived",
        )
        delays = answers[0]["delays_ns"]
        # in the order of arrival: which of two packets half a us apart found the room that was just made is no matter
        expected = [(p.left_ns, p.left_ns - at) for p, at in zip(passed, sent, strict=True) if p.left_ns is not None]
        measured = [(at + found[0], found[0]) for found, at in zip(delays, sent, strict=True) if found]
        pairs = zip(expected, measured, strict=False)
        allowed = 10_000 if RATES[rate] < 10**9 else 34_000
        exact = len(expected) == len(measured) and all(abs(e[0] - m[0]) <= allowed for e, m in pairs)
        cells = (
            rate, delay, f"{room} {'B' if shape.queue else 'packets'}", str(count),
            f"{interval_ns / 1000:g} us" if interval_ns else "at once",
            str(len(expected)), str(len(measured)), f"{expected[-1][1] / MS:.3f}", f"{measured[-1][1] / MS:.3f}",
        )  # fmt: skip
        return [Row(cells, exact)]

    return Case(name, (Order(name, [step], text),), judge)
