"""A backend whose device is numpy and whose clock is a function of the parameters.

What a test changes it says by variables, which reach the workers: FAKE_TOOLCHAIN, FAKE_DEVICE,
FAKE_WRONG (a variant that computes wrongly on the device), FAKE_REFUSED (one that the compiler
refuses), FAKE_SLEEP (seconds that a timing takes), FAKE_LOG (a file with a line per timing).
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from cli_support import ROOT

from mkgen.codegen.backend import Arrays, Executor, Loaded
from mkgen.errors import CompileError
from mkgen.program import Artifact, BufferRole, Program, Resources
from mkgen.record import EvidenceKind, RanOn
from mkgen_hip import HipBackend

DEVICE = "AMD Instinct MI300X"

ONE_KERNEL = '''
"""relu, small enough for a test."""

import torch

from mkgen.task import Task, Tensor


def positive(x):
    return torch.relu(x)


task = Task(
    name="positive",
    category="activation",
    reference=positive,
    inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 256, "COLS": 300},
    check=[{"ROWS": 33, "COLS": 259}, {"ROWS": 5, "COLS": 4099}],
    heldout=[{"ROWS": 101, "COLS": 173}],
)
'''

TWO_KERNELS = '''
"""softmax of a product: two kernels."""

import torch

from mkgen.task import Task, Tensor


def scores(a, b):
    return torch.softmax(a @ b, dim=-1)


task = Task(
    name="scores",
    category="attention",
    reference=scores,
    inputs={"a": Tensor("M, K", scale=0.1), "b": Tensor("K, N")},
    bench={"M": 64, "N": 512, "K": 64},
    check=[{"M": 33, "N": 1027, "K": 77}, {"M": 70, "N": 131, "K": 33}],
    heldout=[{"M": 37, "N": 1029, "K": 65}],
)
'''


def seconds_of(parameters: dict) -> float:
    """What the fake device takes: a bowl over the exponents, its lowest point at odd places."""
    total = 10.0
    for name, value in sorted(parameters.items()):
        number = int(value)
        total += (number.bit_length() - 1 - len(name) % 4) ** 2 * (1 + len(name) / 10)
    return total * 1e-8


class NumpyLoaded(Loaded):
    def __init__(self, program: Program, on_device: bool) -> None:
        self.program = program
        self.on_device = on_device

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        (output,) = self.program.with_role(BufferRole.OUTPUT)
        if self.program.task == "positive":
            result = np.maximum(inputs["x"], 0)
        else:
            product = inputs["a"].astype(np.float64) @ inputs["b"].astype(np.float64)
            result = np.exp(product - product.max(-1, keepdims=True))
            result = (result / result.sum(-1, keepdims=True)).astype(np.float32)
        wrong = os.environ.get("MKGEN_FAKE_WRONG")
        if self.on_device and wrong and wrong in self.program.variant.key:
            result[0, 0] += 1
        return {output.name: result}

    def time(self, inputs: Arrays, samples: int) -> list[float]:
        assert inputs and self.cache_bytes == 256 << 20, self.cache_bytes
        time.sleep(float(os.environ.get("MKGEN_FAKE_SLEEP", "0.002")))
        log = os.environ.get("MKGEN_FAKE_LOG")
        if log:
            with Path(log).open("a") as file:
                file.write(f"{samples} {self.program.variant.key}\n")
        return [seconds_of(self.program.variant.parameters)] * samples


class NumpyEmulator(Executor):
    name = "numpy"
    kind = EvidenceKind.EMULATED
    role = "emulate"
    needs_artifact = False
    cannot_see = ("anything",)

    def accepts(self, program: Program) -> str | None:
        return None

    def ran_on(self) -> RanOn:
        return RanOn(vendor="amd", arch="gfx942", name=os.environ.get("MKGEN_FAKE_DEVICE", DEVICE))

    def compiler(self) -> tuple[str, str]:
        return "fakec 1.0", "0" * 64

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        return NumpyLoaded(program, self.role == "device")


class NumpyDevice(NumpyEmulator):
    name = "numpy-device"
    kind = EvidenceKind.DEVICE
    role = "device"
    needs_artifact = True

    def accepts(self, program: Program) -> str | None:
        return "the fake GPU is unplugged" if os.environ.get("MKGEN_FAKE_ABSENT") else None


class TunableBackend(HipBackend):
    name = "tunable"

    def compiler_identity(self) -> str:
        return os.environ.get("MKGEN_FAKE_TOOLCHAIN", "fakec 1.0")

    def compile(self, program: Program, directory: Path) -> Artifact:
        refused = os.environ.get("MKGEN_FAKE_REFUSED")
        if refused and refused in program.variant.key:
            raise CompileError("fakec does not like it", log="line 1: bad")
        path = directory / "out.bin"
        path.write_text(program.sources[0].text)
        return Artifact(
            arch="gfx942", format="hsaco", path=str(path),
            sha=hashlib.sha256(path.read_bytes()).hexdigest(),
            resources={e.entry: Resources(registers=16) for e in program.launches},
            compiler="fakec 1.0", compiler_sha="0" * 64, command="fakec", checked="it says so",
            seconds=0.0,
        )  # fmt: skip

    def executors(self) -> tuple[Executor, ...]:
        return (NumpyEmulator(), NumpyDevice())


def install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process and its workers find the backend, with a data directory of its own."""
    info = directory / "tunable-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tunable\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mkgen.backends]\ntunable = tune_support:TunableBackend\n"
    )
    monkeypatch.syspath_prepend(str(directory))
    tests = str(Path(__file__).parent)
    path = [str(directory), str(ROOT), str(ROOT / "backends"), tests]
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    monkeypatch.setenv("MKGEN_CACHE", str(directory / "cache"))
    monkeypatch.setenv("MKGEN_WINNERS", str(directory / "data" / "winners"))
    monkeypatch.setenv("MKGEN_TIMING_LOCK", str(directory / "timing.lock"))
    monkeypatch.setenv("MKGEN_FAKE_LOG", str(directory / "cache" / "timings"))
