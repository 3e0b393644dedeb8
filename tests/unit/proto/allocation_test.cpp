// What the codec allocates: nothing on the hot paths, nothing by a number that a peer only claims.
#include <cstdlib>
#include <new>
#include "tests/support/catch.hpp"

#include "proto/framing.hpp"
#include "tests/unit/proto/all_messages.hpp"
#include "tests/unit/proto/random_messages.hpp"

namespace {

struct Counts {
  bool on = false;
  std::size_t calls = 0;
  std::size_t bytes = 0;
};
thread_local Counts counts;

}  // namespace

// Not inlined: gcc would see malloc() meet operator delete, and warn.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (counts.on) {
    ++counts.calls;
    counts.bytes += bytes;
  }
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
// Together with the others: a sanitizer's own would not go with the delete below.
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return std::malloc(bytes == 0 ? 1 : bytes);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace pageserver::proto::test {
namespace {

/// Allocations of `work`.
template <class Work>
Counts counted(Work&& work) {
  counts = {true, 0, 0};
  work();
  counts.on = false;
  return counts;
}

template <class Number>
void put(Bytes& bytes, std::size_t offset, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i) bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
}

}  // namespace

TEST_CASE("the counter of allocations counts") {
  const Counts some = counted([] { Bytes(1000).back() = std::byte{1}; });
  CHECK(some.calls == 1);
  CHECK(some.bytes == 1000);
}

TEST_CASE("a payload that claims a huge count is refused without allocating for it") {
  const std::size_t fault_text_bytes_max = 2048;
  const auto check = [&](const Bytes& payload, auto message) {
    bool refused = false;
    const Counts used = counted([&] { refused = decode(payload, message).has_value(); });
    CHECK(refused);
    CHECK(used.bytes <= fault_text_bytes_max);
  };
  Bytes list(8);
  for (const unsigned count : {33u, 0x7FFFu, 0xFFFFu}) {
    put(list, 0, static_cast<std::uint16_t>(count));
    check(list, ListAnswer{});
  }
  Bytes ranges(16);
  Bytes refresh(32);
  for (const std::uint32_t count : {1u, 4096u, 4097u, 0x0FFFFFFFu, 0x10000000u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    put(ranges, 8, count);
    check(ranges, DataRangesAnswer{});
    put(refresh, 24, count);
    check(refresh, RefreshAnswer{});
  }
  Bytes frame(frame_header_bytes);
  encode_header(std::span<std::byte, frame_header_bytes>(frame), {Operation::write, 0, 1, UINT32_MAX, Status::ok, 0});
  const Counts scanned = counted([&] { CHECK_NOFAIL(scan_frame(frame, 1 << 20).kind == Scan::Kind::broken); });
  CHECK(scanned.bytes <= 64 * fault_text_bytes_max);
}

TEST_CASE("random bytes never make a decoder allocate more than a few times their size") {
  for_each_message([](auto entry) {
    INFO(name_of(entry));
    RandomMessages random(11);
    for (int round = 0; round < 500; ++round) {
      const auto payload = random.bytes(200);
      typename decltype(entry)::Message message;
      const Counts used = counted([&] { static_cast<void>(decode(payload, message)); });
      REQUIRE(used.bytes <= 4096);
    }
  });
}

TEST_CASE("reading, writing and their answers allocate nothing once the buffer has room") {
  const Bytes page(65536, std::byte{1});
  Bytes out;
  out.reserve(4 * page.size());
  bool good = true;
  const Counts used = counted([&] {
    encode(out, 1, ReadRequest{70, 3});
    encode(out, 2, WriteRequest{70, page});
    encode(out, 3, ReadAnswer{page});
    encode(out, 4, WriteAnswer{});
    encode(out, 5, SizeRequest{});
    encode(out, 6, SizeAnswer{});
    std::span<const std::byte> rest = out;
    for (int frame = 0; frame < 6; ++frame) {
      const Scan scan = scan_frame(rest, 1 << 20);
      good = good && scan.kind == Scan::Kind::frame;
      rest = rest.subspan(scan.frame_bytes);
      if (frame < 2 || frame == 4) good = good && !check_request_header(scan.header);
      ReadRequest read;
      WriteRequest write;
      ReadAnswer data;
      SizeAnswer size;
      if (frame == 0) good = good && !decode(scan.payload, read);
      if (frame == 1) good = good && !decode(scan.payload, write) && write.data.data() == scan.payload.data() + 8;
      if (frame == 2) good = good && !decode(scan.payload, data) && data.data.data() == scan.payload.data();
      if (frame == 5) good = good && !decode(scan.payload, size);
    }
  });
  CHECK(good);
  CHECK(used.calls == 0);
}

TEST_CASE("a batch of frames grows its buffer a few times, not once for each") {
  Bytes out;
  const Counts used = counted([&] {
    for (std::uint64_t id = 1; id <= 10'000; ++id) encode(out, id, ReadRequest{id, 8});
  });
  CHECK(out.size() == 10'000 * (frame_header_bytes + 16));
  CHECK(used.calls < 30);
}

}  // namespace pageserver::proto::test
