"""Inputs that once crashed, hung or misled a parser: each is refused in words, at once."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mkgen.cli.again import read_record, task_of
from mkgen.codegen.template import Template
from mkgen.errors import ExecutionError, UserError, nearest
from mkgen.evaluate.arrays import load_arrays
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.jobs import told_artifact, told_seconds
from mkgen.evaluate.process import WorkerFailure, WorkerProcess
from mkgen.evaluate.store import parse as parse_record
from mkgen.expression import evaluate, parse, to_c
from mkgen.files import is_inside
from mkgen.foreign import gives_inputs, holds_task
from mkgen.foreign.source import Source
from mkgen.profile import load_profile
from mkgen.reading import json_value, module_tree, read_text, toml
from mkgen.record import Record
from mkgen.share import share_root
from mkgen.task import argument
from mkgen.tune.winners import Winners

PROFILE = share_root("hardware_profiles") / "mi300x.toml"


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "9" * 5000,
        "a = 0x" + "f" * 5000,
        "a = 9223372036854775808",
        "a = " + "[" * 5000,
        "a = " + "[" * 60 + "]" * 60,
        "a = " + "{a=" * 3000,
        ".".join("a" * 16000) + " = 1",
        "[" + ".".join("a" * 400) + "]",
        "x" * (1 << 19),
        "a = 1\na = 2",
        "a = '\0'",
    ],
    ids=["digits", "hex", "65 bits", "open", "nested", "inline", "dotted", "header", "long",
         "twice", "nul"],
)  # fmt: skip
def test_toml_is_bounded(text: str) -> None:
    with pytest.raises(UserError, match="here"):
        toml(text, "here")


def test_toml_reads_what_profiles_need() -> None:
    text = "a.b.c = [1, 2.5, 'x']\n[t.'q u'.v]\nw = {x = 9223372036854775807}\n"
    assert toml(text, "here")["t"]["q u"]["v"] == {"w": {"x": 2**63 - 1}}


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'"\xff"', b"9" * 5000, b"\0{\0}", b'{"a":' * 9999]
)
def test_json_is_bounded(data: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        json_value(data)


def test_text_is_read_of_regular_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"\xe9")
    (tmp_path / "lines").write_bytes(b"a\r\nb\rc")
    for name in ("pipe", "latin", ".", "nosuch", "x" * 300, "nul\0"):
        with pytest.raises(UserError, match="here"):
            read_text(tmp_path / name, "here")
    assert read_text(tmp_path / "lines", "here") == "a\nb\nc"


@pytest.mark.parametrize(
    "text",
    [
        "-" * 1900 + "1",
        "[" + "-" * 1900 + "1]",
        "(" * 900 + "1" + ")" * 900,
        " or ".join("a" * 400),
        "0x" + "f" * 1900,
        "N ** N",
        "1 << 99",
        "N\0",
        "\ud800",
        "9" * 1999,
        "f'{N}'",
    ],
)
def test_expressions_are_bounded(text: str) -> None:
    with pytest.raises(UserError):
        parse(text)


def test_what_an_expression_gives_is_bounded() -> None:
    for text, values in (
        ("N * N", {"N": 2**200}),
        ("N", {"N": 2**300}),
        ("N // M", {"N": 1, "M": 0}),
    ):
        with pytest.raises(UserError):
            evaluate(parse(text), values)
    assert evaluate(parse("min(5) + max(N)"), {"N": 2}) == 7


@pytest.mark.parametrize("function", ["min", "ceil_div"])
def test_what_c_writes_twice_does_not_grow_without_end(function: str) -> None:
    text = "N"
    for _ in range(50):
        text = f"{function}({text}, N)" if function == "min" else f"{function}(N, {text})"
    with pytest.raises(UserError, match="printed"):
        to_c(parse(text))


def test_what_c_cannot_say_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="is_power_of_two"):
        to_c(parse("is_power_of_two(N)"))


@pytest.mark.parametrize(
    "text",
    ["{[]: 1}", "-" * 1500 + "1", "'" * 3000, "\0", "(((1,),),", "1" * 400 + "+1j", "x" * 3000],
)
def test_arguments_are_bounded(text: str) -> None:
    with pytest.raises(UserError):
        argument(text, {})


def test_arguments_mean_what_they_did() -> None:
    assert argument(" ((K, 'é'), [K // 2, -1.5], None, (K + 1)) ", {"K": 6}) == (
        (6, "é"), [3, -1.5], None, 7,
    )  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", b"x = \0", b"x = " + b"-" * 9000 + b"1", b"# coding: nosuch\nx = (", b"(" * 300],
)
def test_a_task_file_that_is_no_python_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.py"
    path.write_bytes(data)
    assert holds_task(path)  # whoever loads it says what is wrong
    with pytest.raises(UserError, match="t.py"):
        gives_inputs(path)


@pytest.mark.parametrize("text", ["nonlocal x", "def f(x, x): pass", "def f():\n x = 1\n global x"])
def test_what_only_the_symbol_table_refuses_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="line"):
        Source(Path("t.py"), text).read_globals()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value = 304", "value = []"),
        ("value = 304", "value = -1"),
        ("value = 304", "value = inf"),
        ("value = 304", "value = nan"),
        ("value = 304", "value = 1" + "0" * 400),
        ('name = "mi300x"', 'name = "../../x"'),
    ],
)
def test_facts_of_a_profile_are_numbers(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(PROFILE.read_text().replace(old, new))
    with pytest.raises(UserError, match="p.toml"):
        load_profile(path)


def test_a_template_cannot_ask_for_an_endless_sweep(tmp_path: Path) -> None:
    text = (share_root("templates") / "c/pointwise.j2").read_text()
    many = "".join(f"P{i} = [1, 2, 3, 4, 5, 6, 7, 8]\n" for i in range(20))
    path = tmp_path / "x.j2"
    path.write_text(text.replace("[parameters]\n", f"[parameters]\n{many}"))
    with pytest.raises(UserError, match="to sweep"):
        Template(path, tmp_path)
    path.write_bytes(b"+++\n\xff\n+++\n")
    with pytest.raises(UserError, match="UTF-8"):
        Template(path, tmp_path)


def test_winners_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xad")
    with pytest.raises(UserError, match="x.json"):
        Winners(tmp_path)


def index(path: Path, *entries: dict[str, Any]) -> None:
    (path / "index.json").write_text(json.dumps(entries))


def test_arrays_do_not_make_the_parent_allocate(tmp_path: Path) -> None:
    (tmp_path / "0.bin").write_bytes(bytes(8))
    one = {"name": "y", "dtype": "float32", "shape": [2], "file": "0.bin"}
    for entry in ({**one, "shape": [1 << 50]}, {**one, "shape": [10**400]}, {**one, "file": ".."}):
        index(tmp_path, entry)
        with pytest.raises(ExecutionError):
            load_arrays(tmp_path)
    index(tmp_path, one, {**one, "name": "z"})
    with pytest.raises(ExecutionError, match="one file"):
        load_arrays(tmp_path)
    (tmp_path / "index.json").write_bytes(b"[" * 100_000)
    with pytest.raises(ExecutionError):
        load_arrays(tmp_path)
    index(tmp_path, one)
    assert load_arrays(tmp_path)["y"].shape == (2,)


def artifact(path: str) -> dict[str, Any]:
    texts = dict.fromkeys(("sha", "compiler", "compiler_sha", "command", "checked"), "")
    return {"arch": "a", "format": "hsaco", "path": path, "resources": {}, "seconds": 0, **texts}


class Unstarted(WorkerProcess):
    def __init__(self) -> None:
        pass

    def kill(self) -> None:
        pass


def test_a_reply_cannot_crash_the_parent() -> None:
    with pytest.raises(WorkerFailure, match="protocol"):
        Unstarted()._judge(b"[" * 100_000, "n", "run")
    half = b'{"nonce":"n","error":{"status":"crashed","message":"\\ud800","log":""}}'
    with pytest.raises(WorkerFailure) as caught:
        Unstarted()._judge(half, "n", "run")
    caught.value.message.encode()  # it will be written to a disk


@pytest.mark.parametrize(
    "told", [None, "12", [1.0, "x"], [float("nan")], [10**400], [True], {"a": 1}]
)
def test_times_are_finite_numbers(told: Any) -> None:
    with pytest.raises(WorkerFailure, match="times"):
        told_seconds(told)
    assert told_seconds([1, 0.5]) == [1.0, 0.5]


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/etc/hostname", "pipe", "nul\0", "..", "no", "x" * 300]
)
def test_an_artifact_is_a_file_in_its_directory(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    told = artifact(str(tmp_path / path))
    with pytest.raises(WorkerFailure, match="no artifact"):
        told_artifact(told, tmp_path, tmp_path, "hip")


def test_cache_entries_of_others_are_removed(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    entry = tmp_path / "compile/ab/cd"
    for text in ("[" * 100_000, json.dumps({"artifact": artifact("/dev/zero"), "isa_sha": ""})):
        entry.mkdir(parents=True)
        (entry / "entry.json").write_text(text)
        assert cache.get("abcd") is None and not entry.exists()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "", "a/../../x", "nul\0", "link/x", "x" * 300]
)
def test_paths_of_a_record_stay_in_the_package(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    assert not is_inside(tmp_path, name) or name == "x" * 300
    assert is_inside(tmp_path, "k.hip") and is_inside(tmp_path, "a/b.c")


def test_the_name_in_a_record_is_no_path(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="UTF-8"):
        read_record(tmp_path)
    made = Record.model_construct(task=str(tmp_path / "pwned"), task_document={"source": "x = 1"})
    with pytest.raises(UserError):
        task_of(made)
    assert not (tmp_path / "pwned.py").exists()
    with pytest.raises(UserError, match="source"):
        task_of(made.model_copy(update={"task_document": {"source": 5}}))


def test_a_long_name_is_compared_in_no_time() -> None:
    assert "Known" in nearest("x" * 1_000_000, ["conv2d", "matmul"])


def test_a_record_in_another_encoding_is_none_and_loads_no_codec() -> None:
    with pytest.raises(ValueError, match="utf-8|Expecting"):
        parse_record('{"task": "x"}'.encode("utf-16-le"))


def test_a_record_with_half_a_character_is_none() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        parse_record(r'{"task": "\ud800"}')


def test_an_integer_that_python_cannot_write_is_no_size(tmp_path: Path) -> None:
    file = tmp_path / "task.py"
    file.write_text(f"def get_inputs():\n    return [0x{'f' * 5000}]\n")
    assert Source.of(file).literals == {}


def test_two_threads_may_parse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython's spurious SystemError ends no evaluation; one that stays is told."""
    parse, failures = ast.parse, iter([True, True, False])

    def spurious(*args: object) -> object:
        if next(failures, True):
            raise SystemError("AST constructor recursion depth mismatch (before=51, after=52)")
        return parse(*args)  # type: ignore[call-overload]

    monkeypatch.setattr(ast, "parse", spurious)
    assert ast.unparse(module_tree("a  =  1")) == "a = 1"
    with pytest.raises(SystemError):
        module_tree("a = 1")
