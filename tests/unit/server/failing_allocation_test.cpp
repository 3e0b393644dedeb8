// The server's connections when memory runs out in the middle of a batch: each allocation that a session's thread makes
// fails in turn. What one session sent never arrives as another's, and no answer says what is not so.
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>
#include "tests/support/catch.hpp"

#include "server/server.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

/// Counts down the allocations of the loops that serve sessions. At 0 one fails, or that one and all behind it.
std::atomic<bool> armed{false};
std::atomic<bool> stays_short{false};
std::atomic<std::int64_t> countdown{0};
std::atomic<std::uint64_t> failed{0};

bool is_session_thread() {
  char name[32] = {};
  if (::pthread_getname_np(::pthread_self(), name, sizeof name) != 0) return false;
  return std::strncmp(name, "readers", 7) == 0 || std::strncmp(name, "writers", 7) == 0;
}

bool must_fail() {
  if (!armed.load(std::memory_order_relaxed) || !is_session_thread()) return false;
  const std::int64_t left = --countdown;
  if (left > 0 || (left < 0 && !stays_short)) return false;
  ++failed;
  return true;
}

void* allocate(std::size_t bytes) { return must_fail() ? nullptr : std::malloc(bytes == 0 ? 1 : bytes); }

}  // namespace

void* operator new(std::size_t bytes) {
  if (void* memory = allocate(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace pageserver::test {
namespace {

constexpr std::uint64_t cell_bytes = 8;
constexpr std::uint64_t first_batch = 178;  // more answers than the first buffer of a thread has room for
constexpr std::uint64_t second_cell = 5000;
constexpr std::uint64_t pings = 240;  // their bytes lie where those of the whole first batch lay

/// A server in this process, with one store whose sessions share a thread that is new.
class InProcess {
public:
  InProcess() : log_(server::LogFormat::text, static_cast<server::LogLevel>(100)) {
    server::Config config;
    config.unix_sockets.push_back({dir_.file("s"), 0600});
    server::StoreConfig store;
    store.origin = "test";
    store.name = "demo";
    store.path = dir_.file("demo.img");
    config.stores.push_back(store);
    server_.emplace(config, log_, storage::posix_file_system());
    server_->start();
    thread_ = std::thread([this] { server_->run(); });
  }
  InProcess(const InProcess&) = delete;
  InProcess& operator=(const InProcess&) = delete;
  ~InProcess() {
    server_->stop();
    thread_.join();
  }

  RawClient client() const {
    RawClient one = RawClient::local(dir_.file("s"));
    one.hello();
    return one;
  }

private:
  TempDir dir_;
  server::Log log_;
  std::optional<server::Server> server_;
  std::thread thread_;
};

std::vector<std::byte> cell(std::uint64_t number) {
  std::vector<std::byte> bytes(cell_bytes);
  std::memcpy(bytes.data(), &number, cell_bytes);
  return bytes;
}

/// What the first session was told of its writes, by cell; those that it heard nothing of are not in it.
std::map<std::uint64_t, proto::Status> send_batch(RawClient& client) {
  proto::Bytes batch;
  const std::uint64_t first_id = 1000;
  for (std::uint64_t at = 0; at < first_batch; ++at) {
    const auto data = cell(at + 1);
    proto::encode(batch, first_id + at, proto::WriteRequest{at * 3 * cell_bytes, data});
  }
  std::map<std::uint64_t, proto::Status> told;
  client.send_bytes(batch);
  while (told.size() < first_batch) {
    const auto frame = client.receive();
    if (!frame) break;
    if (frame->is_notice()) continue;
    const std::uint64_t at = frame->header.request_id - first_id;
    REQUIRE(at < first_batch);
    REQUIRE(told.emplace(at * 3, frame->status()).second);
  }
  return told;
}

/// Returns whether the allocation was reached.
bool fail_allocation(std::int64_t number, bool stays) {
  InProcess daemon;
  std::map<std::uint64_t, proto::Status> told;
  {
    RawClient first = daemon.client();
    first.open("demo");
    first.grow(1);
    failed = 0;
    stays_short = stays;
    countdown = number;
    armed = true;
    told = send_batch(first);
    armed = false;
  }
  RawClient second = daemon.client();
  const auto opened = second.try_open("demo", proto::Access::write, 10'000).as<proto::OpenAnswer>();
  // In one go, so that they are one batch: pings, and a single write.
  proto::Bytes batch;
  for (std::uint64_t ping = 1; ping <= pings; ++ping)
    proto::encode(batch, ping, proto::PingRequest{cell(0xbbbb'0000 + ping)});
  proto::encode(batch, pings + 1, proto::WriteRequest{second_cell * cell_bytes, cell(0xb)});
  proto::encode(batch, pings + 2, proto::SizeRequest{});
  second.send_bytes(batch);
  for (std::uint64_t id = 1; id <= pings + 1; ++id) {
    const Frame frame = second.must_receive();
    REQUIRE(frame.header.request_id == id);
    REQUIRE(frame.status() == proto::Status::ok);
  }
  CHECK(second.must_receive().as<proto::SizeAnswer>().version.number == opened.version.number + 1);

  const std::vector<std::byte> image = [&] {
    const Frame frame = [&] {
      const std::uint64_t id = pings + 3;
      proto::Bytes request;
      proto::encode(request, id, proto::ReadRequest{0, static_cast<std::uint32_t>(page_size)});
      second.send_bytes(request);
      return second.must_receive();
    }();
    const auto answer = frame.as<proto::ReadAnswer>();
    return std::vector<std::byte>(answer.data.begin(), answer.data.end());
  }();
  std::string wrong;
  for (std::uint64_t at = 0; wrong.empty() && at < page_size / cell_bytes; ++at) {
    std::uint64_t found = 0;
    std::memcpy(&found, image.data() + at * cell_bytes, cell_bytes);
    std::uint64_t wanted = at == second_cell ? 0xb : 0;
    if (at % 3 == 0 && at / 3 < first_batch) {
      const auto answer = told.find(at);
      // Of a write that was not answered it may be either.
      const bool written = answer == told.end() ? found != 0 : answer->second == proto::Status::ok;
      wanted = written ? at / 3 + 1 : 0;
    }
    if (found != wanted)
      wrong = "cell " + std::to_string(at) + " holds " + std::to_string(found) + " and not " + std::to_string(wanted);
  }
  INFO("allocation " << number << (stays ? " and all behind it" : ""));
  REQUIRE(wrong == "");
  return failed != 0;
}

}  // namespace

TEST_CASE("a refresh that memory runs out in is answered, or has not moved the view") {
  InProcess daemon;
  RawClient writer = daemon.client();
  writer.open("demo");
  writer.grow(2);
  constexpr std::int64_t allocations_max = 2000;
  bool reached = true;
  std::uint64_t wrong = 0;
  std::int64_t number = 1;
  for (; reached; ++number) {
    REQUIRE(number < allocations_max);
    RawClient reader = daemon.client();
    proto::OpenRequest request;
    request.access = proto::Access::read;
    request.view = proto::View::pinned;
    request.store = "demo";
    reader.call(request).as<proto::OpenAnswer>();
    writer.write(3, cell(static_cast<std::uint64_t>(number)));
    failed = 0;
    stays_short = false;
    countdown = number;
    armed = true;
    bool refused = false;
    try {
      refused = reader.call(proto::RefreshRequest{}).status() != proto::Status::ok;
    } catch (const std::runtime_error&) {
      // Its connection is gone, and its view with it.
    }
    armed = false;
    reached = failed != 0;
    if (!refused) continue;
    const auto again = reader.call(proto::RefreshRequest{}).as<proto::RefreshAnswer>();
    if (!again.everything && again.changed.empty()) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(number > 3);
}

TEST_CASE("a failed allocation in one session's batch puts none of its bytes into another's") {
  const bool stays = GENERATE(false, true);
  std::uint64_t reached = 0;
  // A loop has served other sessions before, so its buffers are there: what is left are those of a group of writes.
  // How many allocations a batch takes depends on how it comes in, so that not each number is reached each time.
  for (std::int64_t number = 1; number <= 60; ++number) reached += fail_allocation(number, stays) ? 1u : 0u;
  CHECK(reached >= 2);
}

}  // namespace pageserver::test
