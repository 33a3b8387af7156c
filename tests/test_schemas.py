"""The JSON Schemas say what the documents are, and those in docs/ are the ones of this code."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_evaluate_store import record

from mkgen.codegen.template import templates
from mkgen.profile import profiles
from mkgen.schemas import DOCUMENTS, schema_of, schema_text
from mkgen.share import share_root
from mkgen.task import find_task

DOCS = Path(__file__).parent.parent / "docs/schemas"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_published_schema_is_current(name):
    assert (DOCS / f"{name}.json").read_text() == schema_text(name), "run `make schemas`"


def test_nothing_else_is_published():
    assert {p.stem for p in DOCS.iterdir()} == set(DOCUMENTS)


def test_the_command_writes_them(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkgen.schemas", str(tmp_path / "new")], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    for name in DOCUMENTS:
        assert (tmp_path / "new" / f"{name}.json").read_text() == schema_text(name)
    assert subprocess.run([sys.executable, "-m", "mkgen.schemas"]).returncode == 2


def test_a_task_without_its_reference():
    schema, document = schema_of("task"), find_task("conv2d").model_dump(mode="json")
    assert conforms(document, schema) == []
    assert not {"reference", "path"} & schema["properties"].keys()
    assert conforms({**document, "inputs": {"x": {"shape": 3}}}, schema)


def test_a_record_conforms_and_a_changed_one_does_not():
    schema, document = schema_of("record"), record().model_dump(mode="json")
    assert conforms(document, schema) == []
    assert conforms({**document, "status": "splendid"}, schema)
    assert conforms({**document, "extra": 1}, schema)
    assert conforms({k: v for k, v in document.items() if k != "task_hash"}, schema)
    assert conforms({**document, "seconds": "1"}, schema)


def test_every_profile_and_template_conforms_as_written():
    schema = schema_of("hardware_profile")
    files = sorted(share_root("hardware_profiles").glob("*.toml"))
    assert len(files) >= len(profiles()) > 0
    for path in files:
        assert conforms(tomllib.loads(path.read_text()), schema) == [], path
    schema = schema_of("template_spec")
    assert templates()
    for template in templates():
        front = tomllib.loads(template.path.read_text().split("+++\n")[1])
        assert conforms(front, schema) == [], template.name


def test_every_field_is_explained_or_named_for_itself():
    described = [
        field
        for name in DOCUMENTS
        for field in schema_of(name)["properties"].values()
        if "description" in field
    ]
    assert len(described) > 15  # attribute docstrings reach the schema


def conforms(value, schema, root=None, where="$"):
    """What of `value` the schema does not allow; the part of JSON Schema that ours use."""
    root = root or schema
    known = {"$schema", "$ref", "$defs", "title", "description", "default", "type", "properties",
             "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems",
             "enum", "const", "anyOf", "oneOf", "discriminator", "pattern"}  # fmt: skip
    assert not schema.keys() - known, schema.keys() - known  # else this checker would miss it
    if "$ref" in schema:
        return conforms(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, where)
    for key in ("anyOf", "oneOf"):
        if key in schema and all(conforms(value, s, root, where) for s in schema[key]):
            return [f"{where}: {value!r} is none of the alternatives"]
    if "const" in schema and value != schema["const"]:
        return [f"{where}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is not in {schema['enum']}"]
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
             "integer": int, "number": (int, float)}  # fmt: skip
    wanted = schema.get("type")
    if wanted and not isinstance(value, types[wanted]):
        return [f"{where}: {json.dumps(value)[:80]} is no {wanted}"]
    if wanted in ("integer", "number") and isinstance(value, bool):
        return [f"{where}: a boolean is no {wanted}"]
    found = []
    if isinstance(value, dict):
        found += [f"{where}: {k} is missing" for k in schema.get("required", ()) if k not in value]
        own, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        for key, inner in value.items():
            if key in own:
                found += conforms(inner, own[key], root, f"{where}.{key}")
            elif extra is False:
                found.append(f"{where}: {key} is unknown")
            elif isinstance(extra, dict):
                found += conforms(inner, extra, root, f"{where}.{key}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, inner in enumerate(value):
            found += conforms(inner, schema["items"], root, f"{where}[{number}]")
    return found
