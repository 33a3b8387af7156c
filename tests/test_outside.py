"""A task, an op, a template, a profile and a backend from outside the tree, as the docs show them.

The files and the commands are the code blocks of the docs: they are written to an empty directory
and run there, so that the docs cannot rot. Nothing of the engine is edited.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mkgen.record import EvidenceKind, Record, Status

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def lay_out(page: str, directory: Path) -> list[str]:
    """Writes the files of a page to `directory`; gives its commands."""
    commands: list[str] = []
    for language, name, text in _BLOCK.findall((DOCS / page).read_text()):
        if name:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif language == "console":
            commands += [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    assert commands, f"{page} shows no command"
    return commands


def install(directory: Path) -> None:
    """What `pip install` of the project in `directory` leaves behind: its entry points."""
    project = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
    info = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "".join(f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in e.items()) for g, e in groups)
    )


def run(commands: list[str], directory: Path) -> dict[str, Record]:
    """Runs the commands in one shell; the records of the run they make, by `task target`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MKGEN_")}
    places = [str(directory), str(ROOT), str(ROOT / "backends")]
    environment = kept | {
        "PATH": f"{directory / 'bin'}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": os.pathsep.join(places),
        "MKGEN_CACHE": str(directory / "cache"),
    }
    script = directory / "bin" / "mkgen"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mkgen.cli.main "$@"\n')
    script.chmod(0o755)
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(commands)],
        cwd=directory, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (directory / "run" / "records.jsonl").read_text().splitlines()
    records = [Record.model_validate(json.loads(line)) for line in lines]
    return {f"{r.task} {r.target}": r for r in records}


def check(record: Record) -> Record:
    """A pass with compiled and emulated evidence."""
    assert record.status is Status.PASS, record.reason
    assert record.has(EvidenceKind.COMPILED) and record.has(EvidenceKind.EMULATED)
    assert {r.role for r in record.results} >= {"check", "heldout"}
    return record


def test_task(tmp_path: Path) -> None:
    records = run(lay_out("add-a-task.md", tmp_path), tmp_path)
    assert list(records) == ["attention_scores hip:gfx942"]
    record = check(records["attention_scores hip:gfx942"])
    assert record.variant is not None
    assert record.variant.templates == ("c/contraction", "c/rowwise")


def test_your_own(tmp_path: Path) -> None:
    records = run(lay_out("your-own.md", tmp_path), tmp_path)
    assert list(records) == ["scores cuda:sm_90a", "gate cuda:sm_90a", "softmax hip:gfx942"]
    for record in records.values():
        check(record)
    asked = records["softmax hip:gfx942"].task_document
    assert asked is not None and asked["inputs"]["x"]["dtype"] == "bfloat16"
    assert (asked["bench"]["ROWS"], asked["bench"]["COLS"]) == (33, 1111)
    assert asked["heldout"][-1] == asked["bench"]


def test_op(tmp_path: Path) -> None:
    from mkgen.frontend.lower import TABLE, load_families

    load_families()
    commands = lay_out("add-an-op.md", tmp_path)
    assert "aten.logaddexp.default" in (tmp_path / "logaddexp_task.py").read_text()
    assert "aten.logaddexp.default" not in TABLE, "the docs must show an op that is not there yet"
    records = run(commands, tmp_path)
    assert list(records) == ["logaddexp cuda:sm_90a"]
    check(records["logaddexp cuda:sm_90a"])


def test_template(tmp_path: Path) -> None:
    records = run(lay_out("add-a-template.md", tmp_path), tmp_path)
    assert set(records) == {"embedding hip:gfx942", "embedding opencl:cpu"}
    for record in records.values():
        variant = check(record).variant
        assert variant is not None and variant.templates == ("c/gather",)


def test_profile(tmp_path: Path) -> None:
    records = run(lay_out("hardware_profiles.md", tmp_path), tmp_path)
    (record,) = records.values()
    check(record)
    assert str(record.target) == "hip:gfx90a@mi210"
    assert "1.64 TB/s" in record.estimate_reason


def test_backend(tmp_path: Path) -> None:
    commands = lay_out("add-a-backend.md", tmp_path)
    install(tmp_path)
    records = run(commands, tmp_path)
    assert {r.task for r in records.values()} == {"softmax", "layer_norm", "bias_gelu", "argmax"}
    for record in records.values():
        assert str(check(record).target) == "serial:native"
        assert record.artifacts[0].format == "shared-object"


@pytest.mark.parametrize(
    "page",
    [
        "add-a-task.md",
        "add-an-op.md",
        "add-a-template.md",
        "add-a-backend.md",
        "your-own.md",
        "foreign-kernels.md",
    ],
)
def test_every_file_of_a_page_is_run(page: str) -> None:
    """A block that looks like a file but is not named one would be shown and never tried."""
    for language, name, text in _BLOCK.findall((DOCS / page).read_text()):
        assert name or language == "console", f"{page}: {language} block is not tried: {text[:60]}"


def test_profile_directory_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mkgen.errors import UserError
    from mkgen.profile import profiles

    monkeypatch.setenv("MKGEN_PROFILES", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere does not exist \(MKGEN_PROFILES\)"):
        profiles()


def test_foreign_kernels(tmp_path: Path) -> None:
    """What of the page runs in seconds here; the whole page is `test_every_foreign_kernel`."""
    commands = lay_out("foreign-kernels.md", tmp_path)
    quick = [c for c in commands if "bias_gelu.cl" in c or "relu" in c]
    records = run([*quick], tmp_path)
    assert [record.origin for record in records.values()] == ["source", "package"]
    for record in records.values():
        check(record)


@pytest.mark.long
def test_every_foreign_kernel(tmp_path: Path) -> None:
    records = run(lay_out("foreign-kernels.md", tmp_path), tmp_path)
    assert list(records) == [
        "bias_gelu opencl:cpu", "bias_gelu cuda:sm_90a", "bias_gelu hip:gfx942",
        "bias_gelu sycl:pvc", "bias_gelu triton:sm_90", "softmax pallas:v5e", "norm triton:sm_90",
        "relu opencl:cpu",
    ]  # fmt: skip
    for name, record in records.items():
        assert record.status is Status.PASS, f"{name}: {record.reason}"
        assert record.has(EvidenceKind.EMULATED)
        assert record.has(EvidenceKind.COMPILED) != (record.origin == "module")
