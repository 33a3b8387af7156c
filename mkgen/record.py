"""Records: what was tried, what was seen, by whom; the only truth about a candidate."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, ModelWrapValidatorHandler, model_validator

from mkgen.claims import impossible, key_of
from mkgen.document import Document
from mkgen.program import Artifact, PrecisionClass, Variant
from mkgen.sealing import KEY, SCHEMA_VERSION, SEAL, opened, sealed
from mkgen.target import Target


class EvidenceKind(StrEnum):
    """What kind of thing was seen. Estimates are never evidence."""

    COMPILED = "compiled"
    EMULATED = "emulated"
    """The shipped text ran on a CPU and is right on check and held-out sizes."""
    SANITIZED = "sanitized"
    PROXY = "proxy"
    """Ran on another vendor's GPU."""
    DEVICE = "device"
    """This artifact ran on the named arch."""
    TIMED = "timed"


class RanOn(Document):
    """The machine that executed something."""

    vendor: str
    arch: str
    """As the backend's targets call it, where that is what it is: `sm_90a`, not `sm_90`."""
    name: str


class Speed(Document):
    """Seconds of one thing that was timed, over all its samples."""

    name: str
    """`candidate`, or the baseline: `eager`, `torch.compile`."""
    median: float
    low: float
    high: float
    """Ends of the 95 % confidence interval of the median."""
    samples: int


class Timing(Document):
    """How a candidate was timed, and beside what. Times are of one call at bench sizes."""

    candidate: Speed
    host_median: float
    """Seconds by the host's clock, device idle before and after: never less than the device's."""
    baselines: tuple[Speed, ...] = ()
    """Interleaved with the candidate (ABBA), each in a process of its own."""
    floor: float
    """Seconds that no kernel can beat on this device: bytes over bandwidth, or operations over
    the peak rate, whichever is larger."""
    floor_reason: str
    flush_bytes: int
    """Written before each sample."""
    flush_verified: bool
    """Whether a bandwidth probe saw that the flush evicts: reads after it are no faster than from
    memory."""
    outputs_checked: int
    """Timed calls, chosen at random, whose outputs were compared with the oracle."""
    kernels: tuple[str, ...] = ()
    """Kernels that a profiler saw launched; empty where there is none."""
    clock_mhz: tuple[int, int] | None = None
    """Lowest and highest clock of the device during the samples, where the driver tells."""


class Evidence(Document):
    """One thing that was seen of (text hash, parameters, variant), by which executor."""

    kind: EvidenceKind
    executor: str
    """`simt-host`, `triton-interpreter`, `dpctl-cpu`; for `compiled` the compiler."""
    executed: str
    """What ran: `source SHA` or `artifact SHA`; empty for `compiled`."""
    compiler: str
    compiler_sha: str
    ran_on: RanOn | None
    workloads: tuple[str, ...]
    cannot_see: tuple[str, ...]
    detail: str = ""
    """One line for people: worst error, wave width, thread orders."""
    timing: Timing | None = None
    """Of `timed` evidence."""


class Status(StrEnum):
    """How one candidate ended: `pass`, or the one thing that went wrong."""

    PASS = "pass"
    WRONG_OUTPUT = "wrong-output"
    NONDETERMINISTIC = "nondeterministic"
    COMPILE_FAILED = "compile-failed"
    WRONG_ARCH = "wrong-arch"
    OVER_LIMIT = "over-limit"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    INPUT_CHANGED = "input-changed"
    """It wrote to an array that it may only read."""
    SANITIZER_FINDING = "sanitizer-finding"
    """The numbers may be right; a sanitizer saw a race, a wild access or an unwritten value."""
    IMPLAUSIBLE = "implausible"
    """Its times contradict another clock, or the device's physical limits."""
    REFUSED = "refused"
    """Not a kernel of its own: calls a library's, falls back on the reference, hides code."""
    NO_KERNEL = "no-kernel"
    """A model's answer held no kernel in the form that was asked for; see `reason`."""
    UNSUPPORTED = "unsupported"
    NO_TOOLCHAIN = "no-toolchain"
    EVIDENCE_MISSING = "evidence-missing"
    """The run ended well, but a required kind of evidence could not be given; see `reason`."""
    ILL_CONDITIONED = "ill-conditioned"
    BAD_TASK = "bad-task"
    INTERNAL_ERROR = "internal-error"


class ErrorFigures(Document):
    """The worst element over all workloads, by its share of the budget."""

    max_abs: float
    max_rel: float
    budget: float
    """What was allowed at the worst element, absolute."""
    share: float
    """Largest error / budget over all elements; at most 1 for a pass."""


class WorkloadResult(Document):
    """What one executor saw on one workload."""

    workload: str
    role: str
    executor: str
    schedule: str
    """Order in which the executor ran the threads; empty when it has one only."""
    status: Status
    error: ErrorFigures | None = None
    message: str = ""
    seconds: float


class ParameterSource(Document):
    """Where the parameters of a candidate came from."""

    kind: Literal["model", "tuned", "stale", "reported"]
    """stale: tuned for something else than what is here, so that the time below need not hold;
    reported: from a file that no search of this user's wrote as it is."""
    device: str = ""
    """What the driver calls the device they were measured on."""
    seconds: float | None = None
    """Median on that device when they were tuned."""
    samples: int = 0
    sizes: dict[str, int] = {}
    """Those they were tuned at, where they are not this record's own."""
    reason: str = ""
    """Why they are stale: `another toolchain`."""


class Generation(Document):
    """How a language model came to write a text."""

    provider: str
    """The endpoint's host or the command; never a key."""
    model: str
    prompt_sha: str
    """Of the last prompt. The exchange is kept beside the records of the run."""
    prompts_version: str
    """Hash of the templates that prompts are made by."""
    strategy: str
    form: str
    exemplar: str = ""
    """The task whose kernel was shown; empty where none was."""
    exemplar_sha: str = ""
    sample: int = 0
    round: int = 0
    """0: the first answer; n: the n-th that had feedback."""
    answer_sha: str = ""
    """Of the reply as it came."""
    parent: str = ""
    """Key of the record whose text it was to change; empty where there is none."""


def _and_seal(schema: dict[str, Any]) -> None:
    """What a stored record holds besides its fields."""
    told = {
        KEY: "Hash of all that decides what it means.",
        SEAL: "SHA-256 of the rest as it was stored.",
    }
    for name, text in told.items():
        schema["properties"][name] = {"description": text, "type": "string"}


class Record(Document):
    """One candidate and everything seen of it; what cannot be true of any run is refused."""

    model_config = ConfigDict(json_schema_extra=_and_seal)

    schema_version: int = SCHEMA_VERSION
    task: str
    task_hash: str
    target: Target
    precision: PrecisionClass
    status: Status
    reason: str = ""
    """Why it is not a pass, in one line that names cause and remedy."""
    evidence: tuple[Evidence, ...]
    results: tuple[WorkloadResult, ...]
    error: ErrorFigures | None
    parameters: dict[str, int | str | bool]
    variant: Variant | None
    text_sha: str
    sources: dict[str, str] = {}
    """By file name, SHA-256 of what is compiled at full size: all but the head comment."""
    profile_sha: str = ""
    """Of the hardware profile whose limits it was held to."""
    artifacts: tuple[Artifact, ...]
    estimate_seconds: float | None = None
    """Of the bench workload, by the static model; never a measurement."""
    estimate_reason: str = ""
    parameter_source: ParameterSource | None = None
    """None where nothing chose: the caller gave the parameters."""
    task_document: dict[str, Any] | None = None
    """The task as it was judged: sizes, dtypes and the text of its file. `mkgen verify` needs
    nothing else to do it again."""
    origin: str = "template"
    """Who wrote the text: `template`, `source` (one native file), `module` (a ModelNew), `package`
    (a directory whose text was edited), `mutant`."""
    checks: tuple[str, ...] = ()
    """The steps of the protocol that were done, in order: `controls`, `check-sizes`, …"""
    seed: int | None = None
    """Of the inputs. Of a foreign text it is secret until the record is made."""
    confinement: str = ""
    """What held the child processes: `bubblewrap`, `namespaces`, `landlock`, `limits`."""
    standing: Literal["seen", "reported"] = "seen"
    """`reported`: the record came from elsewhere, or was changed since; nothing of it was seen
    here, and none of it counts."""
    basis: str = ""
    """Hash of what `mkgen eval` judged it with: code, templates, toolchains, settings. With the
    same one, `--resume` keeps the record."""
    generation: Generation | None = None
    """How a model came to write the text; None where none did. No part of the key: who wrote a
    text changes nothing of what it means."""
    files: tuple[str, ...] = ()
    seconds: float
    mkgen_version: str

    @model_validator(mode="wrap")
    @classmethod
    def _as_stored(cls, value: Any, handler: ModelWrapValidatorHandler[Record]) -> Record:
        if not isinstance(value, dict):
            return handler(value)
        fields, key = opened(value)
        record = handler(fields)
        if key is not None and key != record.key and value.get("schema_version") == SCHEMA_VERSION:
            raise ValueError("its key is not the one of its content: the record was changed")
        return record

    @model_validator(mode="after")
    def _can_be_true(self) -> Record:
        reason = impossible(self)
        if reason:
            raise ValueError(reason)
        return self

    @property
    def key(self) -> str:
        """Its identity: hash of everything that changes what it means (mkgen.claims.key_of)."""
        return key_of(self)

    def stored(self) -> dict[str, Any]:
        """As it is written to a file: with its key, and sealed."""
        return sealed(self.model_dump(mode="json"), self.key)

    def has(self, kind: EvidenceKind) -> bool:
        """Whether evidence of `kind` is there."""
        return any(e.kind is kind for e in self.evidence)
