// replay on plain files and on the heap, and traces that are not what they should be.
#include <filesystem>
#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

/// A trace made by hand.
class Trace {
public:
  Trace& grow(std::uint64_t pages, std::uint64_t returned) { return op(1).u64(pages).u64(returned); }
  Trace& read(std::uint64_t offset, std::uint32_t length, std::uint64_t hash) {
    return op(2).u64(offset).u32(length).u64(hash);
  }
  Trace& write(std::uint64_t offset, const std::string& data) {
    op(3).u64(offset).u32(static_cast<std::uint32_t>(data.size()));
    records_ += data;
    return *this;
  }
  Trace& zero(std::uint64_t offset, std::uint32_t length) { return op(4).u64(offset).u32(length); }
  Trace& flush() { return op(5); }
  Trace& failed(char which, std::uint64_t offset, std::uint32_t length) {
    op(6);
    records_ += which;
    return u64(offset).u32(length);
  }

  std::string bytes(std::uint64_t final_size, std::uint64_t final_hash) const {
    std::string out = "WDTRACE1";
    put(out, 0, 8);
    put(out, empty_hash, 8);
    put(out, count_, 8);
    put(out, final_size, 8);
    put(out, final_hash, 8);
    return out + records_;
  }
  static constexpr std::uint64_t empty_hash = 0x2d06800538d394c2;

private:
  Trace& op(int number) {
    ++count_;
    put(records_, static_cast<std::uint64_t>(number), 1);
    return *this;
  }
  Trace& u64(std::uint64_t value) {
    put(records_, value, 8);
    return *this;
  }
  Trace& u32(std::uint32_t value) {
    put(records_, value, 4);
    return *this;
  }

  std::string records_;
  std::uint64_t count_ = 0;
};

/// XXH3-64 of `text`, padded with zeros to whole pages, as the tool itself says (compared with known values elsewhere).
std::uint64_t hash_of(const std::string& content) {
  const TempDir dir;
  write_file(dir.file("x.img"), content);
  return std::stoull(pagectl({"hash", dir.file("x.img")}).out, nullptr, 16);
}

RunResult replay(const std::string& trace, const std::string& uri = "heap:") {
  const TempDir dir;
  write_file(dir.file("t.wdtr"), trace);
  return pagectl({"replay", dir.file("t.wdtr"), uri});
}

}  // namespace

TEST_CASE("recorded traces replay on a file to the engine's own image") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  for (const auto& trace : {small_crud, reopen, blob}) {
    if (trace.starts_from_image) {
      REQUIRE(sha256_of(image) == small_crud.sha256);
    } else {
      std::filesystem::remove(image);
    }
    const auto report =
        pagectl_json({"replay", engine_fixture(std::string(trace.name) + ".wdtr.zst"), image, "--depth", "16"});
    INFO(trace.name);
    CHECK(report["operations"] == trace.records);
    CHECK(report["hash"] == trace.hash);
    CHECK(report["operations_per_second"] > 0);
    CHECK(sha256_of(image) == trace.sha256);
  }
}

TEST_CASE("an uncompressed trace on the heap, one request at a time") {
  const TempDir dir;
  unpack("reopen.wdtr", dir.file("reopen.wdtr"));
  unpack("small_crud.img", dir.file("a.img"));
  const auto result = pagectl({"replay", dir.file("reopen.wdtr"), dir.file("a.img")});
  CHECK(result.status == 0);
  CHECK_THAT(result.out, Contains("3550 operations") && Contains("3140 reads verified"));
  const auto heap = pagectl({"replay", engine_fixture("small_crud.wdtr.zst"), "heap:"});
  CHECK(heap.status == 0);
}

TEST_CASE("replay refuses an image that the trace does not start from") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, std::string(page_bytes, '\0'));
  const auto not_empty = pagectl({"replay", engine_fixture("small_crud.wdtr.zst"), image});
  CHECK(not_empty.status == 2);
  CHECK_THAT(not_empty.err, Contains("size=65536") && Contains("size=0"));
  CHECK((read_file(image) == std::string(page_bytes, '\0')));

  unpack("small_crud.img", image);
  patch_file(image, 1000, "?");
  const auto other = pagectl({"replay", engine_fixture("reopen.wdtr.zst"), image});
  CHECK(other.status == 2);
  CHECK_THAT(other.err, Contains(small_crud.hash));
}

TEST_CASE("a trace of every operation replays") {
  const auto image = std::string("\0\0abc", 5) + std::string(page_bytes * 2 - 5, '\0');
  Trace trace;
  trace.grow(1, 0).write(0, "xxabc").zero(0, 2).grow(1, page_bytes).flush();
  trace.read(0, 2 * page_bytes, hash_of(image))
      .failed(2, page_bytes * 2, 1)
      .failed(3, 7, 4'294'967'295u)
      .grow(0, page_bytes * 2);
  const auto result = replay(trace.bytes(page_bytes * 2, hash_of(image)));
  INFO(result.err);
  CHECK(result.status == 0);
}

TEST_CASE("the first record that did not go as recorded is named") {
  const auto zeros = hash_of(std::string(page_bytes, '\0'));
  const std::vector<std::pair<std::string, std::string>> wrong{
      {Trace().grow(1, 0).read(0, page_bytes, 42).bytes(page_bytes, zeros),
       "record 2 of 2: read offset=0 length=65536"},
      {Trace().grow(1, page_bytes).bytes(page_bytes, zeros), "record 1 of 1: grow new_pages=1 returned 0 pages"},
      {Trace().grow(1, 0).flush().failed(2, 0, 1).bytes(page_bytes, zeros), "record 3 of 3: read offset=0 length=1"},
      {Trace().grow(1, 0).read(page_bytes, 1, 0).bytes(page_bytes, zeros), "record 2 of 2: read offset=65536"},
      {Trace().grow(1, 0).write(page_bytes - 1, "xy").bytes(page_bytes, zeros), "record 2 of 2: write offset=65535"},
      {Trace().grow(1, 0).bytes(page_bytes, 42), "the final image has hash"},
      {Trace().grow(1, 0).bytes(2 * page_bytes, zeros), "the final size=65536"},
  };
  for (const auto& [trace, text] : wrong) {
    const auto result = replay(trace);
    CHECK(result.status == 1);
    CHECK_THAT(result.err, Contains(text));
    CHECK(result.out.empty());
  }
}

TEST_CASE("with many requests in flight it is still the first record that is named") {
  Trace trace;
  trace.grow(1, 0);
  for (int i = 0; i < 20; ++i) trace.read(0, page_bytes, i == 7 || i == 9 ? 1 : hash_of(std::string(page_bytes, '\0')));
  const TempDir dir;
  write_file(dir.file("t.wdtr"), trace.bytes(page_bytes, 0));
  const auto result = pagectl({"replay", "--depth", "64", dir.file("t.wdtr"), "heap:"});
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("record 9 of 21"));
}

TEST_CASE("a damaged trace is told from a wrong image") {
  const auto zeros = hash_of(std::string(page_bytes, '\0'));
  const auto good = Trace().grow(1, 0).read(0, page_bytes, zeros).write(5, "hello").bytes(page_bytes, zeros);
  CHECK_THAT(replay("").err, Contains("header: the trace is cut off"));
  CHECK_THAT(replay("WDTRACE2" + good.substr(8)).err, Contains("does not begin with WDTRACE1"));
  CHECK_THAT(replay(good.substr(0, good.size() - 2)).err, Contains("record 3 of 3: the trace is cut off"));
  CHECK_THAT(replay(good.substr(0, 50)).err, Contains("record 1 of 3: the trace is cut off"));
  CHECK_THAT(replay(good + "x").err, Contains("behind the last record"));
  auto unknown = good;
  unknown[48] = 9;
  CHECK_THAT(replay(unknown).err, Contains("unknown operation 9"));

  const auto packed = read_file(engine_fixture("reopen.wdtr.zst"));
  const TempDir dir;
  unpack("small_crud.img", dir.file("a.img"));
  auto broken = packed;
  broken[packed.size() / 2] = static_cast<char>(~broken[packed.size() / 2]);
  CHECK(replay(broken, dir.file("a.img")).status == 1);
  unpack("small_crud.img", dir.file("b.img"));
  const auto cut = replay(packed.substr(0, packed.size() / 2), dir.file("b.img"));
  CHECK(cut.status == 1);
  CHECK_THAT(cut.err, Contains("cut off"));
}

TEST_CASE("every changed hash of a recorded trace is found") {
  const TempDir dir;
  unpack("reopen.wdtr", dir.file("t.wdtr"));
  auto bytes = read_file(dir.file("t.wdtr"));
  // The first record is a read: op, offset, length, hash.
  REQUIRE(bytes[48] == 2);
  bytes[48 + 13] = static_cast<char>(bytes[48 + 13] ^ 1);
  write_file(dir.file("t.wdtr"), bytes);
  unpack("small_crud.img", dir.file("a.img"));
  const auto result = pagectl({"replay", dir.file("t.wdtr"), dir.file("a.img")});
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("record 1 of 3550: read"));
}
