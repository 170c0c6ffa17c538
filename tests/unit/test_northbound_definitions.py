"""Schemathesis, run on CAMARA's definitions and on our own, finds no deviation of the northbound."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine import ADDRESSES, Memory, northbound, served
from ruamel.yaml import YAML

from controller.sessions import DELETED

ROOT = Path(__file__).parents[2]
CAMARA = ROOT / "tests" / "camara"
SEED = 1
yaml = YAML(typ="safe", pure=True)

DEVICES = [
    {"ipv4Address": {"publicAddress": ADDRESSES[name], "privateAddress": ADDRESSES[name]}}
    for name in ("phone1", "phone2", "bus")
]
SERVERS = [{"ipv4Address": ADDRESSES["central"]}, {"ipv4Address": ADDRESSES["square-edge"] + "/32"}]
# What there is in the network of `engine`, so that much of what is made up gets as far as to be a session
KNOWN: dict[str, dict[str, Any]] = {
    "Device": {"enum": DEVICES},
    "QosProfileName": {"type": "string", "enum": ["QOS_S", "QOS_L", "VIDEO", "PAST"]},
    "CreateSession": {
        "properties": {
            "device": {"enum": DEVICES},
            "applicationServer": {"enum": [*SERVERS, {"ipAddresses": [ADDRESSES["central"], "::1"]}]},
            "qosProfile": {"type": "string", "enum": ["QOS_L", "VIDEO"]},
            "duration": {"type": "integer", "minimum": 2, "maximum": 30},
        }
    },
    "CreateDownload": {
        "properties": {
            "device": {"enum": DEVICES},
            "applicationServer": {"enum": SERVERS},
            "slice": {"type": "string", "enum": ["models", "default"]},
        }
    },
}


def merged(*schemas: dict[str, Any]) -> dict[str, Any]:
    """One object of all properties, which has no others."""
    properties = {name: part for schema in schemas for name, part in schema.get("properties", {}).items()}
    required = [name for schema in schemas for name in schema.get("required", ())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def in_schema(document: dict[str, Any]) -> dict[str, Any]:
    """A definition in which the schemas say what otherwise its text does: there are no properties but those declared, and a
    credential has what its type asks for. (What is valid stays so where it is one of `KNOWN`; it is only likelier.)"""
    schemas = document["components"]["schemas"]
    for bodies in ("Device", "DeviceIpv4Address", "PortsSpec", "ExtendSessionDuration", "RetrieveSessionsInput"):
        if "properties" in schemas.get(bodies, {}):
            schemas[bodies]["additionalProperties"] = False
    if "QosProfileDeviceRequest" in schemas:
        schemas["QosProfileDeviceRequest"]["additionalProperties"] = False
    if "CreateSession" in schemas:
        device, _, duration = schemas["CreateSession"]["allOf"]
        schemas["PortsSpec"]["properties"]["ranges"]["items"]["additionalProperties"] = False
        schemas["CreateSession"] = merged(device, schemas["BaseSessionInfo"], duration)
    if "SinkCredential" in schemas:
        base = schemas["SinkCredential"]
        kinds = {"ACCESSTOKEN": "AccessTokenCredential", "PRIVATE_KEY_JWT": "PrivateKeyJWTCredential"}
        whole = [merged(base, schemas[kind]["allOf"][1]) for kind in kinds.values()]
        for kind, schema in zip(kinds, whole, strict=True):
            schema["properties"]["credentialType"] = {"type": "string", "enum": [kind]}
        schemas["SinkCredential"] = {"oneOf": whole}
    for name, known in KNOWN.items():
        if "$ref" not in (all_of_it := schemas.get(name, {"$ref": ""})):
            whole = {**all_of_it, **known}
            if "properties" in known:
                properties = {**all_of_it["properties"], **known["properties"]}
                whole = {
                    **all_of_it,
                    "properties": properties,
                    "required": sorted({*all_of_it["required"], *known["properties"]}),
                }
            schemas[name] = {"anyOf": [whole, all_of_it]}
    return document


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("definitions")
    sources = {path.relative_to(CAMARA): path for path in CAMARA.glob("*/*.yaml")}
    sources[Path("API_definitions/downloads-api.yaml")] = ROOT / "docs" / "downloads-api.yaml"
    for name, source in sources.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(in_schema(yaml.load(source)), default=str))  # YAML too
    return folder / "API_definitions"


@pytest.mark.parametrize(
    ("definition", "root", "examples", "reached"),  # so many of each operation in each phase
    [
        ("quality-on-demand", "quality-on-demand/v1", 100, ("AVAILABLE", "EXTENDED", DELETED)),
        ("qos-profiles", "qos-profiles/v1", 40, ()),
        ("downloads-api", "insitu/v1", 80, ("AVAILABLE",)),
    ],
)
def test_schemathesis_finds_no_deviation(
    definition: str, root: str, examples: int, reached: tuple[str, ...], definitions: Path, tmp_path: Path
) -> None:
    engine, changes = Memory(), Counter[str]()
    engine.on_change.append(lambda session, cause: changes.update([cause]))
    with served(northbound(engine)) as port:
        options = ["--url", f"http://127.0.0.1:{port}/{root}", "--seed", str(SEED), "--max-examples", str(examples)]
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CAMARA / "schemathesis.toml")]
            + ["run", str(definitions / f"{definition}.yaml"), "--no-color", "--generation-database", "none", *options],
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": str(CAMARA / "checks.py")},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    missing = set(reached) - {cause for cause, times in changes.items() if times >= 5}
    assert not missing, f"what was made up has hardly got anywhere: {changes}"
