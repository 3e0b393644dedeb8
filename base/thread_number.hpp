// A number for each thread, for what is divided by threads: those that do the same all day long have neighbouring ones.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

namespace pageserver {

namespace thread_numbers {

// Zero-initialised, so that the first use on a thread needs no memory: the number and one.
inline thread_local std::size_t mine_and_one = 0;

}  // namespace thread_numbers

/// Threads that were given none have theirs in turn.
inline std::size_t thread_number() noexcept {
  static std::atomic<std::size_t> threads{0};
  if (thread_numbers::mine_and_one == 0) thread_numbers::mine_and_one = ++threads;
  return thread_numbers::mine_and_one - 1;
}

/// While it lives, the calling thread has this number, where there is one. Two threads that do the same in turn share
/// theirs.
class ThreadNumber {
public:
  explicit ThreadNumber(std::optional<std::size_t> number) noexcept
      : before_{number ? std::exchange(thread_numbers::mine_and_one, *number + 1) : thread_numbers::mine_and_one} {}
  ThreadNumber(const ThreadNumber&) = delete;
  ThreadNumber& operator=(const ThreadNumber&) = delete;
  ~ThreadNumber() { thread_numbers::mine_and_one = before_; }

private:
  const std::size_t before_;
};

}  // namespace pageserver
