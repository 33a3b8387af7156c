// SIMT on the host: launches, and the functions that a built text exports.
#pragma once
#include "mkgen_simt_core.hpp"

namespace mkgen_simt {

static uint64_t common_divisor(uint64_t a, uint64_t b) {
  while (b != 0) {
    const uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static bool run_blocks(dim3 grid, size_t shared) {
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  // Random order: i -> (offset + i * stride) mod blocks visits all when stride is prime to blocks.
  uint64_t offset = 0, stride = 1;
  if (machine.order == Order::Random && blocks > 2) {
    offset = next_random() % blocks;
    do stride = next_random() % (blocks < (1u << 31) ? blocks : (1u << 31)) | 1;
    while (common_divisor(stride, blocks) != 1);
  }
  uint64_t index = machine.order == Order::Reverse ? blocks - 1 : offset;
  for (uint64_t i = 0; i < blocks; ++i) {
    blockIdx.x = static_cast<unsigned>(index % grid.x);
    blockIdx.y = static_cast<unsigned>(index / grid.x % grid.y);
    blockIdx.z = static_cast<unsigned>(index / grid.x / grid.y);
    if (!run_block(shared)) return false;
    index = machine.order == Order::Reverse ? index - 1 : (index + stride) % blocks;
  }
  return true;
}

// Why the device would refuse the launch; null when it would not.
static const char* refusal(dim3 grid, dim3 block, uint64_t shared, uint64_t shared_limit, char (&text)[160]) {
  const uint64_t g[3] = {grid.x, grid.y, grid.z}, b[3] = {block.x, block.y, block.z};
  for (int i = 0; i < 3; ++i) {
    if (g[i] == 0 || b[i] == 0) return "an axis of the grid or the block is 0";
#ifdef MKGEN_SIMT_HIP
    if (g[i] * b[i] >= (uint64_t(1) << 32)) return "grid times block reaches 2^32 along an axis";
#else
    if (g[i] > (i == 0 ? 2147483647u : 65535u)) return "the grid exceeds 2^31-1 (x) or 65535 (y, z) blocks";
#endif
  }
  if (b[0] > 1024 || b[1] > 1024 || b[0] * b[1] * b[2] > kMaxThreads) {
    snprintf(text, sizeof text, "a block of %u x %u x %u threads exceeds 1024", block.x, block.y, block.z);
    return text;
  }
  if (shared > shared_limit) {
    snprintf(text, sizeof text, "%llu bytes of dynamic shared memory exceed the limit of %llu",
             static_cast<unsigned long long>(shared), static_cast<unsigned long long>(shared_limit));
    return text;
  }
  return nullptr;
}

static void log_launch(dim3 grid, dim3 block, size_t shared) {
  const int slot = machine.launches++;
  if (slot >= static_cast<int>(sizeof machine.log / sizeof machine.log[0])) return;
  LaunchInfo& info = machine.log[slot];
  info = LaunchInfo{{}, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared};
  snprintf(info.kernel, sizeof info.kernel, "%s", machine.kernel);
}

static void set_thread_order(dim3 block) {
  machine.threads = static_cast<int>(block.x * block.y * block.z);
  int t = 0;
  for (unsigned z = 0; z < block.z; ++z)
    for (unsigned y = 0; y < block.y; ++y)
      for (unsigned x = 0; x < block.x; ++x) machine.id[t++] = uint3{x, y, z};
  for (int i = 0; i < machine.threads; ++i)
    machine.sequence[i] = static_cast<uint16_t>(machine.order == Order::Reverse ? machine.threads - 1 - i : i);
}

// Runs the grid to its end; `body(arguments)` is the kernel for one thread.
static Status run_grid(const char* kernel, dim3 grid, dim3 block, size_t shared, size_t shared_limit,
                       void (*body)(void*), void* arguments) {
  if (machine.failed) return Status::Failed;
  char text[160];
  if (const char* reason = refusal(grid, block, shared, shared_limit, text)) {
    explain("launch of %s refused: %s", kernel, reason);
    return Status::InvalidConfiguration;
  }
  machine.kernel = kernel;
  machine.body = body;
  machine.arguments = arguments;
  log_launch(grid, block, shared);
  gridDim = grid;
  blockDim = block;
  set_thread_order(block);
  if (!machine.stacks.reserve(machine.threads)) {
    explain("no memory for the stacks of %d threads", machine.threads);
    machine.failed = true;
    return Status::Failed;
  }
  open_memory(dynamic_storage, sizeof dynamic_storage);
  memset(dynamic_arena + shared, kCanaryByte, kCanary);
#ifdef MKGEN_SIMT_SHADOW
  const unsigned sides[3] = {block.x, block.y, block.z};
  mkgen_shadow_launch(kernel, sides, kLanes, &machine.current, machine.stacks.bottom(0), machine.stacks.reach());
  mkgen_shadow_shared(dynamic_arena, shared, dynamic_storage, sizeof dynamic_storage, __start_mkgen_shared,
                      __stop_mkgen_shared - __start_mkgen_shared);
#endif
  return run_blocks(grid, shared) ? Status::Ok : Status::Failed;
}

template <class T>
struct Exactly {
  using type = T;
};

// `kernel(arguments...)` for every thread of the grid.
template <class... P>
Status launch(const char* name, dim3 grid, dim3 block, size_t shared, size_t shared_limit, void (*kernel)(P...),
              typename Exactly<P>::type... arguments) {
  auto body = [&] { kernel(arguments...); };
  using Body = decltype(body);
  return run_grid(
      name, grid, block, shared, shared_limit, [](void* b) { (*static_cast<Body*>(b))(); }, &body);
}

// The kernel's name in the text of a macro's arguments: argument number `place`, from 0.
static const char* name_in(const char* arguments, int place, char (&name)[96]) {
  int depth = 0;
  size_t n = 0;
  for (const char* p = arguments; *p != 0; ++p) {
    if (*p == '(' || *p == '<' || *p == '{') ++depth;
    if (*p == ')' || *p == '>' || *p == '}') --depth;
    if (*p == ',' && depth == 0) --place;
    else if (place == 0 && *p != ' ' && n + 1 < sizeof name) name[n++] = *p;
  }
  name[n] = 0;
  return name;
}

// ---------------------------------------------------------------------------------------------
// What the caller of a built text sees

template <class T>
struct Pointer {
  static_assert(sizeof(T) == 0, "a launcher takes buffers and the stream, all of them pointers");
};
template <class T>
struct Pointer<T*> {
  static T* from(void* p) { return static_cast<T*>(p); }
};
template <class T>
struct Pointer<const T*> {
  static const T* from(void* p) { return static_cast<const T*>(p); }
};

template <size_t...>
struct Numbers {};
template <size_t N, size_t... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <size_t... I>
struct Count<0, I...> {
  using type = Numbers<I...>;
};

template <class R, class... A, size_t... I>
int call_with(R (*launcher)(A...), void* const* buffers, Numbers<I...>) {
  return static_cast<int>(launcher(Pointer<A>::from(buffers[I])...));
}

// Calls the launcher with `buffers`, the last of them the stream.
template <class R, class... A>
int call(R (*launcher)(A...), void* const* buffers, int count) {
  machine.failed = false;
  machine.last_error = 0;
  machine.error[0] = 0;
  machine.launches = 0;
  machine.random = machine.seed;
  if (sizeof...(A) != static_cast<size_t>(count)) {
    explain("the launcher takes %zu arguments, the program has %d (buffers and the stream)", sizeof...(A), count);
    return 1;
  }
  return call_with(launcher, buffers, typename Count<sizeof...(A)>::type());
}

}  // namespace mkgen_simt

MKGEN_SIMT_EXPORT void mkgen_simt_configure(int order, uint64_t seed) {
  mkgen_simt::machine.order = static_cast<mkgen_simt::Order>(order);
  mkgen_simt::machine.seed = seed;
}
MKGEN_SIMT_EXPORT void mkgen_simt_release() { mkgen_simt::machine.stacks.release(); }
MKGEN_SIMT_EXPORT const char* mkgen_simt_error() { return mkgen_simt::machine.error; }
// A `__shared__` variable of the text; says where it lies.
MKGEN_SIMT_EXPORT const void* mkgen_simt_shared(size_t offset, size_t bytes) {
  using namespace mkgen_simt;
  if (shared_count < static_cast<int>(sizeof shared_variables / sizeof shared_variables[0]))
    shared_variables[shared_count++] = SharedVariable{offset, bytes};
  return __start_mkgen_shared + offset;
}
MKGEN_SIMT_EXPORT int mkgen_simt_launches(const mkgen_simt::LaunchInfo** log) {
  *log = mkgen_simt::machine.log;
  return mkgen_simt::machine.launches;
}

// Exports the launcher of the text as `mkgen_simt_run`.
#define MKGEN_SIMT_ENTRY(launcher)                                           \
  namespace mkgen_simt {                                                     \
  MKGEN_SIMT_SHARED unsigned char section_end[kSectionGuard];                \
  }                                                                          \
  MKGEN_SIMT_EXPORT int mkgen_simt_run(void* const* buffers, int count) {    \
    return ::mkgen_simt::call(launcher, buffers, count);                     \
  }
