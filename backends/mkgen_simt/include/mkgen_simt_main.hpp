// A text as a program of its own: `kernel DIRECTORY` runs the launcher once.
//
// DIRECTORY/plan    "SHARED", then "OFFSET BYTES" of each `__shared__` variable; "BUFFERS", then a
//                   line for each buffer of the launcher: "BYTES ALIGN", or "= N" for one that
//                   lies in the storage of buffer N
// DIRECTORY/input   the bytes of every buffer with storage, one after the other
// DIRECTORY/output  the same after the run
// DIRECTORY/places  where each variable and each buffer lies, a line for each, written before the
//                   launch
// DIRECTORY/status  what the launcher returned
// What the machine sees is a line on stderr that begins with "mkgen: ".
#pragma once
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "mkgen_simt.hpp"

namespace mkgen_simt {

constexpr int kMaxBuffers = 256;
constexpr size_t kAround = 4096;  // closed on both sides of a buffer

static FILE* open_file(const char* directory, const char* name, const char* mode) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE* const file = fopen(path, mode);
  if (file == nullptr) {
    fprintf(stderr, "mkgen: cannot open %s\n", path);
    exit(5);
  }
  return file;
}

// `bytes` with nothing around them; aligned to `align` and no more where that is 8 or above.
static unsigned char* exact_block(size_t bytes, size_t align) {
  const size_t least = align < 8 ? 8 : align;
  unsigned char* const raw = static_cast<unsigned char*>(malloc(bytes + 2 * least + 2 * kAround));
  if (raw == nullptr) exit(6);
  const uintptr_t base = reinterpret_cast<uintptr_t>(raw) + kAround;
  unsigned char* const block = raw + kAround + (least - base % (2 * least) + 2 * least) % (2 * least);
  close_memory(raw, block - raw);
  close_memory(block + bytes, kAround);
  return block;
}

// Says where the machine was when the process was ended.
static void tell_place() {
  if (machine.kernel[0] == 0) return;
  const int t = machine.current;
  fprintf(stderr, "mkgen: place: kernel %s, block (%u, %u, %u), thread (%u, %u, %u)\n", machine.kernel,
          blockIdx.x, blockIdx.y, blockIdx.z, machine.id[t].x, machine.id[t].y, machine.id[t].z);
  const int last = machine.launches < 256 ? machine.launches - 1 : 255;
  fprintf(stderr, "mkgen: dynamic: %llu %llu\n",
          static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(dynamic_arena)),
          static_cast<unsigned long long>(machine.log[last].shared));
}

static void on_abort(int) {
  tell_place();
  _exit(4);
}

static void tell_address(FILE* file, const void* address) {
  fprintf(file, "%llu\n", static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(address)));
}

static int run_directory(const char* directory) {
  static void* buffers[kMaxBuffers + 1];
  static size_t sizes[kMaxBuffers];
  FILE* const plan = open_file(directory, "plan", "r");
  FILE* const input = open_file(directory, "input", "rb");
  FILE* const places = open_file(directory, "places", "w");
  int count = 0, variables = 0;
  bool good = fscanf(plan, "%d", &variables) == 1;
  for (int i = 0; i < variables && good; ++i) {
    size_t offset = 0, bytes = 0;
    good = fscanf(plan, "%zu %zu", &offset, &bytes) == 2;
    tell_address(places, mkgen_simt_shared(offset, bytes));
  }
  good = good && fscanf(plan, "%d", &count) == 1 && count <= kMaxBuffers;
  for (int i = 0; i < count && good; ++i) {
    size_t align = 0;
    int owner = 0;
    if (fscanf(plan, " = %d", &owner) == 1) {
      buffers[i] = buffers[owner];
    } else {
      good = fscanf(plan, "%zu %zu", &sizes[i], &align) == 2;
      buffers[i] = exact_block(sizes[i], align);
      good = good && fread(buffers[i], 1, sizes[i], input) == sizes[i];
    }
    tell_address(places, buffers[i]);
  }
  fclose(places);
  fclose(input);
  fclose(plan);
  if (!good) {
    fprintf(stderr, "mkgen: the plan is not complete\n");
    return 5;
  }
  const int status = mkgen_simt_run(buffers, count + 1);
  if (machine.error[0] != 0) {
    fprintf(stderr, "mkgen: fault: %s\n", machine.error);
    return 3;
  }
  FILE* const output = open_file(directory, "output", "wb");
  for (int i = 0; i < count; ++i) fwrite(buffers[i], 1, sizes[i], output);
  fclose(output);
  FILE* const told = open_file(directory, "status", "w");
  fprintf(told, "%d\n", status);
  fclose(told);
  return 0;
}

}  // namespace mkgen_simt

#ifdef MKGEN_SIMT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

int main(int, char** arguments) {
#ifdef MKGEN_SIMT_ASAN
  // UBSan has a runtime library, and an end, of its own.
  __sanitizer_set_death_callback(::mkgen_simt::tell_place);
  signal(SIGABRT, ::mkgen_simt::on_abort);
#endif
  return ::mkgen_simt::run_directory(arguments[1]);
}
