// What a session has of a daemon beside one that asks for much, or whose disk is slow; and what many stores cost.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/load.hpp"
#include "tests/bench/rows.hpp"
#include "tests/support/disk_shim.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Kind = Bar::Kind;
using test::RawClient;

constexpr std::uint64_t pages = 1024;
constexpr int reads = 2000;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

RawClient session(const Server& daemon, proto::Access access) {
  RawClient client = RawClient::local(daemon.address().socket_path);
  client.hello();
  client.open("fair", access);
  return client;
}

std::string make_empty(const std::string& path, std::uint64_t bytes) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream{path};
  fs::resize_file(path, bytes);
  return path;
}

/// The 99th of a hundred reads of 8 bytes, one after the other, in us.
double read_p99(RawClient& reader, int count) {
  std::vector<double> took;
  for (int i = 0; i < count; ++i) {
    const auto start = Clock::now();
    static_cast<void>(reader.read(static_cast<std::uint64_t>(i) % pages * 65536, 8));
    took.push_back(us_since(start));
  }
  return quantile(took, 0.99);
}

// --- beside one that asks for much

/// Asks for the same again and again, many at a time, until it is told to end.
class Greedy {
public:
  Greedy(const Server& daemon, proto::Access access, std::function<void(proto::Bytes&, std::uint64_t)> encode)
      : client_(session(daemon, access)), encode_(std::move(encode)), thread_([this] { ask(); }) {
    while (answered_ == 0) std::this_thread::yield();
  }
  Greedy(const Greedy&) = delete;
  Greedy& operator=(const Greedy&) = delete;
  ~Greedy() {
    done_ = true;
    thread_.join();
  }

private:
  void ask() {
    constexpr int at_once = 128;
    while (!done_) {
      proto::Bytes batch;
      for (std::uint64_t i = 0; i < at_once; ++i) encode_(batch, 1000 + i);
      client_.send_bytes(batch);
      for (int i = 0; i < at_once; ++i, ++answered_) static_cast<void>(client_.must_receive());
    }
  }

  RawClient client_;
  const std::function<void(proto::Bytes&, std::uint64_t)> encode_;
  std::atomic<bool> done_{false};
  std::atomic<std::uint64_t> answered_{0};
  std::thread thread_;
};

template <class Request>
Measured measure_beside(Servers& servers, const std::string& name, proto::Access access, const Request& request) {
  const auto daemon =
      servers.start_daemon(name, {"--store", "fair=" + make_empty(servers.file(name + ".img"), pages * 65536)});
  // Every other block is data: as many extents as a list of them can have.
  {
    RawClient writer = session(*daemon, proto::Access::write);
    const std::vector<std::byte> block(4096, std::byte{1});
    for (std::uint64_t at = 0; at < pages * 65536 / 4; at += 8192) writer.write(at, block);
    writer.flush();
  }
  RawClient reader = session(*daemon, proto::Access::read);
  const int count = servers.settings().quick ? reads / 20 : reads;
  const auto beside = [&](std::size_t) {
    const Greedy greedy(*daemon, access, [&](proto::Bytes& out, std::uint64_t id) { proto::encode(out, id, request); });
    return read_p99(reader, count);
  };
  return compare(servers.settings(), "us", false,
                 {{"p99", beside}, {"alone", [&](std::size_t) { return read_p99(reader, count); }}});
}

// --- beside a write that takes long

Measured measure_slow_log(Servers& servers) {
  if (!fs::exists(DISK_SHIM_PATH)) throw NotAvailable("the shim that makes a disk slow was not built");
  test::SlowDisk disk(servers.file("slow-order"), "slow.img.log");
  ::setenv(test::disk_order_variable, servers.file("slow-order").c_str(), 1);
  ::setenv("LD_PRELOAD", DISK_SHIM_PATH, 1);
  const auto daemon =
      servers.start_daemon("slow", {"--store", "fair=" + make_empty(servers.file("slow.img"), pages * 65536)});
  ::unsetenv("LD_PRELOAD");
  ::unsetenv(test::disk_order_variable);
  const std::vector<std::byte> data(8, std::byte{1});
  RawClient writer = session(*daemon, proto::Access::write);
  RawClient reader = session(*daemon, proto::Access::read);
  const int count = servers.settings().quick ? reads / 20 : reads;
  const auto beside = [&](std::size_t) {
    disk.slow_down(test::DiskOrder::writes, 200'000);
    double p99 = 0;
    {
      const std::jthread writing([&] {
        for (std::uint64_t i = 0; i < 4; ++i) writer.write(i * 8, data);
      });
      p99 = read_p99(reader, count);
      disk.let_go();
    }
    return p99;
  };
  return compare(servers.settings(), "us", false,
                 {{"p99", beside}, {"alone", [&](std::size_t) { return read_p99(reader, count); }}});
}

// --- many stores

double cpu_seconds_of(const rusage& usage) {
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double children_cpu() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  return cpu_seconds_of(usage);
}

Measured measure_many_stores(Servers& servers) {
  const int stores = servers.settings().quick ? 100 : 2000;
  const std::string config = servers.file("many.json");
  std::ofstream out(config);
  out << R"({"limits": {"stores": )" << stores << R"(}, "stores": [)";
  for (int i = 0; i < stores; ++i) {
    const std::string name = "s" + std::to_string(i);
    out << (i == 0 ? "" : ",") << R"({"name": ")" << name << R"(", "path": ")"
        << make_empty(servers.file("many/" + name + ".img"), 1u << 20) << R"("})";
  }
  out << "]}";
  out.close();
  const auto sample = [&](std::size_t) {
    const double before = children_cpu();
    {
      const auto daemon = servers.start_daemon("many", {"--config", config});
      daemon->process().signal(SIGTERM);
      if (daemon->process().wait() != 0) throw std::runtime_error("the daemon did not stop in order");
    }
    return (children_cpu() - before) * 1e3 / stores;
  };
  return compare(servers.settings(), "ms of CPU", false,
                 {{"start and stop, per store", sample}, {"bound", [](std::size_t) { return 0.5; }}});
}

Measured measure_list(Servers& servers) {
  const int stores = servers.settings().quick ? 500 : 20'000;
  for (int i = 0; i < stores; ++i) make_empty(servers.file("list/s" + std::to_string(i) + ".img"), 0);
  const auto daemon = servers.start_daemon("list", {"--directory", servers.file("list")});
  const auto sample = [&](std::size_t) {
    RawClient client = RawClient::local(daemon->address().socket_path);
    client.hello();
    const auto start = Clock::now();
    int listed = 0;
    std::string after;
    for (bool more = true; more;) {
      const auto answer = client.call(proto::ListRequest{after});
      const auto part = answer.as<proto::ListAnswer>();
      listed += static_cast<int>(part.entries.size());
      more = part.more;
      if (more) after = part.entries.back().store;
    }
    if (listed != stores) throw std::runtime_error("listed " + std::to_string(listed));
    return us_since(start) / 1000;
  };
  return compare(servers.settings(), "ms", false,
                 {{"list of 20,000", sample}, {"bound", [](std::size_t) { return 300.0; }}});
}

}  // namespace

std::vector<Row> fair_rows() {
  // How much of a core the client and its neighbours have is in both: what is to be seen is the difference.
  const Bar bar{Kind::none, 0, "alone"};
  return {{"beside_stat", "8 B reads beside pipelined stat: p99", bar,
           [](Servers& servers) {
             return measure_beside(servers, "beside-stat", proto::Access::read, proto::StatRequest{});
           }},
          {"beside_ranges", "8 B reads beside pipelined data_ranges: p99", bar,
           [](Servers& servers) {
             return measure_beside(servers, "beside-ranges", proto::Access::read,
                                   proto::DataRangesRequest{0, pages * 65536});
           }},
          {"beside_reads", "8 B reads beside pipelined reads of 1 MiB: p99", bar,
           [](Servers& servers) {
             return measure_beside(servers, "beside-reads", proto::Access::read, proto::ReadRequest{0, 1u << 20});
           }},
          {"beside_zero", "8 B reads beside pipelined zero: p99", bar,
           [](Servers& servers) {
             return measure_beside(servers, "beside-zero", proto::Access::write, proto::ZeroRequest{0, pages * 65536});
           }},
          {"beside_slow_log",
           "8 B reads while each write to the log takes 200 ms: p99",
           {Kind::at_most, 1.5, "alone"},
           measure_slow_log},
          {"many_stores", "start and stop of 2,000 stores", {Kind::at_most, 1, "0.5 ms"}, measure_many_stores},
          {"list_20000", "list of 20,000 stores", {Kind::at_most, 1, "300 ms"}, measure_list}};
}

}  // namespace pageserver::bench
