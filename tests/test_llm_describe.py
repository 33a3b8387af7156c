"""What texts show of how they work, which cells are in reach, and how archives are drawn."""

from __future__ import annotations

import re
import time
from xml.etree import ElementTree

import pytest
from evolve_support import CPU, OPENCL, ROW_SUM, Schedule
from test_evolve import REACHABLE, entry, folded

from mkgen.codegen.backend import Trait
from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named, backends
from mkgen.errors import UnsupportedError
from mkgen.foreign.native_write import native_text
from mkgen.llm.describe import (
    CELLS,
    WORDS,
    Cell,
    Decomposition,
    Memory,
    Unit,
    code_of,
    describe,
    neighbours,
    reachable,
)
from mkgen.llm.fitness import fitness_of, score
from mkgen.llm.placing import candidate_of
from mkgen.llm.plot import COLUMNS, summary, svg, table_rows
from mkgen.program import Artifact, Resources
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.choose import rank as ranked

#: A word or two that a text of the backend would have for each trait.
SAYS = {
    "cuda": {"shared": ["__shared__ float a[4];"], "fed": ['asm volatile("cp.async.ca 1;");',
             "__pipeline_memcpy_async(a, b, 16);"], "vector": ["float4 v;", "make_uint2(1, 2)"],
             "matrix": ["wmma::fragment<> a;", 'asm("mma.sync.aligned");'],
             "row": ["__shfl_xor_sync(m, v, 1)", "for (int s = N; s > 0; s >>= 1)"],
             "split": ["atomicAdd(y, v);"]},
    "hip": {"shared": ["__shared__ float a[4];"], "fed": ["__builtin_amdgcn_global_load_lds(a)"],
            "vector": ["float2 v;"], "matrix": ["__builtin_amdgcn_mfma_f32_32x32x1f32(a, b, c)"],
            "row": ["__shfl_down(v, 1)"], "split": ["atomicMax(y, v);"]},
    "opencl": {"shared": ["__local float a[4];"], "fed": ["async_work_group_copy(a, b, 4, 0)"],
               "vector": ["vload4(0, x)", "(float4)(0.0f)"],
               "matrix": ["intel_sub_group_f16_f16_matrix_mad_k16(a, b, c)"],
               "row": ["sub_group_reduce_add(v)", "for (int i = 1; i < 8; i *= 2)"],
               "split": ["atomic_add(y, 1)"]},
    "sycl": {"shared": ["sycl::local_accessor<float> a;"], "fed": ["it.async_work_group_copy(a)"],
             "vector": ["sycl::vec<float, 4> v;"], "matrix": ["joint_matrix_mad(g, a, b, c)"],
             "row": ["sycl::reduce_over_group(g, v, sycl::plus<>())"],
             "split": ["sycl::atomic_ref<float> a;"]},
    "triton": {"fed": ["tl.make_block_ptr(x)"], "vector": ["tl.max_contiguous(i, 4)"],
               "matrix": ["tl.dot(a, b)"], "row": ["tl.sum(x, axis=0)"], "tile": ["i[:, None]"],
               "split": ["tl.atomic_add(y, v)"]},
    "pallas": {"shared": ["scratch_shapes=[]"], "fed": ["pltpu.make_async_copy(a, b, s)"],
               "matrix": ["jax.lax.dot_general(a, b)"], "row": ["jnp.sum(x)"],
               "call": ["pl.pallas_call(k)"]},
}  # fmt: skip


@pytest.mark.parametrize("name", SAYS)
def test_the_words_of_a_backend(name):
    backend = backend_named(name)
    assert backend.traits.keys() == SAYS[name].keys()
    for trait, words in SAYS[name].items():
        for word in words:
            code = code_of(f"x = 1\n{word}\n", python=backend.extension == ".py")
            found = {t for t, pattern in backend.traits.items() if re.search(pattern, code)}
            assert trait in found, (word, found)
            assert found <= {trait, "tile"}, (word, found)
    assert set(backend.traits) <= set(Trait.__args__)


def test_every_backend_has_words_and_they_take_linear_time():
    words = ("for (;;", "for(", "for (a;b;c ", "__", "vec ", "float", "[ ", "intel_sub_group_")
    started = time.process_time()
    for backend in backends().values():
        assert {"fed", "matrix", "row"} <= backend.traits.keys()
        for word in words:
            for pattern in backend.traits.values():
                re.findall(pattern, word * 20_000)
    assert time.process_time() - started < 60


def test_comments_and_strings_are_no_code_but_assembler_is():
    c = '/* __shared__ */ a; // float4\n"wmma" \'"\' b; asm volatile ("cp.async" "x"); /* open'
    assert code_of(c, python=False).split() == [
        "a;", "b;", "asm", "volatile", '("cp.async"', '"x");',
    ]  # fmt: skip
    python = '"""tl.dot\n"""\nx = "a # b" # tl.sum\ny = \'\'\'z\'\'\' + 1 # it\'s'
    assert code_of(python, python=True).split() == ["x", "=", "y", "=", "+", "1"]


@pytest.mark.parametrize(
    ("task", "backend", "expected"),
    [
        ("softmax", "hip", "shared/row/scalar"), ("matmul", "cuda", "shared/tile/scalar"),
        ("matmul", "triton", None), ("matmul", "pallas", "shared/tile/matrix"),
        ("relu", "opencl", "registers/element/scalar"), ("mlp", "sycl", "shared/split/scalar"),
        ("softmax", "triton", "registers/row/scalar"), ("relu", "pallas", "registers/tile/scalar"),
    ],
)  # fmt: skip
def test_kernels_of_templates_lie_where_they_should_and_within_reach(task, backend, expected):
    plugin, asked = backend_named(backend), find_task(task)
    target = Target(backend=backend, arch=plugin.default_arch)
    choice = ranked(Generator(asked, plugin, target))[0].candidate
    cell = describe(native_text(choice), choice.program(asked.workloads()[0]), plugin)
    assert cell in reachable(asked, plugin, target)
    assert expected in (None, str(cell))
    if expected is None:
        assert cell.unit is Unit.MATRIX


def test_what_is_out_of_reach():
    hip = backend_named("hip")
    target = Target.parse("hip:gfx942")
    units = {c.unit for c in reachable(find_task("softmax"), hip, target)}
    assert units == {Unit.SCALAR, Unit.VECTOR}, "nothing to contract"
    assert Unit.MATRIX in {c.unit for c in reachable(find_task("matmul"), hip, target)}
    cpu = {c.unit for c in reachable(find_task("matmul"), OPENCL, CPU)}
    assert Unit.MATRIX not in cpu, "a CPU states no such peak"
    how = {c.decomposition for c in reachable(find_task("relu"), hip, target)}
    assert how == {Decomposition.ELEMENT, Decomposition.TILE}, "nothing to combine"
    pallas = backend_named("pallas")
    blocks = reachable(find_task("relu"), pallas, Target.parse("pallas:v5e"))
    assert {c.decomposition for c in blocks} == {Decomposition.TILE}
    for cell in (c for c in REACHABLE if c.decomposition is Decomposition.ELEMENT):
        assert cell.memory is Memory.REGISTERS


def test_cells_and_their_neighbours():
    assert len(CELLS) == len({*CELLS}) == 36
    cell = Cell(Memory.SHARED, Decomposition.ROW, Unit.SCALAR)
    near = neighbours(cell)
    assert len(near) == 2 + 3 + 2 and cell not in near
    assert all(cell in neighbours(other) for other in near)
    assert cell.words == "shared memory, a row per block, scalar arithmetic"
    assert len({*WORDS.values()}) == 10


def program(text: str):
    return candidate_of(text, ROW_SUM, OPENCL, CPU).program(ROW_SUM.workloads()[0])


def artifact(entry_name, **resources):
    return Artifact(
        arch="x", format="opencl-binary", path="", sha="0", compiler="", compiler_sha="",
        command="", checked="", seconds=0, resources={entry_name: Resources(**resources)},
    )  # fmt: skip


def test_the_static_score_orders_and_is_no_time():
    row, split = (
        Schedule(cell=Cell(Memory.SHARED, d, Unit.SCALAR)).text
        for d in (Decomposition.ROW, Decomposition.SPLIT)
    )
    assert score(program(row), None, OPENCL) == 1.0
    moved = (4096 * 1024 + 4096) / (4096 * 1024 + 4096 * 4 * 2 + 4096)
    assert score(program(split), None, OPENCL) == pytest.approx(moved)
    assert score(program(row), artifact("rows", spilled_registers=3), OPENCL) == 0.25
    hip = backend_named("hip")
    made = program(row).model_copy(update={"target": Target.parse("hip:gfx942")})
    plain = score(made, artifact("rows", registers=32, shared_bytes=1024), hip)
    many = score(made, artifact("rows", registers=256, shared_bytes=1024), hip)
    wide = score(made, artifact("rows", registers=32, shared_bytes=65536), hip)
    assert 1.0 >= plain > many > wide
    assert many == pytest.approx(131072 / 256 / 2048) and wide == pytest.approx(64 / 2048)


def test_only_what_was_seen_to_pass_has_a_fitness():
    from test_llm_memory import judged

    text = Schedule(cell=REACHABLE[0]).text
    assert fitness_of(judged(text).record, program(text), OPENCL).kind == "model"
    reported = judged(text, standing="reported").record
    assert fitness_of(reported, program(text), OPENCL) is None


def drawn():
    return folded(
        [
            entry(0, REACHABLE[0], 2e-5, "timed"),
            entry(1, REACHABLE[4], 1e-5, "timed"),
            entry(2, REACHABLE[0], 3e-5, "timed"),
            entry(3, REACHABLE[9], 0.5),
            entry(4, None),
        ]
    )


def test_the_table_tells_empty_from_out_of_reach():
    table = table_rows(drawn())
    assert len(table) == 2 * 3 and all(len(row) == len(COLUMNS) for row in table)
    cells = [cell for row in table for cell in row[2:]]
    assert cells.count("-") == 4 and cells.count("empty") == 17
    assert table[0][:3] == ["scalar", "registers", "20 us (2)"]
    assert "10 us (1)" in cells and "model 0.500 (1)" in cells
    assert summary(drawn()) == [
        "3 of 20 reachable cells after 5 evaluations",
        f"best: 10 us; {REACHABLE[4].words}",
    ]


def test_the_drawing_is_one_file_and_says_the_same():
    text = svg(drawn(), "a <title> & more")
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    told = [t.text for t in root.iter(f"{space}text")]
    assert told.count("empty") == 17 + 1 and told.count("out of reach") == 1  # with the legend
    fills = [r.get("fill") for r in root.iter(f"{space}rect")]
    assert fills.count("url(#hatching)") == 4 + 1
    assert "a <title> & more" in told and "20 us" in told and "2 passed" in told
    assert not re.search(r"href|script|url\(http", text)
    best, last = (fills.count(c) for c in ("#084594", "#deebf7"))
    assert best == 2 and last == 2  # each with the legend's
    assert ElementTree.fromstring(svg(folded([]), "nothing yet")) is not None


def test_a_task_that_cannot_be_lowered_is_refused():
    import torch

    from mkgen.task import Task, Tensor

    odd = Task(
        name="odd", category="math", reference=lambda x: torch.linalg.eigvalsh(x),
        inputs={"x": Tensor("N, N")}, bench={"N": 64}, check=({"N": 3},), heldout=({"N": 5},),
        source="odd",
    )  # fmt: skip
    with pytest.raises(UnsupportedError):
        reachable(odd, OPENCL, CPU)
