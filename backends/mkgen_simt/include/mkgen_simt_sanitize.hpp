// What the machine tells the sanitizer that the text is built with; nothing without one.
//
// MKGEN_SIMT_ASAN: AddressSanitizer, in a program of its own (mkgen_simt_main.hpp).
#pragma once
#include <stddef.h>

#ifdef MKGEN_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace mkgen_simt {

#ifdef MKGEN_SIMT_ASAN

constexpr bool kSeesWildAccesses = true;
// Memory that may be read and written from now on, or may not.
static inline void open_memory(const void* begin, size_t bytes) { __asan_unpoison_memory_region(begin, bytes); }
static inline void close_memory(const void* begin, size_t bytes) { __asan_poison_memory_region(begin, bytes); }

#else

constexpr bool kSeesWildAccesses = false;
static inline void open_memory(const void*, size_t) {}
static inline void close_memory(const void*, size_t) {}

#endif

}  // namespace mkgen_simt
