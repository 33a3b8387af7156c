"""Running the command line in this process or another, and plug-ins that are not whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from mkgen.cli.main import run

ROOT = Path(__file__).parent.parent

#: A backend like HIP with no compiler, one whose probe breaks its promise, one that cannot load.
PLUGIN = """
from mkgen.errors import MissingError
from mkgen_hip import HipBackend

class Toolless(HipBackend):
    name = "toolless"
    def compiler_identity(self):
        raise MissingError("no toolless compiler was found; apt install toolless")
    def compile(self, program, directory):
        raise MissingError("no toolless compiler was found; apt install toolless")

class Rude(HipBackend):
    name = "rude"
    def probe(self):
        raise RuntimeError("libdriver.so is too old")
"""


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self):
        """stdout as the one JSON document it must be."""
        return json.loads(self.out)


def call(capfd, *arguments: str) -> Done:
    """Runs `mkgen ARGUMENTS` in this process; fails the test on a traceback."""
    capfd.readouterr()
    code = run(list(arguments))
    out, err = capfd.readouterr()
    assert "Traceback" not in err + out, err
    return Done(code, out, err)


def environment(tmp_path: Path, **extra: str) -> dict[str, str]:
    """Variables of a process that finds this source tree, with a scratch directory of its own."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    own = [str(ROOT), str(ROOT / "backends"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(p for p in own if p)
    return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(scratch), **extra}


def spawn(tmp_path: Path, *arguments: str, **extra: str) -> subprocess.Popen:
    """Starts `mkgen ARGUMENTS` as a real process in `tmp_path`."""
    return subprocess.Popen(
        [sys.executable, "-m", "mkgen.cli.main", *arguments],
        cwd=tmp_path,
        env=environment(tmp_path, **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def install_plugins(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process and its workers find the plug-ins above."""
    (directory / "odd_plugins.py").write_text(PLUGIN)
    info = directory / "odd_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mkgen.backends]\ntoolless = odd_plugins:Toolless\nrude = odd_plugins:Rude\n"
        "unloadable = odd_plugins_that_are_not_there:Backend\n"
    )
    monkeypatch.syspath_prepend(str(directory))
    own = [str(directory), str(ROOT), str(ROOT / "backends"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in own if p))


def write_package(directory, candidate, program, record, artifact):
    """A package writer with the contract of mkgen.package, as small as can be."""
    names = [source.name for source in program.sources]
    for source in program.sources:
        (directory / source.name).write_text(source.text)
    stored = Path(artifact.path)
    (directory / "build").mkdir()
    (directory / "build" / stored.name).write_bytes(stored.read_bytes())
    names += [f"build/{stored.name}", "record.json"]
    inside = artifact.model_copy(update={"path": f"build/{stored.name}", "isa_path": None})
    update = {"files": tuple(names), "artifacts": (inside,)}
    (directory / "record.json").write_text(record.model_copy(update=update).model_dump_json())
    return tuple(names)


def small_packages(monkeypatch: pytest.MonkeyPatch, write=write_package) -> None:
    """Lets `gen` write by `write`: what it does around the writing is what is tested."""
    module = types.ModuleType("mkgen.package")
    module.write_package = write
    monkeypatch.setitem(sys.modules, "mkgen.package", module)
