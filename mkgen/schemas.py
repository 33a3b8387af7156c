"""JSON Schemas of the documents, for programs that read or write them without mkgen.

`python -m mkgen.schemas DIR` writes them. Task, Program, Record, and of language models Exchange
and Row, are described as mkgen writes them; HardwareProfile, TemplateSpec and Head (of a native
kernel file), which people write as TOML, as mkgen reads them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticOmit, core_schema

from mkgen.codegen.template import TemplateSpec
from mkgen.document import Document
from mkgen.errors import EXIT_INPUT
from mkgen.files import atomic_write
from mkgen.foreign.native import Head
from mkgen.llm.dataset import Row
from mkgen.llm.exchanges import Exchange
from mkgen.profile import HardwareProfile
from mkgen.program import Program
from mkgen.record import Record
from mkgen.task import Task

Mode = Literal["serialization", "validation"]

DOCUMENTS: dict[str, tuple[type[Document], Mode]] = {
    "task": (Task, "serialization"),
    "program": (Program, "serialization"),
    "record": (Record, "serialization"),
    "hardware_profile": (HardwareProfile, "validation"),
    "template_spec": (TemplateSpec, "validation"),
    "native_head": (Head, "validation"),
    "exchange": (Exchange, "serialization"),
    "dataset_row": (Row, "serialization"),
}


class _Generator(GenerateJsonSchema):
    """Leaves out what JSON cannot hold: the reference of a task is Python."""

    def callable_schema(self, schema: core_schema.CallableSchema) -> JsonSchemaValue:
        raise PydanticOmit


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of the document called `name`. KeyError when there is none."""
    model, mode = DOCUMENTS[name]
    schema = model.model_json_schema(mode=mode, schema_generator=_Generator)
    excluded = {key for key, field in model.model_fields.items() if field.exclude}
    for key in excluded:
        schema["properties"].pop(key, None)
    if "required" in schema:
        schema["required"] = [key for key in schema["required"] if key not in excluded]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": model.__name__,
    }


def schema_text(name: str) -> str:
    """The file `NAME.json`; equal documents give equal bytes."""
    return json.dumps(schema_of(name), indent=2, sort_keys=True) + "\n"


def write_schemas(directory: Path) -> list[Path]:
    """Writes one file per document into `directory`; gives their paths."""
    made = []
    for name in DOCUMENTS:
        path = directory / f"{name}.json"
        atomic_write(path, schema_text(name))
        made.append(path)
    return made


def main(arguments: list[str]) -> int:
    """The command `python -m mkgen.schemas DIR`."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m mkgen.schemas DIR\n")
        return EXIT_INPUT
    for path in write_schemas(Path(arguments[0])):
        sys.stderr.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
