"""`mkgen gen` and `mkgen verify`: a package whole or not at all, and what is said of it."""

from __future__ import annotations

import json
import os
import signal
from types import SimpleNamespace

import pytest
from cli_support import call, small_packages, write_package

from mkgen.cli.again import candidate_of, task_of
from mkgen.cli.placing import place
from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.errors import UserError
from mkgen.record import Record
from mkgen.target import Target
from mkgen.task import find_task, task_files


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    small_packages(monkeypatch)
    return directory


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MKGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_gen_verify_and_show(capfd, work):
    done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--json")
    assert done.code == 0, done.err
    made = done.document
    package = work / "relu-hip-gfx942"
    assert made["status"] == "pass"
    assert made["target"] == "hip:gfx942"
    assert [e["kind"] for e in made["evidence"]] == ["compiled", "emulated"]
    assert 0 <= made["error"]["max_abs"] <= made["error"]["budget"]
    assert made["parameters"].keys() == {"THREADS", "ITEMS"}
    assert made["legal_choices"] == 12
    assert set(made["files"]) == {
        p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()
    }
    assert (work / made["artifacts"][0]["path"]).is_file()
    assert made["artifacts"][0]["resources"]["relu_kernel"]["registers"] > 0
    assert "never run on an AMD Instinct MI300X" in done.err
    assert "12 legal sets" in done.err
    assert "no speed is claimed" in done.err
    assert [p.name for p in work.iterdir()] == ["relu-hip-gfx942"]

    again = call(capfd, "verify", str(package), "--json")
    assert (again.code, again.document["differences"]) == (0, []), again.err
    assert again.document["text_sha"] == made["text_sha"]
    assert again.document["artifacts"][0]["sha"] == made["artifacts"][0]["sha"]
    wanting = call(capfd, "verify", str(package), "--require", "device")
    assert wanting.code == 3
    assert "no device evidence" in wanting.err
    shown = call(capfd, "show", str(package), "--json")
    assert shown.document["text_sha"] == made["text_sha"]
    assert "check1" in call(capfd, "show", str(package)).err

    source = package / "relu.hip"
    source.write_text(source.read_text().replace("relu_kernel", "another_kernel"))
    changed = call(capfd, "verify", str(package))
    assert (changed.code, "relu.hip: the file is not the text" in changed.err) == (1, True)
    record = json.loads((package / "record.json").read_text())
    record["task_document"]["bench"]["ROWS"] += 1
    (package / "record.json").write_text(json.dumps(record))
    forged = call(capfd, "verify", str(package))
    assert (forged.code, "the record was changed" in forged.err) == (2, True), forged.err

    # regenerating puts a whole package in the place of ours, whatever became of it
    (package / "stray").write_text("old")
    done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--print")
    assert done.code == 0
    assert not (package / "stray").exists()
    assert done.out == source.read_text()
    assert [p.name for p in work.iterdir()] == ["relu-hip-gfx942"]


def test_a_writer_that_fails_leaves_the_old_package(capfd, work, monkeypatch):
    assert call(capfd, "gen", "--task", "relu", "--backend", "hip", "--out", "p").code == 0
    before = (work / "p" / "record.json").read_bytes()

    def half(directory, *rest):
        write_package(directory, *rest)
        raise OSError("disk full")

    small_packages(monkeypatch, half)
    done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--out", "p")
    assert done.code != 0
    assert "disk full" in done.err
    assert (work / "p" / "record.json").read_bytes() == before
    assert [p.name for p in work.iterdir()] == ["p"]


@pytest.mark.parametrize(
    ("task", "shapes", "told"),
    [
        ("matmul", ["a=64,32", "b=31,64"], "K cannot be 31 here and 32 in a"),
        ("matmul", ["a=64"], "2 sizes, not 1"),
        ("matmul", ["a=64,0"], "at least 1"),
        ("matmul", ["a=64,x"], "not a list of integers"),
        ("matmul", ["c=64,64"], "no input 'c'"),
        ("matmul", ["a"], "INPUT=SIZE"),
        ("matmul", ["a=2,2", "a=2,2"], "twice"),
        ("conv2d", ["weight=64,64,5,5", "x=1,64,2,2"], "refuses"),
        ("twice.py", ["x=4", "y=9"], "fixes this dimension to 2 * N, which is 8 for N=4"),
        ("twice.py", ["z=5"], "fixes this dimension to 3"),
    ],
)
def test_shapes_that_contradict_the_task(capfd, work, task, shapes, told):
    (work / "twice.py").write_text(
        "from mkgen.task import Task, Tensor\n"
        "def twice(x, y, z):\n    return x + y[::2] + z.sum()\n"
        'task = Task(name="twice", category="math", reference=twice, bench={"N": 8},\n'
        '    inputs={"x": Tensor("N"), "y": Tensor("2 * N"), "z": Tensor("3")},\n'
        '    check=[{"N": 3}], heldout=[{"N": 5}])\n'
    )
    options = [part for shape in shapes for part in ("--shape", shape)]
    done = call(capfd, "gen", "--task", task, "--backend", "hip", *options)
    assert done.code == 2
    assert told in done.err
    assert list(work.glob("*-hip-*")) == []


def test_a_shape_of_the_users_replaces_bench(capfd, work):
    done = call(
        capfd, "gen", "--task", "sum_reduce", "--target", "opencl:cpu", "--shape", "x=77,1234",
        "--out", "deep/down/here",
    )  # fmt: skip
    assert done.code == 0, done.err
    package = work / "deep/down/here"
    text = next(package.glob("*.cl")).read_text()
    assert "1234" in text
    assert "8192" not in text
    record = Record.model_validate_json((package / "record.json").read_text())
    assert record.task_document["bench"] == {"ROWS": 77, "COLS": 1234}
    again = call(capfd, "verify", str(package), "--json")
    assert (again.code, again.document["differences"]) == (0, []), again.err


def test_required_evidence_that_is_not_there(capfd, work):
    done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--require", "device")
    assert done.code == 3
    assert "no device evidence" in done.err
    assert list(work.iterdir()) == []


def test_place_removes_what_a_killed_process_left(tmp_path):
    spot = tmp_path / "spot"
    spot.mkdir()
    child = os.fork()
    if child == 0:

        def die(directory):
            (directory / "half").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)

        place(spot / "p", die)
    os.waitpid(child, 0)
    assert [p.name.startswith(".p.making-") for p in spot.iterdir()] == [True]

    def write(directory):
        (directory / "record.json").write_text(
            '{"schema_version": 1, "mkgen_version": "0", "task": "t"}'
        )
        return "written"

    assert place(spot / "p", write) == "written"
    assert place(spot / "p", write) == "written"
    assert [p.name for p in spot.iterdir()] == ["p"]
    (spot / "p" / "record.json").unlink()
    (spot / "p" / "notes").write_text("not ours")
    with pytest.raises(UserError, match="would be lost"):
        place(spot / "p", write)
    assert [p.name for p in (spot / "p").iterdir()] == ["notes"]


@pytest.mark.parametrize("name", sorted(task_files()))
def test_a_record_gives_its_task_back_in_order(name):
    """Records are sorted by name; inputs are arguments by position (conv2d's are x, weight)."""
    task = find_task(name)
    document = json.loads(json.dumps(task.model_dump(mode="json"), sort_keys=True))
    record = SimpleNamespace(task=name, task_document=document, task_hash=task.hash)
    again = task_of(record)
    assert list(again.inputs) == list(task.inputs)
    assert list(again.bench) == list(task.bench)
    assert again.check == task.check and again.heldout == task.heldout


def test_a_record_gives_the_same_text_again():
    """Sizes and parameters are printed in the order of the task's and the template's files."""
    task, target = find_task("conv2d"), Target.parse("hip:gfx942")
    made = Generator(task, backend_named("hip"), target)
    program = next(made.candidates()).program(made.workload)
    record = SimpleNamespace(
        task="conv2d", task_hash=task.hash, target=target, precision=program.precision,
        task_document=json.loads(json.dumps(task.model_dump(mode="json"), sort_keys=True)),
        variant=program.variant.model_copy(
            update={"parameters": dict(sorted(program.variant.parameters.items()))}
        ),
    )  # fmt: skip
    generator, candidate = candidate_of(record)
    (again,) = candidate.program(generator.workload).sources
    assert again == program.sources[0]
