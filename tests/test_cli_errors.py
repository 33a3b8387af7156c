"""What users get wrong, and what is missing: a message, an exit code, nothing half-written."""

from __future__ import annotations

import os
import textwrap

import pytest
from cli_support import call, install_plugins, small_packages, spawn

from mkgen.cli import main as main_module

TASK = """
    import torch
    from mkgen.task import Task, Tensor

    def mine(x):
        {body}

    task = Task(
        name="mine", category="math", reference=mine, inputs={{"x": Tensor("N, M")}},
        bench={{"N": 64, "M": 64}}, check=[{{"N": 3, "M": 5}}], heldout=[{{"N": 7, "M": 9}}],
    )
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working directory, which every failure must leave empty but for the user's file."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MKGEN_DEBUG", raising=False)
    small_packages(monkeypatch)
    return work


def task_file(place, body):
    path = place / "mine.py"
    path.write_text(textwrap.dedent(TASK.format(body=body)))
    return path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gen", "--task", "conv2", "--backend", "hip"], "Did you mean 'conv2d'?"),
        (["gen", "--task", "relu", "--backend", "hpi"], "Did you mean 'hip'?"),
        (["gen", "--task", "relu", "--target", "hip:gfx924"], "Did you mean 'gfx942'?"),
        (["gen", "--task", "relu", "--target", "gfx942"], "backend:arch"),
        (["gen", "--task", "relu", "--target", "hip:gfx942@mi30x"], "Did you mean 'mi300x'?"),
        (["gen", "--task", "relu", "--target", "cuda:sm_90a@mi300x"], "no device of cuda"),
        (["gen", "--task", "relu", "--target", "hip:gfx942", "--backend", "hip"], "--target"),
        (["gen", "--task", "relu"], "--backend"),
        (["gen", "--task", "gone.py", "--backend", "hip"], "gone.py: No such file"),
        (["gen", "--task", "relu", "--backend", "hip", "--require", "proof"], "--require"),
        (["gen", "--task", "relu", "--backend", "hip", "--wrong"], "--wrong"),
        (["gne"], "Did you mean 'gen'?"),
        (["eval"], "--all"),
        (["eval", "--task", "conv9*", "--backend", "hip"], "no task matches"),
        (["eval", "--task", "relu", "--backend", "hip", "--junit", "no/dir/x.xml"], "no/dir/x.xml"),
        (["verify", "nowhere"], "nowhere"),
        (["show", "nowhere"], "nowhere"),
        (["show"], "--task"),
    ],
)
def test_wrong_input(capfd, place, arguments, told):
    done = call(capfd, *arguments)
    assert done.code == 2
    assert told in done.err
    assert done.out == ""
    assert list(place.iterdir()) == []


def test_wrong_input_as_json(capfd):
    done = call(capfd, "gen", "--task", "conv2", "--backend", "hip", "--json")
    assert done.code == 2
    assert done.document["failure"]["exit_code"] == 2
    assert "conv2d" in done.document["failure"]["message"]


def test_a_broken_task_file_is_named_with_its_line(capfd, place):
    path = place / "broken.py"
    path.write_text("import torch\n\ndef f(x:\n")
    done = call(capfd, "gen", "--task", "broken.py", "--backend", "hip")
    assert (done.code, "broken.py, line 3" in done.err) == (2, True), done.err
    path.write_text("import torch\n\nraise ValueError('not today')\n")
    done = call(capfd, "gen", "--task", "broken.py", "--backend", "hip")
    assert (done.code, "line 3: ValueError: not today" in done.err) == (2, True), done.err
    path.write_text("x = 1\n")
    done = call(capfd, "gen", "--task", "broken.py", "--backend", "hip")
    assert (done.code, "holds no Task" in done.err) == (2, True), done.err
    assert list(place.glob("*-hip-*")) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('raise KeyError("the weights are not here")', "KeyError"),
        ("return torch.fft.fft(x).real", "fft"),
    ],
)
def test_a_reference_that_raises_or_has_an_op_without_lowering(capfd, place, body, told):
    task_file(place, body)
    done = call(capfd, "gen", "--task", "mine.py", "--backend", "hip")
    assert done.code == 2
    assert told in done.err
    assert "mine.py, line 6" in done.err  # where the user can mend it
    assert "nothing was written" in done.err
    assert [p.name for p in place.iterdir() if p.name != "__pycache__"] == ["mine.py"]


def test_no_compiler(capfd, place, tmp_path, monkeypatch):
    install_plugins(tmp_path, monkeypatch)
    done = call(capfd, "gen", "--task", "relu", "--backend", "toolless", "--json")
    assert done.code == 3
    assert done.document["status"] == "no-toolchain"
    assert "apt install toolless" in done.document["reason"]
    assert "apt install toolless" in done.err
    assert list(place.iterdir()) == []


def test_a_backend_that_cannot_be_loaded(capfd, tmp_path, monkeypatch):
    install_plugins(tmp_path, monkeypatch)
    done = call(capfd, "gen", "--task", "relu", "--backend", "unloadable")
    assert done.code == 2
    assert "odd_plugins_that_are_not_there" in done.err


def test_out_that_cannot_be_written(capfd, place):
    (place / "file").write_text("mine")
    for out, told in [("file", "not a directory"), ("file/below", "not a directory")]:
        done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--out", out)
        assert (done.code, told in done.err) == (2, True), done.err
    done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--out", "/proc/here")
    assert (done.code, "cannot write" in done.err) == (2, True), done.err
    (place / "thesis").mkdir()
    (place / "thesis" / "chapter1.tex").write_text("years")
    done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--out", "thesis")
    assert (done.code, "would be lost" in done.err) == (2, True), done.err
    assert (place / "thesis" / "chapter1.tex").read_text() == "years"
    assert sorted(p.name for p in place.iterdir()) == ["file", "thesis"]


def test_precision_and_dtype_that_no_template_has(capfd, place):
    for arguments, told in [
        (("--precision", "tf32"), "strict only"),
        (("--dtype", "float64"), "no template"),
        (("--dtype", "float46"), "Did you mean 'float64'?"),
        (("--dtype", "int32"), "floating-point"),
    ]:
        done = call(capfd, "gen", "--task", "matmul", "--backend", "hip", *arguments)
        assert (done.code, told in done.err) == (2, True), done.err
    assert list(place.iterdir()) == []


def test_our_own_fault_asks_for_a_report(capfd, tmp_path, monkeypatch):
    def fault(*_):
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(main_module.cli, "main", lambda **_: fault())
    done = call(capfd, "tasks")
    assert done.code == 4
    assert "ZeroDivisionError: surprise" in done.err
    assert "report it" in done.err
    saved = list(tmp_path.glob("mkgen-fault-*.txt"))
    assert len(saved) == 1
    assert "in fault" in saved[0].read_text()
    monkeypatch.setenv("MKGEN_DEBUG", "1")
    assert main_module.run(["tasks"]) == 4
    assert "Traceback" in capfd.readouterr().err


def test_a_real_process_exits_with_the_code_and_no_traceback(tmp_path):
    process = spawn(tmp_path, "gen", "--task", "nonsense", "--backend", "hip", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no task 'nonsense'" in err
    assert "Traceback" not in err
    assert out.startswith("{")
    assert os.listdir(tmp_path / "scratch") == []
