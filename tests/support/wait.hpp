// Waiting for something that another thread does.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "tests/support/catch.hpp"
#include "tests/support/process.hpp"

namespace pageserver::test {

/// Returns once `holds()` is true; fails the test when patience runs out.
inline void wait_until(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::yield();
  }
}

}  // namespace pageserver::test
