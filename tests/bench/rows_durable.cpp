// What waits for the disk: flushes, and the engine's own workloads.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <random>
#include <span>
#include <system_error>
#include <utility>

#include <pageserver/file_provider.hpp>
#include <pageserver/open.hpp>

#include "storage/engine/open_engine.hpp"
#include "tests/bench/counting_relay.hpp"
#include "tests/bench/load.hpp"
#include "tests/bench/rows.hpp"
#include "tests/bench/workload.hpp"

namespace pageserver::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = Bar::Kind;

// Polling, as a session and a daemon do by themselves where they have two cores.
std::string cached_writer(unsigned cache_mib) {
  return "access=write&publish=on_flush&wait_ms=10000&poll_us=" + std::to_string(poll_us) +
         "&cache_bytes=" + std::to_string(cache_mib) + "MiB";
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// --- 1 MiB, then flush

constexpr std::size_t transaction_bytes = 1u << 20;
constexpr std::size_t part_bytes = 4096;

/// What was never there before. Cheap, and a function by itself: in one build of the measuring program the compiler
/// made twice of std::mt19937_64 what it did in another, which was 8 % of the row.
[[gnu::noinline]] void fill(std::span<std::byte> bytes, std::uint64_t& state) {
  for (std::size_t word = 0; word + sizeof state <= bytes.size(); word += sizeof state) {
    state += 0x9e3779b97f4a7c15u;
    std::memcpy(bytes.data() + word, &state, sizeof state);
  }
}

double cached_flushes(const std::string& uri, std::size_t count, std::size_t round) {
  const auto image = open(uri);
  std::mt19937_64 random{round};
  std::uint64_t content = random();
  std::vector<std::byte> part(part_bytes);
  const auto start = Clock::now();
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t base = random() % (image_bytes / transaction_bytes) * transaction_bytes;
    for (std::size_t at = 0; at < transaction_bytes; at += part.size()) {
      fill(part, content);
      image->write(base + at, part);
    }
    image->flush();
  }
  return static_cast<double>(count) / seconds_since(start);
}

/// A file whose blocks are there and written, opened so that each write returns when it is on disk.
class DsyncFile {
public:
  explicit DsyncFile(const std::string& path) : fd_(::open(path.c_str(), O_WRONLY | O_DSYNC | O_CLOEXEC)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), path);
  }
  DsyncFile(const DsyncFile&) = delete;
  DsyncFile& operator=(const DsyncFile&) = delete;
  ~DsyncFile() { ::close(fd_); }

  double writes(std::size_t count, std::size_t round) const {
    std::mt19937_64 random{round};
    std::uint64_t content = random();
    std::vector<std::byte> data(transaction_bytes);
    const auto start = Clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t base = random() % (image_bytes / transaction_bytes) * transaction_bytes;
      fill(data, content);
      if (::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(base)) != static_cast<ssize_t>(data.size()))
        throw std::system_error(errno, std::generic_category(), "pwrite");
    }
    return static_cast<double>(count) / seconds_since(start);
  }

private:
  int fd_;
};

Measured measure_flush(Servers& servers) {
  Server& daemon = servers.pageserverd(poll_us);
  // Full after a few transactions, as the cache of a session that lives longer is: its memory is touched by then.
  const std::string uri = uri_of(daemon.address(), Transport::tcp, "bench", cached_writer(8));
  const std::size_t count = servers.settings().quick ? 2 : 40;
  const DsyncFile file{servers.make_image("dsync.img")};
  // Both write over blocks that are there: a log uses its files again once it has been half full and a checkpoint came.
  if (!servers.settings().quick) cached_flushes(uri, storage::EngineOptions{}.log_bytes / transaction_bytes, 0);
  return compare(servers.settings(), "MiB/s", true,
                 {{"pageserverd", [&](std::size_t round) { return cached_flushes(uri, count, round); }},
                  {"O_DSYNC", [&](std::size_t round) { return file.writes(count, round); }}});
}

// --- recorded workloads

/// A file for each replay, with the workload's initial image in it.
class Images {
public:
  Images(const std::string& folder, const Workload& workload) : folder_(folder), workload_(workload) {
    std::filesystem::create_directories(folder_);
  }

  std::string next() {
    last_ = "run" + std::to_string(number_++);
    FileProvider file{folder_ / (last_ + ".img")};
    file.grow(workload_.initial.size() / page_size);
    file.write(0, workload_.initial);
    file.flush();
    return last_;
  }
  std::string path() const { return (folder_ / (last_ + ".img")).string(); }
  std::string folder() const { return folder_.string(); }

private:
  std::filesystem::path folder_;
  const Workload& workload_;
  std::string last_;
  unsigned number_ = 0;
};

std::string count_round_trips(const Workload& workload, const Server& daemon, Images& images, const Servers& servers) {
  CountingRelay relay{servers.file("relay.sock"), daemon.address()};
  const std::string store = images.next();
  const auto image = open(uri_of(relay.address(), Transport::unix_socket, store, cached_writer(64)));
  std::vector<std::uint64_t> at_commits{relay.round_trips()};
  replay(workload, *image, [&] { at_commits.push_back(relay.round_trips()); });
  if (!has_final_image(workload, *image)) throw std::runtime_error("the replayed image is not the engine's");
  std::uint64_t most = 0;
  std::uint64_t beyond = 0;
  for (std::size_t commit = 0; commit + 1 < at_commits.size(); ++commit) {
    const std::uint64_t trips = at_commits[commit + 1] - at_commits[commit];
    const std::uint64_t cold = workload.new_pages_in_commit[commit];
    const std::uint64_t more = trips > cold ? trips - cold : 0;
    most = std::max(most, more);
    beyond += more;
  }
  const auto commits = static_cast<double>(at_commits.size() - 1);
  char text[160];
  std::snprintf(text, sizeof text, "%.0f commits, %.2f round trips each beyond cold misses, at most %llu", commits,
                static_cast<double>(beyond) / commits, static_cast<unsigned long long>(most));
  return text;
}

Measured measure_workload(const std::string& name, Servers& servers) {
  const Workload workload = load_workload(name);
  Images images{servers.file("images-" + name), workload};
  const auto daemon = servers.start_daemon("engine-" + name, {"--directory", images.folder()}, poll_us);
  const std::string trips = count_round_trips(workload, *daemon, images, servers);
  const auto timed = [&](MemoryProvider& image) {
    const auto start = Clock::now();
    replay(workload, image, [] {});
    return static_cast<double>(workload.new_pages_in_commit.size()) / seconds_since(start);
  };
  const auto remote = [&](std::size_t) {
    const std::string store = images.next();
    return timed(*open(uri_of(daemon->address(), Transport::tcp, store, cached_writer(64))));
  };
  const auto local = [&](std::size_t) {
    images.next();
    FileProvider file{images.path()};
    return timed(file);
  };
  Measured measured = compare(servers.settings(), "commits/s", true, {{"pageserverd", remote}, {"local file", local}});
  measured.notes.push_back(trips);
  return measured;
}

}  // namespace

std::vector<Row> durable_rows() {
  std::vector<Row> rows{{"flush_1m",
                         "1 MiB in 4 KiB writes, flush, cached, polling",
                         {Kind::at_least, 0.95, "O_DSYNC, 1 MiB"},
                         measure_flush}};
  const std::pair<const char*, double> workloads[]{{"small_crud", 1.6}, {"oltp", 1.3}, {"blob", 1.2}, {"reopen", 1.3}};
  for (const auto& [name, least] : workloads) {
    rows.push_back({std::string("engine_") + name,
                    std::string("engine workload ") + name + ", cached, polling",
                    {Kind::at_least, least, "a local file"},
                    [name = name](Servers& servers) { return measure_workload(name, servers); }});
  }
  return rows;
}

}  // namespace pageserver::bench
