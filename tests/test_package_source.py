"""A package's directory as a candidate: as it was made, edited, and beyond repair."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_support import call

from mkgen.cli.again import candidate_for, read_record
from mkgen.document import canonical_json, content_hash
from mkgen.errors import UserError
from mkgen.foreign.package_source import PackageCandidate, package_candidate
from mkgen.record import Record
from mkgen.task import find_task


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """relu for OpenCL, as `mkgen gen` writes it."""
    from mkgen.cli.main import run

    directory = tmp_path_factory.mktemp("package") / "relu"
    assert run(["gen", "--task", "relu", "--backend", "opencl", "--out", str(directory)]) == 0
    return directory


def edited(package: Path, tmp_path: Path, old: str, new: str) -> Path:
    """A copy of the package with `old` replaced in its kernel."""
    directory = tmp_path / "edited"
    shutil.copytree(package, directory)
    file = directory / "relu.cl"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return directory


def candidate(directory: Path) -> PackageCandidate:
    record = read_record(directory)
    return package_candidate(directory, candidate_for(record, find_task("relu"))[1])


def test_a_package_as_it_was_made_is_a_template(package: Path) -> None:
    made = candidate(package)
    assert made.origin == "template"
    workload = made.task.workloads()[1]
    assert made.program(workload) == made.rendered.program(workload)


def test_an_edited_package_is_one_text_at_every_size(package: Path, tmp_path: Path) -> None:
    made = candidate(edited(package, tmp_path, "__kernel", "/* mine */ __kernel"))
    assert made.origin == "package"
    programs = [made.program(w) for w in made.task.workloads()]
    rendered = [made.rendered.program(w) for w in made.task.workloads()]
    assert len({p.text_sha for p in programs}) == 1
    assert programs[0].text_sha != rendered[0].text_sha
    assert [p.constants for p in programs] == [r.constants for r in rendered]
    for mine, fresh in zip(programs, rendered, strict=True):
        assert fresh.sources[0].sizes in mine.sources[0].text
        assert "/* mine */" in mine.sources[0].body


def test_without_its_sizes_a_package_is_refused(package: Path, tmp_path: Path) -> None:
    sizes = candidate(package).sources[0].sizes
    with pytest.raises(UserError, match="the block of sizes is there 0 times"):
        candidate(edited(package, tmp_path, sizes, sizes.replace("define", "define  ")))


def test_eval_of_packages(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = edited(package, tmp_path, "__kernel", "#define fmax(a, b) (a)\n__kernel")
    text = (wrong / "relu.cl").read_text()
    (wrong / "relu.cl").write_text(text.replace("0.0f", "0.5f"))
    done = call(capfd, "eval", "--source", str(package), "--source", str(wrong), "--json",
                "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.code == 1, done.err
    assert [r["status"] for r in done.document] == ["pass", "wrong-output"]
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["origin"] for line in lines] == ["template", "package"]


def test_what_a_package_holds_of_its_task_is_not_run(
    package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "evil"
    shutil.copytree(package, directory)
    record = json.loads((directory / "record.json").read_text())
    record["task_document"]["source"] += f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n"
    (directory / "record.json").write_text(json.dumps(record))
    done = call(capfd, "eval", "--source", str(directory), "--out", str(tmp_path / "run"))
    assert done.code == 2
    assert "not what was sealed" in done.err
    # whoever changes a record can seal it, too: a seal shows accidents
    forged = {key: value for key, value in record.items() if key not in ("sha", "key")}
    forged["task_hash"] = content_hash(canonical_json(record["task_document"]))
    sealed = Record.model_validate(forged).stored()
    (directory / "record.json").write_text(json.dumps(sealed))
    done = call(capfd, "eval", "--source", str(directory), "--out", str(tmp_path / "run"))
    assert done.code == 2
    assert "another text of the task relu" in done.err
    assert not (tmp_path / "ran").exists()
