#include "tests/bench/load.hpp"

#include <time.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace pageserver::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

class Window {
public:
  Window(Target& target, const Load& load) : target_(target), load_(load), random_(load.seed) {
    places_ = image_bytes / load.bytes;
    slots_.assign(load.depth, std::vector<std::byte>(load.bytes));
    for (auto& slot : slots_) {
      for (auto& byte : slot) byte = static_cast<std::byte>(random_());
    }
  }

  /// Returns how many requests ended until `until`, with those in flight then waited for.
  std::uint64_t run_until(Clock::time_point until) {
    std::uint64_t ended = 0;
    std::size_t in_flight = 0;
    for (;;) {
      if (Clock::now() < until) {
        for (; in_flight < load_.depth; ++in_flight) start_one();
      } else if (in_flight == 0) {
        return ended;
      }
      const std::size_t answered = target_.wait();
      in_flight -= answered;
      ended += answered;
    }
  }

private:
  void start_one() {
    std::vector<std::byte>& slot = slots_[started_ % slots_.size()];
    const std::uint64_t offset = random_() % places_ * load_.bytes;
    ++started_;
    if (!load_.write) return target_.start_read(offset, slot);
    // No two writes carry the same bytes.
    std::memcpy(slot.data(), &started_, std::min(slot.size(), sizeof started_));
    target_.start_write(offset, slot);
  }

  Target& target_;
  const Load& load_;
  std::mt19937_64 random_;
  std::uint64_t places_ = 0;
  std::uint64_t started_ = 0;
  std::vector<std::vector<std::byte>> slots_;
};

}  // namespace

LoadResult run_load(Target& target, const Load& load, pid_t server) {
  Window window{target, load};
  window.run_until(Clock::now() + load.duration / 8);
  LoadResult result;
  const double cpu_before = server != 0 ? cpu_seconds(server) : 0;
  const auto start = Clock::now();
  result.requests = window.run_until(start + load.duration);
  result.seconds = Seconds(Clock::now() - start).count();
  if (server != 0) result.server_cpu_seconds = cpu_seconds(server) - cpu_before;
  return result;
}

double cpu_seconds(pid_t process) {
  clockid_t clock{};
  timespec time{};
  const int error = ::clock_getcpuclockid(process, &clock);
  if (error != 0) throw std::system_error(error, std::generic_category(), "clock_getcpuclockid");
  if (::clock_gettime(clock, &time) != 0) throw std::system_error(errno, std::generic_category(), "clock_gettime");
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::byte image_byte(std::uint64_t offset) {
  std::uint64_t word = (offset / 8 + 1) * 0x9e3779b97f4a7c15;
  word ^= word >> 29;
  return static_cast<std::byte>((word >> (offset % 8 * 8)) | 1);
}

void check_image(Target& target) {
  std::vector<std::byte> bytes(4096);
  const std::uint64_t offset = image_bytes - 5 * bytes.size();
  target.start_read(offset, bytes);
  target.wait();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != image_byte(offset + i))
      throw std::runtime_error("the server does not serve the image: wrong byte at " + std::to_string(offset + i));
  }
}

}  // namespace pageserver::bench
