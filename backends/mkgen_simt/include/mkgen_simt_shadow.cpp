// A shadow of all memory that a kernel may use: who wrote and read each element last, and when.
//
// The text is compiled with -fsanitize=thread, which puts a call before every access; those calls
// are defined here, not in ThreadSanitizer's library. Time is counted in ticks: a block barrier, a
// warp barrier, the begin of a block is one. Two accesses by different threads of one element, one
// of them a write that is no atomic, are a race unless a barrier that both threads passed lies
// between; launches are ordered, blocks of one launch are not. This is exact for the run at hand,
// whatever order the threads ran in. Blocks run one after another, so that an order that blocks
// make by fences and atomics is taken on trust.
//
// Compiled without sanitizers, linked to the text.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MKGEN_SIMT_SHADOW 1
#include "mkgen_simt_sanitize.hpp"

#define MKGEN_SHADOW_EXPORT extern "C" __attribute__((visibility("default")))

// The first and the last byte of the shared object, named so by the linker.
extern "C" const char __ehdr_start[] __attribute__((visibility("hidden")));
extern "C" const char _end[] __attribute__((visibility("hidden")));

namespace {

// Tick (32 bits), line (21), whether it is an atomic (1), thread (10); 0: never.
using Stamp = uint64_t;
constexpr int kLineBits = 21, kThreadBits = 10;

inline uint32_t tick_of(Stamp s) { return static_cast<uint32_t>(s >> 32); }
inline unsigned line_of(Stamp s) { return static_cast<unsigned>(s >> (kThreadBits + 1)) & ((1u << kLineBits) - 1); }
inline bool is_atomic(Stamp s) { return (s >> kThreadBits & 1) != 0; }
inline int thread_of(Stamp s) { return static_cast<int>(s & ((1u << kThreadBits) - 1)); }

struct Cell {
  Stamp write;
  Stamp atomic;  // the last atomic before `write` by another thread
  Stamp elsewhere;  // a reader of a block before the one of `reader`
  Stamp reader, other;  // readers since the last write: two threads, of two warps where there are
};

enum Kind : int { Global, Static, Dynamic };

struct Region {
  char name[64];
  Kind kind;
  bool filled;  // holds values before anything is written
  uintptr_t begin, end;
  size_t item;  // bytes of an element, for messages
  size_t grain;  // bytes of a cell
  Cell* cells;
};

struct Block {
  uint32_t tick;
  unsigned id[3];
  bool released;
};

constexpr int kMaxRegions = 1024, kMaxThreads = 1024, kLanes = 64;

struct Shadow {
  Region regions[kMaxRegions];  // by address
  int count, hit;
  const uint64_t* rows;  // addresses from the begin of the object where a line begins, sorted
  const uint32_t* lines;  // 0: code of another file
  int row_count;
  char file[128];
  // The launch.
  const char* kernel;
  unsigned sides[3];
  int lanes, threads;
  const int* current;
  uintptr_t stacks, stacks_end, caller, storage, storage_end, section, section_end;
  uint32_t tick, launch_tick, block_tick, barrier_tick;
  Block* blocks;
  int block_count, block_room;
  bool active, acquired;
  bool fenced[kMaxThreads];
  uint32_t seen[kMaxThreads][kLanes];  // by thread and lane: what that lane did before is ordered
};

Shadow shadow;

// A read that an atomic of another thread may precede: no race if a compare-and-swap follows, as
// in the loops that make one atomic from another.
struct Doubt {
  uintptr_t address;
  char text[480];
};
Doubt doubts[kMaxThreads];
int doubt_count;

// ---------------------------------------------------------------------------------------------
// Where the access is in the text

struct Known {
  uintptr_t pc;
  uint32_t line;
};
Known known[8192];

uint32_t line_at(uintptr_t pc) {
  Known& entry = known[(pc ^ pc >> 13) % (sizeof known / sizeof known[0])];
  if (entry.pc == pc) return entry.line;
  const uint64_t offset = pc - 1 - reinterpret_cast<uintptr_t>(__ehdr_start);
  int low = 0, high = shadow.row_count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (shadow.rows[middle] <= offset) low = middle + 1;
    else high = middle;
  }
  entry = Known{pc, low > 0 ? shadow.lines[low - 1] : 0};
  return entry.line;
}

// The innermost line of the text on the stack above `frame`, a function called from the access.
uint32_t line_above(const uintptr_t* frame) {
  uint32_t line = line_at(frame[1]);
  for (int depth = 0; line == 0 && depth < 32; ++depth) {
    const uintptr_t next = frame[0];
    if (next <= reinterpret_cast<uintptr_t>(frame) || next + 16 > shadow.stacks_end) break;
    frame = reinterpret_cast<const uintptr_t*>(next);
    if (frame[1] == 0) break;
    line = line_at(frame[1]);
  }
  return line < (1u << kLineBits) ? line : 0;
}

// ---------------------------------------------------------------------------------------------
// Messages

struct Text {
  char bytes[900];
  size_t used = 0;

  __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
    va_list values;
    va_start(values, format);
    const int n = vsnprintf(bytes + used, sizeof bytes - used, format, values);
    va_end(values);
    used = n < 0 || used + n >= sizeof bytes ? sizeof bytes - 1 : used + n;
  }
  void add_line(unsigned line) {
    if (line != 0) add("%s line %u", shadow.file, line);
    else add("%s", shadow.file);
  }
  void add_thread(int t) {
    const unsigned x = shadow.sides[0], y = shadow.sides[1], n = static_cast<unsigned>(t);
    add("thread (%u, %u, %u)", n % x, n / x % y, n / x / y);
  }
  void add_block(const Block& b) { add("block (%u, %u, %u)", b.id[0], b.id[1], b.id[2]); }
};

const Block& block_of(uint32_t tick) {
  int low = 0, high = shadow.block_count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (shadow.blocks[middle].tick <= tick) low = middle + 1;
    else high = middle;
  }
  return shadow.blocks[low > 0 ? low - 1 : 0];
}

const Block& this_block() { return shadow.blocks[shadow.block_count - 1]; }

void add_place(Text& text) {
  text.add("; kernel %s, ", shadow.kernel);
  text.add_block(this_block());
  text.add(", ");
  text.add_thread(*shadow.current);
  text.add(", warps of %d", shadow.lanes);
}

[[gnu::noinline]] void report(const Text& text) {
  shadow.active = false;
  mkgen_simt_fault(text.bytes);
}

void add_element(Text& text, const Region& region, uintptr_t address) {
  const size_t offset = address - region.begin;
  if (region.item != 0) text.add("element %zu of %s", offset / region.item, region.name);
  else text.add("byte %zu of %s", offset, region.name);
}

// "a race: thread ... reads element ..., which thread ... writes at line ...".
void describe_race(Text& text, const Region& region, uintptr_t address, uint32_t line, const char* doing, Stamp past,
                   bool past_writes) {
  text.add("finding: ");
  text.add_line(line);
  text.add(": race: ");
  text.add_thread(*shadow.current);
  text.add(" %s ", doing);
  add_element(text, region, address);
  text.add(", which ");
  text.add_thread(thread_of(past));
  const bool far = tick_of(past) < shadow.block_tick;
  if (far) {
    text.add(" of ");
    text.add_block(block_of(tick_of(past)));
  }
  text.add(" %s", is_atomic(past) ? "updates by an atomic" : past_writes ? "writes" : "reads");
  if (line_of(past) != 0) text.add(" at line %u", line_of(past));
  const int u = *shadow.current, t = thread_of(past);
  if (far) text.add(": nothing orders the blocks of a launch");
  else if (u / shadow.lanes == t / shadow.lanes) text.add(", without a barrier between (a shuffle is none)");
  else text.add(", without a barrier between");
  add_place(text);
}

// ---------------------------------------------------------------------------------------------
// Order

inline bool ordered(const Region& region, Stamp past, int u) {
  if (past == 0) return true;
  const uint32_t tick = tick_of(past);
  if (tick < shadow.launch_tick) return true;
  if (tick < shadow.block_tick && region.kind != Global) return true;  // a block has its own
  if (tick < shadow.block_tick) return shadow.acquired && block_of(tick).released;
  if (tick < shadow.barrier_tick) return true;
  const int t = thread_of(past);
  if (t == u) return true;
  if (t / shadow.lanes != u / shadow.lanes) return false;
  return tick < shadow.seen[u][t % shadow.lanes];
}

inline Stamp stamp_now(uint32_t line, bool atomic) {
  return static_cast<uint64_t>(shadow.tick) << 32 | static_cast<uint64_t>(line) << (kThreadBits + 1) |
         static_cast<uint64_t>(atomic) << kThreadBits | static_cast<unsigned>(*shadow.current);
}

void settle_doubts() {
  if (doubt_count == 0) return;
  for (int t = 0; t < shadow.threads; ++t) {
    if (doubts[t].address == 0) continue;
    Text text;
    text.add("%s", doubts[t].text);
    memset(doubts, 0, sizeof doubts);
    doubt_count = 0;
    return report(text);
  }
}

void doubt(uintptr_t address, const Text& text) {
  Doubt& d = doubts[*shadow.current];
  if (d.address != 0) return;
  d.address = address;
  snprintf(d.text, sizeof d.text, "%s", text.bytes);
  ++doubt_count;
}

void forget_doubt(uintptr_t address) {
  Doubt& d = doubts[*shadow.current];
  if (d.address != address) return;
  d.address = 0;
  --doubt_count;
}

// ---------------------------------------------------------------------------------------------
// One cell

bool is_unwritten(const Region& region, const Cell& cell) {
  if (region.filled) return false;
  return region.kind == Global ? cell.write == 0 : tick_of(cell.write) < shadow.block_tick;
}

bool read_cell(const Region& region, Cell& cell, uintptr_t address, uint32_t line, bool atomic) {
  const int u = *shadow.current;
  const Stamp now = stamp_now(line, atomic);
  if (is_unwritten(region, cell)) {
    Text text;
    text.add("finding: ");
    text.add_line(line);
    text.add(": unwritten: reads ");
    add_element(text, region, address);
    text.add(region.kind == Global ? ", which nothing has written" : ", which no thread of the block has written yet");
    add_place(text);
    return report(text), false;
  }
  const Stamp past = !ordered(region, cell.write, u) ? cell.write : !ordered(region, cell.atomic, u) ? cell.atomic : 0;
  if (past != 0 && !(atomic && is_atomic(past))) {
    Text text;
    describe_race(text, region, address, line, atomic ? "updates by an atomic" : "reads", past, true);
    if (!is_atomic(past)) return report(text), false;
    doubt(address, text);
  }
  if (cell.reader == now) return true;
  if (tick_of(cell.reader) < shadow.block_tick) {
    if (tick_of(cell.reader) >= shadow.launch_tick) cell.elsewhere = cell.reader;
    cell.reader = now;
    cell.other = 0;
  } else if (ordered(region, cell.reader, u)) {
    cell.reader = now;
  } else if (ordered(region, cell.other, u) || thread_of(cell.other) / shadow.lanes == thread_of(cell.reader) / shadow.lanes) {
    cell.other = now;
  }
  return true;
}

bool write_cell(const Region& region, Cell& cell, uintptr_t address, uint32_t line, bool atomic) {
  const int u = *shadow.current;
  const Stamp now = stamp_now(line, atomic);
  const char* const doing = atomic ? "updates by an atomic" : "writes";
  const Stamp writes[2] = {cell.write, cell.atomic};
  for (const Stamp past : writes) {
    if (ordered(region, past, u) || (atomic && is_atomic(past))) continue;
    Text text;
    describe_race(text, region, address, line, doing, past, true);
    return report(text), false;
  }
  const Stamp readers[3] = {cell.reader, cell.other, cell.elsewhere};
  for (const Stamp past : readers) {
    if (ordered(region, past, u) || (atomic && is_atomic(past))) continue;
    Text text;
    describe_race(text, region, address, line, doing, past, false);
    return report(text), false;
  }
  if (!atomic) {
    cell = Cell{now, 0, 0, 0, 0};
  } else {
    if (is_atomic(cell.write) && thread_of(cell.write) != u) cell.atomic = cell.write;
    cell.write = now;
  }
  return true;
}

// ---------------------------------------------------------------------------------------------
// One access

Region* region_at(uintptr_t address) {
  Region& last = shadow.regions[shadow.hit];
  if (address - last.begin < last.end - last.begin) return &last;
  int low = 0, high = shadow.count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (shadow.regions[middle].begin <= address) low = middle + 1;
    else high = middle;
  }
  if (low == 0 || address >= shadow.regions[low - 1].end) return nullptr;
  shadow.hit = low - 1;
  return &shadow.regions[low - 1];
}

// Cells of `grain` bytes become two of half as many, until an access of `bytes` fits.
bool refine(Region& region, uintptr_t address, size_t bytes) {
  const size_t offset = address - region.begin;
  while (region.grain > 1 && (bytes % region.grain != 0 || offset % region.grain != 0)) {
    const size_t count = (region.end - region.begin + region.grain - 1) / region.grain;
    Cell* const finer = static_cast<Cell*>(malloc(2 * count * sizeof(Cell)));
    if (finer == nullptr) return false;
    for (size_t i = 0; i < count; ++i) finer[2 * i] = finer[2 * i + 1] = region.cells[i];
    free(region.cells);
    region.cells = finer;
    region.grain /= 2;
  }
  return true;
}

void report_outside(uintptr_t address, size_t bytes, bool writes, uint32_t line, bool in_kernel) {
  Text text;
  text.add("finding: ");
  text.add_line(line);
  text.add(": out of bounds: %s %zu bytes ", writes ? "writes" : "reads", bytes);
  const Region* nearest = nullptr;
  size_t distance = ~size_t(0);
  for (int i = 0; i < shadow.count; ++i) {
    const Region& r = shadow.regions[i];
    if (r.begin == 0) continue;
    const size_t d = address < r.begin ? r.begin - address : address >= r.end ? address - r.end : 0;
    if (d < distance) distance = d, nearest = &r;
  }
  if (nearest == nullptr || distance > 65536) text.add("at no buffer (address 0x%llx)", static_cast<unsigned long long>(address));
  else if (address < nearest->begin) text.add("%zu bytes before %s", distance, nearest->name);
  else if (address >= nearest->end) text.add("%zu bytes after %s", distance, nearest->name);
  else text.add("that begin inside %s and end %zu bytes after it", nearest->name, address + bytes - nearest->end);
  if (nearest != nullptr && distance <= 65536) text.add(" of %zu bytes", static_cast<size_t>(nearest->end - nearest->begin));
  if (in_kernel) add_place(text);
  report(text);
}

// Memory that is no buffer and nobody's business: stacks, the text's constants, what the launcher
// has put on its own stack.
inline bool is_private(uintptr_t address) {
  if (address - shadow.stacks < shadow.stacks_end - shadow.stacks) return true;
  if (address - shadow.storage < shadow.storage_end - shadow.storage) return false;
  if (address - shadow.section < shadow.section_end - shadow.section) return false;
  if (address - reinterpret_cast<uintptr_t>(__ehdr_start) < static_cast<uintptr_t>(_end - __ehdr_start)) return true;
  return address - shadow.caller < (uintptr_t(8) << 20);
}

enum class Access { Read, Write, Update, Load, Store };  // the last three are atomics

__attribute__((noinline)) void access(uintptr_t address, size_t bytes, Access kind, const uintptr_t* frame) {
  Region* const region = region_at(address);
  if (region == nullptr && is_private(address)) return;
  const bool reads = kind != Access::Write && kind != Access::Store;
  const bool writes = kind != Access::Read && kind != Access::Load;
  const bool atomic = kind != Access::Read && kind != Access::Write;
  const uint32_t line = line_above(frame);
  if (region == nullptr || bytes > region->end - address)
    return report_outside(address, bytes, writes, line, true);
  if (!refine(*region, address, bytes)) return;
  const size_t first = (address - region->begin) / region->grain, last = (address + bytes - 1 - region->begin) / region->grain;
  for (size_t i = first; i <= last; ++i) {
    const uintptr_t place = region->begin + i * region->grain;
    if (reads && !read_cell(*region, region->cells[i], place, line, atomic)) return;
    if (writes && !write_cell(*region, region->cells[i], place, line, atomic)) return;
  }
}

inline bool watches(const void* address) {
  return shadow.active && reinterpret_cast<uintptr_t>(address) - shadow.stacks >= shadow.stacks_end - shadow.stacks;
}

int by_address(const void* a, const void* b) {
  const uintptr_t x = static_cast<const Region*>(a)->begin, y = static_cast<const Region*>(b)->begin;
  return x < y ? -1 : x > y;
}

}  // namespace

MKGEN_SHADOW_EXPORT int mkgen_shadow_region(const char*, int, const void*, size_t, size_t, int);

#define FRAME static_cast<const uintptr_t*>(__builtin_frame_address(0))

// ---------------------------------------------------------------------------------------------
// What the machine tells

extern "C" void mkgen_shadow_launch(const char* kernel, const unsigned* sides, int lanes, const int* current,
                                    const char* stacks, size_t stack_bytes) {
  shadow.kernel = kernel;
  memcpy(shadow.sides, sides, sizeof shadow.sides);
  shadow.lanes = lanes;
  shadow.threads = static_cast<int>(sides[0] * sides[1] * sides[2]);
  shadow.current = current;
  shadow.stacks = reinterpret_cast<uintptr_t>(stacks);
  shadow.stacks_end = shadow.stacks + stack_bytes;
  shadow.caller = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  shadow.launch_tick = ++shadow.tick;
  shadow.block_count = 0;
}

extern "C" void mkgen_shadow_shared(const void* begin, size_t bytes, const void* storage, size_t all,
                                    const void* section, size_t section_bytes) {
  shadow.section = reinterpret_cast<uintptr_t>(section);
  shadow.section_end = shadow.section + section_bytes;
  shadow.storage = reinterpret_cast<uintptr_t>(storage);
  shadow.storage_end = shadow.storage + all;
  for (int i = 0; i < shadow.count; ++i) {
    if (shadow.regions[i].kind != Dynamic) continue;
    free(shadow.regions[i].cells);
    shadow.regions[i] = shadow.regions[--shadow.count];
    break;
  }
  qsort(shadow.regions, shadow.count, sizeof(Region), by_address);
  shadow.hit = 0;
  if (bytes != 0)
    mkgen_shadow_region("dynamic shared memory", Dynamic, begin, bytes, 0, 0);
}

extern "C" void mkgen_shadow_block(unsigned x, unsigned y, unsigned z) {
  if (shadow.block_count == shadow.block_room) {
    const int room = shadow.block_room == 0 ? 1024 : 2 * shadow.block_room;
    Block* const more = static_cast<Block*>(realloc(shadow.blocks, room * sizeof(Block)));
    if (more == nullptr) abort();
    shadow.blocks = more;
    shadow.block_room = room;
  }
  shadow.block_tick = shadow.barrier_tick = ++shadow.tick;
  shadow.blocks[shadow.block_count++] = Block{shadow.tick, {x, y, z}, false};
  shadow.acquired = false;
  memset(shadow.fenced, 0, sizeof shadow.fenced);
  memset(shadow.seen, 0, sizeof(shadow.seen[0]) * shadow.threads);
  shadow.active = true;
}

extern "C" void mkgen_shadow_end_block() {
  if (shadow.active) settle_doubts();
  shadow.active = false;
}

extern "C" void mkgen_shadow_barrier() {
  settle_doubts();
  shadow.barrier_tick = ++shadow.tick;
}

extern "C" void mkgen_shadow_sync(int first, uint64_t group) {
  settle_doubts();
  const uint32_t now = ++shadow.tick;
  uint32_t merged[kLanes] = {};
  for (int i = 0; i < shadow.lanes; ++i) {
    if (!(group >> i & 1)) continue;
    for (int j = 0; j < shadow.lanes; ++j)
      if (shadow.seen[first + i][j] > merged[j]) merged[j] = shadow.seen[first + i][j];
  }
  for (int i = 0; i < shadow.lanes; ++i)
    if (group >> i & 1) merged[i] = now;
  for (int i = 0; i < shadow.lanes; ++i)
    if (group >> i & 1) memcpy(shadow.seen[first + i], merged, sizeof merged);
}

extern "C" void mkgen_shadow_fence() {
  if (shadow.active) shadow.fenced[*shadow.current] = true;
}

extern "C" void mkgen_shadow_atomic(const void* p, size_t bytes, bool compares) {
  if (!watches(p)) return;
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  if (compares) {
    // the read before it was part of its loop
    forget_doubt(address);
    Region* const region = region_at(address);
    if (region != nullptr && bytes <= region->end - address && refine(*region, address, bytes)) {
      for (size_t at = 0; at < bytes; at += region->grain) {
        Cell& cell = region->cells[(address + at - region->begin) / region->grain];
        const Stamp mark = Stamp(1) << kThreadBits;
        if (cell.reader != 0 && thread_of(cell.reader) == *shadow.current) cell.reader |= mark;
        if (cell.other != 0 && thread_of(cell.other) == *shadow.current) cell.other |= mark;
      }
    }
  }
  shadow.acquired = true;
  if (shadow.fenced[*shadow.current]) shadow.blocks[shadow.block_count - 1].released = true;
  access(address, bytes, Access::Update, FRAME);
}

extern "C" void mkgen_shadow_host_write(const void* p, size_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  Region* const region = region_at(address);
  if (bytes == 0 || shadow.count == 0) return;
  if (region == nullptr || bytes > region->end - address) return report_outside(address, bytes, true, 0, false);
  if (!refine(*region, address, bytes)) return;
  const Cell written = {Stamp(++shadow.tick) << 32, 0, 0, 0, 0};
  for (size_t at = 0; at < bytes; at += region->grain)
    region->cells[(address + at - region->begin) / region->grain] = written;
}

// ---------------------------------------------------------------------------------------------
// What the caller of a built text sees

// Forgets all memory; `file` is what messages call the text, `lines[i]` its line from address
// `rows[i]` on (from the begin of the object). Both arrays must stay.
MKGEN_SHADOW_EXPORT void mkgen_shadow_begin(const char* file, const uint64_t* rows, const uint32_t* lines, int count) {
  for (int i = 0; i < shadow.count; ++i) free(shadow.regions[i].cells);
  shadow.count = shadow.hit = 0;
  shadow.active = false;
  shadow.tick = 0;
  shadow.rows = rows;
  shadow.lines = lines;
  shadow.row_count = count;
  snprintf(shadow.file, sizeof shadow.file, "%s", file);
  memset(known, 0, sizeof known);
  memset(doubts, 0, sizeof doubts);
  doubt_count = 0;
}

// Memory that kernels may use; 0 when there is no room to watch it. `filled`: it holds values.
MKGEN_SHADOW_EXPORT int mkgen_shadow_region(const char* name, int kind, const void* begin, size_t bytes, size_t item,
                                            int filled) {
  if (shadow.count == kMaxRegions) return 0;
  Region region = {};
  snprintf(region.name, sizeof region.name, "%s", name);
  region.kind = static_cast<Kind>(kind);
  region.filled = filled != 0;
  region.begin = reinterpret_cast<uintptr_t>(begin);
  region.end = region.begin + bytes;
  region.item = item;
  region.grain = 4;
  region.cells = static_cast<Cell*>(calloc(bytes / region.grain + 1, sizeof(Cell)));
  if (region.cells == nullptr) return 0;
  shadow.regions[shadow.count++] = region;
  qsort(shadow.regions, shadow.count, sizeof(Region), by_address);
  return 1;
}

// ---------------------------------------------------------------------------------------------
// What -fsanitize=thread calls

#define READ(name, bytes)                                                                         \
  extern "C" void __tsan_##name(void* p) {                                                        \
    if (watches(p)) access(reinterpret_cast<uintptr_t>(p), bytes, Access::Read, FRAME);           \
  }
#define WRITE(name, bytes)                                                                        \
  extern "C" void __tsan_##name(void* p) {                                                        \
    if (watches(p)) access(reinterpret_cast<uintptr_t>(p), bytes, Access::Write, FRAME);          \
  }
#define SIZED(bytes)                                                                              \
  READ(read##bytes, bytes)                                                                        \
  READ(unaligned_read##bytes, bytes)                                                              \
  READ(volatile_read##bytes, bytes)                                                               \
  READ(unaligned_volatile_read##bytes, bytes)                                                     \
  WRITE(write##bytes, bytes)                                                                      \
  WRITE(unaligned_write##bytes, bytes)                                                            \
  WRITE(volatile_write##bytes, bytes)                                                             \
  WRITE(unaligned_volatile_write##bytes, bytes)
SIZED(1)
SIZED(2)
SIZED(4)
SIZED(8)
SIZED(16)

extern "C" void __tsan_read_range(void* p, size_t bytes) {
  if (bytes != 0 && watches(p)) access(reinterpret_cast<uintptr_t>(p), bytes, Access::Read, FRAME);
}
extern "C" void __tsan_write_range(void* p, size_t bytes) {
  if (bytes != 0 && watches(p)) access(reinterpret_cast<uintptr_t>(p), bytes, Access::Write, FRAME);
}
extern "C" void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  if (bytes != 0 && watches(from)) access(reinterpret_cast<uintptr_t>(from), bytes, Access::Read, FRAME);
  if (bytes != 0 && watches(to)) access(reinterpret_cast<uintptr_t>(to), bytes, Access::Write, FRAME);
  return memcpy(to, from, bytes);
}
extern "C" void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  if (bytes != 0 && watches(from)) access(reinterpret_cast<uintptr_t>(from), bytes, Access::Read, FRAME);
  if (bytes != 0 && watches(to)) access(reinterpret_cast<uintptr_t>(to), bytes, Access::Write, FRAME);
  return memmove(to, from, bytes);
}
extern "C" void* __tsan_memset(void* to, int value, size_t bytes) {
  if (bytes != 0 && watches(to)) access(reinterpret_cast<uintptr_t>(to), bytes, Access::Write, FRAME);
  return memset(to, value, bytes);
}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_atomic_thread_fence(int) { mkgen_shadow_fence(); }
extern "C" void __tsan_atomic_signal_fence(int) {}

// The compiler's own atomics: `__atomic_fetch_add` and its kin.
#define TOUCH(kind) \
  if (watches(const_cast<const void*>(static_cast<const volatile void*>(p)))) \
    access(reinterpret_cast<uintptr_t>(p), sizeof(*p), kind, FRAME)
#define FETCH(T, bits, name)                                                        \
  extern "C" T __tsan_atomic##bits##_fetch_##name(volatile T* p, T v, int) {        \
    TOUCH(Access::Update);                                                          \
    return __atomic_fetch_##name(p, v, __ATOMIC_SEQ_CST);                           \
  }
#define EXCHANGE(T, bits, name)                                                     \
  extern "C" int __tsan_atomic##bits##_compare_exchange_##name(volatile T* p, T* expected, T v, int, int) { \
    TOUCH(Access::Update);                                                          \
    return __atomic_compare_exchange_n(p, expected, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }
#define ATOMICS(T, bits)                                                            \
  extern "C" T __tsan_atomic##bits##_load(const volatile T* p, int) {               \
    TOUCH(Access::Load);                                                            \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                    \
  }                                                                                 \
  extern "C" void __tsan_atomic##bits##_store(volatile T* p, T v, int) {            \
    TOUCH(Access::Store);                                                           \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                       \
  }                                                                                 \
  extern "C" T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) {            \
    TOUCH(Access::Update);                                                          \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                             \
  }                                                                                 \
  extern "C" T __tsan_atomic##bits##_compare_exchange_val(volatile T* p, T expected, T v, int, int) { \
    TOUCH(Access::Update);                                                          \
    __atomic_compare_exchange_n(p, &expected, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    return expected;                                                                \
  }                                                                                 \
  EXCHANGE(T, bits, strong)                                                         \
  EXCHANGE(T, bits, weak)                                                           \
  FETCH(T, bits, add)                                                               \
  FETCH(T, bits, sub)                                                               \
  FETCH(T, bits, and)                                                               \
  FETCH(T, bits, or)                                                                \
  FETCH(T, bits, xor)                                                               \
  FETCH(T, bits, nand)
ATOMICS(uint8_t, 8)
ATOMICS(uint16_t, 16)
ATOMICS(uint32_t, 32)
ATOMICS(uint64_t, 64)

// ---------------------------------------------------------------------------------------------
// What -fsanitize=undefined calls: the first argument leads to the place in the source

static void undefined(const char* what, const uintptr_t* frame) {
  if (!shadow.active) return;
  Text text;
  text.add("finding: ");
  text.add_line(line_above(frame));
  text.add(": undefined: %s", what);
  add_place(text);
  report(text);
}

// In a launcher nothing is said, and the program goes on; in a kernel the launch ends.
#define UNDEFINED(name, what) \
  extern "C" void __ubsan_handle_##name(void*, uintptr_t, uintptr_t) { undefined(what, FRAME); }
// The compiler has put nothing behind these calls that could go on.
#define UNREACHABLE(name, what)                                                                    \
  extern "C" void __ubsan_handle_##name(void*) {                                                   \
    undefined(what, FRAME);                                                                        \
    abort();                                                                                       \
  }
UNDEFINED(add_overflow, "the sum overflows its signed type")
UNDEFINED(sub_overflow, "the difference overflows its signed type")
UNDEFINED(mul_overflow, "the product overflows its signed type")
UNDEFINED(negate_overflow, "the negation overflows its signed type")
UNDEFINED(divrem_overflow, "a division by zero, or its result overflows")
UNDEFINED(shift_out_of_bounds, "a shift by less than 0 or by the type's bits or more, or of a negative value")
UNDEFINED(out_of_bounds, "an index outside the array's declared bounds")
UNDEFINED(type_mismatch_v1, "an access through a null or misaligned pointer")
UNDEFINED(alignment_assumption, "a pointer is not aligned as assumed")
UNDEFINED(vla_bound_not_positive, "an array of no elements")
UNDEFINED(load_invalid_value, "a bool or enum that holds none of its values")
UNDEFINED(invalid_builtin, "a builtin's argument that it does not take")
UNDEFINED(pointer_overflow, "pointer arithmetic wraps around")
UNDEFINED(nonnull_arg, "a null pointer where none may be")
UNDEFINED(nonnull_return_v1, "a null pointer is returned where none may be")
UNREACHABLE(builtin_unreachable, "code that is said to be unreachable is reached")
UNREACHABLE(missing_return, "a function ends without the value it returns")
