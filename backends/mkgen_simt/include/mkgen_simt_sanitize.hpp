// What the machine tells the sanitizer that the text is built with; nothing without one.
//
// MKGEN_SIMT_ASAN: AddressSanitizer, in a program of its own (mkgen_simt_main.hpp).
// MKGEN_SIMT_SHADOW: a shadow of all memory (mkgen_simt_shadow.cpp), which sees every access by
// the callbacks that -fsanitize=thread puts before them.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef MKGEN_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

#if defined(MKGEN_SIMT_ASAN) || defined(MKGEN_SIMT_SHADOW)
#define MKGEN_SIMT_SEES_ACCESSES 1
#endif

#ifdef MKGEN_SIMT_SHADOW
// A function whose accesses the shadow is told of in its own words.
#define MKGEN_SIMT_RAW __attribute__((no_sanitize("thread")))
#define MKGEN_SIMT_HIDDEN __attribute__((visibility("hidden")))
extern "C" {
// A launch of blocks of x * y * z threads begins; `current` is the thread that runs.
MKGEN_SIMT_HIDDEN void mkgen_shadow_launch(const char* kernel, const unsigned* block, int lanes,
                                           const int* current, const char* stacks, size_t stack_bytes);
// Dynamic shared memory of the launch, all that lies about it, and the section of static one.
MKGEN_SIMT_HIDDEN void mkgen_shadow_shared(const void* begin, size_t bytes, const void* storage, size_t all,
                                           const void* section, size_t section_bytes);
MKGEN_SIMT_HIDDEN void mkgen_shadow_block(unsigned x, unsigned y, unsigned z);
MKGEN_SIMT_HIDDEN void mkgen_shadow_end_block();
// The whole block has met; the lanes `group` of the warp whose first thread is `first` have.
MKGEN_SIMT_HIDDEN void mkgen_shadow_barrier();
MKGEN_SIMT_HIDDEN void mkgen_shadow_sync(int first, uint64_t group);
MKGEN_SIMT_HIDDEN void mkgen_shadow_atomic(const void* address, size_t bytes, bool compares);
MKGEN_SIMT_HIDDEN void mkgen_shadow_fence();
// The host writes between launches.
MKGEN_SIMT_HIDDEN void mkgen_shadow_host_write(const void* begin, size_t bytes);
// The machine's: ends the launch with `text`, from a thread of a kernel or from the host.
MKGEN_SIMT_HIDDEN void mkgen_simt_fault(const char* text);
}
#else
#define MKGEN_SIMT_RAW
#endif

namespace mkgen_simt {

#ifdef MKGEN_SIMT_ASAN
// Memory that may be read and written from now on, or may not.
static inline void open_memory(const void* begin, size_t bytes) { __asan_unpoison_memory_region(begin, bytes); }
static inline void close_memory(const void* begin, size_t bytes) { __asan_poison_memory_region(begin, bytes); }
#else
static inline void open_memory(const void*, size_t) {}
static inline void close_memory(const void*, size_t) {}
#endif

#ifdef MKGEN_SIMT_SHADOW
static inline void on_barrier() { mkgen_shadow_barrier(); }
static inline void on_sync(int first, uint64_t group) { mkgen_shadow_sync(first, group); }
static inline void on_atomic(const void* address, size_t bytes, bool compares) {
  mkgen_shadow_atomic(address, bytes, compares);
}
static inline void on_fence() { mkgen_shadow_fence(); }
static inline void on_host_write(const void* begin, size_t bytes) { mkgen_shadow_host_write(begin, bytes); }
#else
static inline void on_barrier() {}
static inline void on_sync(int, uint64_t) {}
static inline void on_atomic(const void*, size_t, bool) {}
static inline void on_fence() {}
static inline void on_host_write(const void*, size_t) {}
#endif

// Where the `__shared__` variables lie in their section: what builds for a sanitizer puts gaps
// between them, and tells them to it before the first run.
struct SharedVariable {
  size_t offset, bytes;
};
static SharedVariable shared_variables[1024];
static int shared_count = 0;

}  // namespace mkgen_simt
