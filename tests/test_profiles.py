"""The shipped hardware profiles are complete, sourced and plausible; broken ones are refused."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from mkgen.errors import UserError
from mkgen.profile import REQUIRED_FACTS, HardwareProfile, find_profile, load_profile, profiles
from mkgen.share import share_root

#: Every shipped device and the archs it is reached by.
ARCHS = {
    "a100": {"cuda": "sm_80", "triton": "sm_80"},
    "h100": {
        "cuda": "sm_90a",
        "triton": "sm_90",
        "hip": "sm_90",
        "pallas": "sm_90",
        "opencl": "sm_90",
    },
    "h200": {
        "cuda": "sm_90a",
        "triton": "sm_90",
        "hip": "sm_90",
        "pallas": "sm_90",
        "opencl": "sm_90",
    },
    "b200": {"cuda": "sm_100a", "triton": "sm_100"},
    "rtx4090": {"cuda": "sm_89", "triton": "sm_89"},
    "mi250x": {"hip": "gfx90a", "triton": "gfx90a"},
    "mi300x": {"hip": "gfx942", "triton": "gfx942"},
    "mi355x": {"hip": "gfx950", "triton": "gfx950"},
    "rx7900xtx": {"hip": "gfx1100", "triton": "gfx1100"},
    "rx9070xt": {"hip": "gfx1201", "triton": "gfx1201"},
    "max1550": {"sycl": "pvc", "opencl": "pvc"},
    "arc-a770": {"sycl": "acm-g10", "opencl": "acm-g10"},
    "arc-b580": {"sycl": "bmg-g21", "opencl": "bmg-g21"},
    "tpu-v4": {"pallas": "v4"},
    "tpu-v5e": {"pallas": "v5e"},
    "tpu-v5p": {"pallas": "v5p"},
    "tpu-v6e": {"pallas": "v6e"},
    "tpu7x": {"pallas": "tpu7x"},
    "cpu": {"opencl": "cpu", "sycl": "cpu"},
}

DIRECTORY = share_root("hardware_profiles")
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "hardware_profiles.md"
ALL = {path.stem: load_profile(path) for path in sorted(DIRECTORY.glob("*.toml"))}
GPUS = sorted(name for name, profile in ALL.items() if profile.kind == "gpu")
TPUS = sorted(name for name, profile in ALL.items() if profile.kind == "tpu")

#: Dense bfloat16 flop per clock and compute unit of each GPU's matrix units.
DENSE_PER_CLOCK = {
    "a100": 2048,
    "h100": 4096,
    "h200": 4096,
    "b200": 8192,
    "rtx4090": 512,
    "mi250x": 1024,
    "mi300x": 2048,
    "mi355x": 4096,
    "rx7900xtx": 512,
    "rx9070xt": 1024,
    "max1550": 4096,
    "arc-a770": 2048,
    "arc-b580": 2048,
}

#: (smaller or equal, larger or equal): holds wherever a profile states both.
ORDER = (
    ("peak_float64", "peak_float32"),
    ("peak_float64", "peak_float64_matrix"),
    ("peak_float32", "peak_float32_packed"),
    ("peak_float32", "peak_float32_matrix"),
    ("peak_float32", "peak_tf32"),
    ("peak_float32", "peak_bfloat16"),
    ("peak_float32_matrix", "peak_bfloat16"),
    ("peak_tf32", "peak_bfloat16"),
    ("peak_bfloat16", "peak_float16"),
    ("peak_bfloat16", "peak_float8"),
    ("peak_bfloat16", "peak_int8"),
    ("static_shared_bytes_per_block", "shared_bytes_per_block"),
    ("shared_bytes_per_block", "shared_bytes_per_unit"),
    ("threads_per_block", "threads_per_unit"),
    ("registers_per_thread", "registers_per_unit"),
    ("wave_size", "sub_group_sizes"),
    ("l2_bytes", "last_level_cache_bytes"),
    ("last_level_cache_bytes", "memory_bytes"),
    ("scoped_vmem_bytes", "vmem_bytes"),
    ("smem_bytes", "vmem_bytes"),
    ("vmem_bytes", "memory_bytes"),
)


def test_every_device_is_there_and_named_as_its_file() -> None:
    assert set(ALL) == set(ARCHS)
    assert all(profile.name == stem for stem, profile in ALL.items())
    assert profiles() == ALL


@pytest.mark.parametrize("name", sorted(ARCHS))
def test_archs(name: str) -> None:
    assert ALL[name].archs == ARCHS[name]


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_number_is_positive_and_every_source_used(name: str) -> None:
    profile = ALL[name]
    used = {fact.source for fact in profile.facts.values()}
    assert set(profile.sources) == used
    for fact in profile.facts:
        values = profile.facts[fact].value
        for value in values if isinstance(values, tuple) else (values,):
            assert math.isfinite(value) and value > 0, fact
    for key, source in profile.sources.items():
        has_place = source.url.startswith("https://")
        assert has_place or key in {"arithmetic", "measured", "opencl_device", "ocloc"}, key


@pytest.mark.parametrize("name", sorted(ALL))
def test_arithmetic_and_measurements_say_how(name: str) -> None:
    for fact, stated in ALL[name].facts.items():
        if stated.source == "arithmetic":
            assert stated.note, f"{fact} is computed, so its note must say how"


@pytest.mark.parametrize("name", sorted(ALL))
def test_facts_and_units_are_those_of_the_document(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", DOCUMENT.read_text(encoding="utf-8"), re.M)
    units = {fact: set(cell.strip().split(" or ")) for fact, cell in rows}
    assert set(units) >= {fact for facts in REQUIRED_FACTS.values() for fact in facts}
    for fact, stated in ALL[name].facts.items():
        assert fact in units, f"docs/hardware_profiles.md does not explain {fact}"
        assert stated.unit in units[fact], fact


@pytest.mark.parametrize("name", sorted(ALL))
def test_order_relations(name: str) -> None:
    profile = ALL[name]
    for low, high in ORDER:
        if low in profile.facts and high in profile.facts:
            assert profile.number(low) <= profile.number(high), f"{low} <= {high}"


@pytest.mark.parametrize("name", GPUS)
def test_gpu_occupancy_relations(name: str) -> None:
    profile = ALL[name]
    sizes = profile.facts["sub_group_sizes"].value
    assert isinstance(sizes, tuple)
    for size in sizes:
        assert size & (size - 1) == 0
        assert profile.integer("threads_per_unit") % size == 0
        assert profile.integer("threads_per_block") % size == 0
    each = profile.number("registers_per_unit") / profile.number("threads_per_unit")
    assert 16 <= each <= 128, "registers left for a thread at full occupancy"


@pytest.mark.parametrize("name", [*GPUS, "cpu"])
def test_vector_peak_is_units_times_clock(name: str) -> None:
    """Three numbers, mostly of three sources, must give a whole SIMD width."""
    profile = ALL[name]
    rate = profile.number("peak_float32") / profile.number("compute_units")
    per_clock = rate / profile.number("clock_hz")
    width = 2 ** round(math.log2(per_clock))
    assert width in (64, 128, 256)
    assert per_clock == pytest.approx(width, rel=0.01)


@pytest.mark.parametrize("name", GPUS)
def test_matrix_peak_is_dense_and_of_one_device(name: str) -> None:
    """Sparsity or a second die would double it; vendors' tensor clocks are up to 8 % lower."""
    profile = ALL[name]
    rate = profile.number("peak_bfloat16") / profile.number("compute_units")
    per_clock = rate / profile.number("clock_hz")
    assert per_clock == pytest.approx(DENSE_PER_CLOCK[name], rel=0.08)


@pytest.mark.parametrize("name", GPUS)
def test_gpu_balance(name: str) -> None:
    balance = ALL[name].number("peak_float32") / ALL[name].number("memory_bandwidth")
    assert 5 < balance < 100, "flop per byte"


@pytest.mark.parametrize("name", TPUS)
def test_tpu_relations(name: str) -> None:
    profile = ALL[name]
    balance = profile.number("peak_bfloat16") / profile.number("memory_bandwidth")
    assert 100 < balance < 700, "flop per byte"
    assert profile.integer("matrix_unit_side") % profile.integer("lanes") == 0
    if profile.integer("matrix_unit_side") == 128:
        products = profile.number("cores") * profile.number("matrix_units") * 128**2
        clock = profile.number("peak_bfloat16") / products / 2
        assert 0.9e9 < clock < 2e9


def write_broken(directory: Path, old: str, new: str) -> Path:
    """A copy of the A100 profile in which `old` reads `new`."""
    text = (DIRECTORY / "a100.toml").read_text(encoding="utf-8")
    assert old in text
    path = directory / "a100.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("clock_hz = ", "clock = ", "a gpu profile must state clock_hz"),
        ('source = "datasheet"', 'source = "hearsay"', "names the source 'hearsay'"),
        ('vendor = "nvidia"', 'vendor = "acme"', "vendor"),
        ("value = 108,", "value = [", "at line"),
        ('unit = "Hz"', 'units = "Hz"', "units"),
        ("value = 108,", 'value = "many",', "compute_units"),
    ],
)
def test_broken_profile_names_file_and_cause(
    tmp_path: Path, old: str, new: str, cause: str
) -> None:
    path = write_broken(tmp_path, old, new)
    with pytest.raises(UserError) as caught:
        load_profile(path)
    assert str(path) in str(caught.value)
    assert cause in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(UserError, match=re.escape(f"hardware profile {path}: No such file")):
        find_profile(str(path))


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="no hardware profile 'mi300'. Did you mean 'mi300x'"):
        find_profile("mi300")


def test_users_own_profiles_are_found_and_win(tmp_path: Path) -> None:
    path = write_broken(tmp_path, "value = 108,", "value = 98,")
    own = find_profile("a100", extra=tmp_path)
    assert own == find_profile(str(path))
    assert own.integer("compute_units") == 98
    assert set(profiles(tmp_path)) == set(ARCHS)


def test_number_takes_the_largest_of_a_list() -> None:
    profile: HardwareProfile = find_profile("arc-a770")
    assert profile.integer("sub_group_sizes") == 32
    assert profile.integer("registers_per_thread") == 256
