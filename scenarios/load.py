"""Scenario files: YAML -> Scenario, with the file's line in every error.

Every scalar is read as text (what it means is the schema's affair), so `name: 2026-13-01` and `at: on` are just names.
"""

import copy
import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from scenarios.checks import problems
from scenarios.checks.models import Models
from scenarios.names import Place
from scenarios.schema import Network, Region, Scenario

_HINTS = {
    "mapping values are not allowed": "put a value that has a colon in quotes",
    "'\\t'": "indent with spaces",
    "another document": "write one scenario in a file",
}
_OWN_TAGS = "tag:yaml.org,2002:"


class Problem(NamedTuple):
    """What is wrong at one place of a scenario file; as a string, the one line that a user reads."""

    file: str
    line: int | None
    where: str
    what: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{place}: {self.where}: {self.what}" if self.where else f"{place}: {self.what}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ScenarioError(Exception):
    """The scenario file is wrong; `problems` holds everything that was found."""

    def __init__(self, found: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in found))
        self.problems = list(found)


def load(file: Path, settings: Sequence[str] = (), models: Models | None = None) -> Scenario:
    """Reads and checks a scenario file, with `KEY=VALUE` settings put over it; `models` are those that ship.

    Raises ScenarioError."""
    root, written = _read(file)
    put = [(_put(written, setting), setting) for setting in settings]

    def problem(place: Place, what: str, shown: Place) -> Problem:
        for start, setting in reversed(put):
            if place[: len(start)] == start:
                return Problem(f"--set {setting}", None, _dotted(written, shown), what)
        return Problem(str(file), _line(root, place), _dotted(written, shown), what)

    try:
        context = {"folder": file.parent, "settings": tuple(settings)}
        scenario = Scenario.model_validate(written, context=context)
    except ValidationError as error:
        found = {problem(*_explain(_as_written(written, detail["loc"]), dict(detail))) for detail in error.errors()}
        raise ScenarioError(_by_line(found)) from None
    wrong = [(_as_written(written, place), what) for place, what in problems(scenario, models)]
    if wrong:
        raise ScenarioError(_by_line(problem(place, what, place) for place, what in wrong))
    return scenario


def _by_line(found: Iterable[Problem]) -> list[Problem]:
    return sorted(found, key=lambda problem: (problem.line or 0, problem))


def _read(file: Path) -> tuple[Node, dict[str, Any]]:
    """A file's YAML nodes, which know their lines, and their values."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError([Problem(str(file), None, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ScenarioError([Problem(str(file), None, "", "is not a text file in UTF-8")]) from None
    root, value = _parse(text, str(file))
    if not isinstance(value, dict):
        raise ScenarioError([Problem(str(file), 1, "", 'is not a scenario; begin with "name: my-scenario"')])
    return root, value


def _parse(text: str, source: str) -> tuple[Any, Any]:
    """The node of a YAML text, and its value: dicts, lists, strings and None."""

    def fail(line: int | None, what: str) -> ScenarioError:
        return ScenarioError([Problem(source, line, "", what)])

    known: dict[int, Any] = {}
    unfinished: set[int] = set()

    def value(node: Node) -> Any:
        """An alias shares the value of its anchor."""
        if id(node) in unfinished:
            raise fail(node.start_mark.line + 1, f'"&{node.anchor}" contains itself; write what it stands for')
        if id(node) not in known:
            unfinished.add(id(node))
            known[id(node)] = make(node)
            unfinished.remove(id(node))
        return known[id(node)]

    def make(node: Node) -> Any:
        if not str(node.tag).startswith(_OWN_TAGS):
            raise fail(node.start_mark.line + 1, f'"{node.tag}" is a YAML tag; write the value without it')
        if isinstance(node, ScalarNode):
            return None if node.tag == f"{_OWN_TAGS}null" else node.value
        if isinstance(node, SequenceNode):
            return [value(entry) for entry in node.value]
        made: dict[str, Any] = {}
        for key, part in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                raise fail(line, "a key is a list or has keys itself; write a word as the key")
            if key.value in made:
                raise fail(line, f'the key "{key.value}" is here twice; write it once')
            made[key.value] = value(part)
        return made

    try:
        root = YAML(typ="safe", pure=True).compose(text)
        return root, None if root is None else value(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"{error.context}: {error.problem}" if error.context else error.problem
        hint = next((f"; {hint}" for part, hint in _HINTS.items() if part in str(what)), "")
        raise fail(mark.line + 1 if mark else None, f"is not YAML: {what}{hint}") from None
    except ReaderError as error:
        raise fail(text.count("\n", 0, error.position) + 1, f"is not YAML: {error.reason}") from None
    except YAMLError as error:
        raise fail(None, f"is not YAML: {error}") from None
    except RecursionError:
        raise fail(None, "is nested too deeply for a scenario") from None


def _put(written: dict[str, Any], setting: str) -> Place:
    """`policies.slicing=none`; a list's entry is named by its `name` or its position, from 1. Returns what is new."""
    key, equals, text = setting.partition("=")

    def fail(what: str) -> ScenarioError:
        return ScenarioError([Problem(f"--set {setting}", None, "", what)])

    def step(place: Any, word: str) -> str | int:
        if isinstance(place, dict):
            return word
        if not isinstance(place, list):
            raise fail(f'nothing can be set in "{".".join(words[: len(path)])}", which is one value')
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in place]
        if word in names:
            return names.index(word)
        positions = [str(position) for position in range(1, len(place) + 1)]
        if word in positions:
            return positions.index(word)
        known = [name if isinstance(name, str) else str(i) for i, name in enumerate(names, 1)]
        raise fail(f'no entry "{word}" in the list; known are {", ".join(known) or "none"}')

    if not equals or not key:
        raise fail("is not KEY=VALUE; write policies.slicing=none")
    *words, last = key.split(".")
    place: Any = written
    path: list[str | int] = []
    new: Place | None = None
    for word in words:
        at = step(place, word)
        path.append(at)
        if isinstance(place, dict) and place.get(word) is None:
            place[word] = {}
            new = new or tuple(path)
        place[at] = copy.copy(place[at])  # an alias elsewhere stays as it is
        place = place[at]
    at = step(place, last)
    try:
        place[at] = _parse(text, "")[1]
    except ScenarioError as error:
        raise fail(error.problems[0].what) from None
    return new or (*path, at)


def _as_written(written: dict[str, Any], place: Place) -> Place:
    """A place of the schema in the file: `gnbs` may stand there without regions, and a mapping's entries have keys."""
    network = written.get("network")
    if place[:3] == ("network", "regions", 0) and isinstance(network, dict) and "regions" not in network:
        place = ("network", *place[3:])
    part: Any = written
    steps: list[str | int] = []
    for step in place:
        if isinstance(part, dict) and isinstance(step, int):
            step = list(part)[step]
        inside = step in part if isinstance(part, dict) else isinstance(part, list) and step in range(len(part))
        part = part[step] if inside else None
        steps.append(step)
    return tuple(steps)


def _explain(place: Place, error: dict[str, Any]) -> tuple[Place, str, Place]:
    """A pydantic error in our words: its place, what is wrong, and the place to show."""
    kind, what = error["type"], str(error["msg"]).removeprefix("Value error, ")
    if place[-1:] == ("[key]",):
        place = place[:-1]
    if kind == "extra_forbidden":
        return place, _unknown_key(str(place[-1]), place[:-1]), place[:-1]
    if kind == "missing":
        return place[:-1], f'"{place[-1]}" is missing', place[:-1]
    if error["input"] is None:
        what = "nothing is written here; write a value, or leave the key out"
    elif kind == "model_type":
        what = f"write keys and values here; known are {', '.join(_known_keys(place)) or 'none, so write {}'}"
    elif kind == "literal_error":
        what = f'"{error["input"]}" is unknown here; write {error["ctx"]["expected"]}'
    elif kind == "greater_than_equal":
        what = f"must be at least {error['ctx']['ge']}"
    elif kind == "less_than_equal":
        what = f"must be at most {error['ctx']['le']}"
    elif kind in _TYPES:
        what = _TYPES[kind]
    return place, what, place


_TYPES = {
    "dict_type": "write keys and values here, as in {30 s: gnb-name}",
    "list_type": "write a list here, each entry after a hyphen",
    "bool_parsing": "write true or false here",
    "bool_type": "write true or false here",
    "string_type": "write one word here, not a list or keys",
    "int_type": "write a whole number here",
    "int_parsing": "write a whole number here",
    "int_parsing_size": "is too large",
    "int_from_float": "write a whole number here",
    "too_short": "at least one entry is needed",
}


def _unknown_key(key: str, parent: Place) -> str:
    known = _known_keys(parent)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    right = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}" if known else "none is known here"
    return f'unknown key "{key}"; {right}'


def _known_keys(parent: Place) -> list[str]:
    """The keys that the schema knows at a place."""
    model: type[BaseModel] = Scenario
    for step in parent:
        if model is Network and step == "gnbs":
            model = Region  # which is made
        if isinstance(step, str):
            field = next(f for name, f in model.model_fields.items() if step in (name, f.alias))
            model = _part_of(field.annotation)
    names = [field.alias or name for name, field in model.model_fields.items()]
    return [*names, "gnbs"] if "regions" in names else names


def _part_of(annotation: Any) -> Any:
    """The model class inside list[Model], or Model itself."""
    arguments = getattr(annotation, "__args__", ())
    return next((a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)), annotation)


def _line(root: Node, place: Place) -> int:
    """The 1-based line of the deepest part of a place that the file has."""
    node = root
    line: int = root.start_mark.line + 1
    for step in place:
        if isinstance(node, MappingNode):
            entry = next(((key, part) for key, part in node.value if key.value == step), None)
            if entry is None:
                break
            line, node = entry[0].start_mark.line + 1, entry[1]
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _dotted(written: Any, place: Place) -> str:
    """devices.phone.at: entries of a list by their name where they have one, else by their position from 1."""
    words: list[str] = []
    part = written
    for step in place:
        if isinstance(step, int):
            part = part[step] if isinstance(part, list) and step < len(part) else None
            name = part.get("name") if isinstance(part, dict) else None
            words.append(name if isinstance(name, str) else str(step + 1))
        else:
            part = part.get(step) if isinstance(part, dict) else None
            words.append(step)
    return ".".join(words)
