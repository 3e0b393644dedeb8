// A provider against the simplest thing that can be right: random operations on both, the whole images compared.
#pragma once

#include "tests/support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/memory_provider.hpp>

namespace pageserver::test {

/// $PAGESERVER_TEST_SEED, else random. A failing test prints it.
inline std::uint64_t test_seed() {
  if (const char* text = std::getenv("PAGESERVER_TEST_SEED")) return std::strtoull(text, nullptr, 10);
  return std::random_device{}();
}

template <class Fixture>
class Differential {
public:
  explicit Differential(std::uint64_t seed) : random_{seed}, provider_{fixture_.make()} {}

  void run(int operations) {
    for (operation_ = 0; operation_ < operations; ++operation_) step();
    compare_images();
    provider_->flush();
    if constexpr (Fixture::durable) {
      provider_ = fixture_.reopen(std::move(provider_));
      compare_images();
    }
  }

private:
  static constexpr std::uint64_t pages_max = 48;

  std::uint64_t below(std::uint64_t limit) {
    return std::uniform_int_distribution<std::uint64_t>{0, limit - 1}(random_);
  }

  void step() {
    const auto choice = below(100);
    if (choice < 3) return grow();
    if (choice < 50) return read();
    if (choice < 92) return write();
    if (choice < 96) return leave_the_image();
    if (choice < 99) return provider_->flush();
    reopen();
  }

  void grow() {
    const auto room = pages_max - model_.size() / page_size;
    const auto new_pages = below(std::min<std::uint64_t>(room, 4) + 1);
    if (provider_->grow(new_pages) != model_.size() / page_size) fail("grow returned a wrong number");
    model_.resize(model_.size() + new_pages * page_size);
    if (provider_->size() != model_.size()) fail("size() is wrong after grow");
  }

  // Mostly of a few bytes, often a page at a page's border, now and then long: as engines do.
  std::pair<std::uint64_t, std::size_t> range() {
    const std::uint64_t size = model_.size();
    const auto kind = below(10);
    if (kind < 3 && size != 0) return {below(size / page_size) * page_size, page_size};
    const auto offset = below(size + 1);
    const auto longest = kind < 9 ? std::min<std::uint64_t>(300, size - offset) : size - offset;
    return {offset, below(longest + 1)};
  }

  void read() {
    const auto [offset, length] = range();
    std::vector<std::byte> bytes(length, std::byte{0x5a});
    provider_->read(offset, bytes);
    if (!std::equal(bytes.begin(), bytes.end(), model_.begin() + static_cast<std::ptrdiff_t>(offset))) {
      fail("read offset=" + std::to_string(offset) + " length=" + std::to_string(length) + " differs");
    }
  }

  void write() {
    const auto [offset, length] = range();
    std::vector<std::byte> bytes(length);
    const bool zeros = below(8) == 0;
    for (auto& byte : bytes) byte = zeros ? std::byte{0} : static_cast<std::byte>(random_());
    provider_->write(offset, bytes);
    std::copy(bytes.begin(), bytes.end(), model_.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  void leave_the_image() {
    const std::uint64_t size = model_.size();
    const auto length = static_cast<std::size_t>(1 + below(200));
    const auto offset = below(2) == 0 ? size + below(1000) : size - std::min<std::uint64_t>(size, below(length));
    std::vector<std::byte> bytes(length, std::byte{0x77});
    try {
      if (below(2) == 0) {
        provider_->read(offset, bytes);
      } else {
        provider_->write(offset, bytes);
      }
    } catch (const MemoryError& error) {
      if (error.code() != Errc::out_of_bounds) throw;
      return;
    }
    fail("offset=" + std::to_string(offset) + " length=" + std::to_string(length) + " is not out_of_bounds");
  }

  void reopen() {
    provider_->flush();
    if constexpr (Fixture::durable) provider_ = fixture_.reopen(std::move(provider_));
  }

  void compare_images() {
    if (provider_->size() != model_.size()) fail("the sizes of the images differ");
    std::vector<std::byte> page(page_size);
    for (std::uint64_t offset = 0; offset < model_.size(); offset += page_size) {
      provider_->read(offset, page);
      const auto expected = model_.begin() + static_cast<std::ptrdiff_t>(offset);
      const auto [found, wanted] = std::mismatch(page.begin(), page.end(), expected);
      if (found != page.end()) {
        fail("the images differ at byte " +
             std::to_string(offset + static_cast<std::uint64_t>(std::distance(page.begin(), found))));
      }
    }
  }

  void fail(const std::string& what) { FAIL(what << " (operation " << operation_ << ")"); }

  std::mt19937_64 random_;
  Fixture fixture_;
  std::unique_ptr<MemoryProvider> provider_;
  std::vector<std::byte> model_;
  int operation_ = 0;
};

template <class Fixture>
void differential_test(int operations = 2000) {
  const auto seed = test_seed();
  INFO("PAGESERVER_TEST_SEED=" << seed << " repeats this run");
  Differential<Fixture> test{seed};
  test.run(operations);
  SUCCEED();
}

}  // namespace pageserver::test
