"""HIP: code objects hold the arch asked for, say what they use, and come from strict arithmetic."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gpu_programs import SPILLING, program

from mkgen.codegen.backend import Found
from mkgen.errors import CompileError, MissingError, WrongArchError
from mkgen_hip import HipBackend, clang, toolchain
from mkgen_hip.archs import AMD_ARCHS, check_code_object, isa_version
from mkgen_hip.clang import parse_metadata

BACKEND = HipBackend()

EVERYTHING = """constexpr float LOW = -INFINITY;
__device__ float pick(const float* x, int64_t i) { return x[i]; }
extern "C" __global__ void __launch_bounds__(256, 2)
softmax_kernel(const float* __restrict__ x, float* y) {
  HIP_DYNAMIC_SHARED(float, pool)
  __shared__ float s[64];
  __shared__ int n;
  const auto f = [](float v) {
    return tanhf(v) + erff(v) + expf(v) + powf(v, 2.5f) + lgammaf(v) + log1pf(v) + sinf(v);
  };
  float v = pick(x, size_t(blockIdx.x) * COLS);
  s[threadIdx.x % 64] = f(v), pool[threadIdx.x] = v;
  __syncthreads();
  v = __shfl_xor(v, 16) + __shfl_down(v, 1) + __shfl_up(v, 2, 32) + __shfl(v, 0);
  __shared__ double wide;
  wide = __shfl_xor(double(v), 1);
  n = int(__ballot(v > 0)) + __any(v > 1) + __all(v > 2) + warpSize + __popcll(__ballot(1));
  atomicAdd(y, v), atomicAdd(&n, 1), atomicMax(&n, 3), atomicCAS(&n, 1, 2), atomicAdd(&wide, 1.0);
  float4 q = reinterpret_cast<const float4*>(x)[threadIdx.x];
  reinterpret_cast<float4*>(y)[threadIdx.x] = make_float4(q.x, q.y, q.w, LOW);
  __half h = __float2half(x[1]);
  h = h * h + __float2half(__half2float(h) / 3.0f), h = h > __half(1.5f) ? -h : h;
  h = __shfl_xor(h, 1);
  __hip_bfloat16 b = __float2bfloat16(x[2]);
  b = b * b - __float2bfloat16(__bfloat162float(b));
  y[min(3, int(threadIdx.x))] = float(h) + float(b) + max(1.0f, v) + isnan(v) + float(wide) + n +
                                 s[(threadIdx.x + 1) % 64] + pool[threadIdx.x ^ 1];
  if (gridDim.x > 3 && blockDim.x == 2) __threadfence();
}
"""
HALVES = "#include <hip/hip_fp16.h>\n#include <hip/hip_bf16.h>\n"


@pytest.mark.parametrize("arch", AMD_ARCHS)
def test_each_arch_builds_and_is_verified(arch: str, tmp_path: Path) -> None:
    artifact = BACKEND.compile(program(f"hip:{arch}", shared=512), tmp_path)
    assert artifact.checked.endswith(f"{AMD_ARCHS[arch].mach:#x} ({arch})")
    used = artifact.resources["softmax_kernel"]
    assert used.registers is not None and 10 <= used.registers <= 64
    assert (used.spilled_registers, used.stack_bytes) == (0, 0)
    assert used.shared_bytes is not None and used.shared_bytes >= 512 + 8 * 4
    assert used.occupancy_waves is not None and used.occupancy_waves >= 4
    assert used.code_bytes is not None and used.code_bytes > 256
    assert str(tmp_path) not in artifact.command and "site-packages" not in artifact.command
    assert artifact.isa_path is not None
    assembly = Path(artifact.isa_path).read_text()
    assert f"amdgcn-amd-amdhsa--{arch}" in assembly
    assert f".wavefront_size: {AMD_ARCHS[arch].wave}" in assembly


@pytest.mark.parametrize("arch", AMD_ARCHS)
def test_the_device_language_compiles(arch: str, tmp_path: Path) -> None:
    artifact = BACKEND.compile(program(f"hip:{arch}", EVERYTHING, HALVES), tmp_path)
    assembly = (tmp_path / f"softmax.{arch}.s").read_text()
    # ocml is linked in and specialised: neither calls nor loads of its controls are left.
    assert "__ocml" not in assembly and "__oclc" not in assembly
    # lgammaf's polynomials and sinf's argument reduction are there, not optimised away.
    assert (artifact.resources["softmax_kernel"].code_bytes or 0) > 4000


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_hip_text_compiles_for_nvidia_as_a_proxy(arch: str, tmp_path: Path) -> None:
    artifact = BACKEND.compile(program(f"hip:{arch}"), tmp_path)
    assert (artifact.format, artifact.arch) == ("cubin", arch)
    BACKEND.compile(program(f"hip:{arch}", EVERYTHING, HALVES), tmp_path)


def test_regenerating_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (BACKEND.compile(program("hip:gfx942"), tmp_path / d) for d in "ab")
    assert one.sha == two.sha and one.command == two.command


@pytest.mark.parametrize(("built", "asked"), [("gfx90a", "gfx942"), ("gfx1100", "gfx1201")])
def test_a_planted_wrong_arch_is_seen(built: str, asked: str, tmp_path: Path) -> None:
    artifact = BACKEND.compile(program(f"hip:{built}"), tmp_path)
    with pytest.raises(WrongArchError, match=rf"asked for {asked}, got .*{built}"):
        check_code_object(Path(artifact.path).read_bytes(), asked)
    with pytest.raises(WrongArchError, match="EM_AMDGPU"):
        check_code_object(Path("/bin/sh").resolve().read_bytes(), asked)


def test_a_compiler_that_ignores_the_arch_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clang._run

    def other(command: list[str], directory: Path, name: str, arch: str) -> str:
        swapped = [word.replace("=gfx942", "=gfx90a") for word in command]
        return real(swapped, directory, name, arch)

    monkeypatch.setattr(clang, "_run", other)
    with pytest.raises(WrongArchError, match="gfx90a"):
        BACKEND.compile(program("hip:gfx942"), tmp_path)


def test_a_compile_error_carries_the_log_with_the_users_line(tmp_path: Path) -> None:
    body = 'extern "C" __global__ void softmax_kernel(const float* x, float* y) {\n  y[0] = q;\n}\n'
    with pytest.raises(CompileError, match=r"softmax\.hip:5:10: error") as error:
        BACKEND.compile(program("hip:gfx942", body), tmp_path)
    assert "undeclared identifier 'q'" in error.value.log


def test_the_launcher_is_compiled_too(tmp_path: Path) -> None:
    body = program("hip:gfx942").sources[0].body.replace("hipStream_t stream", "hipStrem_t stream")
    with pytest.raises(CompileError, match="hipStrem_t"):
        BACKEND.compile(program("hip:gfx942", body), tmp_path)


def test_spills_are_seen(tmp_path: Path) -> None:
    # Wave 64 and 1,024 threads leave 128 VGPRs a thread.
    artifact = BACKEND.compile(program("hip:gfx906", SPILLING), tmp_path)
    used = artifact.resources["softmax_kernel"]
    assert used.spilled_registers is not None and used.spilled_registers > 0
    assert used.spill_bytes == 4 * used.spilled_registers
    assert used.stack_bytes is not None and used.stack_bytes > 0


def test_division_and_square_root_are_correctly_rounded(tmp_path: Path) -> None:
    body = (
        'extern "C" __global__ void softmax_kernel(const float* x, float* y) '
        "{ y[0] = x[0] / x[1]; y[1] = sqrtf(x[2]); }\n"
    )
    BACKEND.compile(program("hip:gfx942", body), tmp_path)
    assembly = (tmp_path / "softmax.gfx942.s").read_text()
    assert "v_div_fixup_f32" in assembly and "v_div_scale_f32" in assembly
    # A bare v_sqrt_f32 is good to 1 ulp only; the correction that follows it uses two fma.
    assert assembly.partition("v_sqrt_f32")[2].count("v_fma_f32") >= 2
    assert ".amdhsa_float_denorm_mode_32 3" in assembly


def test_without_ocml_the_builtins_work_and_the_rest_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clang, "device_library", lambda: Found(None, ["nowhere"]))
    BACKEND.compile(program("hip:gfx942"), tmp_path)
    body = program("hip:gfx942").sources[0].body.replace("expf(", "tanhf(")
    with pytest.raises(CompileError, match="rocm-device-libs"):
        BACKEND.compile(program("hip:gfx942", body), tmp_path)


def test_no_toolchain_is_missing_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "zig_binary", lambda: None)
    monkeypatch.setattr(toolchain, "_rocm_roots", lambda: iter([Path("/nowhere/rocm")]))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install mkgen\[hip\].*Tried: /nowhere/rocm"):
        BACKEND.compile(program("hip:gfx942"), tmp_path)
    compile_ = BACKEND.probe().compile
    assert not compile_.ok and "ziglang" in compile_.tried
    assert compile_.remedy == "pip install mkgen[hip]"


def test_an_arch_the_compiler_does_not_know_is_missing_not_a_kernel_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clang._run

    def older(command: list[str], directory: Path, name: str, arch: str) -> str:
        return real([w.replace("=gfx950", "=gfx9999") for w in command], directory, name, arch)

    monkeypatch.setattr(clang, "_run", older)
    with pytest.raises(MissingError, match="gfx950"):
        BACKEND.compile(program("hip:gfx950"), tmp_path)


def test_rocm_wins_over_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = tmp_path / "llvm/bin"
    bin_.mkdir(parents=True)
    for tool in ("clang++", "ld.lld"):
        (bin_ / tool).write_text('#!/bin/sh\necho "AMD clang version 20.0.0git (roc-7.0.0)"\n')
        (bin_ / tool).chmod(0o755)
    (tmp_path / "include/hip").mkdir(parents=True)
    (tmp_path / "include/hip/hip_runtime.h").write_text("")
    (tmp_path / ".info").mkdir()
    (tmp_path / ".info/version").write_text("7.0.0\n")
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    found, tried = toolchain.find_toolchain()
    assert found is not None and found.rocm == tmp_path
    assert found.version == "AMD clang 20.0.0git (ROCm 7.0.0)"
    assert tried == [str(bin_ / "clang++")]


def test_probe_says_what_was_found() -> None:
    probe = BACKEND.probe()
    assert probe.compile.ok and "not ROCm" in probe.compile.found
    assert not probe.measure.ok and probe.measure.remedy and "/dev/kfd" in probe.measure.tried


def test_the_compiler_says_it_is_not_rocm(tmp_path: Path) -> None:
    artifact = BACKEND.compile(program("hip:gfx942"), tmp_path)
    assert artifact.compiler.endswith("(LLVM's AMDGPU backend, not ROCm)")
    assert artifact.compiler in BACKEND.compiler_identity()
    assert artifact.compiler_sha in BACKEND.compiler_identity()


def test_the_headers_pass_every_warning(tmp_path: Path) -> None:
    found = toolchain.require_toolchain()
    (tmp_path / "a.hip").write_text("#include <hip/hip_runtime.h>\n" + HALVES)
    options = ["-x", "hip", "--cuda-device-only", "-nogpuinc", "-nogpulib", "-fdeclspec", "-Wall"]
    include = ["-I", str(clang.INCLUDE), "-Wno-unused-function", "-DMKGEN_HIP_OCML"]
    rest = ["-Werror", "--offload-arch=gfx942", "-std=c++17", "-fsyntax-only", "a.hip"]
    command = [*found.clang, *options, *include, *rest]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_isa_versions() -> None:
    numbers = {"gfx90a": 9010, "gfx942": 9402, "gfx1030": 10300, "gfx1201": 12001}
    assert {arch: isa_version(arch) for arch in numbers} == numbers


def test_metadata_of_two_kernels() -> None:
    text = """	.amdgpu_metadata
amdhsa.kernels:
  - .agpr_count:     4
    .args:
      - .offset:         0
        .size:           8
    .name:           a
    .vgpr_count:     26
    .vgpr_spill_count: 3
  - .agpr_count:     0
    .args:           []
    .name:           b
    .vgpr_count:     2
amdhsa.target:   amdgcn-amd-amdhsa--gfx942
	.end_amdgpu_metadata
"""
    log = "x:1: remark: Function Name: a [-R]\nx:1: remark:     Occupancy [waves/SIMD]: 7 [-R]\n"
    found = parse_metadata(text, log)
    a, b = found["a"], found["b"]
    assert (a.registers, a.accumulator_registers, a.spilled_registers) == (26, 4, 3)
    assert (a.occupancy_waves, b.occupancy_waves, b.registers) == (7, None, 2)
