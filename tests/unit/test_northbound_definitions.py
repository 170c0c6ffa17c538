"""Schemathesis, run on CAMARA's definitions and on our own, finds no deviation of the northbound."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engine import ADDRESSES, Memory, northbound, served
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CAMARA = ROOT / "tests" / "camara"
EXAMPLES = 100  # of each operation in each phase
SEED = 1
yaml = YAML(typ="safe", pure=True)

# What there is in the network of `engine`, so that half of what is made up gets as far as to be a session
KNOWN = {
    "SingleIpv4Address": [ADDRESSES[name] for name in ("phone1", "phone2", "bus")],
    "ApplicationServerIpv4Address": [ADDRESSES["central"], ADDRESSES["square-edge"], ADDRESSES["central"] + "/30"],
    "QosProfileName": ["QOS_S", "QOS_L", "VIDEO", "PAST"],
    "Ipv4": [ADDRESSES[name] for name in ("phone1", "phone2", "bus")],
}


def merged(*schemas: dict[str, Any]) -> dict[str, Any]:
    """One object of all properties, which has no others."""
    properties = {name: part for schema in schemas for name, part in schema.get("properties", {}).items()}
    required = [name for schema in schemas for name in schema.get("required", ())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def in_schema(name: str, document: dict[str, Any]) -> dict[str, Any]:
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
    for known, values in KNOWN.items():
        if known in schemas:
            schemas[known] = {"anyOf": [{"type": "string", "enum": values}, schemas[known]]}
    return document


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("definitions")
    sources = {path.relative_to(CAMARA): path for path in CAMARA.glob("*/*.yaml")}
    sources[Path("API_definitions/downloads-api.yaml")] = ROOT / "docs" / "downloads-api.yaml"
    for name, source in sources.items():
        (folder / name).parent.mkdir(exist_ok=True)
        with (folder / name).open("w") as file:
            yaml.dump(in_schema(name.stem, yaml.load(source)), file)
    return folder / "API_definitions"


@pytest.mark.parametrize(
    ("definition", "root"),
    [
        ("quality-on-demand", "quality-on-demand/v1"),
        ("qos-profiles", "qos-profiles/v1"),
        ("downloads-api", "insitu/v1"),
    ],
)
def test_schemathesis_finds_no_deviation(definition: str, root: str, definitions: Path, tmp_path: Path) -> None:
    with served(northbound(Memory())) as port:
        options = ["--url", f"http://127.0.0.1:{port}/{root}", "--seed", str(SEED), "--max-examples", str(EXAMPLES)]
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
