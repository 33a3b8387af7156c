// The part of CUDA's runtime that kernels and launchers of one file use, on the host.
#pragma once
#include "mkgen_simt_device.hpp"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801,
};
using cudaStream_t = struct CUstream_st*;

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8, cudaFuncAttributePreferredSharedMemoryCarveout = 9 };
enum cudaLaunchAttributeID {
  cudaLaunchAttributeIgnore = 0,
  cudaLaunchAttributeCooperative = 2,
  cudaLaunchAttributeClusterDimension = 4,
  cudaLaunchAttributeProgrammaticStreamSerialization = 6,
};
union cudaLaunchAttributeValue {
  int cooperative;
  struct { unsigned x, y, z; } clusterDim;
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

#define MKGEN_SIMT_API(name) cuda##name
#include "mkgen_simt_runtime.inc"
#undef MKGEN_SIMT_API

namespace mkgen_simt {

// Kernels that opted in to more dynamic shared memory than every launch may have.
constexpr size_t kSharedWithoutOptIn = 48 * 1024;
struct OptIn {
  void (*kernel)();
  size_t bytes;
};
static OptIn opt_ins[64];
static int opt_in_count = 0;

static size_t shared_limit(void (*kernel)()) {
  for (int i = 0; i < opt_in_count; ++i)
    if (opt_ins[i].kernel == kernel) return opt_ins[i].bytes > kSharedWithoutOptIn ? opt_ins[i].bytes : kSharedWithoutOptIn;
  return kSharedWithoutOptIn < MKGEN_SIMT_SHARED_LIMIT ? kSharedWithoutOptIn : MKGEN_SIMT_SHARED_LIMIT;
}

static cudaError_t opt_in(void (*kernel)(), int bytes) {
  if (bytes < 0 || bytes > MKGEN_SIMT_SHARED_LIMIT) {
    explain("cudaFuncSetAttribute refused: %d bytes of dynamic shared memory, the device has %d", bytes,
            static_cast<int>(MKGEN_SIMT_SHARED_LIMIT));
    return remember(cudaErrorInvalidValue);
  }
  for (int i = 0; i < opt_in_count; ++i)
    if (opt_ins[i].kernel == kernel) return opt_ins[i].bytes = bytes, cudaSuccess;
  if (opt_in_count == 64) {
    explain("cudaFuncSetAttribute: more than 64 kernels opt in");
    return remember(cudaErrorNotSupported);
  }
  opt_ins[opt_in_count++] = OptIn{kernel, static_cast<size_t>(bytes)};
  return cudaSuccess;
}

template <class... P>
cudaError_t launch_ex(const char* text, const cudaLaunchConfig_t* config, void (*kernel)(P...),
                      typename Exactly<P>::type... arguments) {
  char name[96];
  name_in(text, 1, name);
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& a = config->attrs[i];
    const bool cluster = a.id == cudaLaunchAttributeClusterDimension &&
                         a.val.clusterDim.x * a.val.clusterDim.y * a.val.clusterDim.z > 1;
    if (cluster || (a.id == cudaLaunchAttributeCooperative && a.val.cooperative != 0)) {
      explain("launch of %s: clusters and cooperative grids need blocks that run at once, which SIMT-on-host has not", name);
      return remember(cudaErrorNotSupported);
    }
  }
  return remember(status_to_error(launch(name, config->gridDim, config->blockDim, config->dynamicSmemBytes,
                                         shared_limit(reinterpret_cast<void (*)()>(kernel)), kernel, arguments...)));
}

}  // namespace mkgen_simt

// A macro for the kernel's name in messages.
#define cudaLaunchKernelEx(...) ::mkgen_simt::launch_ex(#__VA_ARGS__, __VA_ARGS__)

template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;  // a hint only
  return mkgen_simt::opt_in(reinterpret_cast<void (*)()>(kernel), value);
}
static inline cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  return mkgen_simt::opt_in(reinterpret_cast<void (*)()>(const_cast<void*>(kernel)), value);
}
