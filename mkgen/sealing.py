"""How a record lies on disk: its version, its key, and a seal over every byte that it means.

The seal finds accidents: a disk's fault, half an edit, a merge. It holds no secret, so that whoever
changes a record on purpose can seal it again; mkgen.evaluate.seen is what knows such a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mkgen.document import canonical_json, content_hash

#: Of the records that this mkgen writes.
SCHEMA_VERSION = 2

KEY, SEAL = "key", "sha"


def sealed(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """`document` of a record with its key and its seal, as it is stored."""
    content = {**document, KEY: key}
    return {**content, SEAL: seal_of(content)}


def seal_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of everything in `document` but its seal."""
    content = {name: value for name, value in document.items() if name != SEAL}
    return content_hash("record", canonical_json(content))


def opened(document: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The fields of a record of any version as this mkgen has them, and the key it was stored with.

    ValueError when the seal is broken or a newer mkgen wrote it. What was not sealed passes.
    """
    fields = dict(document)
    key = fields.pop(KEY, None)
    seal = fields.pop(SEAL, None)
    if seal is not None and seal != seal_of(document):
        raise ValueError(
            "its content is not what was sealed: the record was changed, or is damaged"
        )
    version = fields.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"{version!r} is no schema version")
    if version > SCHEMA_VERSION:
        writer = fields.get("mkgen_version", "of an unknown version")
        raise ValueError(
            f"schema version {version} is newer than this mkgen, which reads 1 to "
            f"{SCHEMA_VERSION}: use mkgen {writer}, which wrote it, or a later one"
        )
    while version < SCHEMA_VERSION:
        fields = _UPGRADES[version](fields)
        version += 1
    return fields, None if key is None else str(key)


def _from_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no seal, and named a device's arch as its driver does.

    Nothing shows that such a line is as it was written: what it says is `reported`.
    """
    target = str(fields.get("target", ""))
    arch = target.partition(":")[2].partition("@")[0]
    upgraded = {**fields, "schema_version": 2, "standing": "reported"}
    if isinstance(fields.get("evidence"), list):
        upgraded["evidence"] = [_named(each, arch) for each in fields["evidence"]]
    return upgraded


def _named(evidence: Any, arch: str) -> Any:
    """`evidence` with a device's arch as targets call it: a driver has no letter behind it."""
    try:
        kind, ran_on = evidence["kind"], evidence["ran_on"]
        told = ran_on["arch"]
    except (KeyError, TypeError):
        return evidence
    is_here = kind in ("device", "timed") and arch[:-1] == told and arch[-1:].isalpha()
    return {**evidence, "ran_on": {**ran_on, "arch": arch}} if is_here else evidence


#: From each version to the next.
_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
