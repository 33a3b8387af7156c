"""Every way a candidate can end is a record, and the next candidate runs."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from evaluate_support import PROFILE, TASK, FakeBackend, FakeCandidate, install, make_settings

from mkgen.codegen.backend import Arch
from mkgen.codegen.registry import backend_named, backends, broken_backends
from mkgen.errors import UserError
from mkgen.evaluate.cache import CompileCache, Refusal, compile_key
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.outcome import exit_code
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import evaluate
from mkgen.evaluate.wording import describe, headline
from mkgen.record import EvidenceKind, Status
from mkgen.target import Target
from mkgen.task import Tensor


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The fake plug-in, importable here and in workers."""
    place = tmp_path_factory.mktemp("plugin")
    install(place)
    (place / "fake1.toml").write_text(PROFILE)
    here = Path(__file__).parent
    patch = pytest.MonkeyPatch()
    path = [str(here.parent), str(here), str(place), os.environ.get("PYTHONPATH", "")]
    patch.setenv("PYTHONPATH", os.pathsep.join(p for p in path if p))
    patch.setenv("MY_API_KEY", "secret")
    patch.setenv("CUDA_TOKEN", "secret")
    patch.syspath_prepend(str(place))
    arch = Arch("one", "Fake One", 32, str(place / "fake1.toml"))
    patch.setattr(FakeBackend, "archs", {"one": arch})
    yield place
    patch.undo()


@pytest.fixture(scope="module")
def workers(plugin):
    with Workers(resident_bytes=700 << 20) as made:
        yield made


def check(workers, behaviour, **changes):
    return evaluate(FakeCandidate(behaviour), workers, make_settings(**changes))


def test_sanitizers_run_where_asked_for_at_the_fewest_sizes_that_show_all(workers):
    plain = check(workers, "right")
    assert not plain.has(EvidenceKind.SANITIZED) and "sanitizers" not in plain.checks
    record = check(workers, "right", sanitize=True)
    assert record.status is Status.PASS and "sanitizers" in record.checks
    (seen,) = [e for e in record.evidence if e.kind is EvidenceKind.SANITIZED]
    # 33 is the smaller check size, and shows the tail as well
    assert (seen.executor, seen.workloads) == ("fake-sanitizer", ("check1",))
    assert seen.cannot_see == ("what it does not look for",)
    assert check(workers, "right", require=(EvidenceKind.SANITIZED,)).has(EvidenceKind.SANITIZED)


def test_a_finding_ends_a_candidate_whose_numbers_are_right(workers):
    assert check(workers, "race").status is Status.PASS
    record = check(workers, "race", sanitize=True)
    assert record.status is Status.SANITIZER_FINDING
    assert "check1 on fake-sanitizer: k.py line 1: race: two threads" in record.reason
    assert record.has(EvidenceKind.EMULATED) and "sanitizers" not in record.checks


def test_a_foreign_text_is_sanitized_at_every_check_size(workers):
    candidate = FakeCandidate("right", origin="source")
    record = evaluate(candidate, workers, make_settings(sanitize=True))
    (seen,) = [e for e in record.evidence if e.kind is EvidenceKind.SANITIZED]
    assert seen.workloads == ("check1", "check2")


def test_a_right_candidate_passes_with_compiled_and_emulated_evidence(workers):
    record = check(workers, "right")
    assert (record.status, record.reason) == (Status.PASS, "")
    assert [e.kind for e in record.evidence] == [EvidenceKind.COMPILED, EvidenceKind.EMULATED]
    assert record.confinement == workers.confinement.name
    assert record.evidence[1].workloads == ("check1", "check2", "heldout1", "heldout2")
    assert record.evidence[1].executed == f"source {record.text_sha}"
    # two orders on each check size, one on each held-out size
    roles = [result.role for result in record.results]
    assert (roles.count("check"), roles.count("heldout")) == (4, 2)
    # one order for structured inputs and for an axis of one element or none
    assert record.checks == (
        "controls", "check-sizes", "structured offset", "structured tiny", "structured ties",
        "structured denormals", "heldout-sizes", "thin n-1", "thin n-0",
    )  # fmt: skip
    assert roles.count("structured") == 4 and roles.count("thin") == 2
    assert record.seed == 0
    assert record.artifacts[0].resources["kernel"].spilled_registers == 3
    assert exit_code([record]) == 0
    assert exit_code([record], [EvidenceKind.DEVICE]) == 3


ENDS = {
    "abort": (Status.CRASHED, "SIGABRT.*the fake kernel aborts"),
    "exit": (Status.CRASHED, "exit status 0 before it replied"),
    "sys-exit": (Status.CRASHED, "SystemExit"),
    "killed": (Status.CRASHED, "SIGKILL"),
    "wrong": (Status.WRONG_OUTPUT, r"check1 on fake-numpy.*output\[3\]: expected .* allowed"),
    "nan": (Status.WRONG_OUTPUT, r"output\[32\].*got nan"),
    "dtype": (Status.WRONG_OUTPUT, "float64; float32 is expected"),
    "shape": (Status.WRONG_OUTPUT, "shape"),
    "missing": (Status.CRASHED, "no array 'y'"),
    "raise": (Status.CRASHED, "the fake runtime reports a fault"),
    "value-error": (Status.CRASHED, "ValueError: not what was asked"),
    "memory": (Status.OUT_OF_MEMORY, "MiB are allowed"),
    "print": (Status.PASS, ""),
    "reads-stdin": (Status.PASS, ""),
    "random": (Status.NONDETERMINISTIC, "other bits"),
    "second-order": (Status.WRONG_OUTPUT, "order 'reversed'"),
    "heldout": (Status.WRONG_OUTPUT, "heldout1"),
    "unaccepted": (Status.EVIDENCE_MISSING, "the fake does not like it"),
    "two-texts": (Status.EVIDENCE_MISSING, "text for check1 differs"),
    "no-tail": (Status.EVIDENCE_MISSING, "shows a tail"),
    "unsupported": (Status.UNSUPPORTED, "no lowering"),
    "unsupported-small": (Status.EVIDENCE_MISSING, "too small"),
    "threads": (Status.OVER_LIMIT, "2048 threads per block; 1024"),
    "grid": (Status.OVER_LIMIT, "2000 blocks along x"),
    "shared": (Status.OVER_LIMIT, "50000 bytes of shared memory; 49152"),
    "registers": (Status.OVER_LIMIT, "128 registers in 1024 threads"),
    "compile-error": (Status.COMPILE_FAILED, "no such thing"),
    "wrong-arch": (Status.WRONG_ARCH, "code for two"),
    "compile-abort": (Status.CRASHED, "SIGABRT in compile"),
    "compile-bug": (Status.INTERNAL_ERROR, "RuntimeError: surprise"),
    "liar": (Status.INTERNAL_ERROR, "ffffffffffff"),
}


@pytest.mark.parametrize("behaviour", ENDS)
def test_every_end_is_a_record_and_the_next_candidate_runs(workers, behaviour):
    status, reason = ENDS[behaviour]
    record = check(workers, behaviour)
    assert record.status is status, record.reason
    assert re.search(reason, record.reason)
    if status not in (Status.PASS, Status.UNSUPPORTED):
        assert check(workers, "right").status is Status.PASS
    assert headline(record)
    assert describe(record)


def test_after_a_fault_the_next_candidate_has_another_worker(workers):
    """What wrote far beside a buffer, as a guard zone shows, may have hit the worker itself."""
    met = []
    for behaviour in ("right", "right", "raise", "right"):
        with workers.lease(FakeBackend(), "emulate") as lease:
            lease.call("limit", 20, address_space=None)
            met.append(lease._process.group)
        check(workers, behaviour)
    assert met[0] == met[1] == met[2] != met[3]


@pytest.mark.parametrize("behaviour", ["hang", "compile-hang"])
def test_a_hang_is_killed(workers, behaviour):
    record = check(workers, behaviour, run_timeout=1.0, compile_timeout=1.0)
    assert record.status is Status.TIMED_OUT
    assert check(workers, "right").status is Status.PASS


def test_the_compilers_log_is_kept(workers):
    record = check(workers, "compile-error")
    assert record.results[0].message == "a\nlong\nlog"


def test_address_space_limit(plugin):
    with Workers(address_space={"emulate": 3 << 29}) as workers:
        record = check(workers, "memory", run_timeout=100.0)
    assert record.status is Status.OUT_OF_MEMORY
    assert "MemoryError" in record.reason


def test_missing_toolchain(plugin, monkeypatch):
    monkeypatch.setenv("MKGEN_FAKE_MISSING", "1")
    with Workers() as workers:
        record = check(workers, "right")
    assert (record.status, record.reason) == (Status.NO_TOOLCHAIN, "no fakec; install it")
    assert exit_code([record]) == 3


def test_device_evidence_and_timing(workers):
    record = check(workers, "right", device=True, samples=5)
    assert record.status is Status.PASS, record.reason
    kinds = [e.kind for e in record.evidence]
    assert kinds[2:] == [EvidenceKind.DEVICE, EvidenceKind.TIMED]
    assert record.evidence[2].executed == f"artifact {record.artifacts[0].sha}"
    assert "bench" in record.evidence[2].workloads
    assert "median" in describe(record)
    slow = check(workers, "slow-clock", device=True, samples=5)
    assert slow.status is Status.IMPLAUSIBLE
    assert "not credible" in slow.reason


def test_required_evidence_that_is_absent_is_no_pass(workers):
    record = check(workers, "right", require=(EvidenceKind.PROXY,))
    assert record.status is Status.EVIDENCE_MISSING
    assert "no proxy evidence" in record.reason


def test_an_untrusted_candidates_workers_are_its_own(workers, monkeypatch):
    started = []
    start = workers.start

    def counting(lease):
        process = start(lease)
        started.append((lease.role, lease.fresh, process, lease.directory))
        return process

    with workers.lease(FakeBackend(), "emulate") as lease:
        lease.call("limit", 20, address_space=None)
        warm = lease._process.group
    monkeypatch.setattr(workers, "start", counting)
    for _ in range(2):
        record = evaluate(FakeCandidate(origin="source"), workers, make_settings())
        assert record.status is Status.PASS, record.reason
    own = [(role, process, directory) for role, fresh, process, directory in started if fresh]
    assert [role for role, _, _ in own] == ["compile", "emulate"] * 2
    for _, process, directory in own:
        assert not process.alive()
        assert not directory.exists()
    with workers.lease(FakeBackend(), "emulate") as lease:
        lease.call("limit", 20, address_space=None)
        assert lease._process.group == warm


def test_workers_get_no_secrets(workers):
    with workers.lease(FakeBackend(), "emulate") as lease:
        lease.call("limit", 20, address_space=None)
        seen = Path(f"/proc/{lease._process.group}/environ").read_bytes()
    assert b"PYTHONPATH=" in seen
    assert b"secret" not in seen


def test_unknown_arch_names_the_nearest(workers):
    candidate = FakeCandidate(target=Target(backend="fake", arch="onee"))
    with pytest.raises(UserError, match="Did you mean 'one'"):
        evaluate(candidate, workers, make_settings())


def test_bad_task_is_a_record(workers):
    def identity(x):
        return x.clone()

    task = TASK.model_copy(update={"reference": identity, "source": "identity"})
    record = evaluate(FakeCandidate(task=task), workers, make_settings())
    assert record.status is Status.BAD_TASK
    assert "a copy of the input x passes" in record.reason
    assert exit_code([record]) == 2


def test_an_ill_conditioned_task_is_never_a_pass(workers):
    judge = Judge(lambda t, w, i: [(np.full(1, 1e-12), 1.0)])

    def third(x):
        return x / 3

    task = TASK.model_copy(update={"reference": third, "source": "third"})
    record = evaluate(FakeCandidate(task=task), workers, make_settings(judge=judge))
    assert record.status is Status.ILL_CONDITIONED
    assert record.has(EvidenceKind.COMPILED)
    assert exit_code([record]) == 1


def test_a_program_that_does_not_fit_the_task_is_wrong(workers):
    wide = {"x": Tensor("N", dtype="float64")}
    task = TASK.model_copy(update={"inputs": wide, "source": "wide"})
    record = evaluate(FakeCandidate(task=task), workers, make_settings())
    assert record.status is Status.WRONG_OUTPUT
    assert "takes 'x' as float32 (33,)" in record.reason


def test_a_failing_reference_is_a_bad_task(workers):
    def broken(x):
        raise IndexError("oops")

    task = TASK.model_copy(update={"reference": broken, "source": "broken"})
    record = evaluate(FakeCandidate(task=task), workers, make_settings())
    assert record.status is Status.BAD_TASK
    assert "IndexError: oops" in record.reason


def test_compile_cache_is_used_checked_and_neutral_to_names(workers, tmp_path):
    cache = CompileCache(tmp_path)

    def compiled():
        return sum(p.stat().st_size for p in workers.directory.glob("*/own/out/compiled"))

    first = check(workers, "right", cache=cache)
    size = compiled()
    assert size
    again = check(workers, "right", cache=cache)
    assert compiled() == size
    assert again.artifacts == first.artifacts
    Path(first.artifacts[0].path).write_text("poison")
    third = check(workers, "right", cache=cache)
    assert compiled() == size + 1
    assert third.artifacts == first.artifacts
    candidate = FakeCandidate()
    bench, small = (candidate.program(w) for w in TASK.workloads()[:2])
    renamed = bench.model_copy(update={"task": "other", "workload": "w"})
    keys = [compile_key(p, FakeBackend(), "1") for p in (bench, renamed, small)]
    assert keys[0] == keys[1] != keys[2]
    assert compile_key(bench, FakeBackend(), "2") != keys[0]


def test_a_refusal_of_the_compiler_is_cached_and_a_crash_is_not(workers, tmp_path):
    cache = CompileCache(tmp_path)
    first = check(workers, "compile-error", cache=cache)
    kept = list(tmp_path.rglob("*.refused.json"))
    assert len(kept) == 1
    text = kept[0].read_text()
    kept[0].write_text(text.replace("line 3", "line 4"))  # nothing but the cache can say this
    again = check(workers, "compile-error", cache=cache)
    assert (first.status, again.status) == (Status.COMPILE_FAILED, Status.COMPILE_FAILED)
    assert ("line 3" in first.reason, "line 4" in again.reason) == (True, True)
    assert again.results[0].message == first.results[0].message == "a\nlong\nlog"
    kept[0].write_text(text[:20])  # torn: it is asked again
    assert "line 3" in check(workers, "compile-error", cache=cache).reason
    for behaviour in ("compile-abort", "compile-bug"):
        check(workers, behaviour, cache=cache)
    assert list(tmp_path.rglob("*.refused.json")) == kept


@pytest.mark.parametrize(
    ("status", "log", "lasts"),
    [
        (Status.COMPILE_FAILED, "error: no such type", True),
        (Status.WRONG_ARCH, "", True),
        (Status.COMPILE_FAILED, "a.o: No space left on device", False),
        (Status.COMPILE_FAILED, "clang: error: unable to execute: Killed", False),
        (Status.TIMED_OUT, "", False),
        (Status.CRASHED, "", False),
        (Status.OUT_OF_MEMORY, "", False),
    ],
)
def test_only_verdicts_of_compilers_last(tmp_path, status, log, lasts):
    cache = CompileCache(tmp_path)
    refusal = Refusal(status, "refused", log)
    cache.put_refusal("ab" * 32, refusal)
    assert cache.refusal("ab" * 32) == (refusal if lasts else None)
    assert cache.get("ab" * 32) is None


def test_several_threads_share_the_workers(plugin):
    records = []
    with Workers(jobs=2) as workers:
        settings = make_settings()

        def one(behaviour):
            records.append(evaluate(FakeCandidate(behaviour), workers, settings))

        threads = [
            threading.Thread(target=one, args=(b,)) for b in ("right", "abort", "print", "wrong")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(workers._all["fake", "emulate"]) <= 2
    ends = sorted(r.status.value for r in records)
    assert ends == ["crashed", "pass", "pass", "wrong-output"]


def test_an_unstartable_worker_says_why(plugin):
    class Nameless(FakeBackend):
        name = "broken"

    with (
        Workers() as workers,
        workers.lease(Nameless(), "emulate") as lease,
        pytest.raises(WorkerFailure, match="driver too old"),
    ):
        lease.call("limit", 20, address_space=None)


def test_registry_lists_the_broken_with_their_reasons(plugin):
    assert "fake" in backends()
    assert "driver too old" in broken_backends()["broken"]
    assert "not a subclass" in broken_backends()["strange"]
    assert backend_named("fake").title == "Fake"
    with pytest.raises(UserError, match="Did you mean 'fake'"):
        backend_named("fke")
    with pytest.raises(UserError, match="driver too old"):
        backend_named("broken")


def test_exit_code_precedence(workers):
    right, wrong = check(workers, "right"), check(workers, "wrong")
    missing, ours = check(workers, "unaccepted"), check(workers, "compile-bug")
    refused = check(workers, "unsupported")
    assert exit_code([]) == 3
    assert exit_code([right, missing]) == 3
    assert exit_code([right, missing, wrong]) == 1
    assert exit_code([missing, wrong, refused]) == 2
    assert exit_code([missing, wrong, refused, ours]) == 4


def test_wording_of_an_emulated_pass(workers):
    text = describe(check(workers, "right"), device="AMD Instinct")
    first, *rest = text.splitlines()
    assert first == "double -> fake:one    PASS (EMULATED): never run on an AMD Instinct"
    assert rest[0].startswith("compiled  one shared-object ")
    assert rest[0].endswith("fakec 1.0. Not executed.")
    assert "2 check + 2 held-out shapes" in " ".join(text.split())
    assert "device    absent. On an AMD Instinct: mkgen verify DIR --require device" in text
    assert "timed     absent. No speed is claimed." in text
    assert "Not shown: memory ordering, full size, speed." in text
