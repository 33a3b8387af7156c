"""Loops of nests: what a round sees, what fusion keeps apart, and steps that say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mkgen.expression import Name
from mkgen.frontend.context import apply
from mkgen.ir.fusion import fuse
from mkgen.ir.interpreter import run, run_with_error
from mkgen.ir.nest import Axis, Graph, Load, Loop, Nest, Store, TensorInfo, round_body
from mkgen.program import Buffer, BufferRole, Functional, Launch, Repeat, Simt
from mkgen.task import find_task
from mkgen.tune.choose import rank
from mkgen_pallas.steps import launcher_steps
from mkgen_simt.stepwise import Bytes, Device, StepRunner
from tests.matrix_support import default_target, generator
from tests.test_cuda_toolchain import program

T, B = Name("T"), Name("B")
SIZES = {"T": 5, "B": 3}


def graph(reverse: bool = False, shifted: bool = False) -> Graph:
    """h = h * w + x[t], every h kept in y; `shifted` reads x[t + 1], which no loop may."""
    t, b = Name("t"), Name("b")
    h = Load("float32", "h", (B,), (b,))
    weight = Load("float32", "w", (B,), (b,))
    x = Load("float32", "x", (T, B), (t + 1 if shifted else t, b))
    value = apply("add", apply("mul", h, weight), x, name="state")
    body = Nest("h_next", (Axis("b", B),), Store("h_next", (B,), (b,), value))
    start = Nest("h", (Axis("b", B),), Store("h", (B,), (b,), Load("float32", "h0", (B,), (b,))))
    loop = Loop("rounds", Axis("t", T), (body,), (("h", "h_next"),), (("y", "h_next"),), reverse)
    last = Nest("z", (Axis("b", B),), Store("z", (B,), (b,), h))
    shapes = {"x": (T, B), "w": (B,), "h0": (B,), "h": (B,), "h_next": (B,), "y": (T, B), "z": (B,)}
    roles = {"x": "input", "w": "input", "h0": "input", "y": "output", "z": "output"}
    tensors = {n: TensorInfo(n, "float32", s, roles.get(n, "temporary")) for n, s in shapes.items()}
    return Graph("loop", tensors, [start, loop, last], ("y", "z"), {})


def inputs() -> dict[str, np.ndarray]:
    """Values whose order of rounds matters."""
    rng = np.random.default_rng(5)
    shapes = {"x": (5, 3), "w": (3,), "h0": (3,)}
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


@pytest.mark.parametrize("reverse", [False, True])
def test_rounds_run_in_order_and_the_last_state_outlives_them(reverse: bool) -> None:
    given = inputs()
    h, kept = given["h0"], np.empty((5, 3), np.float32)
    for step in reversed(range(5)) if reverse else range(5):
        h = kept[step] = h * given["w"] + given["x"][step]
    got = run(graph(reverse), SIZES, given)
    np.testing.assert_array_equal(got["y"], kept)
    np.testing.assert_array_equal(got["z"], h)


def test_errors_grow_from_round_to_round() -> None:
    given = inputs() | {"w": np.full(3, 2, np.float32)}
    _, error = run_with_error(graph(), SIZES, given)["y"]
    values, wide = np.zeros(3), given["h0"].astype(np.float64)
    for step in range(5):  # |w| e + |h w| for the product, then the sum's own rounding
        product = wide * 2
        wide = product + given["x"][step]
        values = values * 2 + np.abs(product) + np.abs(wide)
        np.testing.assert_allclose(error[step], values)


def test_a_loop_takes_whole_slices_only() -> None:
    (_, loop, _) = graph(shifted=True).nests
    assert isinstance(loop, Loop)
    with pytest.raises(ValueError, match="t is not the whole first index"):
        round_body(loop)


def test_kernels_of_a_round_see_slices_and_nothing_crosses_the_border() -> None:
    first, inner, last = fuse(graph())
    assert (first.writes(), inner.reads(), inner.writes()) == (
        ("h",), ("h", "w", "x"), ("h_next", "y"),
    )  # fmt: skip
    assert (first.loop, inner.loop, last.loop) == ("", "rounds", "")
    assert (last.reads(), last.writes()) == (("h",), ("z",))
    assert {s.shape for s in inner.stores} == {(B,)}
    assert graph().inside("rounds").tensors["x"].shape == (B,)
    stacked = fuse(graph(), stacks=True)[1]
    assert stacked.writes() == ("h_next",)


def test_a_state_that_only_looks_pointwise_is_not_inlined() -> None:
    """The state before the loop is the first value only; a reader after it sees the last."""
    (last,) = [k for k in fuse(graph()) if k.name == "z"]
    assert last.reads() == ("h",)


def made(task: str, backend: str) -> tuple[Any, Any]:
    """The preferred program of a task at its bench size, and its launcher's text."""
    generated = generator(task, default_target(backend))
    program = rank(generated)[0].candidate.program(generated.workload)
    return program, program.sources[-1].text


def test_the_steps_of_both_directions() -> None:
    program, text = made("bidirectional_gru", "cuda")
    sizes = find_task("bidirectional_gru").bench
    ahead, back = (s for s in program.steps if isinstance(s, Repeat))
    gates, state = sizes["B"] * 3 * sizes["H"], sizes["B"] * sizes["H"]
    assert ahead.count == back.count == sizes["T"]
    assert sorted(ahead.advance.values()) == [state, gates] and not ahead.start
    assert sorted(back.advance.values()) == [-gates, -state]
    assert sorted(back.start.values()) == [(sizes["T"] - 1) * n for n in (state, gates)]
    assert ahead.swaps == (("h", "h_next"),) and back.swaps == (("h_reverse", "h_next_reverse"),)
    assert program.rounds.count(sizes["T"]) == 4 and len(program.rounds) == len(program.launches)
    assert "for (int t = 0; t < T; ++t) {" in text
    assert "for (int t = T - 1; t >= 0; --t) {" in text
    assert ("T > 2", True) in program.requirements


def test_opencl_passes_where_a_slice_begins() -> None:
    program, _ = made("vanilla_rnn", "opencl")
    (loop,) = (s for s in program.steps if isinstance(s, Repeat))
    (launch,) = loop.steps
    assert isinstance(launch, Launch)
    assert set(launch.offsets) == set(loop.advance)
    for name in launch.offsets:
        assert f"const long {name}_first" in program.sources[0].text
        assert f"const cl_long {name}_first = (cl_long)t * (B * H);" in program.sources[1].text


def test_pallas_reads_its_loop_back() -> None:
    program, text = made("vanilla_rnn", "pallas")
    (loop,) = (s for s in program.steps if isinstance(s, Repeat))
    assert loop.stacks == (("y1", "h_next"),)
    launcher = text[text.index("def vanilla_rnn(") :]
    launches = tuple(
        Launch(
            source="", entry=s.entry, args=s.args, reads=s.reads, writes=s.writes,
            configuration=Functional(),
        )
        for s in program.launches
    )  # fmt: skip
    planned = (*launches[:2], loop.model_copy(update={"steps": launches[2:-1]}), launches[-1])
    assert sum(isinstance(s, Repeat) for s in launcher_steps(launcher, planned)) == 1
    for old, new in (
        ("return h_next, h_next", "return h, h_next"),
        ("length=T)", "length=T, reverse=True)"),
        ("h, y1 = jax.lax.scan", "y1, h = jax.lax.scan"),
        ("return h_next, h_next", "return h_next + 1, h_next"),
    ):
        assert old in launcher
        with pytest.raises(ValueError, match="not the planned|may not compute"):
            launcher_steps(launcher.replace(old, new), planned)


class _Memory(Device):
    """Blocks in host memory; a launch copies one float between its two arguments and adds 1."""

    def allocate(self, image: Bytes) -> Any:
        return image.copy()

    def read(self, block: Any) -> Bytes:
        copied: Bytes = block.copy()
        return copied

    def write(self, block: Any, image: Bytes) -> None:
        block[...] = image

    def release(self, block: Any) -> None:
        pass

    def launch(self, launch: Launch, args: list[tuple[Any, int]]) -> Any:
        (source, at), (target, to) = args
        value = source[at : at + 4].view(np.float32) + np.float32(1)
        target[to : to + 4] = value.view(np.uint8)

    def finish(self) -> None:
        pass


@pytest.mark.parametrize(
    ("advance", "start", "want"),
    [(1, {}, [12, 13, 14, np.nan]), (-1, {"out": 2}, [14, 13, 12, np.nan])],
)
def test_a_runner_of_steps_walks_slices_both_ways(
    advance: int, start: Mapping[str, int], want: list[float]
) -> None:
    def launch(source: str, target: str) -> Launch:
        return Launch(
            source="f.cu", entry="copy", args=(source, target), reads=(source,), writes=(target,),
            configuration=Simt(grid=(1, 1, 1), block=(1, 1, 1)),
        )  # fmt: skip

    loop = Repeat(
        count=3, steps=(launch("h", "next"), launch("next", "out")), swaps=(("h", "next"),),
        advance={"out": advance}, start=dict(start),
    )  # fmt: skip
    buffers = (
        Buffer(name="h", dtype="float32", shape=(1,), role=BufferRole.STATE),
        Buffer(name="out", dtype="float32", shape=(4,), role=BufferRole.OUTPUT),
        Buffer(name="next", dtype="float32", shape=(1,), role=BufferRole.TEMPORARY),
    )
    stepped = program("cuda:sm_90").model_copy(update={"buffers": buffers, "steps": (loop,)})
    got = StepRunner(stepped, _Memory()).run({"h": np.array([10], np.float32)})
    np.testing.assert_array_equal(got["out"], np.array(want, np.float32))
