"""`mkgen doctor`, `tasks`, `targets`, `show`: what there is, and how quickly it is said."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from cli_support import call, environment, install_plugins

from mkgen.cli.doctor import ABILITIES
from mkgen.codegen.registry import backends
from mkgen.profile import profiles
from mkgen.task import task_files


def test_doctor_answers_for_every_backend(capfd, tmp_path, monkeypatch):
    install_plugins(tmp_path, monkeypatch)
    done = call(capfd, "doctor", "--json")
    assert done.code == 0
    found = {b["backend"]: b for b in done.document["backends"]}
    assert found.keys() == backends().keys()
    assert "odd_plugins_that_are_not_there" in done.document["broken"]["unloadable"]
    assert "libdriver.so is too old" in found["rude"]["compile"]["reason"]
    for backend in found.values():
        for what in ABILITIES:
            ability = backend[what]
            if ability["ok"]:
                assert ability["found"], (backend["backend"], what)
            else:
                assert ability["reason"], (backend["backend"], what)
                assert ability["remedy"], (backend["backend"], what)
    assert all(found[b]["generate"]["ok"] for b in ("cuda", "hip", "opencl", "sycl", "triton"))


def test_doctor_in_words(capfd, tmp_path, monkeypatch):
    install_plugins(tmp_path, monkeypatch)
    done = call(capfd, "doctor")
    assert (done.code, done.out) == (0, "")
    assert "unloadable: broken plug-in" in done.err
    for name in backends():
        block = done.err.partition(f"\n{name}: ")[2].partition("\n\n")[0]
        assert all(f"  {what:<9}" in block for what in ABILITIES), name
    assert call(capfd, "doctor", "hip").err.count("generate") == 1
    assert call(capfd, "doctor", "hipp").code == 2


def test_doctor_says_what_holds_workers(capfd, monkeypatch):
    monkeypatch.setenv("MKGEN_CONFINEMENT", "landlock")
    done = call(capfd, "doctor", "hip", "--json")
    assert done.document["confinement"]["layer"] in ("landlock", "")
    said = call(capfd, "doctor", "hip").err
    # where it does not work, doctor says so and what would make it
    assert re.search("confinement: (landlock: an allow-list|none: .*Linux 6.12)", said)


def test_doctor_says_what_was_tried(capfd, monkeypatch):
    monkeypatch.setattr("mkgen_hip.toolchain._rocm_roots", lambda: iter(()))
    monkeypatch.setattr("mkgen_hip.toolchain.zig_binary", lambda: None)
    monkeypatch.setattr("mkgen_hip.toolchain.shutil.which", lambda _: None)
    compile_ = call(capfd, "doctor", "hip", "--json").document["backends"][0]["compile"]
    assert not compile_["ok"]
    assert "ziglang" in compile_["tried"]
    assert compile_["remedy"].startswith("pip install")
    told = call(capfd, "doctor", "hip").err
    assert "compile  no" in told
    assert "looked at: " in told


def test_tasks(capfd):
    listed = call(capfd, "tasks", "--json").document
    assert [t["name"] for t in listed] == list(task_files())
    assert all(t["title"] and t["category"] for t in listed)
    assert "conv2d_bias_relu" in call(capfd, "tasks").err
    one = call(capfd, "tasks", "conv2d", "--json").document
    assert one["bench"]["K"] == 64
    assert "def conv2d(x, weight):" in call(capfd, "tasks", "conv2d").err
    assert call(capfd, "tasks", "cov2d").code == 2


def test_every_task_is_shown(capfd):
    """Scales and shifts may be numbers or expressions over the sizes."""
    for name, path in task_files().items():
        done = call(capfd, "tasks", name)
        assert done.code == 0, f"{name}: {done.err}"
        assert str(path) in done.err
    assert "scale SPREAD, shift -BELOW" in call(capfd, "tasks", "softmax").err


def test_targets(capfd):
    listed = call(capfd, "targets", "--json").document["targets"]
    own = [f"{b.name}:{a}" for b in backends().values() for a in b.archs]
    assert [t["target"] for t in listed] == own
    assert sum(t["default"] == "default" for t in listed) == len(backends())
    assert "hip:gfx942" in call(capfd, "targets").err
    known = profiles()
    planned = [a.profile for b in backends().values() for a in b.archs.values()]
    assert not [name for name in planned if name not in known]


def test_targets_show_names_what_is_not_there(capfd):
    shown = call(capfd, "targets", "show", "--json").document
    # one of each family, so that none is left out
    wanted = ["conv2d.default", "softplus.default", "gru.input", "cumsum.default",
              "scaled_dot_product_attention.default", "grid_sampler.default", "mse_loss.default",
              "permute.default", "index_add.default"]  # fmt: skip
    assert {f"aten.{op}" for op in wanted} <= set(shown["operations"])
    for backend in shown["backends"]:
        strict_only = all(t["precision"] == ["strict"] for t in backend["templates"])
        assert strict_only == ("--precision tf32" in backend["unsupported"])
        assert backend["templates"]
    told = call(capfd, "targets", "show", "hip")
    assert "not supported" in told.err
    assert "c/contraction" in told.err
    assert "triton" not in told.err


@pytest.mark.parametrize(
    ("target", "kind", "dtype", "word", "reason"),
    [
        ("pallas:v5e", "pointwise", "float64", "no", "JAX rounds it to float32"),
        ("pallas:v5e", "pointwise", "int64", "yes*", "JAX holds it in int32"),
        ("opencl:sm_90", "rowwise", "bfloat16", "yes*", "a ushort, computed in float"),
        ("hip:gfx942", "contraction", "float32", "yes", ""),
        ("triton:sm_90", "contraction", "float64", "no", "no template takes it"),
    ],
)
def test_targets_show_has_every_combination(capfd, target, kind, dtype, word, reason):
    (shown,) = call(capfd, "targets", "show", target, "--json").document["backends"]
    assert f"{shown['backend']}:{shown['arch']}" == target
    assert shown["kinds"][kind][dtype] == word
    lines = [line for line in shown["unsupported"] if dtype in line]
    assert any(reason in line for line in lines) if reason else not lines
    assert reason in call(capfd, "targets", "show", target).err


def test_targets_show_an_arch_that_is_not_there(capfd):
    done = call(capfd, "targets", "show", "hip:gfx924")
    assert (done.code, "Did you mean 'gfx942'?" in done.err) == (2, True)


def test_what_targets_show_calls_unsupported_ends_with_2(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for backend, told in [("pallas", "JAX rounds it"), ("hip", "over float64"), ("opencl", "fp64")]:
        done = call(capfd, "gen", "--task", "softmax", "--dtype", "float64", "--backend", backend)
        assert (done.code, told in done.err) == (2, True), done.err
        assert "Use --dtype float32" in done.err
        assert list(tmp_path.iterdir()) == []


def test_show_a_space(capfd):
    arguments = ("show", "--task", "matmul", "--target", "hip:gfx942", "--limit", "3")
    shown = call(capfd, *arguments, "--json").document
    estimates = [s["estimate_seconds"] for s in shown["best"]]
    assert len(estimates) == 3 < shown["legal"]
    assert estimates == sorted(estimates)
    told = call(capfd, *arguments, "--explain")
    assert "compute-bound" in told.err.replace("\n", "")
    assert "nothing was measured" in told.err
    assert call(capfd, "show", "--task", "matmul", "--target", "hip:gfx9").code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["gen", "--help"], ["tasks"], ["doctor"]])
def test_nothing_heavy_is_imported_for_words(tmp_path, arguments):
    text = (
        "import sys\nfrom mkgen.cli.main import run\n"
        f"code = run({arguments!r})\n"
        "assert code == 0, code\n"
        "heavy = {'torch', 'triton', 'jax', 'cupy', 'pyopencl', 'dpctl'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "light = {'numpy', 'pydantic', 'rich', 'jinja2'} & sys.modules.keys()\n"
        f"assert {arguments!r} != ['--help'] or not light, light\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
