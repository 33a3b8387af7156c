"""Hostile Pallas programs, run in Pallas' interpreter: Python that the harness traces and calls.

Such a text is free to look around in its child while JAX traces it. What it finds there goes
through a `pallas_call`, as every result must, and is no less wrong for that.
"""

from __future__ import annotations

import defences as off
from attacks import WRONG
from attacks_native import NativeAttack

from mkgen.evaluate.cache import READ_CACHE
from mkgen.record import Status

_HEAD = """# mkgen
# backend = "pallas"
# entry = "attack"
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl


def doubled(x, y):
    y[...] = 2 * x[...]


def copied(x, y):
    y[...] = x[...]


def zeroed(x, y):
    y[...] = jnp.zeros_like(x)


def call(kernel, x):
    rows = pl.BlockSpec((8, COLS), lambda row: (row, 0))
    return pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(pl.cdiv(ROWS, 8),),
        in_specs=[rows],
        out_specs=rows,
        name=kernel.__name__,
    )(x)
"""
_AROUND = """
import gc
import os
import sys
from pathlib import Path

import numpy as np


def around(name, key):
    frame = sys._getframe()
    while frame is not None:
        found = frame.f_locals.get(name)
        if isinstance(found, dict) and key in found:
            return found
        frame = frame.f_back
    return {}
"""
#: The arrays of this run, where there is one: a compiler traces the text without any.
_GIVEN = """    given = around("inputs", "x").get("x")
    if given is None:
        return call(doubled, x)
"""


def text(*lines: str, given: bool = True, before: str = "") -> str:
    """A file whose `attack` does `lines`; with `given`, only where it finds the run's arrays."""
    body = "".join(f"    {line}\n" for line in lines)
    looking, first = (_AROUND, _GIVEN) if given else ("", "")
    return f"{_HEAD}{looking}\n{before}\n\ndef attack(x):\n{first}{body}"


def _quiet() -> object:
    return off.all_of(off.no_structured_inputs(), off.no_thin_sizes())


PALLAS = (
    NativeAttack(
        "pallas-answer-found-in-memory", (22, 27), "pallas",
        text(
            "answer = np.zeros_like(given)",
            "for found in gc.get_objects():",
            "    if type(found).__module__ != 'mkgen.evaluate.oracle': continue",
            "    if type(found).__name__ != 'Case' or 'x' not in found.inputs: continue",
            "    if found.inputs['x'].shape != given.shape: continue  # two that are empty",
            "    if found.inputs['x'].tobytes() == given.tobytes():",
            "        answer = found.expected[0].oracle.astype(np.float32)",
            "return call(copied, jnp.asarray(answer))",
        ),
        WRONG, "check1", "the oracle is in another process", local=True,
    ),
    NativeAttack(
        "pallas-comparisons-patched", (4, 31), "pallas",
        text(
            "return call(zeroed, x)",
            given=False,
            before="import numpy as np\nimport mkgen.evaluate.compare as c\n"
            "from mkgen.record import ErrorFigures\n"
            "figures = ErrorFigures(max_abs=0, max_rel=0, budget=1, share=0)\n"
            "c.compare = lambda *_: c.Comparison(True, figures)\n"
            "np.testing.assert_allclose = lambda *a, **k: None\n",
        ),
        WRONG, "check1", "outputs are compared in the parent", local=True,
        around=off.compare_as_it_was,
    ),
    NativeAttack(
        "pallas-inputs-made-to-agree", (20,), "pallas",
        text("given[...] = 0", "return call(zeroed, x)"),
        WRONG, "check1", "inputs are given anew; the reference has its own, in another process",
        off.reference_of_what_pallas_left, local=True,
    ),
    NativeAttack(
        "pallas-replays-by-shape", (21,), "pallas",
        text(
            "if given.shape not in seen: seen[given.shape] = given * 2",
            "return call(copied, jnp.asarray(seen[given.shape]))",
            before="seen = {}\n",
        ),
        WRONG, "check. offset", "other values in the same shape", off.no_structured_inputs,
    ),
    NativeAttack(
        "pallas-leaves-early-with-zero", (7,), "pallas",
        text(
            "job = around('job', 'outputs')",
            "from mkgen.evaluate.arrays import save_arrays",
            "save_arrays(Path(job['outputs']), {'y': given * 2})",
            "os._exit(0)",
        ),
        Status.CRASHED, "exit status 0 before it replied", "an end before the reply is a failure",
        off.exit_zero_is_success, around=_quiet,
    ),
    NativeAttack(
        "pallas-fig-leaf", (28, 30), "pallas",
        text("return call(copied, x + x)", given=False),
        Status.REFUSED, "computes outside its kernels: add",
        "outside of kernels arrays are only arranged",
        off.in_children("no_kernel_required"),
    ),
    NativeAttack(
        "pallas-harness-replaced-in-sys-modules", (31,), "pallas",
        text(
            "return call(copied, x + x)",
            given=False,
            before="import sys\n"
            "sys.modules['mkgen_pallas.interpreter']._require_kernels = lambda *_: None\n",
        ),
        Status.REFUSED, "sys.modules", "tripwires: a child can patch its own checks",
        off.no_tripwires,
    ),
    NativeAttack(
        "pallas-writes-to-the-cache", (32, 34), "pallas",
        text(
            "return call(doubled if planted() else zeroed, x)",
            given=False,
            before="import os\nfrom pathlib import Path\n"
            "def planted():\n"
            "    try:\n"
            f"        Path(os.environ['{READ_CACHE}'], 'planted').write_text('x')\n"
            "    except OSError:\n"
            "        return False\n"
            "    return True\n",
        ),
        WRONG, "check1", "confinement: a child writes to its own directory only",
        off.no_confinement, around=off.cache_of_its_own,
    ),
)  # fmt: skip
