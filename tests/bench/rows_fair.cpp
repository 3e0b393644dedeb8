// What a session has of a daemon beside one that asks for much, or whose disk is slow; and what many stores cost.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"
#include "storage/file/processors.hpp"
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

/// The reader and the greedy client share a core: for as long as this lives, this thread has it when it wants it, where
/// the system lets us. Else what is measured is how long the greedy client may keep it (2.8 ms with two processors).
class Ahead {
public:
  Ahead() noexcept {
    sched_param parameters{};
    parameters.sched_priority = 1;
    is_ahead_ = ::pthread_setschedparam(::pthread_self(), SCHED_RR, &parameters) == 0;
  }
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;
  ~Ahead() {
    const sched_param parameters{};
    if (is_ahead_) ::pthread_setschedparam(::pthread_self(), SCHED_OTHER, &parameters);
  }

private:
  bool is_ahead_ = false;
};

/// The 99th of a hundred reads of 8 bytes, one after the other, in us.
double read_p99(RawClient& reader, int count) {
  const Ahead ahead;
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
    // It shares the clients' core with the reader: what is measured is the daemon, and not who of the two is scheduled.
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
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

/// A greedy session's next request; false where an operation is not for one that has a session, or would end it.
/// Without a default, so that a new operation has to be thought of here.
bool encode_any(proto::Operation operation, proto::Bytes& out, std::uint64_t id) {
  static const std::vector<std::byte> data(1u << 18, std::byte{1});
  const std::uint64_t place = id * 65536 % ((pages - 4) * 65536);
  switch (operation) {
    case proto::Operation::ping: proto::encode(out, id, proto::PingRequest{}); return true;
    case proto::Operation::list: proto::encode(out, id, proto::ListRequest{}); return true;
    case proto::Operation::size: proto::encode(out, id, proto::SizeRequest{}); return true;
    case proto::Operation::grow: proto::encode(out, id, proto::GrowRequest{1}); return true;
    case proto::Operation::read: proto::encode(out, id, proto::ReadRequest{0, 1u << 20}); return true;
    case proto::Operation::write: proto::encode(out, id, proto::WriteRequest{place, data}); return true;
    case proto::Operation::zero: proto::encode(out, id, proto::ZeroRequest{0, pages * 65536}); return true;
    case proto::Operation::data_ranges: proto::encode(out, id, proto::DataRangesRequest{0, pages * 65536}); return true;
    case proto::Operation::flush: proto::encode(out, id, proto::FlushRequest{}); return true;
    case proto::Operation::commit: proto::encode(out, id, proto::CommitRequest{}); return true;
    case proto::Operation::discard: proto::encode(out, id, proto::DiscardRequest{}); return true;
    case proto::Operation::refresh: proto::encode(out, id, proto::RefreshRequest{}); return true;
    case proto::Operation::stat: proto::encode(out, id, proto::StatRequest{}); return true;
    case proto::Operation::break_lease: proto::encode(out, id, proto::BreakLeaseRequest{~0ull}); return true;
    case proto::Operation::hello:
    case proto::Operation::create:
    case proto::Operation::remove:
    case proto::Operation::open:
    case proto::Operation::close:
    case proto::Operation::kick:
    case proto::Operation::sessions:
    case proto::Operation::whoami:
    case proto::Operation::faults:
    case proto::Operation::ring:
    case proto::Operation::takeover:
    case proto::Operation::lease_lost:
    case proto::Operation::goodbye:
    case proto::Operation::waiting: return false;
  }
  return false;
}

/// Beside each operation in turn, of a writer and of a reader; the worst.
Measured measure_beside_any(Servers& servers) {
  const auto daemon = servers.start_daemon(
      "beside-any", {"--store", "fair=" + make_empty(servers.file("beside-any.img"), pages * 65536)});
  RawClient reader = session(*daemon, proto::Access::read);
  const int count = servers.settings().quick ? reads / 40 : reads / 4;
  std::string worst_of;
  const auto sample = [&](std::size_t) {
    double worst = 0;
    for (const proto::Access access : {proto::Access::read, proto::Access::write, proto::Access::fork})
      for (std::uint16_t number = 0; number < 128; ++number) {
        const auto operation = static_cast<proto::Operation>(number);
        proto::Bytes probe;
        if (!encode_any(operation, probe, 1)) continue;
        const Greedy greedy(*daemon, access,
                            [&](proto::Bytes& out, std::uint64_t id) { encode_any(operation, out, id); });
        const double p99 = read_p99(reader, count);
        if (p99 <= worst) continue;
        worst = p99;
        worst_of = proto::to_string(operation);
      }
    return worst;
  };
  Measured measured =
      compare(servers.settings(), "us", false, {{"worst p99", sample}, {"bound", [](std::size_t) { return 2000.0; }}});
  measured.notes.push_back("the worst of the last round is beside pipelined " + worst_of);
  return measured;
}

// --- beside thousands that keep the daemon's buffers full

/// Half of them have sent a part of a large frame, the others read none of what they asked for.
std::vector<RawClient> hostile_peers(const Server& daemon, std::size_t count) {
  std::vector<RawClient> peers;
  proto::Bytes part, requests;
  proto::encode(part, 1, proto::WriteRequest{0, std::vector<std::byte>(1u << 20, std::byte{1})});
  part.resize(300'000);
  for (std::uint64_t i = 0; i < 16; ++i) proto::encode(requests, i, proto::ReadRequest{0, 1u << 18});
  for (std::size_t i = 0; i < count; ++i) {
    peers.push_back(RawClient::tcp(daemon.address().port, 4096));
    peers.back().hello();
    peers.back().open("fair", proto::Access::fork);
    const proto::Bytes& bytes = i % 2 == 0 ? part : requests;
    [[maybe_unused]] const ssize_t as_much_as_is_taken =
        ::send(peers.back().fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  return peers;
}

Measured measure_hostile(Servers& servers) {
  const std::string config = servers.file("hostile.json");
  std::ofstream(config) << R"({"limits": {"memory_bytes": "256MiB", "connections": 5000, "stall_timeout": "1h"}})";
  const auto daemon = servers.start_daemon(
      "hostile", {"--config", config, "--store", "fair=" + make_empty(servers.file("hostile.img"), pages * 65536)});
  RawClient reader = session(*daemon, proto::Access::read);
  const int count = servers.settings().quick ? reads / 20 : reads;
  const std::vector<RawClient> peers = hostile_peers(*daemon, servers.settings().quick ? 100 : 4096);
  return compare(
      servers.settings(), "us", false,
      {{"p99", [&](std::size_t) { return read_p99(reader, count); }}, {"bound", [](std::size_t) { return 10'000.0; }}});
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

std::string many_stores_config(Servers& servers, int stores) {
  const std::string config = servers.file("many.json");
  std::ofstream out(config);
  out << R"({"limits": {"stores": )" << stores << R"(}, "stores": [)";
  for (int i = 0; i < stores; ++i) {
    const std::string name = "s" + std::to_string(i);
    out << (i == 0 ? "" : ",") << R"({"name": ")" << name << R"(", "path": ")"
        << make_empty(servers.file("many/" + name + ".img"), 1u << 20) << R"("})";
  }
  out << "]}";
  return config;
}

/// So many as there are descriptors for, up to ten thousand.
int many_stores(const Servers& servers) {
  if (servers.settings().quick) return 100;
  constexpr rlim_t wanted = 1u << 16;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit more{wanted, std::max(wanted, limit.rlim_max)};
  if (::setrlimit(RLIMIT_NOFILE, &more) != 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ::getrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t files_of_store = 4;
  return static_cast<int>(std::min<rlim_t>(10'000, (limit.rlim_cur - 256) / files_of_store));
}

std::string of_stores(int stores) { return "of " + std::to_string(stores) + " stores"; }

double status_number(pid_t pid, const std::string& name) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    double number = 0;
    if (word == name + ":" && status >> number) return number;
  }
  throw std::runtime_error("no " + name + " of process " + std::to_string(pid));
}

/// What `name` of the daemon's status is more for each store, or, not `each`, is at all.
Measured measure_many(Servers& servers, const std::string& name, const std::string& unit, bool each, double bound) {
  const int stores = many_stores(servers);
  const auto value = [&](int count) {
    const auto daemon = servers.start_daemon("many", {"--config", many_stores_config(servers, count)});
    return status_number(daemon->pid(), name);
  };
  const auto sample = [&](std::size_t) { return each ? (value(stores) - value(1)) / (stores - 1) : value(stores); };
  Measured measured = compare(servers.settings(), unit, false,
                              {{"pageserverd", sample}, {"bound", [=](std::size_t) { return bound; }}});
  measured.notes.push_back(of_stores(stores));
  return measured;
}

Measured measure_many_stores(Servers& servers) {
  const int stores = many_stores(servers);
  const std::string config = many_stores_config(servers, stores);
  const auto sample = [&](std::size_t) {
    const double before = children_cpu();
    {
      const auto daemon = servers.start_daemon("many", {"--config", config});
      daemon->process().signal(SIGTERM);
      if (daemon->process().wait() != 0) throw std::runtime_error("the daemon did not stop in order");
    }
    return (children_cpu() - before) * 1e3 / stores;
  };
  Measured measured = compare(servers.settings(), "ms of CPU", false,
                              {{"start and stop, per store", sample}, {"bound", [](std::size_t) { return 0.5; }}});
  measured.notes.push_back(of_stores(stores));
  return measured;
}

// --- many writers, each of a store of its own

constexpr std::size_t writers = 64;
constexpr std::size_t write_bytes = 4096;

/// What all of them do in a second, together: `transaction(writer, number)` is one of them.
template <class Transaction>
double together(bool quick, const Transaction& transaction) {
  const std::size_t each = quick ? 2 : 50;
  const auto start = Clock::now();
  {
    std::vector<std::jthread> threads;
    for (std::size_t writer = 0; writer < writers; ++writer)
      threads.emplace_back([&, writer] {
        for (std::size_t i = 0; i < each; ++i) transaction(writer, i);
      });
  }
  return static_cast<double>(writers * each) * 1e6 / us_since(start);
}

Measured measure_writers(Servers& servers) {
  constexpr std::uint64_t file_bytes = 16u << 20;
  const std::vector<std::byte> data(write_bytes, std::byte{1});
  const auto place = [](std::size_t number) { return number * 7919 % (file_bytes / write_bytes) * write_bytes; };
  std::vector<UniqueFd> files;
  const std::vector<std::byte> whole(file_bytes, std::byte{2});
  fs::create_directories(servers.file("plain"));
  for (std::size_t i = 0; i < writers; ++i) {
    const std::string path = servers.file("plain/" + std::to_string(i));
    files.emplace_back(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    // Blocks that are there and written, as those of a log that is used again are.
    if (::pwrite(files.back().get(), whole.data(), whole.size(), 0) != static_cast<ssize_t>(whole.size()))
      throw std::runtime_error("no room for " + path);
    ::fdatasync(files.back().get());
  }
  const std::string folder = servers.file("writers");
  for (std::size_t i = 0; i < writers; ++i) make_empty(folder + "/s" + std::to_string(i) + ".img", file_bytes);
  const auto daemon = servers.start_daemon("writers", {"--directory", folder});
  std::vector<RawClient> clients;
  for (std::size_t i = 0; i < writers; ++i) {
    clients.push_back(RawClient::local(daemon->address().socket_path));
    clients.back().hello();
    const std::string store = "s" + std::to_string(i);
    proto::OpenRequest open;
    open.access = proto::Access::write;
    open.publish = proto::Publish::on_flush;
    open.store = store;
    static_cast<void>(clients.back().call(open).as<proto::OpenAnswer>());
  }
  const bool quick = servers.settings().quick;
  const auto ours = [&](std::size_t) {
    return together(quick, [&](std::size_t writer, std::size_t i) {
      RawClient& client = clients[writer];
      client.send(proto::WriteRequest{place(i), data});
      client.send(proto::FlushRequest{});
      static_cast<void>(client.must_receive().as<proto::WriteAnswer>());
      static_cast<void>(client.must_receive().as<proto::FlushAnswer>());
    });
  };
  const auto theirs = [&](std::size_t) {
    return together(quick, [&](std::size_t writer, std::size_t i) {
      const int file = files[writer].get();
      if (::pwrite(file, data.data(), data.size(), static_cast<off_t>(place(i))) < 0 || ::fdatasync(file) != 0)
        throw std::runtime_error("a plain file could not be written");
    });
  };
  return compare(servers.settings(), "transactions/s", true, {{"pageserverd", ours}, {"64 threads", theirs}});
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

/// Whichever takes longer: until a daemon of so many names serves, or until it has stopped.
Measured measure_names(Servers& servers) {
  const int stores = servers.settings().quick ? 500 : 20'000;
  for (int i = 0; i < stores; ++i) make_empty(servers.file("names/s" + std::to_string(i) + ".img"), 0);
  const auto sample = [&](std::size_t) {
    const auto start = Clock::now();
    const auto daemon = servers.start_daemon("names", {"--directory", servers.file("names")});
    const double start_ms = us_since(start) / 1000;
    const auto stop = Clock::now();
    daemon->process().signal(SIGTERM);
    if (daemon->process().wait() != 0) throw std::runtime_error("the daemon did not stop in order");
    return std::max(start_ms, us_since(stop) / 1000);
  };
  return compare(servers.settings(), "ms", false,
                 {{"start or stop", sample}, {"bound", [](std::size_t) { return 1000.0; }}});
}

/// As a loop of a shell opens it: each time there is no other session.
Measured measure_lingering(Servers& servers) {
  make_empty(servers.file("linger/s.img"), 1u << 20);
  const auto daemon = servers.start_daemon("linger", {"--directory", servers.file("linger")});
  const std::size_t times = servers.settings().quick ? 20 : 200;
  const auto opening = [&] {
    RawClient client = RawClient::local(daemon->address().socket_path);
    client.hello();
    const auto start = Clock::now();
    client.open("s", proto::Access::read);
    const double ms = us_since(start) / 1000;
    static_cast<void>(client.call(proto::ReadRequest{0, 8}).as<proto::ReadAnswer>());  // else it only asked
    static_cast<void>(client.call(proto::CloseRequest{}).as<proto::CloseAnswer>());
    return ms;
  };
  opening();
  const auto sample = [&](std::size_t) {
    double ms = 0;
    for (std::size_t i = 0; i < times; ++i) ms += opening();
    return ms / static_cast<double>(times);
  };
  return compare(servers.settings(), "ms", false, {{"open", sample}, {"bound", [](std::size_t) { return 0.3; }}});
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
          {"beside_hostile",
           "8 B reads beside 4,096 connections with half frames and unread answers: p99",
           {Kind::at_most, 1, "10 ms"},
           measure_hostile},
          {"beside_slow_log",
           "8 B reads while each write to the log takes 200 ms: p99",
           {Kind::at_most, 1.5, "alone"},
           measure_slow_log},
          {"beside_any",
           "8 B reads beside each operation, pipelined: p99 of the worst",
           {Kind::at_most, 1, "2 ms"},
           measure_beside_any},
          {"many_stores",
           "start and stop of 10,000 stores, CPU of each",
           {Kind::at_most, 1, "0.5 ms"},
           measure_many_stores},
          {"many_threads",
           "threads with 10,000 stores",
           {Kind::at_most, 1, "4 x cores + 16"},
           [](Servers& servers) {
             return measure_many(servers, "Threads", "threads", false, 4.0 * storage::usable_processors() + 16);
           }},
          {"many_memory",
           "10,000 stores: RSS of each",
           {Kind::at_most, 1, "16 KiB"},
           [](Servers& servers) { return measure_many(servers, "VmRSS", "KiB", true, 16); }},
          {"many_addresses",
           "10,000 stores of 1 MiB: address space of each",
           {Kind::at_most, 1, "4 MiB"},
           [](Servers& servers) { return measure_many(servers, "VmSize", "KiB", true, 4096); }},
          {"writers_64",
           "64 writers of 64 stores: 4 KiB and flush each",
           {Kind::at_least, 1, "64 threads: pwrite, fdatasync"},
           measure_writers},
          {"list_20000", "list of 20,000 stores", {Kind::at_most, 1, "300 ms"}, measure_list},
          {"names_20000", "start or stop with 20,000 names", {Kind::at_most, 1, "1 s"}, measure_names},
          {"open_lingering",
           "opening a store of a directory, again and again",
           {Kind::at_most, 1, "0.3 ms"},
           measure_lingering}};
}

}  // namespace pageserver::bench
