// SIMT on the host: runs CUDA and HIP kernels on one CPU thread, a fiber for each GPU thread.
//
// A thread runs until it waits: at a block barrier, or at a warp operation (shuffle, vote). The
// next one in the chosen order goes on then. Blocks run one after another. What a GPU leaves
// undefined is made visible: shared memory holds NaN patterns when a block begins, and divergent
// barriers and warp operations end the launch with a message.
//
// One translation unit only: everything here has internal linkage. This file: the machine, its
// threads and blocks. mkgen_simt.hpp: the grid, and what the caller of a built text sees.
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "mkgen_simt_fiber.hpp"
#include "mkgen_simt_sanitize.hpp"

#ifndef MKGEN_SIMT_LANES
#define MKGEN_SIMT_LANES 32
#endif
#ifndef MKGEN_SIMT_SHARED_LIMIT
#define MKGEN_SIMT_SHARED_LIMIT 65536
#endif
#define MKGEN_SIMT_EXPORT extern "C" __attribute__((visibility("default")))

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;

// Bounds of the section that holds every `__shared__` variable, named so by the linker.
extern "C" char __start_mkgen_shared[] __attribute__((visibility("hidden")));
extern "C" char __stop_mkgen_shared[] __attribute__((visibility("hidden")));
#define MKGEN_SIMT_SHARED __attribute__((section("mkgen_shared"), used))

namespace mkgen_simt {

constexpr int kLanes = MKGEN_SIMT_LANES;
constexpr int kMaxThreads = 1024;
constexpr int kMaxWarps = kMaxThreads / 32;
constexpr size_t kArena = 256 * 1024;
constexpr size_t kCanary = 1024;
constexpr unsigned char kCanaryByte = 0x7D;
static_assert(kLanes == 32 || kLanes == 64, "MKGEN_SIMT_LANES is 32 or 64");
static_assert(MKGEN_SIMT_SHARED_LIMIT <= kArena, "the arena holds 256 KiB of dynamic shared memory");

// Keeps the section alive in a text without shared variables, and shows what leaves it: compilers
// put this before or after them, so MKGEN_SIMT_ENTRY adds another one at the end of the text.
constexpr size_t kSectionGuard = 4096;
constexpr unsigned char kSectionByte = 0xFF;  // a NaN, as the variables themselves at first
MKGEN_SIMT_SHARED static unsigned char section_anchor[kSectionGuard];
extern unsigned char section_end[kSectionGuard];
// Dynamic shared memory, with guards on both sides.
alignas(128) static unsigned char dynamic_storage[kCanary + kArena + kCanary];
static unsigned char* const dynamic_arena = dynamic_storage + kCanary;

enum class State : uint8_t { New, Ready, Barrier, Exchange, Done };
enum class Order : int { Forward, Reverse, Random, Warps };
enum class Status : int { Ok, InvalidConfiguration, Failed };
enum class Op : uint8_t { Sync, Index, Up, Down, Xor, Ballot, Any, All, Active };

// A warp operation as one lane asks for it. `converged`: among the lanes that arrive together
// (HIP's forms without a mask), else among the lanes of `mask` (the `_sync` forms).
struct Exchange {
  Op op;
  bool converged;
  int line;
  const char* name;
  uint64_t mask, value, result;
  int argument, width;
};

struct LaunchInfo {
  char kernel[96];
  unsigned grid[3], block[3];
  uint64_t shared;
};

struct Machine {
  // How to run: set from outside.
  Order order = Order::Forward;
  uint64_t seed = 0;
  // The launch.
  const char* kernel = "";
  void (*body)(void*) = nullptr;
  void* arguments = nullptr;
  int threads = 0;
  // The block.
  int live = 0, runnable = 0, cursor = 0, current = 0;
  int waiting = 0, barrier_line = 0, barrier_first = 0, barrier_count = 0, barrier_result = 0;
  const char* barrier_name = "";
  int running[kMaxWarps], exchanging[kMaxWarps];
  State state[kMaxThreads];
  uint16_t sequence[kMaxThreads];
  uint16_t stack_of[kMaxThreads], free_stacks[kMaxThreads];
  int free_count = 0;
  uint3 id[kMaxThreads];
  Exchange exchange[kMaxThreads];
  Context context[kMaxThreads], main;
  Stacks stacks;
  uint64_t random = 0;
  bool inside = false;  // a thread of a kernel runs, not the launcher
  bool failed = false;
  int last_error = 0;
  char error[1024] = "";
  LaunchInfo log[256];
  int launches = 0;
};

static Machine machine;

// ---------------------------------------------------------------------------------------------
// Messages

static void explain(const char* format, ...) __attribute__((format(printf, 1, 2)));
static void explain(const char* format, ...) {
  if (machine.error[0] != 0) return;  // the first fault explains the others
  va_list values;
  va_start(values, format);
  vsnprintf(machine.error, sizeof machine.error, format, values);
  va_end(values);
}

// What thread `t` is doing, for a message.
static const char* doing(int t, char (&text)[160]) {
  const uint3 id = machine.id[t];
  const Exchange& e = machine.exchange[t];
  int n = snprintf(text, sizeof text, "thread (%u, %u, %u) ", id.x, id.y, id.z);
  char* rest = text + n;
  const size_t room = sizeof text - n;
  switch (machine.state[t]) {
    case State::Done: snprintf(rest, room, "has returned"); break;
    case State::Barrier:
      snprintf(rest, room, "waits at %s (line %d)", machine.barrier_name, machine.barrier_line);
      break;
    case State::Exchange:
      if (e.converged) snprintf(rest, room, "waits at %s (line %d)", e.name, e.line);
      else snprintf(rest, room, "waits at %s (line %d) with mask 0x%llx", e.name, e.line,
                    static_cast<unsigned long long>(e.mask));
      break;
    default: snprintf(rest, room, "runs"); break;
  }
  return text;
}

// Ends the launch: control goes back to the launcher, the fibers are abandoned.
[[noreturn]] static void abandon() {
  machine.failed = true;
  switch_to(machine.context[machine.current], machine.main);
  __builtin_trap();
}

[[noreturn]] static void diverged(const char* what, int a, int b) {
  char first[160], second[160];
  explain("kernel %s, block (%u, %u, %u): %s: %s, but %s", machine.kernel, blockIdx.x, blockIdx.y,
          blockIdx.z, what, doing(a, first), doing(b, second));
  abandon();
}

// ---------------------------------------------------------------------------------------------
// Which thread is next

static inline uint64_t next_random() {  // splitmix64
  uint64_t z = machine.random += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static void begin_pass() {
  machine.cursor = 0;
  if (machine.order != Order::Random) return;
  for (int i = machine.threads - 1; i > 0; --i) {
    const int j = static_cast<int>(((next_random() >> 32) * (i + 1)) >> 32);
    const uint16_t kept = machine.sequence[i];
    machine.sequence[i] = machine.sequence[j];
    machine.sequence[j] = kept;
  }
}

// One warp goes as far as it can before another moves: in the other orders the lanes of all warps
// advance together, and a warp that runs ahead through a missing barrier would not be seen.
static int next_in_warp() {
  const int self = machine.current, first = self / kLanes * kLanes;
  for (int i = 1; i <= kLanes; ++i) {
    const int t = first + (self - first + i) % kLanes;
    if (t < machine.threads && machine.state[t] <= State::Ready) return t;
  }
  for (int t = 0; t < machine.threads; ++t)
    if (machine.state[t] <= State::Ready) return t;
  return -1;
}

// The next thread that can go on; -1 when none can.
static inline int next_thread() {
  if (machine.runnable == 0) return -1;
  if (machine.order == Order::Warps) return next_in_warp();
  for (;;) {
    while (machine.cursor < machine.threads) {
      const int t = machine.sequence[machine.cursor++];
      if (machine.state[t] <= State::Ready) return t;
    }
    begin_pass();
  }
}

static inline void enter(int t) {
  machine.current = t;
  threadIdx = machine.id[t];
}

static void fiber_main();

// Readies thread `t` to be switched to; one that has not begun takes a free stack.
static inline Context& resume_point(int t) {
  if (machine.state[t] == State::New) {
    const int stack = machine.free_stacks[--machine.free_count];
    machine.stack_of[t] = static_cast<uint16_t>(stack);
    machine.state[t] = State::Ready;
    open_memory(machine.stacks.bottom(stack), machine.stacks.bytes(stack));
    prepare(machine.context[t], machine.stacks.bottom(stack), machine.stacks.bytes(stack), fiber_main);
  }
  enter(t);
  return machine.context[t];
}

// Some thread waits and none can run: says which two disagree.
[[noreturn]] static void stuck() {
  int a = 0, b = -1;
  while (machine.state[a] == State::Done) ++a;
  for (int t = 0; t < machine.threads && b < 0; ++t)
    if (machine.state[t] != machine.state[a]) b = t;
  if (b < 0) b = a;
  diverged("not all threads reach the same barrier", a, b);
}

static __attribute__((noinline)) void suspend() {
  const int self = machine.current;
  const int t = next_thread();
  if (t == self) return;
  if (t < 0) stuck();
  Context& from = machine.context[self];
  switch_to(from, resume_point(t));
}

// ---------------------------------------------------------------------------------------------
// Warp operations

static inline int shuffle_source(const Exchange& e, int lane) {
  const int inside = e.width - 1;
  switch (e.op) {
    case Op::Index: return (lane & ~inside) | (e.argument & inside);
    case Op::Up: return (lane & inside) < e.argument ? lane : lane - e.argument;
    case Op::Down: return (lane & inside) + e.argument > inside ? lane : lane + e.argument;
    default: return (lane ^ e.argument) > (lane | inside) ? lane : lane ^ e.argument;
  }
}

// The lanes that execute lane `lane`'s operation together; 0 when some are still missing.
static uint64_t group_of(int first, int lanes, int lane) {
  const Exchange& asked = machine.exchange[first + lane];
  uint64_t group = 0;
  for (int i = 0; i < lanes; ++i) {
    const State state = machine.state[first + i];
    const Exchange& e = machine.exchange[first + i];
    const bool same = state == State::Exchange && e.op == asked.op && e.converged == asked.converged;
    if (asked.converged) {
      if (same && e.line == asked.line) group |= uint64_t(1) << i;
    } else if (asked.mask >> i & 1 && state != State::Done) {
      if (!same || e.mask != asked.mask) return 0;
      group |= uint64_t(1) << i;
    }
  }
  return group;
}

static uint64_t shuffled(int first, int lanes, int lane, uint64_t group) {
  const Exchange& e = machine.exchange[first + lane];
  const int source = shuffle_source(e, lane);
  if (group >> source & 1) return machine.exchange[first + source].value;
  if (e.converged) return ~uint64_t(0);  // undefined on the GPU: NaN or -1 here
  char text[160];
  explain("kernel %s, block (%u, %u, %u): %s reads lane %d, which %s: %s", machine.kernel, blockIdx.x,
          blockIdx.y, blockIdx.z, e.name, source,
          !(e.mask >> source & 1) ? "is not in the mask"
          : source >= lanes       ? "the block does not have"
                                  : "has returned",
          doing(first + lane, text));
  abandon();
}

static void complete(int warp, int first, int lanes, uint64_t group) {
  const Op op = machine.exchange[first + __builtin_ctzll(group)].op;  // the same in all of a group
  uint64_t ballot = 0;
  if (op == Op::Sync) on_sync(first, group);
  if (op == Op::Ballot || op == Op::Any || op == Op::All)
    for (int i = 0; i < lanes; ++i)
      if (group >> i & 1 && machine.exchange[first + i].value != 0) ballot |= uint64_t(1) << i;
  for (int i = 0; i < lanes; ++i) {
    if (!(group >> i & 1)) continue;
    uint64_t& result = machine.exchange[first + i].result;
    switch (op) {
      case Op::Sync: break;
      case Op::Ballot: result = ballot; break;
      case Op::Any: result = ballot != 0; break;
      case Op::All: result = ballot == group; break;
      case Op::Active: result = group; break;
      default: result = shuffled(first, lanes, i, group); break;
    }
    machine.state[first + i] = State::Ready;
  }
  const int count = __builtin_popcountll(group);
  machine.runnable += count;
  machine.running[warp] += count;
  machine.exchanging[warp] -= count;
}

// Whether all `lanes` ask for the same thing, as they nearly always do.
static inline bool uniform(int first, int lanes) {
  const Exchange& asked = machine.exchange[first];
  bool same = true;
  for (int i = 0; i < lanes; ++i) {
    const Exchange& e = machine.exchange[first + i];
    same = same && machine.state[first + i] == State::Exchange && e.op == asked.op &&
           e.line == asked.line && e.converged == asked.converged && e.mask == asked.mask;
  }
  return same;
}

// Every lane of `warp` waits or has returned, and some wait at a warp operation: executes one of
// them. Of several, the first in the text: lanes still in a loop go before those that left it.
static void resolve(int warp) {
  const int first = warp * kLanes;
  const int lanes = machine.threads - first < kLanes ? machine.threads - first : kLanes;
  const uint64_t all = ~uint64_t(0) >> (64 - lanes);
  if (uniform(first, lanes) && (machine.exchange[first].converged || (machine.exchange[first].mask & all) == all))
    return complete(warp, first, lanes, all);
  uint64_t tried = 0;
  int stuck_lane = -1;
  for (;;) {
    int chosen = -1;
    for (int i = 0; i < lanes; ++i)
      if (machine.state[first + i] == State::Exchange && !(tried >> i & 1) &&
          (chosen < 0 || machine.exchange[first + i].line < machine.exchange[first + chosen].line))
        chosen = i;
    if (chosen < 0) break;
    const uint64_t group = group_of(first, lanes, chosen);
    if (group != 0) return complete(warp, first, lanes, group);
    tried |= uint64_t(1) << chosen;
    if (stuck_lane < 0) stuck_lane = chosen;
  }
  const Exchange& e = machine.exchange[first + stuck_lane];
  for (int i = 0; i < lanes; ++i) {
    const Exchange& o = machine.exchange[first + i];
    const bool arrived = machine.state[first + i] == State::Exchange && o.op == e.op && o.mask == e.mask;
    if (e.mask >> i & 1 && machine.state[first + i] != State::Done && !arrived)
      diverged("lanes of one mask diverge", first + stuck_lane, first + i);
  }
  diverged("lanes of one mask diverge", first + stuck_lane, first + stuck_lane);
}

static uint64_t exchange(Op op, const char* name, int line, bool converged, uint64_t mask, uint64_t value,
                         int argument, int width) {
  const int self = machine.current, warp = self / kLanes, lane = self % kLanes;
  if (kLanes == 32) mask &= 0xFFFFFFFFu;
  if (width < 1 || width > kLanes || (width & (width - 1)) != 0 || (!converged && !(mask >> lane & 1))) {
    explain("kernel %s: %s (line %d): %s", machine.kernel, name, line,
            converged || mask >> lane & 1 ? "the width is no power of two up to the warp size"
                                          : "a lane that is not in its own mask calls it");
    abandon();
  }
  Exchange& e = machine.exchange[self];
  e = Exchange{op, converged, line, name, mask, value, 0, argument, width};
  machine.state[self] = State::Exchange;
  --machine.runnable;
  ++machine.exchanging[warp];
  if (--machine.running[warp] == 0) resolve(warp);
  if (machine.state[self] != State::Ready) suspend();
  return e.result;
}

// ---------------------------------------------------------------------------------------------
// Block barriers, the life of a thread, the block, the grid

static void lane_stops(int self) {
  const int warp = self / kLanes;
  --machine.runnable;
  if (--machine.running[warp] == 0 && machine.exchanging[warp] > 0) resolve(warp);
}

static void set_all(State state) {
  memset(machine.state, static_cast<int>(state), machine.threads);
  for (int warp = 0; warp * kLanes < machine.threads; ++warp) {
    const int rest = machine.threads - warp * kLanes;
    machine.running[warp] = rest < kLanes ? rest : kLanes;
  }
  machine.runnable = machine.threads;
  machine.waiting = 0;
  begin_pass();
}

// Waits for the whole block; the number of threads whose `predicate` held.
static int barrier(const char* name, int line, bool predicate) {
  const int self = machine.current;
  if (machine.waiting == 0) {
    machine.barrier_name = name;
    machine.barrier_line = line;
    machine.barrier_first = self;
    machine.barrier_count = 0;
  } else if (line != machine.barrier_line || strcmp(name, machine.barrier_name) != 0) {
    char text[160];
    const uint3 id = threadIdx;
    explain("kernel %s, block (%u, %u, %u): threads wait at different barriers: %s, but thread (%u, %u, %u) at %s (line %d)",
            machine.kernel, blockIdx.x, blockIdx.y, blockIdx.z, doing(machine.barrier_first, text), id.x,
            id.y, id.z, name, line);
    abandon();
  }
  machine.barrier_count += predicate;
  machine.state[self] = State::Barrier;
  if (++machine.waiting == machine.threads) {
    machine.barrier_result = machine.barrier_count;
    on_barrier();
    set_all(State::Ready);
  } else {
    lane_stops(self);
  }
  suspend();
  return machine.barrier_result;
}

static void fiber_main() {
  for (;;) {
    machine.body(machine.arguments);
    const int self = machine.current;
    machine.state[self] = State::Done;
    --machine.live;
    lane_stops(self);
    const int t = next_thread();
    if (t < 0 && machine.live > 0) stuck();
    if (t >= 0 && machine.state[t] == State::New) {
      // Goes on in the same fiber: a kernel without barriers never switches inside a block.
      machine.state[t] = State::Ready;
      machine.stack_of[t] = machine.stack_of[self];
      enter(t);
      continue;
    }
    machine.free_stacks[machine.free_count++] = machine.stack_of[self];
    switch_to(machine.context[self], t < 0 ? machine.main : resume_point(t));
  }
}

static void begin_block() {
  memset(machine.exchanging, 0, sizeof machine.exchanging);
  set_all(State::New);
  machine.live = machine.threads;
  machine.free_count = machine.threads;
  for (int i = 0; i < machine.threads; ++i)
    machine.free_stacks[i] = static_cast<uint16_t>(machine.threads - 1 - i);
}

// Shared memory as a block finds it.
static void fill_shared(size_t shared) {
  const size_t all = __stop_mkgen_shared - __start_mkgen_shared;
  open_memory(__start_mkgen_shared, all);
  memset(__start_mkgen_shared, kSectionByte, all);
  open_memory(dynamic_arena, shared);
  memset(dynamic_arena, 0xFF, shared);
  close_memory(dynamic_storage, kCanary);
  close_memory(dynamic_arena + shared, kArena + kCanary - shared);
  if (shared_count == 0) return;
  close_memory(__start_mkgen_shared, all);
  for (int i = 0; i < shared_count; ++i)
    open_memory(__start_mkgen_shared + shared_variables[i].offset, shared_variables[i].bytes);
}

#ifndef MKGEN_SIMT_SEES_ACCESSES
static void check_section(const unsigned char* guard) {
  for (size_t i = 0; i < kSectionGuard && !machine.failed; ++i)
    if (guard[i] != kSectionByte) {
      explain("kernel %s, block (%u, %u, %u): wrote outside its static shared memory",
              machine.kernel, blockIdx.x, blockIdx.y, blockIdx.z);
      machine.failed = true;
    }
}

// What was written around the shared memory of the block.
static void check_guards(size_t shared) {
  for (size_t i = 0; i < kCanary && !machine.failed; ++i)
    if (dynamic_arena[shared + i] != kCanaryByte) {
      explain("kernel %s, block (%u, %u, %u): wrote %zu bytes past its %zu bytes of dynamic shared memory",
              machine.kernel, blockIdx.x, blockIdx.y, blockIdx.z, i, shared);
      machine.failed = true;
    }
  check_section(section_anchor);
  check_section(section_end);
}

#endif

static bool run_block(size_t shared) {
  fill_shared(shared);
  begin_block();
#ifdef MKGEN_SIMT_SHADOW
  mkgen_shadow_block(blockIdx.x, blockIdx.y, blockIdx.z);
#endif
  machine.inside = true;
  switch_to(machine.main, resume_point(next_thread()));
  machine.inside = false;
#ifdef MKGEN_SIMT_SHADOW
  mkgen_shadow_end_block();
#endif
#ifndef MKGEN_SIMT_SEES_ACCESSES
  check_guards(shared);
#endif
  return !machine.failed;
}

}  // namespace mkgen_simt

#ifdef MKGEN_SIMT_SHADOW
extern "C" void mkgen_simt_fault(const char* text) {
  mkgen_simt::explain("%s", text);
  if (mkgen_simt::machine.inside) mkgen_simt::abandon();
  mkgen_simt::machine.failed = true;
}
#endif
