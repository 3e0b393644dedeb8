// What a loop does that looks again and again at memory which another processor is about to write.
#pragma once

namespace pageserver::ring {

inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace pageserver::ring
