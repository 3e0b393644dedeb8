// Whole images: copied to a file, opened, recovered.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <random>
#include <system_error>

#include <pageserver/error.hpp>
#include <pageserver/memory_provider.hpp>

#include "tests/bench/load.hpp"
#include "tests/bench/rows.hpp"

namespace pageserver::bench {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Kind = Bar::Kind;

constexpr std::uint64_t mib = 1u << 20;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class File {
public:
  File(const std::string& path, int flags) : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) fail();
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(fd_); }

  void write(std::uint64_t offset, std::span<const std::byte> data) const {
    if (::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(data.size()))
      fail();
  }
  void resize(std::uint64_t size) const {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail();
  }
  /// False at the end.
  bool read_some(std::span<std::byte> into) const {
    const ssize_t got = ::read(fd_, into.data(), into.size());
    if (got < 0) fail();
    return got > 0;
  }
  void sync() const {
    if (::fdatasync(fd_) != 0) fail();
  }

private:
  [[noreturn]] void fail() const { throw std::system_error(errno, std::generic_category(), path_); }

  std::string path_;
  int fd_;
};

/// An image of `bytes`, of which `data_bytes` in pieces of 1 MiB, spread evenly, are not zero.
std::string make_sparse(const Servers& servers, const std::string& name, std::uint64_t bytes,
                        std::uint64_t data_bytes) {
  const File file{servers.file(name), O_WRONLY | O_CREAT | O_TRUNC};
  file.resize(bytes);
  std::vector<std::byte> piece(mib);
  const std::uint64_t pieces = data_bytes / mib;
  for (std::uint64_t i = 0; i < pieces; ++i) {
    const std::uint64_t offset = bytes / mib / pieces * i * mib;
    for (std::size_t at = 0; at < piece.size(); ++at) piece[at] = image_byte(offset + at);
    file.write(offset, piece);
  }
  file.sync();
  return servers.file(name);
}

double run_seconds(std::vector<std::string> command) {
  const std::string name = fs::path(command.front()).filename();
  const auto start = Clock::now();
  const auto result = test::run(std::move(command), {}, 300s);
  const double seconds = seconds_since(start);
  if (result.status != 0) throw std::runtime_error(name + " failed: " + result.err);
  return seconds;
}

double copy_seconds(const Servers& servers, const Server& daemon, const std::string& store) {
  const std::string to = servers.file("copy.img");
  fs::remove(to);
  const double seconds = run_seconds(
      {servers.program("pagectl"), "copy", "--quiet", uri_of(daemon.address(), Transport::tcp, store, ""), to});
  fs::remove(to);
  return seconds;
}

Measured measure_copy(Servers& servers) {
  const bool alone = static_cast<bool>(servers.settings().driver);
  if (!alone && find_program("nbdcopy").empty()) throw NotAvailable("nbdcopy is not installed");
  const std::uint64_t bytes = servers.settings().quick ? 64 * mib : 1024 * mib;
  const std::string image = make_sparse(servers, "copy-ours.img", bytes, bytes);
  const auto daemon = servers.start_daemon("copy", {"--store", "image=" + image});
  const auto nbdkit =
      alone ? nullptr : servers.start_peer("nbdkit", make_sparse(servers, "copy-theirs.img", bytes, bytes));
  const double megabytes = static_cast<double>(bytes) / 1e6;
  const auto ours = [&](std::size_t) { return megabytes / copy_seconds(servers, *daemon, "image"); };
  const auto theirs = [&](std::size_t) {
    const std::string to = servers.file("copy.img");
    fs::remove(to);
    // pagectl flushes too.
    const double seconds =
        run_seconds({"nbdcopy", "--flush", "nbd://127.0.0.1:" + std::to_string(nbdkit->address().port) + "/bench", to});
    fs::remove(to);
    return megabytes / seconds;
  };
  return compare(servers.settings(), "MB/s", true, {{"pagectl copy", ours}, {"nbdcopy", theirs}});
}

Measured measure_sparse_copy(Servers& servers) {
  const std::string sparse = make_sparse(servers, "sparse.img", 1ull << 40, 64 * mib);
  const std::string plain = make_sparse(servers, "plain.img", 64 * mib, 64 * mib);
  const auto daemon = servers.start_daemon("sparse", {"--store", "sparse=" + sparse, "--store", "plain=" + plain});
  const auto copy = [&](const std::string& store) {
    return [&, store](std::size_t) { return 1000 * copy_seconds(servers, *daemon, store); };
  };
  return compare(servers.settings(), "ms", false, {{"1 TiB", copy("sparse")}, {"64 MiB", copy("plain")}});
}

// --- recovery

constexpr std::size_t write_bytes = 4096;

std::vector<std::uint64_t> places(std::size_t count) {
  std::mt19937_64 random{4711};
  std::vector<std::uint64_t> offsets(count);
  for (auto& offset : offsets) offset = random() % (image_bytes / write_bytes) * write_bytes;
  return offsets;
}

void write_all(const Server& daemon, const std::vector<std::uint64_t>& offsets) {
  const auto target = daemon.connect(Transport::unix_socket, true);
  std::vector<std::byte> data(write_bytes, std::byte{7});
  constexpr std::size_t depth = 64;
  std::size_t in_flight = 0;
  for (const std::uint64_t offset : offsets) {
    target->start_write(offset, data);
    if (++in_flight == depth) in_flight -= target->wait();
  }
  while (in_flight > 0) in_flight -= target->wait();
}

std::vector<std::string> log_files(const std::string& image) {
  std::vector<std::string> logs;
  for (const auto& entry : fs::directory_iterator(fs::path(image).parent_path())) {
    if (entry.path().string().starts_with(image + ".log.")) logs.push_back(entry.path());
  }
  std::sort(logs.begin(), logs.end());
  return logs;
}

/// What nobody can do without: the log is read and made durable, its data is written to its places and made durable.
double least_recovery(const std::vector<std::string>& logs, const std::string& image,
                      const std::vector<std::uint64_t>& offsets) {
  std::vector<std::byte> buffer(mib);
  const auto start = Clock::now();
  for (const std::string& path : logs) {
    const File log{path, O_RDONLY};
    while (log.read_some(buffer)) {
    }
    log.sync();
  }
  const File file{image, O_WRONLY};
  for (std::size_t i = 0; i < offsets.size(); ++i)
    file.write(offsets[i], std::span<const std::byte>(buffer).subspan(i % 128 * write_bytes, write_bytes));
  file.sync();
  return seconds_since(start);
}

struct Recovery {
  double ms = 0;
  double least_ms = 0;  ///< on a copy of the same log
  std::uint64_t log_bytes = 0;
};

Recovery kill_and_recover(Servers& servers, const std::string& config, const std::vector<std::uint64_t>& offsets) {
  const std::string image = servers.make_image("recovery.img");
  const std::vector<std::string> flags{"--config", config, "--store", "bench=" + image};
  auto daemon = servers.start_daemon("recovery", flags);
  write_all(*daemon, offsets);
  daemon->process().signal(SIGKILL);
  daemon->process().wait();
  Recovery recovery;
  std::vector<std::string> copies;
  for (const std::string& log : log_files(image)) {
    copies.push_back(servers.file("least-log." + std::to_string(copies.size())));
    fs::copy_file(log, copies.back(), fs::copy_options::overwrite_existing);
    recovery.log_bytes += fs::file_size(log);
  }
  recovery.least_ms = 1000 * least_recovery(copies, servers.file("recovery-least.img"), offsets);
  const auto start = Clock::now();
  daemon = servers.start_daemon("recovery", flags);
  recovery.ms = 1000 * seconds_since(start);
  daemon->process().signal(SIGTERM);
  daemon->process().wait();
  return recovery;
}

Measured measure_recovery(Servers& servers) {
  const auto offsets = places(servers.settings().quick ? 4000 : 40'000);
  servers.make_image("recovery-least.img");
  const std::string config = servers.file("recovery.json");
  // Nothing is checkpointed before the kill.
  std::ofstream(config) << R"({"limits": {"log_bytes": "8GiB"}})";
  // Both figures of a round come from one log.
  std::vector<Recovery> recoveries;
  const auto of_round = [&](std::size_t round) -> const Recovery& {
    while (recoveries.size() <= round) recoveries.push_back(kill_and_recover(servers, config, offsets));
    return recoveries[round];
  };
  Measured measured = compare(servers.settings(), "ms", false,
                              {{"start of pageserverd", [&](std::size_t round) { return of_round(round).ms; }},
                               {"read, write", [&](std::size_t round) { return of_round(round).least_ms; }}});
  if (recoveries.empty()) return measured;
  measured.notes.push_back(std::to_string(offsets.size()) + " writes of 4 KiB, " +
                           std::to_string(recoveries.back().log_bytes / mib) + " MiB of log files");
  return measured;
}

}  // namespace

std::vector<Row> copy_rows() {
  return {
      {"copy_1g", "copy of 1 GiB to a file", {Kind::at_least, 2, "nbdcopy from nbdkit"}, measure_copy},
      {"copy_sparse", "copy of 1 TiB with 64 MiB of data", {Kind::at_most, 1.25, "64 MiB alone"}, measure_sparse_copy},
      {"recovery", "recovery after a kill", {Kind::at_most, 2, "read log, write pages"}, measure_recovery}};
}

}  // namespace pageserver::bench
