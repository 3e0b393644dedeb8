// Reads and writes, one at a time and many in flight.
#include <pageserver/open.hpp>

#include <cstdio>

#include "storage/log/log_codec.hpp"
#include "tests/bench/library_target.hpp"
#include "tests/bench/load.hpp"
#include "tests/bench/rows.hpp"

namespace pageserver::bench {
namespace {

using namespace std::chrono_literals;
using Kind = Bar::Kind;

enum class Rival : std::uint8_t { least, nbdkit, best_nbd, redis };
enum class What : std::uint8_t { us, requests, bytes, server_cpu };

struct Spec {
  std::string id;
  std::string work;
  Bar bar;
  What what = What::us;
  bool write = false;
  std::uint32_t bytes = 8;
  std::size_t depth = 1;
  Transport transport = Transport::tcp;
  bool poll = false;
  Rival rival = Rival::least;
  bool ring = false;  ///< through shared memory, which else is left out
};

std::string unit_of(What what) {
  switch (what) {
    case What::us: return "us";
    case What::requests: return "requests/s";
    case What::bytes: return "MB/s";
    case What::server_cpu: return "CPU us";
  }
  return {};
}

double figure_of(const Spec& spec, const LoadResult& result) {
  switch (spec.what) {
    case What::us: return result.us_per_request();
    case What::requests: return result.requests_per_second();
    case What::bytes: return result.requests_per_second() * spec.bytes / 1e6;
    case What::server_cpu: return result.server_cpu_us_per_request();
  }
  return 0;
}

Load load_of(const Spec& spec, const Settings& settings, std::size_t round) {
  Load load;
  load.write = spec.write;
  load.bytes = spec.bytes;
  load.depth = spec.depth;
  // Writes run longer, so that most of their rounds have a checkpoint in them.
  load.duration = settings.quick ? 60ms : spec.write ? 600ms : 300ms;
  load.seed = 4711 + round;
  return load;
}

std::string library_uri(const Spec& spec, const Server& server) {
  std::string query = spec.write ? "access=write&wait_ms=10000" : "access=read";
  query += "&poll_us=" + std::to_string(spec.poll ? poll_us : 0);
  if (spec.transport == Transport::unix_socket && !spec.ring) query += "&transport=socket";
  return uri_of(server.address(), spec.transport, "bench", query);
}

std::vector<Server*> rivals_of(const Spec& spec, Servers& servers, std::vector<std::string>& notes) {
  if (servers.settings().driver) return {};
  switch (spec.rival) {
    case Rival::least: return {&servers.peer("least", spec.transport)};
    case Rival::nbdkit: return {&servers.peer("nbdkit", spec.transport)};
    case Rival::best_nbd: return servers.nbd_peers(spec.transport, notes);
    case Rival::redis: return {&servers.peer("redis-server", spec.transport)};
  }
  return {};
}

/// What a run of writes appended to the log and what checkpoints took from it, from the daemon's own report.
class LogWatch {
public:
  LogWatch(const Spec& spec, const Server& server) : spec_(spec), session_(open_session(uri(server))) {
    if (spec.write) before_ = session_->stat();
  }

  std::string note() {
    const Stat after = session_->stat();
    const std::uint64_t writes = after.version.number - before_.version.number;
    const storage::LogRange range{0, spec_.bytes, false};
    const double logged = static_cast<double>(writes * storage::record_bytes(storage::payload_bytes_of({&range, 1})));
    const double lag =
        static_cast<double>(after.checkpoint_lag_bytes) - static_cast<double>(before_.checkpoint_lag_bytes);
    char text[120];
    std::snprintf(text, sizeof text, "%.0f MB appended to the log, %.0f MB of them checkpointed meanwhile",
                  logged / 1e6, (logged - lag) / 1e6);
    return text;
  }

private:
  static std::string uri(const Server& server) {
    return uri_of(server.address(), Transport::unix_socket, "bench", "access=read");
  }

  const Spec& spec_;
  std::unique_ptr<Session> session_;
  Stat before_;
};

Measured measure(const Spec& spec, Servers& servers) {
  // A few small writes would not fill the usual log to the half that starts a checkpoint.
  const bool fills_slowly = spec.write && spec.depth == 1 && spec.bytes < 4096;
  Server& ours = spec.transport == Transport::tls
                     ? servers.pageserverd_with_tls(spec.poll ? poll_us : 0)
                     : servers.pageserverd(spec.poll ? poll_us : 0, fills_slowly ? 2u << 20 : 0);
  const std::string uri = library_uri(spec, ours);
  std::vector<std::string> notes;
  const std::vector<Server*> rivals = rivals_of(spec, servers, notes);
  const Settings& settings = servers.settings();

  const auto run = [&spec, &settings](std::unique_ptr<Target> target, std::size_t round, pid_t server) {
    return figure_of(spec, run_load(*target, load_of(spec, settings, round), server));
  };
  std::vector<Subject> subjects;
  subjects.push_back({"pageserverd", [&](std::size_t round) {
                        return run(spec.depth == 1 ? connect_library(uri) : connect_library_async(uri), round,
                                   ours.pid());
                      }});
  for (const Server* rival : rivals) {
    subjects.push_back({rival->name(), [&run, &spec, rival](std::size_t round) {
                          return run(rival->connect(spec.transport, spec.write), round, rival->pid());
                        }});
  }
  if (spec.depth > 1) {
    subjects.push_back({"pageserverd, the peers' load generator", [&](std::size_t round) {
                          return run(ours.connect(spec.transport, spec.write), round, ours.pid());
                        }});
  }
  LogWatch log{spec, ours};
  Measured measured = compare(settings, unit_of(spec.what), spec.what == What::requests || spec.what == What::bytes,
                              subjects, rivals.size());
  measured.notes = notes;
  if (spec.write) measured.notes.push_back(log.note());
  if (spec.transport == Transport::tls && spec.what == What::bytes && !settings.driver)
    measured.notes.push_back(cipher_note(settings));
  return measured;
}

std::vector<Spec> specs() {
  constexpr Transport tcp = Transport::tcp;
  constexpr Transport local = Transport::unix_socket;
  const Bar least{Kind::at_most, 1.15, "the least"};
  const auto of_nbdkit = [](double value) { return Bar{Kind::at_most, value, "nbdkit"}; };
  const Bar best{Kind::at_least, 0, "the best NBD peer"};
  const auto at_least_best = [&](double value) { return Bar{Kind::at_least, value, best.of}; };
  return {
      {"read_8b_tcp", "8 B reads one at a time, TCP", least, What::us, false, 8, 1, tcp, false, Rival::least},
      {"read_8b_unix",
       "8 B reads one at a time, Unix socket",
       {Kind::at_most, 1.08, "the least"},
       What::us,
       false,
       8,
       1,
       local,
       false,
       Rival::least},
      {"read_4k_tcp", "4 KiB reads one at a time, TCP", least, What::us, false, 4096, 1, tcp, false, Rival::least},
      {"read_4k_unix", "4 KiB reads one at a time, Unix socket", least, What::us, false, 4096, 1, local, false,
       Rival::least},
      {"read_8b_tcp_poll", "8 B reads, polling, TCP", of_nbdkit(0.3), What::us, false, 8, 1, tcp, true, Rival::nbdkit},
      {"read_8b_unix_poll", "8 B reads, polling, Unix socket", of_nbdkit(0.25), What::us, false, 8, 1, local, true,
       Rival::nbdkit},
      {"read_4k_tcp_poll", "4 KiB reads, polling, TCP", of_nbdkit(0.35), What::us, false, 4096, 1, tcp, true,
       Rival::nbdkit},
      {"read_4k_unix_poll", "4 KiB reads, polling, Unix socket", of_nbdkit(0.28), What::us, false, 4096, 1, local, true,
       Rival::nbdkit},
      {"ring_read_8",
       "8 B reads, polling, shared memory",
       {Kind::at_most, 0.07, "nbdkit on a Unix socket"},
       What::us,
       false,
       8,
       1,
       local,
       true,
       Rival::nbdkit,
       true},
      {"ring_read_64k",
       "64 KiB reads one at a time, polling, shared memory",
       {Kind::at_most, 0.35, "nbdkit on a Unix socket"},
       What::us,
       false,
       65536,
       1,
       local,
       true,
       Rival::nbdkit,
       true},
      {"write_8b", "8 B writes one at a time, on_write", of_nbdkit(1.3), What::us, true, 8, 1, tcp, false,
       Rival::nbdkit},
      {"write_8b_poll", "8 B writes, polling, on_write", of_nbdkit(0.3), What::us, true, 8, 1, tcp, true,
       Rival::nbdkit},
      {"read_64k_poll", "64 KiB reads one at a time, polling", at_least_best(2), What::bytes, false, 65536, 1, tcp,
       true, Rival::best_nbd},
      {"write_64k_poll", "64 KiB writes one at a time, polling", at_least_best(1.5), What::bytes, true, 65536, 1, tcp,
       true, Rival::best_nbd},
      // What a session does by itself where client and daemon have two cores: `auto` polls.
      {"read_8b_x64",
       "8 B reads, 64 in flight",
       {Kind::at_least, 2.5, "Redis"},
       What::requests,
       false,
       8,
       64,
       tcp,
       true,
       Rival::redis},
      {"write_8b_x64",
       "8 B writes, 64 in flight, on_write",
       {Kind::at_least, 2, "Redis"},
       What::requests,
       true,
       8,
       64,
       tcp,
       true,
       Rival::redis},
      {"read_64k_x16", "64 KiB reads, 16 in flight", at_least_best(1.4), What::bytes, false, 65536, 16, tcp, true,
       Rival::best_nbd},
      {"write_64k_x16", "64 KiB writes, 16 in flight, on_write", at_least_best(1.1), What::bytes, true, 65536, 16, tcp,
       true, Rival::best_nbd},
      {"cpu_read_8b_x64",
       "server CPU per 8 B read, 64 in flight",
       {Kind::at_most, 1, "Redis"},
       What::server_cpu,
       false,
       8,
       64,
       tcp,
       false,
       Rival::redis},
      {"cpu_write_8b_x64",
       "server CPU per 8 B write, 64 in flight",
       {Kind::at_most, 1, "Redis"},
       What::server_cpu,
       true,
       8,
       64,
       tcp,
       false,
       Rival::redis},
      {"tls_read_8b_poll",
       "8 B reads, polling, TLS",
       {Kind::at_most, 0.5, "nbdkit over TLS"},
       What::us,
       false,
       8,
       1,
       Transport::tls,
       true,
       Rival::nbdkit},
      {"tls_read_8b_x64",
       "8 B reads, 64 in flight, TLS",
       {Kind::at_least, 1.5, "Redis over TLS"},
       What::requests,
       false,
       8,
       64,
       Transport::tls,
       true,
       Rival::redis},
      {"tls_read_64k_x16",
       "64 KiB reads, 16 in flight, TLS",
       {Kind::at_least, 2, "nbdkit over TLS"},
       What::bytes,
       false,
       65536,
       16,
       Transport::tls,
       true,
       Rival::nbdkit},
  };
}

}  // namespace

std::vector<Row> request_rows() {
  std::vector<Row> rows;
  for (const Spec& spec : specs())
    rows.push_back({spec.id, spec.work, spec.bar, [spec](Servers& servers) { return measure(spec, servers); }});
  return rows;
}

}  // namespace pageserver::bench
