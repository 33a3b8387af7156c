"""The Pallas part of a package."""

from __future__ import annotations

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.package.model_file import Code, ModelCall, literal, model_text, wrapped
from mkgen_pallas.archs import find_arch

_BUILD = """#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nothing to build: JAX compiles {name} when it is first called.
set -euo pipefail
"""


def parts(plan: PackagePlan) -> PackageParts:
    """build.sh that builds nothing, and model.py over JAX."""
    name = plan.program.sources[0].name
    tpu = find_arch(plan.program.target.arch).is_tpu
    limits = ["int64 tensors must hold values below 2**31: JAX has int32."]
    if tpu:
        limits.append("model.py takes CPU tensors and copies them to the TPU and back.")
    return PackageParts(
        files={"build.sh": _BUILD.format(name=name), "model.py": model_text(plan, _call(plan))},
        needs=f"{'jax[tpu]' if tpu else 'jax[cuda13]'}, {plan.arch_title}, and PyTorch; nothing is "
        "built.",
        without_device=f"JAX_PLATFORMS=cpu PALLAS_INTERPRET=1 python test_{plan.task}.py",
        limits=tuple(limits),
    )


def _call(plan: PackagePlan) -> ModelCall:
    arch = find_arch(plan.program.target.arch)
    results = tuple(Code(f"torch.{b.dtype}") for b in (*plan.outputs, *plan.states))
    moves = _HOST if arch.is_tpu else _DEVICE
    shared = "" if arch.is_tpu else _SHARED
    device = '"cpu"' if arch.is_tpu else '"cpu" if INTERPRET else "cuda"'
    seen = (
        f'any(d.device_kind == "{arch.device_kind}" for d in jax.devices())'
        if arch.is_tpu
        else 'jax.default_backend() == "gpu"'
    )
    setup = shared + _SETUP.format(
        device=device, seen=seen, kind=arch.device_kind or "GPU", task=plan.task,
        launcher=plan.launcher, results=literal(results, taken=10),
        extra="tpu" if arch.is_tpu else "cuda13",
    ) + moves  # fmt: skip
    return ModelCall(
        summary=f"The kernel is {plan.program.sources[0].name}, compiled by JAX at the first "
        "call. PALLAS_INTERPRET=1 runs it on a CPU, slowly.",
        imports=("import contextlib", "import functools", "import importlib.util", "import os"),
        local_imports=(),
        setup=setup,
        body=_body(plan),
        alignment=False,
    )


_SHARED = """# JAX shares the GPU with PyTorch: it must not take most of its memory at once.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

"""


def _body(plan: PackagePlan) -> str:
    names = [b.name for b in plan.inputs]
    outputs = len(plan.outputs)
    if not plan.states:
        end = ")[0]" if outputs == 1 else ")"
        return wrapped("return _run(", names, end, outer=4)
    changed = "".join(f"{b.name}.copy_(results[{i}])\n" for i, b in enumerate(plan.states, outputs))
    # JAX changes no array: the new state comes after the outputs
    given = "results[0]" if outputs == 1 else f"results[:{outputs}]"
    return wrapped("results = _run(", names, ")", outer=4) + f"{changed}return {given}\n"


_SETUP = '''INTERPRET = os.environ.get("PALLAS_INTERPRET") == "1"
DEVICE = {device}
RESULTS = {results}
"""Dtypes of what the kernel returns: the outputs, then the state that changes."""


def missing() -> str:
    """Why the kernel cannot run here; empty when it can."""
    if importlib.util.find_spec("jax") is None:
        return "jax is not installed; pip install 'jax[{extra}]'"
    if INTERPRET:
        return ""
    # JAX is imported late, so that the lines above can say that it is not here.
    import jax

    try:
        seen = {seen}
    except RuntimeError as error:  # JAX_PLATFORMS names one that does not start
        return f"JAX starts no device: {{error}}"
    if not seen:
        return "JAX sees no {kind}; with PALLAS_INTERPRET=1 the kernel runs on a CPU"
    return ""


@functools.cache
def _kernel():
    reason = missing()
    if reason:
        raise RuntimeError(reason)
    import jax

    from {task} import {launcher}

    return jax.jit({launcher})


def _run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    kernel = _kernel()
    from jax.experimental.pallas import tpu

    with tpu.force_tpu_interpret_mode(True) if INTERPRET else contextlib.nullcontext():
        results = kernel(*(_to_jax(tensor) for tensor in tensors))
    results = results if isinstance(results, tuple) else (results,)
    return tuple(_to_torch(r, dtype) for r, dtype in zip(results, RESULTS, strict=True))


def _narrow(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    if tensor.dtype != torch.int64:
        return tensor
    narrow = tensor.int()
    if not torch.equal(narrow.long(), tensor):
        raise ValueError("int64 values must fit in int32: JAX has no others")
    return narrow

'''

_HOST = """
def _to_jax(tensor: torch.Tensor):
    import jax.numpy as jnp

    host = _narrow(tensor)
    if host.dtype == torch.bfloat16:  # numpy has no such dtype
        return jnp.asarray(host.view(torch.int16).numpy()).view(jnp.bfloat16)
    return jnp.asarray(host.numpy())


def _to_torch(array, dtype: torch.dtype) -> torch.Tensor:
    import numpy as np

    if dtype == torch.bfloat16:
        return torch.from_numpy(np.array(array).view(np.int16)).view(dtype)
    return torch.from_numpy(np.array(array)).to(dtype)
"""

_DEVICE = """
def _to_jax(tensor: torch.Tensor):
    import jax.numpy as jnp

    return jnp.from_dlpack(_narrow(tensor))


def _to_torch(array, dtype: torch.dtype) -> torch.Tensor:
    # A copy: an op may not give away memory that JAX believes it owns.
    copied = torch.from_dlpack(array).to(dtype, copy=True)
    if copied.is_cuda:  # JAX may use the memory again as soon as `array` is gone
        torch.cuda.current_stream(copied.device).synchronize()
    return copied
"""
