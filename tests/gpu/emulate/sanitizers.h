// What the sanitizers are told about fibers, and nothing where there is none.
//
// This library itself is compiled without the thread sanitizer (CATENA_EMULATE_TSAN says that the
// program has it): what the emulation does is no access of a kernel's.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CATENA_EMULATE_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CATENA_EMULATE_ASAN 1
#endif

#if defined(CATENA_EMULATE_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(CATENA_EMULATE_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
}
#endif

namespace catena::emulate {

// Of the stack that is left, and of the one that is entered.
inline void StartSwitch([[maybe_unused]] void** fake, [[maybe_unused]] const void* stack,
                        [[maybe_unused]] size_t bytes) {
#if defined(CATENA_EMULATE_ASAN)
  __sanitizer_start_switch_fiber(fake, stack, bytes);
#endif
}
inline void FinishSwitch([[maybe_unused]] void* fake, [[maybe_unused]] const void** from,
                         [[maybe_unused]] size_t* bytes) {
#if defined(CATENA_EMULATE_ASAN)
  __sanitizer_finish_switch_fiber(fake, from, bytes);
#endif
}
// A stack that is used anew: frames that were dropped leave their marks.
inline void ForgetStack([[maybe_unused]] void* stack, [[maybe_unused]] size_t bytes) {
#if defined(CATENA_EMULATE_ASAN)
  __asan_unpoison_memory_region(stack, bytes);
#endif
}

// A thread as the thread sanitizer sees it. `ordered`: what was done before comes before.
#if defined(CATENA_EMULATE_TSAN)
inline void* NewTsanThread() { return __tsan_create_fiber(0); }
inline void* ThisTsanThread() { return __tsan_get_current_fiber(); }
inline void DropTsanThread(void* t) { __tsan_destroy_fiber(t); }
inline void SwitchTsanThread(void* t, bool ordered) { __tsan_switch_to_fiber(t, ordered ? 0 : 1); }
inline void Release(void* token) { __tsan_release(token); }
inline void Acquire(void* token) { __tsan_acquire(token); }
struct Unseen {  // while it lives, nothing is an access
  Unseen() { __tsan_ignore_thread_begin(); }
  ~Unseen() { __tsan_ignore_thread_end(); }
};
#else
inline void* NewTsanThread() { return nullptr; }
inline void* ThisTsanThread() { return nullptr; }
inline void DropTsanThread(void*) {}
inline void SwitchTsanThread(void*, bool) {}
inline void Release(void*) {}
inline void Acquire(void*) {}
struct Unseen {
  Unseen() {}
  ~Unseen() {}
};
#endif

}  // namespace catena::emulate
