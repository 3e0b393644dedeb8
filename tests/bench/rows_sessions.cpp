// Stores opened, forks made, many sessions.
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include <pageserver/open.hpp>

#include "tests/bench/library_target.hpp"
#include "tests/bench/load.hpp"
#include "tests/bench/rows.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::bench {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Kind = Bar::Kind;
using test::RawClient;

constexpr std::size_t idle_sessions = 1000;
constexpr std::size_t active_sessions = 8;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

double resident_bytes(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/statm");
  double size_pages = 0;
  double resident_pages = 0;
  file >> size_pages >> resident_pages;
  return resident_pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::string make_empty(const Servers& servers, const std::string& name, std::uint64_t bytes) {
  const fs::path path = servers.file(name);
  fs::create_directories(path.parent_path());
  std::ofstream{path};
  fs::resize_file(path, bytes);
  return path;
}

// --- opening

struct Opening {
  double us = 0;
  double resident = 0;
};

// A daemon of its own each time: the store is opened by its first session.
Opening open_store(const Servers& servers, const std::string& store) {
  const auto daemon = servers.start_daemon("opening", {"--directory", servers.file("opening")});
  const std::string uri = uri_of(daemon->address(), Transport::unix_socket, store, "access=read");
  const auto start = Clock::now();
  const auto session = open_session(uri);
  return {us_since(start), resident_bytes(daemon->pid())};
}

Measured measure_opening(Servers& servers, bool resident) {
  make_empty(servers, "opening/large.img", 1ull << 40);
  make_empty(servers, "opening/small.img", 1u << 20);
  const auto sample = [&](const std::string& store) {
    return [&, store](std::size_t) {
      double sum = 0;
      constexpr int times = 5;
      for (int i = 0; i < times; ++i) {
        const Opening opening = open_store(servers, store);
        sum += resident ? opening.resident / 1024 : opening.us;
      }
      return sum / times;
    };
  };
  return compare(servers.settings(), resident ? "KiB" : "us", false,
                 {{"1 TiB", sample("large")}, {"1 MiB", sample("small")}});
}

// --- forks

Measured measure_fork(Servers& servers) {
  const auto daemon =
      servers.start_daemon("forks", {"--store", "image=" + make_empty(servers, "forks.img", 10ull << 30)});
  const std::size_t times = servers.settings().quick ? 20 : 500;
  const std::uint16_t port = daemon->address().port;
  const auto fork = [&](std::size_t) {
    double us = 0;
    for (std::size_t i = 0; i < times; ++i) {
      RawClient client = RawClient::tcp(port);
      client.hello();
      const auto start = Clock::now();
      client.open("image", proto::Access::fork);
      us += us_since(start);
    }
    return us / static_cast<double>(times);
  };
  const auto ping = [&](std::size_t) {
    double us = 0;
    for (std::size_t i = 0; i < times; ++i) {
      RawClient client = RawClient::tcp(port);
      client.hello();
      const auto start = Clock::now();
      client.call(proto::PingRequest{}).as<proto::PingAnswer>();
      us += us_since(start);
    }
    return us / static_cast<double>(times);
  };
  return compare(servers.settings(), "us", false, {{"fork", fork}, {"ping", ping}});
}

// --- many sessions

std::unique_ptr<Server> start_idle(Servers& servers, const std::string& name) {
  return servers.start_daemon(name, {"--store", "bench=" + servers.make_image(name + ".img")});
}

std::vector<RawClient> open_idle(const Server& daemon, std::size_t count) {
  std::vector<RawClient> clients;
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(RawClient::tcp(daemon.address().port));
    clients.back().hello();
    clients.back().open("bench", proto::Access::read);
  }
  return clients;
}

double active_us(const Servers& servers, const Server& daemon, std::size_t round) {
  const std::string uri = uri_of(daemon.address(), Transport::tcp, "bench", "access=read&poll_us=0");
  std::vector<std::unique_ptr<Target>> targets;
  for (std::size_t i = 0; i < active_sessions; ++i) targets.push_back(connect_library(uri));
  std::vector<LoadResult> results(targets.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      threads.emplace_back([&, i] {
        Load load;
        load.duration = servers.settings().quick ? 60ms : 300ms;
        load.seed = round * active_sessions + i + 1;
        results[i] = run_load(*targets[i], load);
      });
    }
  }
  double us = 0;
  for (const LoadResult& result : results) us += result.us_per_request();
  return us / static_cast<double>(results.size());
}

Measured measure_sessions(Servers& servers) {
  const auto crowded = start_idle(servers, "crowded");
  const auto alone = start_idle(servers, "alone");
  const auto idle = open_idle(*crowded, idle_sessions);
  return compare(servers.settings(), "us", false,
                 {{"1000 idle", [&](std::size_t round) { return active_us(servers, *crowded, round); }},
                  {"8 alone", [&](std::size_t round) { return active_us(servers, *alone, round); }}});
}

Measured measure_idle_memory(Servers& servers) {
  const auto sample = [&](std::size_t) {
    const auto daemon = start_idle(servers, "idle");
    const auto first = open_idle(*daemon, 1);
    const double before = resident_bytes(daemon->pid());
    const auto idle = open_idle(*daemon, idle_sessions);
    return (resident_bytes(daemon->pid()) - before) / 1024 / static_cast<double>(idle_sessions);
  };
  Settings settings = servers.settings();
  settings.rounds = settings.quick ? 1 : 3;
  return compare(settings, "KiB", false, {{"idle session", sample}, {"bound", [](std::size_t) { return 16.0; }}});
}

}  // namespace

std::vector<Row> session_rows() {
  return {{"open_1t",
           "opening a 1 TiB sparse store: time",
           {Kind::at_most, 1.2, "1 MiB"},
           [](Servers& servers) { return measure_opening(servers, false); }},
          {"open_1t_memory",
           "opening a 1 TiB sparse store: RSS",
           {Kind::at_most, 1.2, "1 MiB"},
           [](Servers& servers) { return measure_opening(servers, true); }},
          {"fork_10g", "a fork of a 10 GiB image", {Kind::at_most, 3, "a ping"}, measure_fork},
          {"sessions_1000", "1,000 sessions open, 8 active", {Kind::at_most, 1.15, "8 alone"}, measure_sessions},
          {"sessions_memory", "RSS of an idle session", {Kind::at_most, 1, "16 KiB"}, measure_idle_memory}};
}

}  // namespace pageserver::bench
