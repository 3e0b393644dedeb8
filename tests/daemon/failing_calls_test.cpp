// Calls of the real daemon are made to fail in turn. It may refuse, or drop the connection that asked. It goes on
// serving, and keeps what it has answered.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/fault_shim.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::uint64_t always = UINT64_MAX;

/// A daemon with the store `demo`, a directory, and the shim.
class FailingDaemon {
public:
  explicit FailingDaemon(const std::string& grace = "4s") {
    std::ofstream(shim_dir_.file("c.json"))
        << R"({"directory": {"path": ")" << dir_.path().string()
        << R"(", "create": true, "remove": true}, "limits": {"log_bytes": "4MiB"}, "grace": ")" << grace << R"("})";
    start();
  }
  FailingDaemon(const FailingDaemon&) = delete;
  FailingDaemon& operator=(const FailingDaemon&) = delete;
  ~FailingDaemon() = default;

  void start() {
    disarm();
    process_.emplace(std::vector<std::string>{
        "/usr/bin/env", std::string(fault_order_variable) + "=" + shim_dir_.file("order"),
        std::string("LD_PRELOAD=") + FAULT_SHIM_PATH, pageserverd_path(), "--unix", socket_path(), "--store",
        "demo=" + shim_dir_.file("demo.img"), "--config", shim_dir_.file("c.json")});
    process_->wait_for_err(" INFO start ");
  }
  void kill_and_start() {
    disarm();
    process_->signal(SIGKILL);
    process_->wait();
    start();
  }

  void arm(FaultKind kind, std::uint64_t first, std::uint64_t count = 1, int error = ENOMEM) {
    order_->first = first;
    order_->count = count;
    order_->error = static_cast<std::uint32_t>(error);
    order_->calls = 0;
    order_->failed = 0;
    order_->kind = kind;
  }
  /// How many failed since arm().
  std::uint64_t disarm() {
    order_->kind = FaultKind::none;
    return order_->failed;
  }
  std::uint64_t failed() const { return order_->failed; }

  /// Of the store `demo`.
  bool has_log() const {
    const std::filesystem::directory_iterator files{shim_dir_.path()};
    return std::any_of(begin(files), end(files),
                       [](const auto& file) { return file.path().filename().string().starts_with("demo.img.log."); });
  }
  std::string socket_path() const { return shim_dir_.file("s"); }
  Process& process() { return *process_; }

private:
  TempDir shim_dir_;
  TempDir dir_;
  SharedFaultOrder order_{shim_dir_.file("order")};
  std::optional<Process> process_;
};

RawClient greeted(const FailingDaemon& daemon) {
  RawClient client = RawClient::local(daemon.socket_path());
  client.hello();
  return client;
}

RawClient session_of(const FailingDaemon& daemon, std::string_view store, proto::Access access = proto::Access::write,
                     proto::Publish publish = proto::Publish::on_write, proto::View view = proto::View::live) {
  RawClient client = greeted(daemon);
  proto::OpenRequest request;
  request.store = store;
  request.access = access;
  request.publish = publish;
  request.view = view;
  // A session that ends at this moment may still have the lease.
  request.wait_ms = access == proto::Access::write ? 20'000 : 0;
  client.call(request).as<proto::OpenAnswer>();
  return client;
}

/// What a request was answered; nothing: its connection is gone.
using Answered = std::optional<proto::Status>;

template <class Request>
Answered ask(RawClient& client, const Request& request) {
  try {
    return client.call(request).status();
  } catch (const NoAnswer&) {
    throw;
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

/// The image as it must be, and what operations may have changed in it.
class Model {
public:
  using Bytes = std::vector<std::byte>;
  struct Change {
    std::uint64_t offset;
    Bytes bytes;
    Answered answered;
  };

  explicit Model(std::size_t bytes) : image_(bytes) {}

  const Bytes& image() const { return image_; }
  Bytes next_data(std::size_t length) { return pattern(length, ++turn_); }
  void may_change(std::uint64_t offset, Bytes bytes, Answered answered) {
    changes_.push_back({offset, std::move(bytes), answered});
  }
  void were_answered(Answered answered) {
    for (Change& change : changes_) change.answered = answered;
  }
  /// Of changes that became visible together, if they did.
  void are_together() { together_ = true; }

  /// What was answered well is there; what was refused is not; what was not answered is there as a whole or not at all,
  /// and from here on it is what is there.
  void check(const Bytes& seen) {
    std::size_t there = 0;
    Bytes expected = image_;
    for (const Change& change : changes_) {
      const bool is_there = std::equal(change.bytes.begin(), change.bytes.end(), seen.begin() + at(change.offset));
      if (change.answered) REQUIRE((*change.answered == proto::Status::ok) == is_there);
      there += is_there ? 1 : 0;
      if (is_there) std::copy(change.bytes.begin(), change.bytes.end(), expected.begin() + at(change.offset));
    }
    if (together_) REQUIRE((there == 0 || there == changes_.size()));
    REQUIRE(seen == expected);
    image_ = expected;
    changes_.clear();
    together_ = false;
  }

private:
  static std::ptrdiff_t at(std::uint64_t offset) { return static_cast<std::ptrdiff_t>(offset); }

  Bytes image_;
  std::vector<Change> changes_;
  bool together_ = false;
  unsigned turn_ = 0;
};

/// One operation, one of whose allocations fails.
struct Turn {
  FailingDaemon& daemon;
  Model& model;
  RawClient& client;  ///< the writer of `demo`
  std::optional<RawClient> other{};
  Model::Bytes before{};
  Answered answered{};

  void write(std::uint64_t offset, std::size_t length) {
    auto data = model.next_data(length);
    answered = ask(client, proto::WriteRequest{offset, data});
    model.may_change(offset, std::move(data), answered);
  }
};

struct Operation {
  std::string name;
  std::function<void(Turn&)> run;
  std::function<void(Turn&)> prepare = [](Turn&) {};
  std::function<void(Turn&)> check = [](Turn&) {};  ///< with memory again
  proto::Publish publish = proto::Publish::on_write;
};

/// A store that was to be made or removed: whatever was answered, it is there or not, and can be made and removed
/// again.
void check_store(Turn& turn, std::string_view name, Answered there, Answered gone) {
  RawClient client = greeted(turn.daemon);
  const auto opened = client.try_open(name, proto::Access::read).status();
  REQUIRE((opened == proto::Status::ok || opened == proto::Status::not_found));
  if (there == proto::Status::ok) REQUIRE(opened == proto::Status::ok);
  if (gone == proto::Status::ok) REQUIRE(opened == proto::Status::not_found);
  if (opened == proto::Status::ok) client.call(proto::CloseRequest{}).as<proto::CloseAnswer>();
  RawClient admin = greeted(turn.daemon);
  if (opened == proto::Status::ok) admin.call(proto::RemoveRequest{name}).as<proto::RemoveAnswer>();
  admin.call(proto::CreateRequest{name, 1}).as<proto::CreateAnswer>();
  admin.call(proto::RemoveRequest{name}).as<proto::RemoveAnswer>();
}

std::vector<Operation> operations() {
  using proto::Access, proto::Publish, proto::Status, proto::View;
  using proto::BreakLeaseRequest, proto::FlushRequest, proto::GrowRequest, proto::ListRequest, proto::OpenRequest;
  using proto::CloseRequest, proto::CommitRequest, proto::CreateAnswer, proto::CreateRequest, proto::DiscardRequest;
  using proto::PingRequest, proto::ReadRequest, proto::RefreshRequest, proto::RemoveRequest, proto::SizeAnswer;
  using proto::SizeRequest, proto::StatRequest, proto::WriteRequest, proto::ZeroRequest;
  const auto plain = [](std::string name, auto request) {
    return Operation{std::move(name), [request](Turn& t) { (void)ask(t.client, request); }};
  };
  const auto other_connects = [](Turn& t) { t.other = greeted(t.daemon); };
  // Two changes of a transaction that nobody sees yet.
  const auto writes_privately = [](Turn& t) {
    for (const std::uint64_t offset : {65'536u, 150'000u}) {
      const auto data = t.model.next_data(3000);
      t.client.write(offset, data);
      t.model.may_change(offset, data, Answered{});
    }
    t.model.are_together();
  };
  const auto publishes = [](auto request) {
    return [request](Turn& t) {
      if (ask(t.client, request) == Status::ok) t.model.were_answered(Status::ok);
    };
  };
  return {
      plain("read", ReadRequest{5, 100'000}),
      {"write", [](Turn& t) { t.write(65'536, 8); }},
      {"large write", [](Turn& t) { t.write(65'536, 100'000); }},
      {"several writes together",
       [](Turn& t) {
         proto::Bytes batch;
         std::vector<Model::Bytes> data;
         for (std::uint64_t i = 0; i < 8; ++i) {
           data.push_back(t.model.next_data(16));
           proto::encode(batch, 500 + i, WriteRequest{65'536 + 100 * i, data.back()});
         }
         std::vector<Answered> answered(data.size());
         try {
           t.client.send_bytes(batch);
           for (std::size_t i = 0; i < data.size(); ++i) {
             const Frame frame = t.client.must_receive();
             answered.at(frame.header.request_id - 500) = frame.status();
           }
         } catch (const NoAnswer&) {
           throw;
         } catch (const std::runtime_error&) {
         }
         for (std::size_t i = 0; i < data.size(); ++i) t.model.may_change(65'536 + 100 * i, data[i], answered[i]);
       }},
      {"zero",
       [](Turn& t) {
         t.model.may_change(65'536, Model::Bytes(100'000), ask(t.client, ZeroRequest{65'536, 100'000}));
       },
       [](Turn& t) {
         // Something that is not zero before.
         t.write(65'536, 100'000);
         t.model.check(t.client.read(0, static_cast<std::uint32_t>(t.model.image().size())));
       }},
      plain("grow", GrowRequest{0}),
      plain("flush", FlushRequest{}),
      {"commit", publishes(CommitRequest{}), writes_privately, {}, Publish::on_flush},
      {"flush of a transaction", publishes(FlushRequest{}), writes_privately, {}, Publish::on_flush},
      {"discard", [](Turn& t) { t.answered = ask(t.client, DiscardRequest{}); },
       [](Turn& t) {
         t.before = t.model.next_data(3000);
         t.client.write(65'536, t.before);
       },
       [](Turn& t) {
         if (!t.answered) return;
         const auto seen = t.client.read(65'536, 3000);
         const auto published = t.model.image().begin() + 65'536;
         REQUIRE((*t.answered == Status::ok ? std::equal(seen.begin(), seen.end(), published) : seen == t.before));
       },
       Publish::on_flush},
      {"refresh", [](Turn& t) { t.answered = ask(*t.other, RefreshRequest{}); },
       [](Turn& t) {
         t.other = session_of(t.daemon, "demo", Access::read, Publish::on_write, View::pinned);
         t.before = t.other->read(65'536, 3000);
         t.write(65'536, 3000);
         t.model.check(t.client.read(0, static_cast<std::uint32_t>(t.model.image().size())));
       },
       [](Turn& t) {
         if (!t.answered) return;
         const auto seen = t.other->read(65'536, 3000);
         const auto published = t.model.image().begin() + 65'536;
         REQUIRE((*t.answered == Status::ok ? std::equal(seen.begin(), seen.end(), published) : seen == t.before));
       }},
      plain("stat", StatRequest{}),
      plain("ping", PingRequest{}),
      plain("close", CloseRequest{}),
      {"break of a lease", [](Turn& t) { t.answered = ask(*t.other, BreakLeaseRequest{0}); },
       [](Turn& t) { t.other = session_of(t.daemon, "demo", Access::read); },
       [](Turn& t) {
         auto data = t.model.next_data(100);
         const Answered wrote = ask(t.client, WriteRequest{65'536, data});
         // A notice may come first.
         if (t.answered && *t.answered != Status::ok) REQUIRE(wrote == Status::ok);
         if (t.answered == Status::ok) REQUIRE(wrote != Status::ok);
         t.model.may_change(65'536, std::move(data), wrote);
       }},
      {"hello",
       [](Turn& t) {
         try {
           greeted(t.daemon);
         } catch (const NoAnswer&) {
           throw;
         } catch (const std::runtime_error&) {
         }
       }},
      {"list", [](Turn& t) { (void)ask(*t.other, ListRequest{}); }, other_connects},
      {"open",
       [](Turn& t) {
         OpenRequest request;
         request.store = "demo";
         request.access = Access::read;
         (void)ask(*t.other, request);
       },
       other_connects},
      {"open of a store that is not open",
       [](Turn& t) {
         OpenRequest request;
         request.store = "asleep";
         t.answered = ask(*t.other, request);
       },
       other_connects,
       [](Turn& t) {
         t.other->close();
         RawClient client = session_of(t.daemon, "asleep");
         REQUIRE(client.call(SizeRequest{}).as<SizeAnswer>().pages == 1);
       }},
      {"create",
       [](Turn& t) {
         t.answered = ask(*t.other, CreateRequest{"made", 1});
       },
       other_connects, [](Turn& t) { check_store(t, "made", t.answered, {}); }},
      {"remove", [](Turn& t) { t.answered = ask(*t.other, RemoveRequest{"made"}); },
       [](Turn& t) {
         t.other = greeted(t.daemon);
         t.other->call(CreateRequest{"made", 1}).as<CreateAnswer>();
       },
       [](Turn& t) { check_store(t, "made", {}, t.answered); }},
  };
}

}  // namespace

TEST_CASE("a listener whose new connections can't be waited for goes on accepting") {
  FailingDaemon daemon;
  for (const auto& [kind, error] : {std::pair{FaultKind::epoll_ctl, ENOSPC}, std::pair{FaultKind::epoll_ctl, ENOMEM},
                                    std::pair{FaultKind::accept, EMFILE}, std::pair{FaultKind::accept, ENOBUFS},
                                    std::pair{FaultKind::accept, EINVAL}}) {
    CAPTURE(static_cast<int>(kind), error);
    daemon.arm(kind, 1, 3, error);
    for (int i = 0; i < 3; ++i) {
      RawClient client = RawClient::local(daemon.socket_path());
      try {
        client.hello();
      } catch (const std::runtime_error&) {
        // Dropped: there was nothing to tell it with.
      }
    }
    CHECK(daemon.disarm() == 3);
    // Descriptors have one owner: whoever comes now, beside a session with files of its own, is not cut off.
    RawClient session = session_of(daemon, "demo");
    session.grow(1);
    for (int i = 0; i < 4; ++i) {
      RawClient client = RawClient::local(daemon.socket_path());
      client.hello();
      session.write(0, bytes_of("still here"));
      session.flush();
      CHECK(session.read(0, 10) == bytes_of("still here"));
    }
  }
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("a connection that can't be taken on by its store's worker ends, and the worker does not spin") {
  FailingDaemon daemon;
  RawClient other = session_of(daemon, "demo", proto::Access::read);
  RawClient client = RawClient::local(daemon.socket_path());
  client.hello();
  daemon.arm(FaultKind::epoll_ctl, 1, always, ENOSPC);
  proto::OpenRequest request;
  request.store = "demo";
  client.send(request);
  CHECK(client.closed_within());
  CHECK(daemon.disarm() >= 1);
  // Several looks in a row at which every thread sleeps, and none has run since the look before. A thread that spins is
  // never found asleep, however little time it gets.
  constexpr int looks_needed = 10;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::string before;
  for (int calm = 0; calm < looks_needed;) {
    const std::string now = sleeping_threads(daemon.process().pid());
    calm = !now.empty() && now == before ? calm + 1 : 0;
    before = now;
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    CHECK_FALSE(other.readable_within(std::chrono::milliseconds(20)));
  }
  CHECK(other.call(proto::PingRequest{}).status() == proto::Status::ok);
  session_of(daemon, "demo").grow(1);
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("each allocation of each operation fails in turn, and the daemon goes on and keeps what it answered") {
  FailingDaemon daemon;
  Model model(4 * 65536);
  {
    RawClient client = session_of(daemon, "demo");
    client.grow(4);
    client.flush();
    greeted(daemon).call(proto::CreateRequest{"asleep", 1}).as<proto::CreateAnswer>();
  }
  const auto image_bytes = static_cast<std::uint32_t>(model.image().size());
  std::uint64_t all_turns = 0;
  for (const Operation& operation : operations()) {
    // The operation itself may make more calls than a bounded test can fail one by one.
    constexpr std::uint64_t turns_max = 120;
    std::uint64_t turns = 0;
    // Keeps the store open: to open it again would mend what a failure left.
    RawClient stays = session_of(daemon, "demo", proto::Access::read);
    for (std::uint64_t k = 1; k <= turns_max; ++k, ++turns) {
      CAPTURE(operation.name, k);
      RawClient client = session_of(daemon, "demo", proto::Access::write, operation.publish);
      Turn turn{daemon, model, client};
      operation.prepare(turn);
      daemon.arm(FaultKind::memory, k);
      operation.run(turn);
      const bool fired = daemon.disarm() != 0;
      if (operation.check) operation.check(turn);
      client.close();
      RawClient after = session_of(daemon, "demo");
      model.check(after.read(0, image_bytes));
      // It takes and publishes what comes next.
      const auto data = model.next_data(16);
      after.write(0, data);
      after.flush();
      model.may_change(0, data, proto::Status::ok);
      model.check(after.read(0, image_bytes));
      if (!fired) break;
    }
    all_turns += turns;
    daemon.kill_and_start();
    CHECK(session_of(daemon, "demo", proto::Access::read).read(0, image_bytes) == model.image());
  }
  CHECK(all_turns > 60);
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE(
    "each allocation of a stop fails in turn: it ends, says with its status whether it was clean, and loses nothing") {
  // No failure makes it wait for the end of its grace.
  FailingDaemon daemon("120s");
  std::vector<std::byte> image(2 * 65536);
  greeted(daemon).call(proto::CreateRequest{"other", 2}).as<proto::CreateAnswer>();
  constexpr std::uint64_t turns_max = 40;
  std::uint64_t turns = 0;
  for (std::uint64_t k = 1; k <= turns_max; ++k, ++turns) {
    CAPTURE(k);
    RawClient client = session_of(daemon, "demo");
    if (k == 1) client.grow(2);
    const auto data = pattern(100'000, static_cast<unsigned>(k));
    client.write(10, data);
    std::copy(data.begin(), data.end(), image.begin() + 10);
    // Sessions of all kinds: the only writer, one that waits in line, a fork, one on a store of the directory.
    RawClient in_line = greeted(daemon);
    proto::OpenRequest request;
    request.store = "demo";
    request.wait_ms = 600'000;
    in_line.send(request);
    RawClient fork = session_of(daemon, "demo", proto::Access::fork);
    fork.write(0, data);
    RawClient other = session_of(daemon, "other", proto::Access::write, proto::Publish::on_flush);
    other.write(0, data);
    daemon.arm(FaultKind::memory, k);
    daemon.process().signal(SIGTERM);
    const int status = daemon.process().wait();
    const bool fired = daemon.disarm() != 0;
    CHECK(daemon.process().err_so_far().find("the grace period is over") == std::string::npos);
    CHECK((status == 0 || status == 1));
    if (!fired) CHECK(status == 0);
    // Clean means: the image is all that there is.
    CHECK((daemon.has_log() ? status == 1 : true));
    daemon.start();
    CHECK(session_of(daemon, "demo", proto::Access::read).read(0, static_cast<std::uint32_t>(image.size())) == image);
    if (!fired) break;
  }
  CHECK(turns > 3);
}

TEST_CASE("a stop for which there is no memory at all ends with its grace, and nothing is lost") {
  FailingDaemon daemon("300ms");
  const auto data = pattern(100'000, 3);
  {
    RawClient client = session_of(daemon, "demo");
    client.grow(2);
    client.write(10, data);
    daemon.arm(FaultKind::memory, GENERATE(1u, 5u, 20u), always);
    daemon.process().signal(SIGTERM);
    // Whether the last of it needed memory is up to chance.
    const int status = daemon.process().wait();
    CHECK((status == 0 || status == 1));
  }
  daemon.start();
  CHECK(session_of(daemon, "demo", proto::Access::read).read(10, 100'000) == data);
}
