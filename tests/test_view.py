"""What workers see of a machine: tools at their places, and nothing of the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mkgen.evaluate.confine import view
from mkgen.evaluate.confine.view import View, view_of


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home with a checkout on the path, a compiler, and things of the user's own."""
    made = tmp_path / "home"
    for name in ("project/runs", "project/.git", "project/pkg", "rocm/bin", "rocm/lib", "cuda"):
        (made / name).mkdir(parents=True)
    (made / "project/.env").write_text("KEY=1")
    (made / "project/runs/records.jsonl").write_text("")
    compiler = made / "rocm/bin/hipcc"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(view, "_shared", lambda: (str(made),))
    monkeypatch.setenv("PYTHONPATH", f"{made / 'project'}{os.pathsep}{made}")
    monkeypatch.setenv("MKGEN_TOOLCHAIN_HIP", str(compiler))
    return made


def seen(found: View, path: Path) -> bool:
    """Whether the content of `path` is visible: what the last place above it says."""
    above = [m for m in found.mounts if str(path).startswith(m.path + "/") or str(path) == m.path]
    return bool(above) and above[-1].kind in ("read", "write")


def test_tools_are_seen_and_the_users_own_things_are_not(home):
    environment = {"CUDA_HOME": str(home / "cuda"), "HOME": str(home), "XDG_DATA_HOME": str(home)}
    found = view_of(environment, [home / "own"], [], (), [home / "project/runs"])
    for name in ("project/pkg", "rocm/bin/hipcc", "rocm/lib", "cuda"):
        assert seen(found, home / name), name
    for name in ("", "project/.env", "project/.git", "project/runs/records.jsonl", "other"):
        assert not seen(found, home / name), name
    # the home is on PYTHONPATH, and not shown for that
    assert str(home) not in found.of("read")
    assert found.of("write") == [str(home / "own")]


def test_landlock_gets_the_same_without_exceptions(home):
    found = view_of({}, [], [], (), [home / "project/runs"])
    whole, listed = found.allowed()
    assert str(home / "project/pkg") in whole
    assert str(home / "project") in listed
    for name in ("project", "project/runs", "project/.env", "project/.git"):
        assert str(home / name) not in whole


def test_more_places_can_be_named(home, monkeypatch):
    (home / "data").mkdir()
    assert not seen(view_of({}, [], [], (), []), home / "data")
    monkeypatch.setenv(view.READABLE_VARIABLE, str(home / "data"))
    assert seen(view_of({}, [], [], (), []), home / "data")


def test_settings_that_not_everybody_may_read_are_hidden():
    hidden = view_of({}, [], [], (), []).of("mask")
    if Path("/etc/shadow").exists():
        assert "/etc/shadow" in hidden
    assert "/etc/passwd" not in hidden


def test_devices_are_those_that_are_named(tmp_path):
    for name in ("gpu0", "gpu1", "disk"):
        (tmp_path / name).touch()
    found = view_of({}, [], [], (f"{tmp_path}/gpu*",), []).of("device")
    assert str(tmp_path / "gpu1") in found
    assert str(tmp_path / "disk") not in found


def test_what_a_worker_writes_to_stays_so_however_it_is_named(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "log").touch()
    made = view_of({"A_LOG": str(cache / "log")}, [cache], [cache, tmp_path], (), [])
    assert [m.kind for m in made.mounts if m.path.startswith(str(cache))] == ["write"]
