// The constants by which ROCm's device library is specialised; ROCm ships each as a bitcode file.
// Strict: no finite-only, no unsafe math, denormals kept, square roots correctly rounded.
#pragma once
#define __mkgen_hip_control(TYPE, NAME, VALUE)                                                \
  extern "C" __attribute__((device, constant, used, visibility("hidden"))) const TYPE NAME = \
      VALUE;
__mkgen_hip_control(unsigned char, __oclc_finite_only_opt, 0)
__mkgen_hip_control(unsigned char, __oclc_unsafe_math_opt, 0)
__mkgen_hip_control(unsigned char, __oclc_daz_opt, 0)
__mkgen_hip_control(unsigned char, __oclc_correctly_rounded_sqrt32, 1)
__mkgen_hip_control(unsigned char, __oclc_wavefrontsize64, MKGEN_HIP_WAVE64)
__mkgen_hip_control(unsigned int, __oclc_ISA_version, MKGEN_HIP_ISA)
__mkgen_hip_control(unsigned int, __oclc_ABI_version, 500)
