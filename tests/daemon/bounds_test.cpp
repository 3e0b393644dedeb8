// What one client may take from the others is bounded in bytes: of the log, of what pins and forks hold back, of
// private bytes in memory and on disk. Measured from outside, on the daemon's process and its folder.
#include <sys/stat.h>
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

namespace pageserver::test {
namespace {

constexpr std::uint64_t mib = 1ull << 20;
/// The size that a log's file is made with: an eighth of log_bytes, where that is 8 MiB.
constexpr std::uint64_t segment_bytes = mib;

/// Bytes that a file takes on disk; 0 when it is gone.
std::uint64_t disk_bytes(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

/// A number of /proc/PID/`file`, by the word before it.
std::uint64_t process_number(pid_t pid, const char* file, const std::string& name) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/" + file};
  std::uint64_t number = 0;
  for (std::string word; in >> word;)
    if (word == name + ":" && in >> number) return number;
  FAIL("no " << name << " in " << file << " of process " << pid);
  return 0;
}

/// A daemon with small limits and a folder in which nothing is but its images and what belongs to them.
struct Bounded {
  explicit Bounded(const std::string& limits, const std::vector<std::string>& stores = {"s"}) {
    raise_open_files_limit();
    std::filesystem::create_directory(folder());
    std::ofstream{dir.file("c.json")} << "{\"limits\": {" + limits + "}}";
    std::vector<std::string> flags{"--config", "{dir}/c.json"};
    for (const auto& name : stores) {
      flags.push_back("--store");
      flags.push_back(name + "={dir}/images/" + name + ".img");
    }
    daemon.emplace(flags, &dir);
  }
  std::filesystem::path folder() const { return dir.path() / "images"; }
  std::filesystem::path image() const { return folder() / "s.img"; }

  std::unique_ptr<Session> session(const std::string& query) const {
    return open_session(daemon->unix_uri("s", query));
  }
  std::unique_ptr<Session> writer(std::uint64_t pages) const {
    auto session = open_session(daemon->unix_uri("s", "name=writer"));
    session->grow(pages);
    return session;
  }
  /// What lies beside the images, in bytes on disk.
  std::uint64_t bytes_beside() const {
    std::uint64_t sum = 0;
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator{folder(), gone})
      if (entry.path().extension() != ".img") sum += disk_bytes(entry.path());
    return sum;
  }
  /// A clean stop leaves one image of `pages` pages and nothing else; returns its bytes.
  std::vector<std::byte> stopped_image(std::uint64_t pages) {
    CHECK(daemon->stop() == 0);
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{folder()}) names.push_back(entry.path().filename());
    CHECK(names == std::vector<std::string>{"s.img"});
    std::vector<std::byte> bytes(std::filesystem::file_size(image()));
    CHECK(bytes.size() == pages * page_size);
    std::ifstream{image(), std::ios::binary}.read(reinterpret_cast<char*>(bytes.data()),
                                                  static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }

  TempDir dir;
  std::optional<Daemon> daemon;
};

std::vector<std::byte> read_all(Session& session, std::uint64_t offset, std::uint64_t length) {
  std::vector<std::byte> bytes(length);
  for (std::uint64_t at = 0; at < length; at += mib)
    session.read(offset + at, std::span{bytes}.subspan(at, std::min(mib, length - at)));
  return bytes;
}

/// The error that `call` throws.
template <class Call>
std::optional<MemoryError> error_of(Call&& call) {
  try {
    call();
  } catch (const MemoryError& error) {
    return error;
  }
  return std::nullopt;
}

void check_error(const std::optional<MemoryError>& error, Errc code, std::string_view part) {
  REQUIRE(error);
  INFO(error->what());
  CHECK(error->errc() == code);
  CHECK(std::string_view{error->what()}.find(part) != std::string_view::npos);
}

}  // namespace

TEST_CASE("the log beside the image stays below its bound however much is rewritten") {
  constexpr std::uint64_t log_bytes = 8 * mib;
  constexpr std::uint64_t chunk = mib / 2;
  // Whoever asked before the bound was reached may write once more; the log's first file goes only as a whole, and the
  // last is made in full length. The others give back what they did not need, here nearly half.
  constexpr std::uint64_t bound = log_bytes + chunk + 2 * segment_bytes;
  Bounded bounded{R"("log_bytes": "8MiB")"};
  constexpr std::uint64_t pages = 64;
  auto writer = bounded.writer(pages);
  std::uint64_t highest = 0;
  int value = 0;
  for (std::uint64_t written = 0; written < 20 * bound; written += pages * page_size) {
    ++value;
    for (std::uint64_t offset = 0; offset < pages * page_size; offset += chunk) {
      writer->write(offset, std::vector<std::byte>(chunk, static_cast<std::byte>(value)));
      highest = std::max(highest, bounded.bytes_beside());
    }
    if (value % 16 == 0) {
      const Stat stat = writer->stat();
      CHECK(stat.checkpoint_lag_bytes <= log_bytes + chunk + 65536);
    }
  }
  INFO("highest " << highest << ", bound " << bound);
  CHECK(highest > log_bytes / 4);  // there was a log to look at
  CHECK(highest <= bound);
  writer.reset();
  CHECK((bounded.stopped_image(pages) == std::vector<std::byte>(pages * page_size, static_cast<std::byte>(value))));
}

TEST_CASE("a pin or fork that holds back more than held_bytes is told so, and the writer never is") {
  Bounded bounded{R"("log_bytes": "1MiB", "held_bytes": "2MiB")"};
  auto writer = bounded.writer(16);
  writer->write(0, std::vector<std::byte>(mib, std::byte{1}));
  auto oldest = bounded.session(GENERATE(as<std::string>{}, "access=read&view=pinned", "access=fork"));
  CHECK((read_all(*oldest, 0, mib) == std::vector<std::byte>(mib, std::byte{1})));
  writer->write(0, std::vector<std::byte>(mib, std::byte{2}));
  auto younger = bounded.session("access=read&view=pinned");
  writer->write(0, std::vector<std::byte>(page_size, std::byte{3}));
  CHECK((read_all(*oldest, 0, mib) == std::vector<std::byte>(mib, std::byte{1})));  // 1 MiB and a page are held back
  CHECK(writer->stat().held_bytes <= 2 * mib);
  writer->write(mib / 2, std::vector<std::byte>(mib / 2, std::byte{3}));
  writer->write(mib / 2, std::vector<std::byte>(mib / 2, std::byte{3}));
  check_error(error_of([&] { read_all(*oldest, 0, 1); }), Errc::snapshot_too_old, "held_bytes");
  CHECK((read_all(*younger, 0, mib) == std::vector<std::byte>(mib, std::byte{2})));  // the oldest goes first
  for (int i = 0; i < 100; ++i) {
    writer->write(0, std::vector<std::byte>(mib, std::byte{4}));
    if (i % 10 == 0) CHECK(writer->stat().held_bytes <= 2 * mib);
  }
  check_error(error_of([&] { read_all(*younger, 0, 1); }), Errc::snapshot_too_old, "held_bytes");
  CHECK(younger->refresh().everything);
  CHECK((read_all(*younger, 0, mib) == std::vector<std::byte>(mib, std::byte{4})));
  writer->flush();
  oldest.reset(), younger.reset(), writer.reset();
  CHECK((bounded.stopped_image(16) == std::vector<std::byte>(mib, std::byte{4})));
}

TEST_CASE("a transaction many times larger than the bounds of memory and log is published whole") {
  Bounded bounded{R"("log_bytes": "1MiB", "private_memory_bytes": "1MiB")"};
  constexpr std::uint64_t pages = 1024;  // 64 MiB
  bounded.writer(pages)->flush();
  auto writer = bounded.session("publish=on_flush");
  auto reader = bounded.session("access=read");
  const auto content = [](std::uint64_t offset) { return pattern(mib, static_cast<unsigned>(offset / mib + 1)); };
  writer->write(0, content(0));
  writer->flush();
  writer->discard();
  const std::uint64_t before_kib = process_number(bounded.daemon->pid(), "status", "VmRSS");
  for (std::uint64_t offset = 0; offset < pages * page_size; offset += mib) writer->write(offset, content(offset));
  CHECK((read_all(*reader, 8 * mib, mib) == std::vector<std::byte>(mib)));
  CHECK((read_all(*writer, 8 * mib, mib) == content(8 * mib)));
  writer->flush();
  const std::uint64_t highest_kib = process_number(bounded.daemon->pid(), "status", "VmHWM");
  INFO("before " << before_kib << " KiB, highest " << highest_kib << " KiB");
  if (!sanitized) CHECK(highest_kib <= before_kib + 16 * 1024);
  for (std::uint64_t offset = 0; offset < pages * page_size; offset += mib)
    REQUIRE((read_all(*reader, offset, mib) == content(offset)));
  // The log may exceed its bound for that, and comes back to it.
  writer->write(0, content(0));
  writer->flush();
  writer.reset(), reader.reset();
  const auto image = bounded.stopped_image(pages);
  for (std::uint64_t offset = 0; offset < pages * page_size; offset += mib) {
    const auto expected = content(offset);
    REQUIRE(std::equal(expected.begin(), expected.end(), image.begin() + static_cast<std::ptrdiff_t>(offset)));
  }
}

TEST_CASE("a transaction larger than memory that ends without a flush leaves no trace") {
  Bounded bounded{R"("log_bytes": "1MiB", "private_memory_bytes": "64KiB")"};
  bounded.writer(256)->flush();
  auto writer = bounded.session("publish=on_flush");
  const std::uint64_t before = bounded.bytes_beside();
  for (std::uint64_t offset = 0; offset < 16 * mib; offset += mib) writer->write(offset, pattern(mib, 1));
  CHECK(bounded.bytes_beside() == before);  // the spill has no name
  writer.reset();
  CHECK((bounded.stopped_image(256) == std::vector<std::byte>(16 * mib)));
}

TEST_CASE("a fork that reaches fork_bytes is told which limit, and goes on within it") {
  Bounded bounded{
      R"("fork_bytes": "1MiB", "forks_bytes": "2MiB", "peer_percent": 100, "private_memory_bytes": "64KiB")"};
  auto writer = bounded.writer(64);
  writer->write(0, std::vector<std::byte>(page_size, std::byte{1}));
  auto fork = bounded.session("access=fork");
  fork->write(0, std::vector<std::byte>(mib, std::byte{2}));
  check_error(error_of([&] { fork->write(mib, std::vector<std::byte>(1, std::byte{2})); }), Errc::limit_exceeded,
              "fork_bytes");
  check_error(error_of([&] { fork->write(mib - 1, std::vector<std::byte>(2, std::byte{5})); }), Errc::limit_exceeded,
              "fork_bytes");
  CHECK((read_all(*fork, 0, mib) == std::vector<std::byte>(mib, std::byte{2})));  // a refused write changed nothing
  CHECK((read_all(*fork, mib, page_size) == std::vector<std::byte>(page_size)));
  fork->write(5, std::vector<std::byte>(mib - 10, std::byte{3}));  // no further bytes
  auto second = bounded.session("access=fork");
  auto third = bounded.session("access=fork");
  second->write(0, std::vector<std::byte>(mib, std::byte{2}));
  check_error(error_of([&] { third->write(0, std::vector<std::byte>(1, std::byte{2})); }), Errc::limit_exceeded,
              "forks_bytes");
  CHECK(writer->stat().fork_bytes == 2 * mib);
  CHECK((read_all(*third, 0, 1) == std::vector<std::byte>(1, std::byte{1})));
  second.reset();
  fork->discard();
  CHECK((read_all(*fork, 0, page_size) == std::vector<std::byte>(page_size, std::byte{1})));
  fork->write(0, std::vector<std::byte>(mib, std::byte{4}));
  third->write(0, std::vector<std::byte>(mib, std::byte{4}));
  writer->write(0, std::vector<std::byte>(page_size, std::byte{7}));
  CHECK((read_all(*bounded.session("access=read"), 0, page_size) == std::vector<std::byte>(page_size, std::byte{7})));
  fork.reset(), third.reset();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (writer->stat().sessions_fork != 0) REQUIRE(std::chrono::steady_clock::now() < deadline);
  CHECK(writer->stat().fork_bytes == 0);
  writer.reset();
  CHECK((bounded.stopped_image(64)[0] == std::byte{7}));
}

TEST_CASE("a session that zeroes every other block of a large image is refused at its limit, and goes on after it") {
  const auto [limits, sessions, limit] = GENERATE(table<std::string, std::string, std::string>({
      {R"("transaction_bytes": "8MiB")", "publish=on_flush", "limits.transaction_bytes=8388608"},
      {R"("private_ranges": 2048)", "publish=on_flush", "limits.private_ranges=2048"},
      {R"("fork_bytes": "8MiB")", "access=fork", "limits.fork_bytes=8388608"},
      {R"("forks_bytes": "8MiB", "peer_percent": 100)", "access=fork", "limits.forks_bytes=8388608"},
      {R"("forks_bytes": "16MiB", "peer_percent": 50)", "access=fork",
       "limits.peer_percent=50 of limits.forks_bytes=16777216, a peer's share=8388608"},
      {R"("private_ranges": 2048)", "access=fork", "limits.private_ranges=2048"},
  }));
  INFO(limits << " " << sessions);
  constexpr std::uint64_t block = 4096;
  constexpr std::uint64_t runs_max = 2048;
  constexpr std::uint64_t pages = (1ull << 40) / page_size;
  Bounded bounded{limits};
  bounded.writer(pages)->write(page_size, std::vector<std::byte>(page_size, std::byte{1}));
  auto session = bounded.session(sessions);
  const std::uint64_t memory_before = resident_kib(bounded.daemon->pid());
  for (int times = 0; times < 3; ++times) {
    std::uint64_t runs = 0;
    std::optional<MemoryError> refused;
    while (!refused && runs <= runs_max)
      if (!(refused = error_of([&] { session->zero(2 * runs * block, block); }))) ++runs;
    CHECK(runs == runs_max);
    check_error(refused, Errc::limit_exceeded, limit);
    check_error(refused, Errc::limit_exceeded, sessions == "access=fork" ? "; discard" : "; flush or discard");
    // It stays within its limits however often it asks, and keeps what it has.
    for (std::uint64_t more = runs; more < runs + 1'000; ++more)
      REQUIRE(error_of([&] { session->zero((1ull << 39) + 2 * more * block, block); }));
    std::vector<std::byte> expected(page_size, std::byte{1});
    for (std::uint64_t at = 0; at < page_size; at += 2 * block)
      std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), block, std::byte{0});
    CHECK((read_all(*session, page_size, page_size) == expected));
    session->zero(0, 2 * runs * block);  // one run instead of many
    CHECK(!error_of([&] { session->zero(3 * runs * block, block); }));
    session->discard();
    CHECK((read_all(*session, page_size, page_size) == std::vector<std::byte>(page_size, std::byte{1})));
  }
  const std::uint64_t memory = resident_kib(bounded.daemon->pid());
  INFO("KiB before " << memory_before << ", after " << memory);
  if (!sanitized) CHECK(memory <= memory_before + 4 * 1024);
  // A flush makes room as a discard does.
  for (std::uint64_t run = 0; run < runs_max; ++run) session->zero(2 * run * block, block);
  session->flush();
  if (sessions != "access=fork") session->zero(3 * runs_max * block, block);
  session.reset();
  CHECK(bounded.daemon->stop() == 0);
}

namespace {

std::vector<RawClient> forks_of(const Bounded& bounded, std::string_view store, std::size_t count) {
  std::vector<RawClient> forks;
  for (std::size_t i = 0; i < count; ++i) {
    forks.push_back(RawClient::local(bounded.daemon->socket_path()));
    forks.back().hello();
    forks.back().open(store, proto::Access::fork);
  }
  return forks;
}

std::size_t times(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// What the daemon read and wrote through files, in calls and in bytes.
std::uint64_t file_work(const Bounded& bounded) {
  std::uint64_t sum = 0;
  for (const char* name : {"rchar", "wchar", "syscr", "syscw"})
    sum += process_number(bounded.daemon->pid(), "io", name);
  return sum;
}

}  // namespace

TEST_CASE("a thousand forks of one image cost what they change") {
  constexpr std::uint64_t pages = 16'384;  // 1 GiB
  Bounded bounded{R"("private_memory_bytes": "64KiB")"};
  auto writer = bounded.writer(pages);
  writer->write(512 * mib, std::vector<std::byte>(page_size, std::byte{1}));
  writer->flush();
  const pid_t pid = bounded.daemon->pid();
  const std::uint64_t disk_before = bounded.bytes_beside() + disk_bytes(bounded.image());
  const std::uint64_t memory_before = resident_kib(pid);
  auto forks = forks_of(bounded, "s", 1'000);
  const std::uint64_t memory_opened = resident_kib(pid);
  for (unsigned i = 0; i < forks.size(); ++i) forks[i].write(i * mib, pattern(100, i));
  const std::uint64_t memory_written = resident_kib(pid);
  for (unsigned i = 0; i < forks.size(); ++i) {
    // Each sees the image and its own bytes, and nothing of its neighbour's.
    REQUIRE(forks[i].read(512 * mib + page_size - 100, 100) == std::vector<std::byte>(100, std::byte{1}));
    REQUIRE(forks[i].read(i * mib, 100) == pattern(100, i));
    REQUIRE(forks[i].read((i + 1) % 512 * mib, 100) == std::vector<std::byte>(100));
  }
  INFO("KiB before " << memory_before << ", opened " << memory_opened << ", written " << memory_written);
  if (!sanitized) {
    CHECK(memory_opened <= memory_before + 1'000 * 16);
    CHECK(memory_written <= memory_opened + 1'000 * 8);
  }
  CHECK(writer->stat().sessions_fork == 1'000);
  CHECK(writer->stat().fork_bytes <= 1'000 * page_size);
  CHECK(bounded.bytes_beside() + disk_bytes(bounded.image()) <= disk_before + mib);
  forks.clear();
  writer.reset();
  CHECK(bounded.daemon->stop() == 0);
  CHECK(disk_bytes(bounded.image()) <= 2 * mib);  // still sparse
  CHECK(bounded.bytes_beside() == 0);
}

TEST_CASE("opening a fork takes as much work for a large image as for a small one") {
  Bounded bounded{"", {"small", "large"}};
  const auto prepare = [&](const char* name, std::uint64_t pages) {
    const auto writer = open(bounded.daemon->unix_uri(name));
    writer->grow(pages);
    for (std::uint64_t page = 0; page < pages; page += (pages + 15) / 16)
      writer->write(page * page_size, pattern(1'000, 1));
    writer->flush();
  };
  prepare("small", 1);
  prepare("large", 16'384);
  std::size_t closed = 2;  // the sessions above
  const auto work = [&](std::string_view store) {
    const std::uint64_t before = file_work(bounded);
    forks_of(bounded, store, 200);
    // The daemon learns of their ends one by one, and the lines that it logs are counted.
    closed += 200;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (times(bounded.daemon->log(), " INFO session close") < closed)
      REQUIRE(std::chrono::steady_clock::now() < deadline);
    return file_work(bounded) - before;
  };
  work("small"), work("large");  // warm
  const std::uint64_t small = work("small");
  const std::uint64_t large = work("large");
  INFO("small " << small << ", large " << large);
  CHECK(large <= small + 200 * 256);  // not one page, not one byte for each page of the image
  CHECK(bounded.daemon->stop() == 0);
}

}  // namespace pageserver::test
