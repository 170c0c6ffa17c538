"""Writes the plan's JSON schema to docs/plan.schema.json."""

import json
from pathlib import Path

from scenarios import plan

if __name__ == "__main__":
    Path(__file__).with_name("plan.schema.json").write_text(json.dumps(plan.schema(), indent=1, sort_keys=True) + "\n")
