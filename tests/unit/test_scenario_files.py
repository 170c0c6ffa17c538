"""Scenario files: each thing that can be wrong with one is said in one line, with its place."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from scenarios.fields import Window
from scenarios.load import ScenarioError, load
from scenarios.schema import Gnb, Scenario

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "scenarios" / "hello.yaml"
BROKEN = sorted((ROOT / "tests" / "broken").glob("*.yaml"))

CAMPUS = """\
name: campus
duration: 60 s
network:
  core: {rate: 40 Gbit/s, delay: 5 ms}
  regions:
    - name: west
      link: {rate: 10 Gbit/s, delay: 5 ms}
      gnbs:
        - name: quad
          link: {rate: 2 Gbit/s, delay: 1 ms}
          radio: {rate: 1 Gbit/s, delay: 2 ms, jitter: 0.2 ms, loss: 0.01 %}
        - {name: tunnel, link: {rate: 2 Gbit/s, delay: 1 ms}, radio: {rate: 300 Mbit/s, delay: 4 ms}}
libraries: {central: {}, local: {cache: 2 GB}, edge: {cache: 200 MB}}
slices:
  - {name: models, guarantee: 40 %, profiles: [QOS_S, QOS_E]}
  - {name: video, guarantee: 30 %, ceiling: 60 %}
  - {name: default}
devices:
  - {name: phone, count: 16, at: quad, class: phone, application: digits, infer: 10/s, slice: models}
  - {name: camera, count: 8, at: tunnel, class: sensor, application: digits, infer: 2/s, route: {30 s: quad}}
situations:
  - {location: tunnel, model: digits@dark}
  - {time: 30 s.., model: digits@rain}
  - {model: digits}
requests: {deadline: 100 ms}
traffic: [{from: central, to: phone, slice: video, rate: 20 Mbit/s, transport: udp}]
policies: {slicing: deadline, compression: adaptive, caching: lru}
expect: [downloads.on_time >= 95 %, slices.models.violations == 0]
"""


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "it.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def shipping(*models: str) -> dict[str, list[str]]:
    """Models that have two variants each."""
    return dict.fromkeys(models, ["d1w1b1", "d3w4b4"])


def gnb(scenario: Scenario) -> Gnb:
    return scenario.network.regions[0].gnbs[0]


def refusal(file: Path, *setting: str) -> str:
    """What a user reads, with the file's name for its path."""
    with pytest.raises(ScenarioError) as caught:
        load(file, setting)
    return str(caught.value).replace(str(file), file.name)


def test_hello_loads() -> None:
    assert load(HELLO, models=shipping("digits", "digits@night")).name == "hello"


def test_everything_that_can_be_written_loads(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, CAMPUS), models=shipping("digits", "digits@dark", "digits@rain"))
    radio = gnb(scenario).radio
    assert (radio.rate, radio.jitter, float(radio.loss)) == (10**9, 200_000, 0.0001)
    assert scenario.devices[0].names == [f"phone{i}" for i in range(1, 17)]
    assert scenario.devices[1].route == {30 * 10**9: "quad"}
    assert (scenario.situations[1].time.start, scenario.situations[1].time.end) == (30 * 10**9, None)
    assert scenario.expect[0].text == "downloads.on_time >= 95 %" and scenario.slices[1].ceiling * 10 == 6


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_broken(file: Path) -> None:
    """The first lines of a broken file say what must be said of it, and with which settings and models it is read."""
    head: dict[str, list[str]] = {"expect": [], "set": [], "models": []}
    for line in file.read_text().splitlines():
        key, colon, value = line.removeprefix("# ").partition(": ")
        if line.startswith("# ") and colon:
            head[key].append(value)
    models = shipping(*head["models"][0].split()) if head["models"] else None
    with pytest.raises(ScenarioError) as caught:
        load(file, head["set"], models)
    assert str(caught.value).replace(str(file), file.name).splitlines() == head["expect"]


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == "none.yaml: cannot be read: No such file or directory"


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path.name}: cannot be read: Is a directory"


@pytest.mark.parametrize("text", ["name: caf\xe9".encode("latin-1"), b"\xff\xfe", CAMPUS.encode("utf-16")])
def test_not_utf8(tmp_path: Path, text: bytes) -> None:
    assert refusal(written(tmp_path, text)) == "it.yaml: is not a text file in UTF-8"


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "- a\n", "5\n", "null\n"])
def test_no_mapping(tmp_path: Path, text: str) -> None:
    assert refusal(written(tmp_path, text)) == 'it.yaml:1: is not a scenario; begin with "name: my-scenario"'


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_text_of_other_systems_loads_with_right_lines(tmp_path: Path, ending: str, mark: str) -> None:
    text = mark + CAMPUS.replace("\n", ending)
    assert load(written(tmp_path, text)).name == "campus"
    assert refusal(written(tmp_path, text.replace("100 ms", "100"))).startswith("it.yaml:25: requests.deadline: ")


def test_words_that_yaml_would_convert_stay_words(tmp_path: Path) -> None:
    text = "name: null-0\nnetwork: {gnbs: [{name: on}, {name: no}]}\ndevices: [{name: e5, at: on, route: {1 s: no}}]\n"
    assert load(written(tmp_path, text)).devices[0].at == "on"


def test_a_message_stays_on_one_line_and_harmless(tmp_path: Path) -> None:
    text = CAMPUS.replace("name: campus", 'name: "two\\nlines \\e[31m"')
    assert refusal(written(tmp_path, text)) == (
        r'it.yaml:1: name: "two\nlines \x1b[31m" is not a name; '
        "write lower-case letters, digits and single hyphens, a letter first"
    )


def test_an_alias_is_what_it_stands_for(tmp_path: Path) -> None:
    text = CAMPUS.replace("core: {", "core: &link {").replace("link: {rate: 10 Gbit/s, delay: 5 ms}", "link: *link")
    file = written(tmp_path, text)
    assert load(file).network.regions[0].link.rate == 40 * 10**9
    changed = load(file, ["network.core.rate=1 Gbit/s"]).network
    assert (changed.core.rate, changed.regions[0].link.rate) == (10**9, 40 * 10**9)


def test_aliases_of_aliases_take_no_time(tmp_path: Path) -> None:
    bomb = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 40))
    assert len(refusal(written(tmp_path, CAMPUS + "a0: &a0 [x]\n" + bomb)).splitlines()) == 40


@pytest.mark.parametrize(
    ("setting", "holds"),
    [
        ("duration=50 s", lambda s: s.duration == 50 * 10**9),
        ("policies.slicing=none", lambda s: s.policies.slicing == "none"),
        ("devices.camera.count=3", lambda s: s.devices[1].count == 3),
        ("devices.2.count=3", lambda s: s.devices[1].count == 3),
        ("devices.camera.route.10 s=quad", lambda s: list(s.devices[1].route) == [30 * 10**9, 10 * 10**9]),
        ("network.regions.west.gnbs.quad.radio.rate=1 Mbit/s", lambda s: gnb(s).radio.rate == 10**6),
        ("situations.2.time=20 s..", lambda s: s.situations[1].time.start == 20 * 10**9),
        ("expect=[downloads.failed == 0]", lambda s: [e.text for e in s.expect] == ["downloads.failed == 0"]),
        ("slices.models={name: models}", lambda s: s.slices[0].guarantee is None),
    ],
)
def test_set(tmp_path: Path, setting: str, holds: Callable[[Scenario], bool]) -> None:
    file = written(tmp_path, CAMPUS)
    assert not holds(load(file))
    assert holds(load(file, [setting]))


def test_set_splits_at_the_first_equals_sign() -> None:
    assert refusal(HELLO, "name=a=b").startswith('--set name=a=b: name: "a=b" is not a name; ')


def test_set_makes_what_the_file_leaves_out() -> None:
    made = ["policies.slicing=none", "policies.caching=lru", "libraries.edge.cache=1 MB", "slices=[{name: a}]"]
    scenario = load(HELLO, [*made, "slices.a.ceiling=50 %"])
    assert (scenario.policies.slicing, scenario.libraries.edge.cache) == ("none", 10**6)
    assert float(scenario.slices[0].ceiling) == 0.5


def test_the_later_setting_counts() -> None:
    assert load(HELLO, ["duration=7 s", "duration=8 s"]).duration == 8 * 10**9
    assert refusal(HELLO, "duration=7 s", "duration=0 s") == "--set duration=0 s: duration: must be more than 0"


def test_lines_stay_right_after_a_setting(tmp_path: Path) -> None:
    file = written(tmp_path, CAMPUS.replace("at: tunnel", "at: tunel"))
    message = 'it.yaml:20: devices.camera.at: no gNB "tunel"; did you mean "tunnel"?'
    assert refusal(file, "devices.phone.at=quad", "devices.camera.route.2 s=quad") == message


def test_a_setting_that_breaks_something_else_is_reported_where_that_is(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, CAMPUS), "duration=20 s") == (
        "it.yaml:20: devices.camera.route.30 s: 30 s is not within the run; write a time after 0 s and before 20 s"
    )


def test_a_situation_is_wanted_only_where_the_device_is(tmp_path: Path) -> None:
    text = CAMPUS.replace("{time: 30 s.., model: digits@rain}", "{location: quad, time: 30 s.., model: digits@rain}")
    text = text.replace("  - {model: digits}\n", "").replace("at: quad", "at: tunnel")
    assert load(written(tmp_path, text)).situations[-1].model == "digits@rain"


def test_every_broken_input_is_of_its_own_kind() -> None:
    bodies = ["".join(line for line in file.open() if not line.startswith("# expect")) for file in BROKEN]
    assert len(BROKEN) >= 30
    assert len(set(bodies)) == len(BROKEN)


LINES = CAMPUS.splitlines()
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def read_or_refuse(file: Path, *setting: str) -> None:
    try:
        assert isinstance(load(file, setting, shipping("digits", "digits@dark", "digits@rain")), Scenario)
    except ScenarioError as error:
        assert error.problems
        for problem in map(str, error.problems):
            assert problem.isprintable() and problem.startswith((f"{file}:", "--set "))


@FUZZ
@given(st.one_of(st.text().map(str.encode), st.binary()))
def test_any_bytes_are_read_or_refused(tmp_path: Path, text: bytes) -> None:
    read_or_refuse(written(tmp_path, text))


@FUZZ
@given(st.integers(0, len(CAMPUS)), st.integers(0, 9), st.text(alphabet=" \n\t-:{}[],&*!|>%@'\"#?a1~", max_size=4))
def test_any_slip_of_the_pen_is_read_or_refused(tmp_path: Path, at: int, cut: int, put: str) -> None:
    read_or_refuse(written(tmp_path, CAMPUS[:at] + put + CAMPUS[at + cut :]))


@FUZZ
@given(st.permutations(LINES).map(lambda lines: lines[:12]) | st.lists(st.sampled_from(LINES)))
def test_any_mix_of_lines_is_read_or_refused(tmp_path: Path, lines: list[str]) -> None:
    read_or_refuse(written(tmp_path, "\n".join(lines)))


KEYS = ["devices", "phone", "1", "network", "regions", "west", "gnbs", "quad", "radio", "route", "expect", "name", ""]
VALUES = ["", "5 s", "quad", "[]", "{}", "[", "null", "[{name: a, at: quad}]", "{rate: 1 Mbit/s}", "&a [*a]", "*b"]


@FUZZ
@given(st.lists(st.sampled_from(KEYS), max_size=6).map(".".join), st.sampled_from(["=", ""]), st.sampled_from(VALUES))
def test_any_setting_is_read_or_refused(tmp_path: Path, key: str, equals: str, value: str) -> None:
    read_or_refuse(written(tmp_path, CAMPUS), key + equals + value)


def test_the_reference_names_every_key() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text()
    words = set(re.findall(r"[a-z_]+", text))
    models: list[type[BaseModel]] = [Scenario]
    seen: set[type[BaseModel]] = set()
    while models:
        model = models.pop()
        seen.add(model)
        for name, field in model.model_fields.items():
            assert (field.alias or name) in words, f"{model.__name__}.{field.alias or name} is not in docs/scenarios.md"
            inner = [
                part
                for part in (field.annotation, *getattr(field.annotation, "__args__", ()))
                if isinstance(part, type)
            ]
            models += [part for part in inner if issubclass(part, BaseModel) and part not in (*seen, Window)]
