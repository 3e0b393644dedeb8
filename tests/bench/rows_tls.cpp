// What TLS costs beside requests: connections made, and memory of idle ones.
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/bench/rows.hpp"

namespace pageserver::bench {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Kind = Bar::Kind;

constexpr std::size_t idle_sessions = 500;

/// A connection that may ask for data, which a handshake is of no use without.
std::unique_ptr<Socket> greeted(const Address& address, Protocol& protocol) {
  auto socket = std::make_unique<Socket>(address, Transport::tls);
  if (!protocol.starts_tls()) socket->start_tls(address.tls_ca);
  protocol.greet(*socket);
  return socket;
}

double connections_per_second(const Settings& settings, const Server& server) {
  const auto start = Clock::now();
  const auto wanted = settings.quick ? 100ms : 500ms;
  std::size_t count = 0;
  for (; Clock::now() - start < wanted; ++count) greeted(server.address(), *server.protocol(false));
  return static_cast<double>(count) / std::chrono::duration<double>(Clock::now() - start).count();
}

Measured measure_handshakes(Servers& servers) {
  const Server& ours = servers.pageserverd_with_tls(0);
  std::vector<Subject> subjects{
      {"pageserverd", [&](std::size_t) { return connections_per_second(servers.settings(), ours); }}};
  if (!servers.settings().driver) {
    const Server& nbdkit = servers.peer("nbdkit", Transport::tls);
    subjects.push_back({"nbdkit", [&](std::size_t) { return connections_per_second(servers.settings(), nbdkit); }});
  }
  return compare(servers.settings(), "handshakes/s", true, subjects);
}

double resident_kib(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/statm");
  double size_pages = 0;
  double resident_pages = 0;
  file >> size_pages >> resident_pages;
  return resident_pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1024;
}

Measured measure_idle_memory(Servers& servers) {
  const auto sample = [&](std::size_t) {
    const std::uint16_t port = free_port();
    std::vector<std::string> flags = servers.tls_flags(port);
    flags.insert(flags.end(), {"--store", "bench=" + servers.make_image("idle-tls.img")});
    const auto daemon = servers.start_daemon("idle-tls", flags, 0, port);
    std::vector<std::unique_ptr<Socket>> idle;
    const auto open = [&](std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) idle.push_back(greeted(daemon->address(), *daemon->protocol(false)));
      return resident_kib(daemon->pid());
    };
    const double before = open(10);
    return (open(idle_sessions) - before) / static_cast<double>(idle_sessions);
  };
  Settings settings = servers.settings();
  settings.rounds = settings.quick ? 1 : 3;
  return compare(settings, "KiB", false,
                 {{"idle session over TLS", sample}, {"bound", [](std::size_t) { return 40.0; }}});
}

}  // namespace

std::string cipher_note(const Settings& settings) {
  const test::RunResult result = test::run({"taskset", "-c", std::to_string(settings.client_core), "openssl", "speed",
                                            "-mr", "-seconds", "1", "-bytes", "16384", "-evp", "aes-128-gcm"});
  // "+F:22:AES-128-GCM:3512345678.90", bytes a second
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("+F:")) continue;
    const double bytes = std::stod(line.substr(line.rfind(':') + 1));
    return "one core does AES-128-GCM at " + std::to_string(static_cast<long>(bytes / 1e6)) +
           " MB/s (openssl speed, records of 16 KiB): a side alone can't do more";
  }
  return "openssl speed says nothing: " + result.err;
}

std::vector<Row> tls_rows() {
  return {
      {"tls_handshakes",
       "connections made over TLS, P-256",
       {Kind::at_least, 1, "nbdkit over TLS"},
       measure_handshakes},
      {"tls_sessions_memory", "RSS of an idle session over TLS", {Kind::at_most, 1, "40 KiB"}, measure_idle_memory}};
}

}  // namespace pageserver::bench
