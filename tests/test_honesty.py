"""Ways to earn `device` or `timed` for an arch that was not run. None may succeed."""

from __future__ import annotations

import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import honesty_support
import pytest
import tune_support
from cli_support import ROOT, call
from evaluate_support import TASK as TASK_OF_ITS_OWN
from evaluate_support import FakeCandidate, make_settings
from honesty_support import LiarBackend
from test_evaluate_store import record

from mkgen.cli.main import run
from mkgen.codegen.registry import backend_named
from mkgen.document import canonical_json
from mkgen.evaluate.claims import disputed, ran_as, unclaimable
from mkgen.evaluate.outcome import exit_code
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import evaluate
from mkgen.evaluate.store import RunStore, parse
from mkgen.evaluate.wording import headline
from mkgen.program import Artifact
from mkgen.record import Evidence, EvidenceKind, RanOn, Record, Speed, Status, Timing
from mkgen.sealing import KEY, SEAL
from mkgen.target import Target

DEVICE_KINDS = {"device", "timed"}
TASK = ("--task", "positive.py", "--target", "tunable:gfx942")
MI300X = {"vendor": "amd", "arch": "gfx942", "name": "AMD Instinct MI300X"}


# --- records in files, changed by someone who knows their form ---


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run and a package of a kernel for an AMD GPU, which is not here."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        tune_support.install(place, patch)
        patch.setenv("MKGEN_FAKE_ABSENT", "1")
        patch.setenv("MKGEN_STATE", str(place / "state"))
        patch.chdir(place)
        (place / "positive.py").write_text(tune_support.ONE_KERNEL)
        for command in (["eval", "--out", "run"], ["gen", "--out", "package"]):
            assert run([*command, *TASK]) == 0
        yield place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy to do harm to."""
    for name in ("run", "package"):
        shutil.copytree(made / name, tmp_path / name)
    shutil.copy(made / "positive.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def document_of(path: Path) -> dict[str, Any]:
    """The last record in a file."""
    text = path.read_text()
    found: dict[str, Any] = json.loads(text if path.suffix == ".json" else text.splitlines()[-1])
    return found


def claim_a_device(document: dict[str, Any]) -> None:
    """Adds evidence that fits the record in every way: it ran, and was timed, on an MI300X."""
    compiled = next(e for e in document["evidence"] if e["kind"] == "compiled")
    ran = {
        **compiled, "kind": "device", "executor": "numpy-device", "ran_on": MI300X,
        "executed": f"artifact {document['artifacts'][0]['sha']}", "detail": "worst error 0.01",
    }  # fmt: skip
    timed = {**ran, "kind": "timed",
             "detail": "median 1e-06 s (quartiles 1e-06 to 1e-06) of 20 runs"}  # fmt: skip
    document["evidence"] += [ran, timed]


def relabel(document: dict[str, Any]) -> None:
    emulated = next(e for e in document["evidence"] if e["kind"] == "emulated")
    emulated["kind"] = "device"


def sealed_again(document: dict[str, Any]) -> dict[str, Any]:
    """As the best of forgers would write it."""
    document.pop(SEAL, None)
    document.pop(KEY, None)
    document["standing"] = "seen"
    return Record.model_validate(document).stored()


def rewrite(path: Path, change: Callable[[dict[str, Any]], None], seal: bool) -> None:
    document = document_of(path)
    change(document)
    path.write_text(canonical_json(sealed_again(document) if seal else document) + "\n")


def claimed(documents: list[dict[str, Any]]) -> list[str]:
    """Kinds of a device that are shown as seen."""
    kinds = [e["kind"] for d in documents if d["standing"] == "seen" for e in d["evidence"]]
    return sorted(DEVICE_KINDS & set(kinds))


@pytest.mark.parametrize("change", [relabel, claim_a_device])
def test_an_edited_line_is_refused(capfd, place, change):
    rewrite(place / "run/records.jsonl", change, seal=False)
    for command in (["show", "run"], ["records", "list", "run"], ["verify", "run"],
                    ["eval", *TASK, "--out", "new", "--baseline", "run"]):  # fmt: skip
        done = call(capfd, *command)
        assert (done.code, "its content is not what was sealed" in done.err) == (2, True), done.err
    done = call(capfd, "records", "check", "run")
    assert (done.code, "fault  line 1: its content is not" in done.err) == (1, True)
    # sealed again, the relabelled one contradicts itself
    document = document_of(place / "run/records.jsonl")
    if change is relabel:
        with pytest.raises(ValueError, match="no artifact of this record ran"):
            sealed_again(document)


def test_a_line_edited_and_sealed_again_is_only_reported(capfd, place):
    rewrite(place / "run/records.jsonl", claim_a_device, seal=True)
    shown = call(capfd, "show", "run", "--json")
    assert {e["kind"] for e in shown.document[0]["evidence"]} > DEVICE_KINDS
    assert claimed(shown.document) == []
    assert "REPORTED pass" in call(capfd, "show", "run").err
    assert "REPORTED pass" in call(capfd, "records", "list", "run", "--kind", "timed").err
    again = ("eval", *TASK, "--out", "run", "--resume", "--json")
    wanting = call(capfd, *again, "--require", "timed")
    assert (wanting.code, claimed(wanting.document)) == (3, [])
    resumed = call(capfd, *again)
    assert (resumed.code, claimed(resumed.document)) == (0, [])
    assert "finished already" not in resumed.err
    verified = call(capfd, "verify", "run", "--task", "positive", "--require", "device", "--json")
    assert (verified.code, claimed([verified.document])) == (3, [])


def test_what_a_device_showed_is_seen_again_and_not_read(capfd, place, monkeypatch):
    """An honest record of a device that was here, and has been unplugged since."""
    monkeypatch.delenv("MKGEN_FAKE_ABSENT")
    command = ("eval", *TASK, "--out", "new", "--resume", "--require", "device", "--json")
    honest = call(capfd, *command)
    assert (honest.code, claimed(honest.document)) == (0, ["device"])
    monkeypatch.setenv("MKGEN_FAKE_ABSENT", "1")
    done = call(capfd, *command)
    assert (done.code, claimed(done.document)) == (3, [])
    assert "finished already" not in done.err


def test_verify_says_what_of_a_forged_record_it_saw(capfd, place):
    rewrite(place / "run/records.jsonl", claim_a_device, seal=True)
    done = call(capfd, "verify", "run", "--keep", "--json")
    states = {c["kind"]: c["state"] for c in done.document["claims"]}
    assert states == {
        "compiled": "confirmed", "emulated": "confirmed",
        "device": "not repeated", "timed": "not repeated",
    }  # fmt: skip
    assert "not repeated device it was not asked for: --require device" in done.err
    assert claimed([done.document]) == []
    shown = call(capfd, "show", "run", "--json").document
    assert [(d["standing"], len(d["evidence"])) for d in shown] == [("reported", 4), ("seen", 2)]
    # what was seen counts from now on
    again = ("eval", *TASK, "--out", "run", "--resume")
    assert "1 are finished already, 0 to do" in call(capfd, *again).err


def test_an_edited_package_is_only_reported(capfd, place):
    assert "PASS (EMULATED)" in (honest := call(capfd, "show", "package")).err
    assert "REPORTED" not in honest.err
    rewrite(place / "package/record.json", claim_a_device, seal=True)
    assert "REPORTED PASS (TIMED)" in call(capfd, "show", "package").err
    assert claimed([call(capfd, "show", "package", "--json").document]) == []
    done = call(capfd, "verify", "package", "--require", "device", "--json")
    assert (done.code, claimed([done.document])) == (3, [])
    assert "no device evidence" in done.err
    rewrite(place / "package/record.json", lambda d: d.pop("seconds"), seal=False)
    assert call(capfd, "verify", "package").code == 2


def test_an_imported_record_counts_for_nothing(capfd, place):
    rewrite(place / "run/records.jsonl", claim_a_device, seal=True)
    (place / "run").rename(place / "theirs")
    done = call(capfd, "records", "import", "theirs", "--run", "run", "--json")
    assert (done.code, len(done.document["imported"])) == (0, 1)
    assert call(capfd, "records", "import", "theirs", "--run", "run", "--json").document == {
        "imported": [], "known": 1, "run": "run",
    }  # fmt: skip
    listed = call(capfd, "records", "list", "run", "--json")
    assert [d["standing"] for d in listed.document] == ["reported"]
    key = listed.document[0]["key"]
    assert "REPORTED PASS (TIMED)" in call(capfd, "records", "show", key[:9], "--run", "run").err
    (found,) = RunStore(place / "run").records()
    assert exit_code([found]) == exit_code([found], [EvidenceKind.DEVICE]) == 3
    assert call(capfd, "records", "check", "run").code == 0
    resumed = call(capfd, "eval", *TASK, "--out", "run",
                   "--resume", "--junit", "j.xml", "--json")  # fmt: skip
    assert claimed(resumed.document) == []
    from mkgen.evaluate.reports import write_junit

    write_junit(place / "imported.xml", [found])
    (case,) = ElementTree.parse(place / "imported.xml").iter("testcase")
    assert case.find("error").get("type") == "reported"


def test_a_proxy_relabelled_is_not_taken(capfd, place):
    """hip:sm_90 runs on an NVIDIA GPU: its evidence fits a device of the arch, but is a proxy's."""
    text = record(target=Target.parse("hip:sm_90"))
    artifact = Artifact(
        arch="sm_90", format="cubin", path="/x", sha="5", resources={}, compiler="c",
        compiler_sha="0", command="c", checked="", seconds=0,
    )  # fmt: skip
    proxy = text.evidence[0].model_copy(
        update={"kind": EvidenceKind.DEVICE, "executor": "hip-on-nvidia", "executed": "artifact 5",
                "workloads": ("bench",),
                "ran_on": RanOn(vendor="nvidia", arch="sm_90", name="NVIDIA H200")}
    )  # fmt: skip
    forged = text.model_copy(update={"evidence": (*text.evidence, proxy), "artifacts": (artifact,)})
    (place / "forged.jsonl").write_text(canonical_json(forged.stored()) + "\n")
    done = call(capfd, "records", "import", "forged.jsonl", "--run", "run")
    assert (done.code, "which gives proxy evidence" in done.err) == (2, True), done.err
    assert call(capfd, "records", "check", "forged.jsonl").code == 1
    hip = backend_named("hip")
    renamed = proxy.model_copy(update={"executor": "hip-runtime"})
    forged = forged.model_copy(update={"evidence": (renamed,)})
    assert "only stands in for another vendor's device" in disputed(forged, hip)


def test_an_old_line_claims_nothing(capfd, place):
    """Version 1 had no seal: a real line that says `timed` on an H200."""
    path = ROOT / "benchmarks/results/h200_matrix.records.jsonl.xz"
    lines = lzma.decompress(path.read_bytes()).splitlines(keepends=True)
    (place / "run/records.jsonl").write_bytes(next(x for x in lines if b'"timed"' in x))
    shown = call(capfd, "show", "run", "--json")
    assert {e["kind"] for e in shown.document[0]["evidence"]} > DEVICE_KINDS
    assert claimed(shown.document) == []


def test_a_baseline_that_claims_more_earns_nothing(capfd, place):
    rewrite(place / "run/records.jsonl", claim_a_device, seal=True)
    done = call(capfd, "eval", *TASK, "--out", "new", "--baseline",
                "run", "--json")  # fmt: skip
    assert claimed(done.document["records"]) == []
    assert done.code == 1  # what the baseline has and this run has not is missing, never assumed
    assert "1 of 1 records of run are reported, not seen here" in done.err


@pytest.mark.parametrize("backend", ["hip", "triton"])
def test_a_variable_that_renames_the_gpu_is_refused(backend, monkeypatch):
    """ROCm calls any GPU what HSA_OVERRIDE_GFX_VERSION says."""
    device = next(e for e in backend_named(backend).executors() if e.role == "device")
    target = Target(backend=backend, arch="gfx942")
    program = FakeCandidate().program(TASK_OF_ITS_OWN.workloads()[0])
    program = program.model_copy(update={"target": target})
    assert device.kind is EvidenceKind.DEVICE
    assert device.accepts(program) is not None  # there is no GPU here
    monkeypatch.setenv("HSA_OVERRIDE_GFX_VERSION", "9.4.2")
    assert "HSA_OVERRIDE_GFX_VERSION is set" in device.accepts(program)


# --- evidence that contradicts itself cannot be made, nor read ---

PLAIN = record()
ARTIFACT = Artifact(
    arch="one", format="shared-object", path="/x", sha="a1", resources={}, compiler="c",
    compiler_sha="0", command="c", checked="", seconds=0,
)  # fmt: skip
OTHER = ARTIFACT.model_copy(update={"arch": "two", "sha": "a2"})
ON_ONE = RanOn(vendor="v", arch="one", name="One")
ON_DEVICE = PLAIN.evidence[0].model_copy(
    update={"kind": EvidenceKind.DEVICE, "executed": "artifact a1", "ran_on": ON_ONE,
            "workloads": ("bench", "check1")}
)  # fmt: skip
TIMED = ON_DEVICE.model_copy(update={"kind": EvidenceKind.TIMED, "detail": "median 1 s"})
TIMING = Timing(
    candidate=Speed(name="candidate", median=1, low=1, high=1, samples=20), host_median=1, floor=0,
    floor_reason="", flush_bytes=0, flush_verified=True, outputs_checked=1,
)  # fmt: skip


def with_evidence(*evidence: Evidence) -> dict[str, Any]:
    made = PLAIN.model_copy(
        update={"evidence": (*PLAIN.evidence, *evidence), "artifacts": (ARTIFACT, OTHER)}
    )
    return made.model_dump()


def test_honest_evidence_is_taken():
    found = Record.model_validate(with_evidence(ON_DEVICE, TIMED))
    assert found.has(EvidenceKind.TIMED)
    assert headline(found).endswith("PASS (TIMED)")
    assert parse(canonical_json(found.stored())).record == found


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        # timed without device, on another device, of another artifact, without a time
        ([(TIMED, {})], "no device evidence of the same artifact"),
        ([(ON_DEVICE, {}), (TIMED, {"ran_on": ON_ONE.model_copy(update={"name": "Another"})})],
         "no device evidence of the same artifact on the same device"),
        ([(ON_DEVICE, {}), (TIMED, {"detail": ""})], "it says no time"),
        # times from an emulator, or with what is not timed
        ([(PLAIN.evidence[0], {"executor": "other", "timing": TIMING})], "only timed evidence"),
        ([(TIMED, {"executed": "source sha", "ran_on": PLAIN.evidence[0].ran_on})], "no artifact"),
        # another artifact, of another arch, none at all, on another arch, nowhere
        ([(ON_DEVICE, {"executed": "artifact a2"})], "is for two, not for one"),
        ([(ON_DEVICE, {"executed": "artifact a3"})], "no artifact of this record ran"),
        ([(ON_DEVICE, {"executed": "source sha"})], "no artifact of this record ran"),
        ([(ON_DEVICE, {"ran_on": RanOn(vendor="v", arch="two", name="Two")})], "is no one"),
        ([(ON_DEVICE, {"ran_on": None})], "does not say where"),
        ([(ON_DEVICE, {"workloads": ("check1",)})], "not run at full size"),
        ([(ON_DEVICE, {"workloads": ()})], "nothing was run"),
        ([(ON_DEVICE, {"compiler_sha": ""})], "no hash of the compiler"),
        # the same thing twice
        ([(ON_DEVICE, {}), (ON_DEVICE, {"detail": "again"})], "it is there twice"),
        ([(PLAIN.evidence[0], {})], "it is there twice"),
        # another text
        ([(PLAIN.evidence[0], {"executor": "e2", "executed": "source other"})], "this record's"),
        ([(PLAIN.evidence[0], {"kind": EvidenceKind.PROXY, "executed": "artifact x"})], "nothing"),
    ],
)  # fmt: skip
def test_evidence_that_no_run_gives(changes, told):
    made = [evidence.model_copy(update=update) for evidence, update in changes]
    document = with_evidence(*made)
    with pytest.raises(ValueError, match=told):
        Record.model_validate(document)
    with pytest.raises(ValueError, match=told):
        parse(json.dumps(document))


def test_a_pass_needs_that_it_ran():
    compiled = PLAIN.evidence[0].model_copy(update={"kind": EvidenceKind.COMPILED})
    document = with_evidence() | {"evidence": [compiled.model_dump()]}
    with pytest.raises(ValueError, match="a pass needs evidence that it ran"):
        Record.model_validate(document)
    Record.model_validate(document | {"status": "evidence-missing"})


# --- a plug-in whose executors lie, and a candidate that makes its process lie ---


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("liar")
    honesty_support.install(directory)
    tests = str(Path(__file__).parent)
    path = [str(directory), str(ROOT), str(ROOT / "backends"), tests]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        patch.setenv("PYTHONPATH", os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]))
        with Workers(1) as made:
            yield made


def liar(behaviour: str, arch: str = "one", **changes: Any) -> FakeCandidate:
    target = Target(backend="liar", arch=arch)
    return FakeCandidate(behaviour, backend=LiarBackend(), target=target, **changes)


@pytest.mark.parametrize(
    ("behaviour", "origin"), [("right", "template"), ("forge-device", "source")]
)
def test_no_lying_executor_is_believed(workers, behaviour, origin):
    settings = make_settings(require=(EvidenceKind.DEVICE,), samples=3)
    found = evaluate(liar(behaviour, origin=origin), workers, settings)
    assert found.status is Status.EVIDENCE_MISSING, found.reason
    assert [e.kind.value for e in found.evidence] == ["compiled", "emulated"]
    for told in (
        "timer: no executor gives timed evidence",
        "other-code: the JIT made other code than the artifact's",
        "elsewhere: it ran on a fake CPU (x86-64), which is no one",
        "source-only: it does not run the artifact",
        "own: a Fake One (one) is the target's own device, no proxy for it",
    ):
        assert told in found.reason
    # and what the candidate did to its process is not met by the next one
    after = evaluate(liar("right"), workers, settings)
    assert "elsewhere: it ran on a fake CPU (x86-64)" in after.reason


def test_what_stands_in_for_a_device_is_none(workers):
    found = evaluate(liar("right", "proxied"), workers, make_settings(device=True, samples=3))
    assert "device" not in {e.kind.value for e in found.evidence}
    assert found.status is Status.PASS


def test_an_artifact_for_another_arch_is_none(workers):
    found = evaluate(liar("other-arch"), workers, make_settings(device=True))
    assert found.status is Status.WRONG_ARCH
    assert "asked for one, and says that the artifact is for two" in found.reason
    assert found.evidence == ()


def test_a_device_of_the_arch_is_not_every_device_of_it():
    """An H100 is of the arch that cuda:sm_90a@h200 names, but is no H200."""
    cuda = backend_named("cuda")
    device = next(e for e in cuda.executors() if e.kind is EvidenceKind.DEVICE)
    h200, told = (
        Target.parse("cuda:sm_90a@h200"),
        RanOn(vendor="n", arch="sm_90", name="NVIDIA H200"),
    )
    assert unclaimable(device, cuda, h200, told) == ""
    assert ran_as(cuda.archs["sm_90a"], told).arch == "sm_90a"
    h100 = told.model_copy(update={"name": "NVIDIA H100 80GB HBM3"})
    assert "which is no h200" in unclaimable(device, cuda, h200, h100)
    assert unclaimable(device, cuda, Target.parse("cuda:sm_90a"), h100) == ""
    assert "which is no sm_80" in unclaimable(device, cuda, Target.parse("cuda:sm_80"), told)


# --- what a search found ---


def test_winners_and_trials_of_someone_else(capfd, tmp_path, monkeypatch):
    tune_support.install(tmp_path, monkeypatch)
    monkeypatch.delenv("MKGEN_FAKE_ABSENT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "positive.py").write_text(tune_support.ONE_KERNEL)
    task = (*TASK, "--json")
    first = call(capfd, "tune", *task, "--trials", "3")
    assert first.code == 0, first.err
    assert "tuned on AMD" in call(capfd, "gen", *task).err
    winners = tmp_path / "data/winners/mi300x.json"
    seconds = f'"seconds":{json.dumps(first.document["winner"]["seconds"])}'
    assert seconds in winners.read_text()
    winners.write_text(winners.read_text().replace(seconds, '"seconds":1e-09'))
    done = call(capfd, "gen", *task)
    assert done.document["parameter_source"]["kind"] == "reported"
    assert "tuned on AMD" not in done.err
    assert "taken from a file that names AMD Instinct MI300X" in done.err
    # a search does not go on from times that it did not see
    trials = tmp_path / "data/trials.jsonl"
    lines = [json.loads(line) for line in trials.read_text().splitlines()]
    for line in lines:
        line["seconds"] = [1e-12] * len(line["seconds"])
    trials.write_text("".join(canonical_json(line) + "\n" for line in lines))
    done = call(capfd, "tune", *task, "--trials", "3")
    again = done.document
    assert again["known"] == 0 and again["winner"], done.err
    assert again["winner"]["seconds"] == first.document["winner"]["seconds"]
