// The contract of MemoryProvider as tests: one for every sentence of include/pageserver/memory_provider.hpp, run over
// whatever provider a fixture makes.
//
// A fixture is default constructible, lives for one test, and has
//
//     std::unique_ptr<MemoryProvider> make();      // open for writing, over a new and empty image
//     static constexpr bool durable;               // does an image outlive its provider? If so, also:
//     std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider);  // ends it; the same image
//     anew
//     static constexpr bool sessions;              // is what make() gives a Session? May be left out
//
// and one line, in a source file of its own, makes its tests: PAGESERVER_CONTRACT(HeapFixture, "heap").
#pragma once

#include "tests/support/catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/memory_provider.hpp>
#include <pageserver/session.hpp>

#include "tests/contract/differential.hpp"
#include "tests/support/bytes.hpp"
#include "tests/support/errors.hpp"

namespace pageserver::test {

using Bytes = std::vector<std::byte>;

inline Bytes read_bytes(MemoryProvider& provider, std::uint64_t offset, std::size_t length) {
  Bytes bytes(length, std::byte{0xa5});
  provider.read(offset, bytes);
  return bytes;
}

inline bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

template <class Call>
void check_out_of_bounds(Call&& call, std::uint64_t offset, std::uint64_t length, std::uint64_t size) {
  const auto error = thrown_by(call);
  CHECK(error.code() == Errc::out_of_bounds);
  const std::string text = error.what();
  INFO(text);
  CHECK(text.find("offset=" + std::to_string(offset)) != std::string::npos);
  CHECK(text.find("length=" + std::to_string(length)) != std::string::npos);
  CHECK(text.find("size=" + std::to_string(size)) != std::string::npos);
}

template <class Fixture>
struct Contract {
  static constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

  // "An image that was just created has 0 pages."
  static void new_image_is_empty() {
    Fixture fixture;
    const auto provider = fixture.make();
    CHECK(provider->pages() == 0);
    CHECK(provider->size() == 0);
    CHECK_NOTHROW(provider->read(0, {}));
    CHECK_NOTHROW(provider->write(0, {}));
    CHECK_NOTHROW(provider->flush());
  }

  // "Size of the image in bytes: always pages() * page_size." "returns the previous number of pages"
  static void grow_returns_previous_pages() {
    Fixture fixture;
    const auto provider = fixture.make();
    static_assert(page_size == 65536);
    std::uint64_t pages = 0;
    for (const std::uint64_t step : {1u, 2u, 1u, 13u}) {
      CHECK(provider->grow(step) == pages);
      pages += step;
      CHECK(provider->pages() == pages);
      CHECK(provider->size() == pages * 65536);
    }
  }

  // "Appends new_pages pages of zeros"
  static void grow_appends_zeros() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(1);
    CHECK(all_zero(read_bytes(*provider, 0, page_size)));
    const auto bytes = pattern(page_size);
    provider->write(0, bytes);
    provider->grow(2);
    CHECK(read_bytes(*provider, 0, page_size) == bytes);
    CHECK(all_zero(read_bytes(*provider, page_size, 2 * page_size)));
  }

  static void grow_by_many_pages() {
    Fixture fixture;
    const auto provider = fixture.make();
    constexpr std::uint64_t pages = 4096;
    CHECK(provider->grow(pages) == 0);
    CHECK(all_zero(read_bytes(*provider, pages * page_size - 100, 100)));
    const auto bytes = pattern(10);
    provider->write(pages * page_size - 10, bytes);
    CHECK(read_bytes(*provider, pages * page_size - 10, 10) == bytes);
    CHECK(all_zero(read_bytes(*provider, pages / 2 * page_size, 100)));
  }

  // "grow(0) changes nothing and returns pages()."
  static void grow_by_zero_changes_nothing() {
    Fixture fixture;
    const auto provider = fixture.make();
    CHECK(provider->grow(0) == 0);
    CHECK(provider->pages() == 0);
    provider->grow(3);
    provider->write(page_size, pattern(100));
    CHECK(provider->grow(0) == 3);
    CHECK(provider->pages() == 3);
    CHECK(read_bytes(*provider, page_size, 100) == pattern(100));
  }

  // "Growing past what 64 bits, the file system or a configured limit can hold throws and changes nothing."
  static void impossible_grow_changes_nothing() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(2);
    const auto bytes = pattern(2 * page_size);
    provider->write(0, bytes);
    for (const std::uint64_t pages : {most, most - 1, most / page_size, most / page_size + 1, most / page_size - 1,
                                      most / page_size / 2, std::uint64_t{1} << 46}) {
      INFO("new_pages=" << pages);
      const auto error = thrown_by([&] { provider->grow(pages); });
      INFO(error.what());
      CHECK((error.code() == Errc::no_space || error.code() == Errc::limit_exceeded));
      CHECK(std::string{error.what()}.find("grow") != std::string::npos);
      CHECK(provider->pages() == 2);
      CHECK(provider->size() == 2 * page_size);
    }
    CHECK(read_bytes(*provider, 0, bytes.size()) == bytes);
    CHECK(provider->grow(1) == 2);
  }

  // "Fills buffer with the bytes at offset." "Replaces the bytes at offset with data."
  static void write_replaces_exactly_its_range() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(3);
    Bytes model(3 * page_size);
    unsigned salt = 1;
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, page_size - 1, page_size, page_size + 4093,
                                       2 * page_size - 3, 3 * page_size - 9}) {
      for (const std::size_t length : {std::size_t{1}, std::size_t{8}, std::size_t{4096}, std::size_t{65536}}) {
        if (length > model.size() - offset) continue;
        const auto bytes = pattern(length, salt++);
        provider->write(offset, bytes);
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
        CHECK(read_bytes(*provider, offset, length) == bytes);
      }
    }
    CHECK(read_bytes(*provider, 0, model.size()) == model);
    CHECK(read_bytes(*provider, page_size - 5, 11) ==
          Bytes(model.begin() + page_size - 5, model.begin() + page_size + 6));
  }

  static void last_write_wins() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(1);
    for (unsigned round = 0; round < 20; ++round) provider->write(round * 3, pattern(500, round));
    CHECK(read_bytes(*provider, 57, 500) == pattern(500, 19));
    CHECK(read_bytes(*provider, 0, 3) == pattern(3, 0));
  }

  // Larger than any request limit that a server may announce as its least.
  static void long_reads_and_writes() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(80);
    const auto bytes = pattern(70 * page_size + 12345);
    provider->write(777, bytes);
    CHECK((read_bytes(*provider, 777, bytes.size()) == bytes));
    CHECK(all_zero(read_bytes(*provider, 0, 777)));
    CHECK(all_zero(read_bytes(*provider, 777 + bytes.size(), page_size)));
  }

  // "Throws out_of_bounds, naming offset, length and size, unless offset <= size() and buffer.size() <= size() -
  // offset"
  static void read_past_the_end_is_out_of_bounds() {
    Fixture fixture;
    const auto provider = fixture.make();
    std::array<std::byte, 9> buffer{};
    check_out_of_bounds([&] { provider->read(0, buffer); }, 0, 9, 0);
    provider->grow(1);
    for (const std::uint64_t offset :
         {std::uint64_t{70000}, page_size, page_size - 8, most, most - 8, most - 9, most / 2 + 1}) {
      check_out_of_bounds([&] { provider->read(offset, buffer); }, offset, 9, page_size);
    }
    CHECK_NOTHROW(provider->read(page_size - 9, buffer));
    Bytes longer(page_size + 1);
    check_out_of_bounds([&] { provider->read(0, longer); }, 0, page_size + 1, page_size);
  }

  // "an empty read at offset == size() succeeds"
  static void empty_read_succeeds_up_to_the_very_end() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(1);
    CHECK_NOTHROW(provider->read(0, {}));
    CHECK_NOTHROW(provider->read(page_size, {}));
    check_out_of_bounds([&] { provider->read(page_size + 1, {}); }, page_size + 1, 0, page_size);
    check_out_of_bounds([&] { provider->read(most, {}); }, most, 0, page_size);
  }

  // "Never grows the image; bounds as for read()." "A call that throws has changed nothing that a later read could see"
  static void write_past_the_end_changes_nothing() {
    Fixture fixture;
    const auto provider = fixture.make();
    const auto nine = pattern(9, 5);
    check_out_of_bounds([&] { provider->write(0, nine); }, 0, 9, 0);
    provider->grow(1);
    const auto before = pattern(page_size);
    provider->write(0, before);
    for (const std::uint64_t offset : {std::uint64_t{70000}, page_size, page_size - 8, most, most - 8, most - 9}) {
      check_out_of_bounds([&] { provider->write(offset, nine); }, offset, 9, page_size);
    }
    check_out_of_bounds([&] { provider->write(page_size + 1, {}); }, page_size + 1, 0, page_size);
    CHECK_NOTHROW(provider->write(page_size, {}));
    CHECK(provider->pages() == 1);
    CHECK(read_bytes(*provider, 0, page_size) == before);
    provider->write(page_size - 9, nine);
    CHECK(read_bytes(*provider, page_size - 9, 9) == nine);
  }

  static void empty_write_changes_nothing() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(1);
    provider->write(0, pattern(page_size));
    provider->write(17, {});
    CHECK(read_bytes(*provider, 0, page_size) == pattern(page_size));
  }

  // "Errors: every call may throw MemoryError (error.hpp)."
  static void errors_are_system_errors_and_pass() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(1);
    std::array<std::byte, 9> buffer{};
    try {
      provider->read(70000, buffer);
      FAIL("nothing was thrown");
    } catch (const std::system_error& error) {
      CHECK(error.code() == Errc::out_of_bounds);
      CHECK(error.code() != Errc::provider_error);
      CHECK(std::string{error.what()}.find("read offset=70000 length=9 exceeds size=65536") != std::string::npos);
    }
    const auto written = thrown_by([&] { provider->write(70000, buffer); });
    CHECK(std::string{written.what()}.find("write offset=70000 length=9 exceeds size=65536") != std::string::npos);
    // A refused call is no state: the next one works.
    provider->write(0, pattern(9));
    CHECK(read_bytes(*provider, 0, 9) == pattern(9));
  }

  // "Buffers: buffer and data are used only until the call returns; no provider keeps a pointer to them."
  static void buffers_are_free_after_the_call() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(2);
    auto data = std::make_unique<Bytes>(pattern(page_size));
    provider->write(100, *data);
    std::fill(data->begin(), data->end(), std::byte{0xee});
    data.reset();
    auto buffer = std::make_unique<Bytes>(page_size);
    provider->read(100, *buffer);
    const auto seen = *buffer;
    buffer.reset();
    provider->write(0, pattern(page_size, 9));
    CHECK(seen == pattern(page_size));
    CHECK(read_bytes(*provider, page_size, 100) == Bytes(seen.end() - 100, seen.end()));
  }

  // "Returns once everything that was written and grown before is durable"
  static void flushed_bytes_survive_the_provider() {
    Fixture fixture;
    auto provider = fixture.make();
    CHECK_NOTHROW(provider->flush());
    provider->grow(3);
    provider->write(page_size - 50, pattern(100, 1));
    CHECK_NOTHROW(provider->flush());
    provider->write(2 * page_size, pattern(page_size, 2));
    provider->grow(1);
    CHECK_NOTHROW(provider->flush());
    CHECK_NOTHROW(provider->flush());
    if constexpr (Fixture::durable) {
      provider = fixture.reopen(std::move(provider));
    }
    CHECK(provider->pages() == 4);
    CHECK(all_zero(read_bytes(*provider, 0, page_size - 50)));
    CHECK(read_bytes(*provider, page_size - 50, 100) == pattern(100, 1));
    CHECK(read_bytes(*provider, 2 * page_size, page_size) == pattern(page_size, 2));
    CHECK(all_zero(read_bytes(*provider, 3 * page_size, page_size)));
    CHECK(provider->grow(1) == 4);
  }

  // "every later call but close(), which then does nothing, throws invalid_argument"
  static void after_close_every_call_is_refused() {
    Fixture fixture;
    const auto provider = fixture.make();
    provider->grow(2);
    provider->write(0, pattern(100));
    CHECK_NOTHROW(provider->close());
    CHECK_NOTHROW(provider->close());
    std::array<std::byte, 9> buffer{};
    const auto refused = [](auto call) { CHECK(thrown_by(call).code() == Errc::invalid_argument); };
    refused([&] { (void)provider->size(); });
    refused([&] { (void)provider->pages(); });
    refused([&] { (void)provider->grow(1); });
    refused([&] { (void)provider->grow(0); });
    refused([&] { provider->read(0, buffer); });
    refused([&] { provider->write(0, buffer); });
    refused([&] { provider->flush(); });
    refused([&] { (void)provider->atomic_write_bytes(); });
    CHECK_NOTHROW(provider->close());
  }

  // "When it returns the file, or the lease, is free for others."
  static void after_close_the_image_is_free() {
    Fixture fixture;
    for (std::uint64_t round = 0; round < 10; ++round) {
      const auto provider = fixture.make();
      CHECK(provider->pages() == (Fixture::durable ? round : 0));
      provider->grow(1);
      provider->write(provider->size() - 100, pattern(100, static_cast<unsigned>(round)));
      provider->flush();
      provider->close();
      if constexpr (!Fixture::durable) continue;
      // While the closed one is still there.
      const auto next = fixture.make();
      CHECK(next->pages() == round + 1);
      CHECK(read_bytes(*next, next->size() - 100, 100) == pattern(100, static_cast<unsigned>(round)));
    }
  }

  // "Never changes, and costs nothing."
  static void atomic_write_bytes_never_changes() {
    Fixture fixture;
    const auto provider = fixture.make();
    const std::uint64_t atomic = provider->atomic_write_bytes();
    CHECK(atomic >= 1);
    provider->grow(3);
    CHECK(provider->atomic_write_bytes() == atomic);
    provider->write(100, pattern(2 * page_size));
    CHECK(provider->atomic_write_bytes() == atomic);
    (void)thrown_by([&] { provider->write(70000, Bytes(3 * page_size)); });
    provider->flush();
    CHECK(provider->atomic_write_bytes() == atomic);
  }

  // "unless a write(), zero() or grow() of this session threw since its last flush(), commit() or discard() that went
  // well"
  static void commit_is_refused_after_a_refused_change() {
    Fixture fixture;
    auto provider = fixture.make();
    auto& session = dynamic_cast<Session&>(*provider);
    CHECK_NOTHROW(session.commit());
    session.grow(2);
    session.write(0, pattern(100, 1));
    CHECK_NOTHROW(session.commit());
    const std::array<std::byte, 9> nine{};
    const auto refused = [&](auto change, const char* named) {
      (void)thrown_by(change);
      for (int again = 0; again < 2; ++again)
        check_error(thrown_by([&] { session.commit(); }), Errc::invalid_argument, {"nothing is published", named});
    };
    session.write(0, pattern(100, 2));
    refused([&] { session.write(2 * page_size, nine); }, "a write was refused");
    // A flush publishes all the same, and a commit after it has nothing to complain of.
    session.flush();
    CHECK_NOTHROW(session.commit());
    CHECK(read_bytes(session, 0, 100) == pattern(100, 2));
    refused([&] { session.zero(page_size, page_size + 1); }, "a zero was refused");
    session.discard();
    CHECK_NOTHROW(session.commit());
    refused([&] { (void)session.grow(most); }, "a grow was refused");
    // The first is named.
    refused([&] { session.write(most, nine); }, "a grow was refused");
    session.discard();
    // Reads change nothing.
    (void)thrown_by([&] { read_bytes(session, 2 * page_size, 9); });
    CHECK_NOTHROW(session.commit());
  }

  static void commit_is_durable() {
    Fixture fixture;
    auto provider = fixture.make();
    auto& session = dynamic_cast<Session&>(*provider);
    session.grow(3);
    session.write(page_size - 50, pattern(100, 1));
    session.commit();
    provider = fixture.reopen(std::move(provider));
    CHECK(provider->pages() == 3);
    CHECK(read_bytes(*provider, page_size - 50, 100) == pattern(100, 1));
  }

  static void two_images_are_apart() {
    Fixture one, two;
    const auto first = one.make();
    const auto second = two.make();
    first->grow(1);
    second->grow(2);
    first->write(0, pattern(100, 1));
    second->write(0, pattern(100, 2));
    CHECK(first->pages() == 1);
    CHECK(read_bytes(*first, 0, 100) == pattern(100, 1));
    CHECK(read_bytes(*second, 0, 100) == pattern(100, 2));
  }

  static void random_operations_match_the_model() { differential_test<Fixture>(); }
};

struct NamedTest {
  const char* name;
  void (*run)();
};

template <class Fixture>
std::vector<NamedTest> contract_tests() {
  using C = Contract<Fixture>;
  static_assert(!std::is_copy_constructible_v<MemoryProvider> && !std::is_copy_assignable_v<MemoryProvider>);
  std::vector<NamedTest> tests{
      {"a new image has 0 pages", &C::new_image_is_empty},
      {"grow returns the previous number of pages", &C::grow_returns_previous_pages},
      {"grow appends pages of zeros", &C::grow_appends_zeros},
      {"grow by many pages", &C::grow_by_many_pages},
      {"grow by 0 changes nothing", &C::grow_by_zero_changes_nothing},
      {"an impossible grow throws and changes nothing", &C::impossible_grow_changes_nothing},
      {"a write replaces exactly its range", &C::write_replaces_exactly_its_range},
      {"of overlapping writes the last wins", &C::last_write_wins},
      {"long reads and writes are whole", &C::long_reads_and_writes},
      {"a read past the end is out_of_bounds", &C::read_past_the_end_is_out_of_bounds},
      {"an empty read succeeds up to the very end", &C::empty_read_succeeds_up_to_the_very_end},
      {"a write past the end is out_of_bounds and changes nothing", &C::write_past_the_end_changes_nothing},
      {"an empty write changes nothing", &C::empty_write_changes_nothing},
      {"errors are system errors and the next call works", &C::errors_are_system_errors_and_pass},
      {"buffers are free after the call", &C::buffers_are_free_after_the_call},
      {"flushed bytes survive the provider", &C::flushed_bytes_survive_the_provider},
      {"after close every call is refused", &C::after_close_every_call_is_refused},
      {"after close the image is free for others", &C::after_close_the_image_is_free},
      {"atomic_write_bytes never changes", &C::atomic_write_bytes_never_changes},
      {"two images know nothing of each other", &C::two_images_are_apart},
      {"random operations match the model", &C::random_operations_match_the_model},
  };
  if constexpr (requires { Fixture::sessions; }) {
    tests.push_back({"a commit is refused after a refused change", &C::commit_is_refused_after_a_refused_change});
    if constexpr (Fixture::durable)
      tests.push_back({"what was committed survives the provider", &C::commit_is_durable});
  }
  return tests;
}

template <class Fixture>
bool register_contract(const std::string& provider) {
  for (const auto& test : contract_tests<Fixture>()) {
    const auto name = provider + ": " + test.name;
    Catch::AutoReg registered{Catch::makeTestInvoker(test.run), CATCH_INTERNAL_LINEINFO, Catch::StringRef{},
                              Catch::NameAndTags{name, "[contract]"}};
  }
  return true;
}

}  // namespace pageserver::test

/// Makes a test of every sentence of the contract for `Fixture`. Names start with `provider`.
#define PAGESERVER_CONTRACT(Fixture, provider)                        \
  namespace {                                                         \
  [[maybe_unused]] const bool contract_of_##Fixture##_is_registered = \
      ::pageserver::test::register_contract<Fixture>(provider);       \
  }                                                                   \
  static_assert(true, "a semicolon may follow")
