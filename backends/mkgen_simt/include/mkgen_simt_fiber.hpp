// Fibers: a stack and where it stopped. All switches go through `switch_to`.
//
// On x86-64 the switch saves the six callee-saved registers and the stack pointer (about 10 ns less
// what the caches cost); elsewhere, or with MKGEN_SIMT_UCONTEXT, ucontext does it (a system call
// for the signal mask, some 300 ns).
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__) || !defined(__ELF__)
#define MKGEN_SIMT_UCONTEXT 1
#endif
#ifdef MKGEN_SIMT_UCONTEXT
#include <ucontext.h>
#endif

namespace mkgen_simt {

#ifdef MKGEN_SIMT_UCONTEXT

struct Context {
  ucontext_t state;
};

static inline void switch_to(Context& from, Context& to) { swapcontext(&from.state, &to.state); }

static inline void prepare(Context& fiber, char* bottom, size_t bytes, void (*entry)()) {
  getcontext(&fiber.state);
  fiber.state.uc_stack.ss_sp = bottom;
  fiber.state.uc_stack.ss_size = bytes;
  fiber.state.uc_link = nullptr;
  makecontext(&fiber.state, entry, 0);
}

#else

struct Context {
  void* stack_pointer;
};

extern "C" __attribute__((visibility("hidden"))) void mkgen_simt_switch(void** save, void* load);

// The jump instead of `ret` keeps the return predictor out of it: nearly every switch resumes at
// the same address, which the branch predictor knows.
asm(R"(
  .pushsection .text
  .p2align 4
  .globl mkgen_simt_switch
  .hidden mkgen_simt_switch
  .type mkgen_simt_switch, @function
mkgen_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
  .size mkgen_simt_switch, . - mkgen_simt_switch
  .popsection
)");

static inline void switch_to(Context& from, Context& to) {
  mkgen_simt_switch(&from.stack_pointer, to.stack_pointer);
}

static inline void prepare(Context& fiber, char* bottom, size_t bytes, void (*entry)()) {
  // From the top: a null return address (at 8 modulo 16, as the ABI wants on entry), the entry,
  // six registers.
  void** top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(bottom + bytes) & ~uintptr_t(15));
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
}

#endif

// Stacks of one size with a guard page below each; mapped once, touched only as used.
class Stacks {
 public:
  static constexpr size_t kBytes = 256 * 1024;

  // Makes at least `count` stacks; false when the system has no room for them.
  bool reserve(int count) {
    if (count <= count_) return true;
    release();
    page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t stride = kBytes + page_;
    void* base = mmap(nullptr, stride * count, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    base_ = static_cast<char*>(base);
    count_ = count;
    for (int i = 0; i < count; ++i)
      if (mprotect(base_ + i * stride, page_, PROT_NONE) != 0) return false;
    return true;
  }

  // Called before the library is unloaded; a destructor would need the C++ runtime.
  void release() {
    if (base_ != nullptr) munmap(base_, (kBytes + page_) * count_);
    base_ = nullptr;
    count_ = 0;
  }

  char* bottom(int i) const { return base_ + i * (kBytes + page_) + page_; }

  // From the bottom of the first stack to the top of the last.
  size_t reach() const { return (kBytes + page_) * count_ - page_; }

  // Usable bytes of stack `i`. Tops are staggered: the same frame in every fiber would otherwise
  // fall into the same few cache sets.
  size_t bytes(int i) const { return kBytes - static_cast<size_t>(i % 61) * 320; }

 private:
  char* base_ = nullptr;
  int count_ = 0;
  size_t page_ = 0;
};

}  // namespace mkgen_simt
