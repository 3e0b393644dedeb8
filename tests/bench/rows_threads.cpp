// What a store's second thread brings.
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/bench/load.hpp"
#include "tests/bench/rows.hpp"

namespace pageserver::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t connections = 4;

/// Every thread of the daemon, and the caller, on both cores: two threads have no use for one.
void share_cores(const Settings& settings, pid_t daemon) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(settings.server_core, &set);
  CPU_SET(settings.client_core, &set);
  ::sched_setaffinity(0, sizeof set, &set);
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(daemon) + "/task"))
    ::sched_setaffinity(std::stoi(task.path().filename()), sizeof set, &set);
}

std::unique_ptr<Server> start(Servers& servers, unsigned threads) {
  const std::string name = "threads-" + std::to_string(threads);
  const std::string config = servers.file(name + ".json");
  std::ofstream(config) << R"({"threads": )" << threads << "}";
  auto daemon =
      servers.start_daemon(name, {"--config", config, "--store", "bench=" + servers.make_image(name + ".img")});
  check_image(*daemon->connect(Transport::unix_socket, false));
  share_cores(servers.settings(), daemon->pid());
  return daemon;
}

struct Rates {
  double requests_per_second = 0;
  double server_cpu_us = 0;  ///< per request
  double client_cpu_us = 0;  ///< per request
};

double own_cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

Rates run_all(const Settings& settings, const Server& daemon, Load load, std::size_t round) {
  std::vector<std::unique_ptr<Target>> targets;
  for (std::size_t i = 0; i < connections; ++i) targets.push_back(daemon.connect(Transport::tcp, false));
  std::vector<LoadResult> results(connections);
  const double cpu_before = own_cpu_seconds();
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < connections; ++i) {
      threads.emplace_back([&, load, i]() mutable {
        load.duration = settings.quick ? 60ms : 600ms;
        load.seed = round * connections + i + 1;
        results[i] = run_load(*targets[i], load, i == 0 ? daemon.pid() : 0);
      });
    }
  }
  Rates rates;
  for (const LoadResult& result : results) rates.requests_per_second += result.requests_per_second();
  rates.server_cpu_us = results[0].server_cpu_seconds * 1e6 / results[0].seconds / rates.requests_per_second;
  rates.client_cpu_us = (own_cpu_seconds() - cpu_before) * 1e6 / results[0].seconds / rates.requests_per_second;
  return rates;
}

Measured measure(Servers& servers, std::uint32_t bytes, std::size_t depth) {
  const auto two = start(servers, 2);
  const auto one = start(servers, 1);
  Load load;
  load.bytes = bytes;
  load.depth = depth;
  std::vector<double> cpu_one;
  std::vector<double> cpu_two;
  std::vector<double> cpu_client;
  const auto sample = [&](const Server& daemon, std::vector<double>& cpu) {
    return [&](std::size_t round) {
      const Rates rates = run_all(servers.settings(), daemon, load, round);
      cpu.push_back(rates.server_cpu_us);
      cpu_client.push_back(rates.client_cpu_us);
      return rates.requests_per_second;
    };
  };
  Measured measured = compare(servers.settings(), "requests/s", true,
                              {{"2 threads", sample(*two, cpu_two)}, {"1 thread", sample(*one, cpu_one)}});
  pin_to(servers.settings().client_core);
  if (servers.settings().driver) return measured;
  // With one thread the daemon's core is busy, with two both are, and each read takes what it takes.
  const double daemon = quantile(cpu_one, 0.5), client = quantile(cpu_client, 0.5);
  char text[300];
  std::snprintf(text, sizeof text,
                "CPU for each read: the daemon's %.2f us with two threads, %.2f us with one, the client's %.2f us. The "
                "client's %zu threads run on the same two cores, so that a second thread can bring %.2f at the most",
                quantile(cpu_two, 0.5), daemon, client, connections, std::max(1.0, 2 * daemon / (daemon + client)));
  measured.notes.push_back(text);
  return measured;
}

}  // namespace

std::vector<Row> thread_rows() {
  const Bar none{Bar::Kind::none, 0, "1 thread"};
  return {{"threads_2",
           "8 B reads, 4 connections, 16 in flight each, 2 threads",
           {Bar::Kind::at_least, 1.6, "1 thread"},
           [](Servers& servers) { return measure(servers, 8, 16); }},
          {"threads_2_64k", "64 KiB reads, 4 connections, 4 in flight each, 2 threads", none,
           [](Servers& servers) { return measure(servers, 65536, 4); }}};
}

}  // namespace pageserver::bench
