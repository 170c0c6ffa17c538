"""What provenance.json says: where a run came from, and all that it takes to make it again."""

import hashlib
import os
import platform
from pathlib import Path
from typing import Literal

import msgspec

from scenarios import plan as plans
from scenarios.plan import Plan

FILE = "provenance.json"


class Source(msgspec.Struct, frozen=True):
    """A scenario's file as it was when it was read: with `KEY=VALUE` settings put over it, and what it expects."""

    file: str  # absolute; files beside it may be part of the scenario
    sha256: str
    settings: list[str]
    expect: list[str]


class Here(msgspec.Struct, frozen=True):
    """The machine that carried a run out; no figure of a virtual clock depends on it."""

    architecture: str
    cpus: int | None
    system: str


class Provenance(msgspec.Struct, frozen=True):
    """Of one run. Beside it lie the scenario's file, the plan, and the modules and payloads that the plan names."""

    command: list[str]  # [] for a run that was not made by a command
    scenario: Source
    seed: int
    clock: Literal["virtual", "real"]
    on: Literal["vm", "host"]
    datapath: Literal["system", "netdev"]
    plan: str  # the digest
    plan_format: int
    models: dict[str, str]  # SHA-256 of each model's manifest
    policies: dict[str, str]  # SHA-256 of each module of the user's own
    versions: dict[str, str]
    machine: Here


def source(file: Path, content: bytes, settings: list[str], expect: list[str]) -> Source:
    return Source(str(file.absolute()), sha256(content), settings, expect)


def of(
    plan: Plan, source: Source, versions: dict[str, str], on: Literal["vm", "host"], command: list[str]
) -> Provenance:
    return Provenance(
        command=command,
        scenario=source,
        seed=plan.seed,
        clock=plan.machine.clock,
        on=on,
        datapath=plan.machine.datapath,
        plan=plans.digest(plan),
        plan_format=plan.format,
        models=plan.models,
        policies=plan.policies.files,
        versions=versions,
        machine=Here(platform.machine(), os.cpu_count(), platform.platform()),
    )


def write(provenance: Provenance, folder: Path) -> None:
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(provenance), indent=2) + b"\n")


def read(folder: Path) -> Provenance:
    """Raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Provenance)


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
