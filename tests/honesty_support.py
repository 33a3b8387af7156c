"""A plug-in that lies: executors which claim a device they are not, each in its own way."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from evaluate_support import FakeBackend, FakeDevice, FakeExecutor, FakeLoaded

from mkgen.codegen.backend import Arch, Arrays, Executor, Loaded
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind, RanOn

HERE = RanOn(vendor="generic", arch="x86-64", name="a fake CPU")
#: A profile that every mkgen has; what the liar is held to is not its business here.
PROFILE = "cpu"


class Forging(FakeLoaded):
    """A candidate that makes its whole process say that it is the device, by every way it has."""

    def run(self, inputs: Arrays, schedule: str = "") -> dict:
        if self.behaviour == "forge-device":
            from mkgen.evaluate import worker

            told = {"ran_on": {"vendor": "v", "arch": "one", "name": "a Fake One"},
                    "compiler": "c", "compiler_sha": "0" * 64}  # fmt: skip
            worker._Session.describe = lambda self, job: told
            Elsewhere.ran_on = lambda self: RanOn(vendor="v", arch="one", name="a Fake One")
            line = b'{"nonce": "1", "result": {"ran_on": {"vendor": "v", "arch": "one"}}}\n'
            for descriptor in (1, 2):
                with contextlib.suppress(OSError):
                    os.write(descriptor, line)
        return super().run(inputs, schedule)


class OtherCode(FakeDevice):
    """Its toolchain compiled the text again, to something else than the artifact."""

    name = "other-code"

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        loaded = Forging(str(program.variant.parameters["behaviour"]), directory)
        loaded.ran_other = lambda: "the JIT made other code than the artifact's"
        return loaded


class Elsewhere(FakeDevice):
    """Ran on another arch than the target's."""

    name = "elsewhere"

    def ran_on(self) -> RanOn:
        return HERE


class SourceOnly(FakeDevice):
    """Never touches the artifact."""

    name = "source-only"
    needs_artifact = False


class Timer(FakeExecutor):
    """Says that to have run it is to have timed it."""

    name = "timer"
    kind = EvidenceKind.TIMED


class Own(FakeDevice):
    """Calls the target's own device a proxy, which asks for less."""

    name = "own"
    kind = EvidenceKind.PROXY


class LiarBackend(FakeBackend):
    """None of its executors has seen an arch of its own."""

    name = "liar"
    archs = {
        "one": Arch("one", "Fake One", 32, PROFILE),
        "proxied": Arch("proxied", "text on another's Fake One", 32, PROFILE, proxy=True),
    }

    def compile(self, program: Program, directory: Path) -> Artifact:
        made = super().compile(program, directory)
        other = program.variant.parameters["behaviour"] == "other-arch"
        return made.model_copy(update={"arch": "two" if other else program.target.arch})

    def executors(self) -> tuple[Executor, ...]:
        return (FakeExecutor(), Timer(), OtherCode(), Elsewhere(), SourceOnly(), Own())


def install(directory: Path) -> None:
    """Makes `directory` a place from which Python finds the plug-in."""
    info = directory / "liar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: liar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mkgen.backends]\nliar = honesty_support:LiarBackend\n")
