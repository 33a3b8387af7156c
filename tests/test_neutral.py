"""The engine's modules that read texts and run workers know vendors by what their plug-ins say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mkgen.codegen.registry import backend_named, backends, libraries, marks
from mkgen.evaluate.process import worker_environment
from mkgen.evaluate.timing.libraries import library_of

ENGINE = Path(__file__).parent.parent / "mkgen"
NEUTRAL = (
    "codegen/torch_module.py", "codegen/torch_timer.py", "codegen/torch_held.py",
    "evaluate/timing/libraries.py", "evaluate/wires_c.py", "evaluate/wires_python.py",
    "evaluate/tripwires.py", "evaluate/process.py",
)  # fmt: skip
VENDORS = re.compile(
    r"cuda|nvidia|cupti|cublas|cudnn|cutlass|\bcub\b|thrust|rocm|rocblas|\bhip|\bamd\b|miopen"
    r"|onednn|dnnl|oneapi|intel",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", NEUTRAL)
def test_it_names_no_vendor(name: str) -> None:
    lines = (ENGINE / name).read_text().splitlines()
    named = [f"{n}: {line}" for n, line in enumerate(lines, 1) if VENDORS.search(line)]
    assert not named


def test_libraries_and_marks_are_those_of_all_plug_ins_once_each() -> None:
    known = libraries()
    assert len(set(known)) == len(known)
    assert set(known) == {x for backend in backends().values() for x in backend.libraries}
    assert {"__global__", "__kernel"} <= set(marks())
    assert all(word == word.lower() for library in known for word in library.words)


@pytest.mark.parametrize(
    ("kernel", "library"),
    [
        ("void cutlass::Kernel2<cutlass_80>", "cuBLAS, CUTLASS"),
        ("Cijk_Ailk_Bljk_SB", "rocBLAS, Tensile, Composable Kernel"),
        ("gen9_gemm", "oneDNN, oneMKL"),
        ("void at::native::reduce", "PyTorch"),
        ("triton_poi_fused", "torch.compile"),
        ("Memset (Device)", "copies"),
        ("softmax_kernel", ""),
    ],
)
def test_a_kernel_is_of_the_library_that_its_name_begins_with(kernel: str, library: str) -> None:
    assert library_of(kernel) == library


def test_a_worker_gets_the_variables_of_its_own_drivers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "XLA_FLAGS", "CUDA_API_KEY"):
        monkeypatch.setenv(name, "1")
    given = {
        name: set(worker_environment({}, tmp_path, tmp_path, backend_named(name).variables))
        for name in ("cuda", "hip", "pallas")
    }
    assert "CUDA_VISIBLE_DEVICES" in given["cuda"] and "HIP_VISIBLE_DEVICES" not in given["cuda"]
    assert {"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"} <= given["hip"], "HIP by a proxy, too"
    assert "XLA_FLAGS" in given["pallas"] and "XLA_FLAGS" not in given["hip"]
    assert not any("CUDA_API_KEY" in names for names in given.values()), "it may be a secret"
    assert not {"XLA_FLAGS", "HIP_VISIBLE_DEVICES"} & set(
        worker_environment({}, tmp_path, tmp_path)
    )
