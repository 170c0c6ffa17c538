"""Which link rate each row of 3GPP TS 22.261, table 7.10.1-2, needs: `python -m benchmarks.ts22261` writes docs/ts22261.md.

Runs scenarios/ts22261.yaml with other radio rates, all rows at once, until each row's rate is known to 1 %: with the whole
models, and with two variants of elastic ones.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.runs import PROJECT, play
from benchmarks.tables import Row, Table
from benchmarks.theory import tcp_goodput
from edge_nodes.models.manifest import Manifest, Variant
from edge_nodes.tiers import payloads
from insitu import experiment
from scenarios import records
from scenarios.device_classes import DEVICE_CLASSES
from scenarios.load import load
from scenarios.schema import Scenario

FILE = PROJECT / "scenarios" / "ts22261.yaml"
DOCUMENT = PROJECT / "docs" / "ts22261.md"
TOLERANCE = 0.01
POINT = 0.01  # of accuracy
RATES = {"image": 1.1e9, "speech": 640e6, "media": 512e6, "automotive": 22e6, "quality": 450e6}  # as the table has them
REMARKS = {
    "image": "image recognition",
    "speech": "speech recognition",
    "media": "real time media editing",
    "management": "AI model management as a service",
    "automotive": "automotive networked systems",
    "monitoring": "shared AI/ML model monitoring",
    "quality": "media quality enhancement",
}
HEAD = """# The rates of 3GPP TS 22.261, table 7.10.1-2

Made by `python -m benchmarks.ts22261` from runs of [scenarios/ts22261.yaml](../scenarios/ts22261.yaml).

Source: 3GPP TS 22.261 V20.1.0, clause 7.10.1, table 7.10.1-2 (AI/ML model downloading: maximum allowed downlink end-to-end
latency, experienced data rate, model size). Rows 1 and 2, and the rate of row 3, were compared with the published text of that
version. **The size of row 3 and rows 4 to 7 are those of the Release 18 table, and have not been compared with that version.**
The table asks for row 3 of up to 50 models in parallel that share the rate, and for row 4 of 5,000 to 10,000 devices
a km²; here each row is one device alone in its cell. The table's experienced rate is about 8 · size / latency: it has no room
for anything but the payload's bits. A link needs more.
"""
EXACT = "image"  # the row that is played with exact segments too
NOTHING = "1 kB"  # what the other rows have then

Rates = Mapping[str, float]  # bit/s by payload


class Timing(NamedTuple):
    """ns from a request: until its variant was chosen and it was loaded, from the edge; and loaded, from the centre."""

    chosen: int
    loaded: int
    loaded_from_centre: int


def search(guess: float, tolerance: float = TOLERANCE) -> Generator[float, bool, float]:
    """Yields rates to try, is sent whether each was enough, and returns the least that was: none `tolerance` less was."""
    low, high, step = 0.0, float("inf"), 1.08
    rate = guess
    while high > low * (1 + tolerance):
        if (yield rate):
            high = rate
        else:
            low = rate
        rate = high / step if not low else low * step if high == float("inf") else (low * high) ** 0.5
    return high


def find(
    guesses: Rates, limits: Mapping[str, int], play: Callable[[Rates], Mapping[str, Timing]]
) -> dict[str, tuple[float, Timing]]:
    """The least rate of each payload that keeps its limit (ns), with its timing; all are tried in the same runs."""
    searches = {name: search(guess) for name, guess in guesses.items()}
    trying = {name: next(one) for name, one in searches.items()}
    rates: dict[str, float] = dict(trying)
    kept: dict[tuple[str, float], Timing] = {}
    found: dict[str, tuple[float, Timing]] = {}
    while trying:
        timings = play(rates)
        for name, rate in list(trying.items()):
            kept[name, rate] = timings[name]
            try:
                trying[name] = rates[name] = searches[name].send(timings[name].loaded <= limits[name])
            except StopIteration as end:
                rates[name] = end.value
                found[name] = end.value, kept[name, end.value]
                del trying[name]
    return found


class Way(NamedTuple):
    """What is sent of each row's model: the share of its bytes, and the settings that make it so."""

    share: float
    settings: list[str]


class Study:
    """The rows as the scenario has them."""

    def __init__(self, scenario: Scenario, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say, self._runs = folder, say, 0
        self.cells = {device.application: device.at for device in scenario.devices}
        self.sizes = {name: payload.size for name, payload in scenario.payloads.items()}
        self.limits = {device.application: device.deadline or 0 for device in scenario.devices}
        load_rates = {d.application: DEVICE_CLASSES[d.device_class].load_bytes_per_s for d in scenario.devices}
        self._load_rates = load_rates

    def loading(self, name: str, size: int) -> float:
        """Seconds."""
        return size / self._load_rates[name]

    def rates(self, way: Way) -> dict[str, tuple[float, Timing]]:
        """The least rate of each row."""
        sizes = {name: round(size * way.share) for name, size in self.sizes.items()}
        guesses = {
            name: 8 * size / (self.limits[name] / 1e9 - self.loading(name, size) - 0.06) * 1e9 / tcp_goodput(1e9)
            for name, size in sizes.items()
        }
        return find(guesses, self.limits, lambda rates: self.play(rates, way.settings))

    def play(self, rates: Rates, settings: list[str]) -> dict[str, Timing]:
        """One run."""
        self._runs += 1
        out = self._folder / str(self._runs)
        radios = [f"network.regions.city.gnbs.{self.cells[n]}.radio.rate={_kilo(rate)}" for n, rate in rates.items()]
        played = play(FILE, out, [*radios, *settings])
        self._say(f"run {self._runs}: " + ", ".join(f"{name} {rate / 1e6:.1f}" for name, rate in rates.items()))
        return timings(played.events)


def timings(events: list[records.AnyEvent]) -> dict[str, Timing]:
    """By payload; each was asked for twice, by one device."""
    began: dict[str, records.Requested] = {}
    chosen: dict[str, int] = {}
    loaded: dict[str, int] = {}
    for event in events:
        if isinstance(event, records.Requested):
            began[event.download] = event
        elif isinstance(event, records.Chosen):
            chosen[event.download] = event.t - began[event.download].t
        elif isinstance(event, records.Completed):
            loaded[event.download] = event.latency_ns
    return {
        request.model: Timing(chosen[name], loaded[name], loaded[f"{request.node}-1"])
        for name, request in began.items()
        if name == f"{request.node}-2"
    }


def _kilo(rate: float) -> str:
    return f"{round(rate / 1000)} kbit/s"


def smallest_within(manifest: Manifest, points: float) -> Variant:
    """The variant of the fewest bytes whose accuracy is within `points` of the best."""
    nested = [v for v in manifest.variants if v.bits]
    best = max(v.accuracy for v in nested)
    return min((v for v in nested if v.accuracy >= best - points), key=lambda v: v.bytes)


def coarsest_whole(manifest: Manifest) -> Variant:
    """The whole net at its coarsest bit level."""
    nested = [v for v in manifest.variants if v.bits]
    whole = max((v.depth, v.width) for v in nested)
    return min((v for v in nested if (v.depth, v.width) == whole), key=lambda v: v.bits)


def elastic_way(study: Study, digits: Manifest, variant: Variant) -> Way:
    settings = [f"payloads.{name}.elastic=true" for name in study.sizes]
    return Way(variant.bytes / payloads.weights(digits), [*settings, f"policies.compression=fixed:{variant.name}"])


def main() -> None:
    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    digits = Manifest.load(experiment.model_library(say) / "manifests" / f"{experiment.PATTERN}.json")
    variants = smallest_within(digits, POINT), coarsest_whole(digits)
    with tempfile.TemporaryDirectory(prefix="insitu-ts22261-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        study = Study(load(FILE), Path(folder), say)
        ways = [Way(1.0, []), *(elastic_way(study, digits, variant) for variant in variants)]
        whole, *elastic = pool.map(study.rates, ways)
        alone = [f"payloads.{name}.size={NOTHING}" for name in study.sizes if name != EXACT]
        exact = study.play({EXACT: whole[EXACT][0]}, ["network.segments=exact", *alone])[EXACT]
    tables = [rates_table(study, whole), reasons_table(study, whole)]
    tables += [elastic_table(study, digits, variants, whole, elastic)]
    written = DOCUMENT.with_suffix(".partial")
    written.write_text("\n".join([HEAD, *(made.markdown() for made in tables), exact_text(whole[EXACT][1], exact)]))
    written.rename(DOCUMENT)


def rates_table(study: Study, whole: Mapping[str, tuple[float, Timing]]) -> Table:
    rows = []
    for number, (name, size) in enumerate(study.sizes.items(), 1):
        rate, timing = whole[name]
        limit, given = study.limits[name] / 1e9, RATES.get(name)
        bare = 8 * size / limit
        more = f"{100 * (rate / (given or bare) - 1):+.0f} %"
        cells = (
            f"{number}: {REMARKS[name]}",
            f"{size / 1e6:g} MB",
            f"{limit:g} s",
            mega(given) if given else "–",
            mega(bare),
        )
        rows.append(
            Row(
                (*cells, mega(rate), more, f"{timing.loaded / 1e6:.0f} ms", f"{timing.loaded_from_centre / 1e6:.0f} ms")
            )
        )
    note = (
        "Rates in Mbit/s. `found` is the rate of the radio, to 1 %, at which the model is loaded within the row's latency of the "
        "request, from an edge library that has it; `more` is over the table's rate, or over 8 · size / latency where the table "
        "has none. The last two columns are measured at that rate: `from the edge`, and `from the centre` when the edge did not "
        "have it."
    )
    columns = (
        "row",
        "size",
        "latency",
        "table",
        "8 · size / latency",
        "found",
        "more",
        "from the edge",
        "from the centre",
    )
    return Table("The link rate that each row needs", note, columns, rows)


def reasons_table(study: Study, whole: Mapping[str, tuple[float, Timing]]) -> Table:
    """Where the row's latency goes at the rate found, in ms."""
    rows = []
    for name, size in study.sizes.items():
        rate, timing = whole[name]
        payload, sent = 8 * size / rate * 1e3, 8 * size / tcp_goodput(rate) * 1e3
        load, all_of_it = study.loading(name, size) * 1e3, timing.loaded / 1e6
        parts = (payload, sent - payload, timing.chosen / 1e6, load)
        rows.append(Row((REMARKS[name], *(f"{part:.1f}" for part in (*parts, all_of_it - sum(parts), all_of_it)))))
    note = (
        "ms at the rate found. `payload`: its bits at the link's rate; `framing`: a frame of 1514 bytes carries 1448. `request "
        "and session`: TCP's handshake, the request, and the edge asking the NEF at the core for a session, until the variant is "
        "chosen (the first byte, of the manifest, comes meanwhile). `loading`: into the memory of a phone, at 2 GB/s (UFS 3.1). "
        "`slow start`: all that is left, half a round trip and the time in which TCP's window does not yet fill the link."
    )
    columns = ("row", "payload", "framing", "request and session", "loading", "slow start", "together")
    return Table("Why it is more than the size over the latency", note, columns, rows)


def elastic_table(
    study: Study,
    digits: Manifest,
    variants: tuple[Variant, Variant],
    whole: Mapping[str, tuple[float, Timing]],
    elastic: list[dict[str, tuple[float, Timing]]],
) -> Table:
    rows = []
    for name in study.sizes:
        cells = [REMARKS[name], f"{study.sizes[name] / 1e6:g}", mega(whole[name][0])]
        for variant, found in zip(variants, elastic, strict=True):
            rate, small = found[name][0], study.sizes[name] * variant.bytes / payloads.weights(digits)
            cells += [f"{small / 1e6:.3g}", mega(rate), f"−{100 * (1 - rate / whole[name][0]):.0f} %"]
        rows.append(Row(tuple(cells)))
    best = max(v.accuracy for v in digits.variants if v.bits)
    one, other = (
        f"`{v.name}` ({100 * v.accuracy:.1f} %, {v.bytes / payloads.weights(digits):.3f} bytes a weight)"
        for v in variants
    )
    note = (
        "Sizes in MB, rates in Mbit/s. An assumption: that a model of the row's size, a byte a weight, has variants that are to "
        f"it as those of `digits` are to `digits`. The best of these has an accuracy of {100 * best:.1f} %; {one} is the smallest "
        f"within one point of it, and {other} the whole net at its coarsest bit level."
    )
    columns = ("row", "size", "rate", "within a point", "rate", "lower by", "coarsest", "rate", "lower by")
    return Table("What elastic variants save", note, columns, rows)


def exact_text(bulk: Timing, exact: Timing) -> str:
    return (
        f"All this is with `segments: bulk`. Row 1 at its rate with `segments: exact`: {exact.loaded / 1e6:.2f} ms instead of "
        f"{bulk.loaded / 1e6:.2f} ms ({100 * (exact.loaded / bulk.loaded - 1):+.2f} %).\n"
    )


def mega(rate: float) -> str:
    return f"{rate / 1e6:.4g}"


if __name__ == "__main__":
    main()
