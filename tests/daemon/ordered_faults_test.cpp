// Our own client under faults on order: it hears of each, says what it was, and is never wrong about a byte.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/daemon.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/bytes.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/errors.hpp"

namespace pageserver::test {
namespace {

struct Faulty : Daemon {
  Faulty() : Daemon({"--allow-faults", "--store", "s={dir}/s.img", "--directory", "{dir}", "--allow-create"}) {
    expect_complaint("faults can be ordered");
    expect_complaint("fault on order");
  }
};

RemoteOptions options_for(const Daemon& daemon, std::string store, std::string faults = {}) {
  RemoteOptions options;
  options.socket_path = daemon.socket_path();
  options.store = std::move(store);
  options.faults = std::move(faults);
  return options;
}

using Bytes = std::vector<std::byte>;

Bytes whole(MemoryProvider& image) {
  Bytes bytes(image.size());
  image.read(0, bytes);
  return bytes;
}

/// What a session is opened as, and how its writes become visible.
struct Form {
  const char* name;
  Access access;
  Publish publish;
  std::uint64_t cache_bytes;
};

constexpr Form forms[] = {{"on_write, raw", Access::write, Publish::on_write, 0},
                          {"on_write, cached", Access::write, Publish::on_write, 1u << 20},
                          {"on_flush, raw", Access::write, Publish::on_flush, 0},
                          {"on_flush, cached", Access::write, Publish::on_flush, 1u << 20},
                          {"fork, raw", Access::fork, Publish::on_write, 0},
                          {"fork, cached", Access::fork, Publish::on_write, 1u << 20}};

bool ends_the_session(Errc code) {
  return code == Errc::connection_lost || code == Errc::timed_out || code == Errc::protocol_error;
}

/// One workload on a store of its own, with what its session and others must see.
class Walk {
public:
  Walk(const Daemon& daemon, const Form& form, const std::string& store, const std::string& faults)
      : daemon_(daemon), form_(form), store_(store) {
    {
      RemoteProvider first{options_for(daemon, store)};
      first.grow(2);
      first.write(0, pattern(2 * page_size, 1));
      first.flush();
      published_ = whole(first);
    }
    seen_ = published_;
    RemoteOptions options = options_for(daemon, store, faults);
    options.access = form.access;
    options.publish = form.publish;
    options.cache_bytes = form.cache_bytes;
    options.wait_ms = 10'000;
    options.request_timeout = std::chrono::milliseconds{faults.find("hang") != std::string::npos ? 80 : 20'000};
    session_ = std::make_unique<RemoteProvider>(options);
  }

  /// Goes through it until the session has ended. Returns whether the order struck.
  bool run() {
    for (unsigned round = 0; round < 2 && !over_; ++round) {
      const std::uint64_t at = std::uint64_t{round} * 100;
      read(10, 100);
      write(page_size + 50 + at, pattern(64, 7 + round));
      write(2 * page_size - 40, pattern(40, 9 + round));
      read(page_size, 1000);
      grow(1);
      write(seen_.size() - 100, pattern(100, 11 + round));
      zero(20, 30);
      flush();
      write(5, pattern(3, 13 + round));
      if (form_.publish == Publish::on_flush && round == 0) discard();
      read(0, static_cast<std::size_t>(seen_.size()));
    }
    flush();
    bool struck = over_ || failures_ > 0;
    if (!over_) struck = end() || struck;
    session_.reset();
    check_published();
    return struck;
  }

  int failures() const { return failures_; }

private:
  /// Whether the order has struck, as the daemon says.
  bool end() {
    try {
      const std::vector<OrderedFault> found = session_->faults();
      session_->close();
      return found.size() != 1 || found[0].struck > 0;
    } catch (const MemoryError& error) {
      // On a loaded machine an answer may take longer than the short time that a hang is given here.
      CHECK(ends_the_session(error.errc()));
      return true;
    }
  }

  /// `after` is what the session sees once the call has taken effect, `publishes` whether others do.
  template <class Call>
  void attempt(const Bytes& after, bool publishes, Call call) {
    if (over_) return;
    const auto began = std::chrono::steady_clock::now();
    try {
      call();
      seen_ = after;
      if (publishes) published_ = after;
    } catch (const MemoryError& error) {
      INFO(error.what());
      ++failures_;
      CHECK(std::string(error.what()).size() > 10);
      over_ =
          ends_the_session(error.errc()) || error.errc() == Errc::lease_lost || error.errc() == Errc::snapshot_too_old;
      // It may have taken effect before the connection was lost.
      if (ends_the_session(error.errc()) && publishes) doubtful_ = after;
      // A fork that lost its version still has what it wrote.
      if (over_ && error.errc() != Errc::snapshot_too_old) {
        const Errc again = errc_of([&] { session_->write(0, pattern(1, 1)); });
        CHECK(to_string(again) == to_string(error.errc()));
        REQUIRE(session_->lost());
      }
    }
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(15));
  }

  bool publishes_writes() const { return form_.access == Access::write && form_.publish == Publish::on_write; }

  void change(std::uint64_t offset, const Bytes& data, const std::function<void()>& call) {
    Bytes after = seen_;
    std::copy(data.begin(), data.end(), after.begin() + static_cast<std::ptrdiff_t>(offset));
    attempt(after, publishes_writes(), call);
  }
  void write(std::uint64_t offset, const Bytes& data) {
    if (offset + data.size() > seen_.size()) return;
    change(offset, data, [&] { session_->write(offset, data); });
  }
  void zero(std::uint64_t offset, std::size_t length) {
    change(offset, Bytes(length), [&] { session_->zero(offset, length); });
  }
  void grow(std::uint64_t pages) {
    Bytes after = seen_;
    after.resize(after.size() + pages * page_size);
    attempt(after, publishes_writes(), [&] {
      const std::uint64_t before = session_->grow(pages);
      CHECK(before == seen_.size() / page_size);
    });
  }
  void flush() {
    attempt(seen_, form_.access == Access::write, [&] { session_->flush(); });
  }
  void discard() {
    attempt(published_, false, [&] { session_->discard(); });
  }
  void read(std::uint64_t offset, std::size_t length) {
    Bytes found(length);
    attempt(seen_, false, [&] {
      session_->read(offset, found);
      CHECK(std::equal(found.begin(), found.end(), seen_.begin() + static_cast<std::ptrdiff_t>(offset)));
    });
  }

  void check_published() {
    RemoteOptions options = options_for(daemon_, store_);
    options.access = Access::read;
    RemoteProvider reader{options};
    const Bytes found = whole(reader);
    const bool is_as_told = found == published_ || (doubtful_ && found == *doubtful_);
    CHECK(is_as_told);
    RemoteOptions writer = options_for(daemon_, store_);  // the lease is free, whatever came
    writer.wait_ms = 10'000;
    RemoteProvider next{writer};
    next.write(0, pattern(8, 1));
  }

  const Daemon& daemon_;
  const Form& form_;
  std::string store_;
  std::unique_ptr<RemoteProvider> session_;
  Bytes published_;
  Bytes seen_;
  std::optional<Bytes> doubtful_;
  bool over_ = false;
  int failures_ = 0;
};

}  // namespace

TEST_CASE("faults: a URI orders them for its session, and the library says how often each struck") {
  Faulty daemon;
  const std::string cache = GENERATE("", "&cache_bytes=1MiB");
  const auto session = open_session(daemon.tcp_uri("s", "faults=grow:2:no_space,read:hang" + cache));
  auto& provider = dynamic_cast<RemoteProvider&>(*session);
  session->grow(1);
  const MemoryError error = thrown_by([&] { session->grow(1); });
  check_error(error, Errc::no_space, {"grow", "a fault on order (grow:2:no_space)"});
  CHECK(session->grow(1) == 1);
  const std::vector<OrderedFault> found = provider.faults();
  REQUIRE(found.size() == 2);
  CHECK(found[0].order == "grow:2:no_space");
  CHECK(found[0].seen == 3);
  CHECK(found[0].struck == 1);
  CHECK(found[1].struck == 0);
  CHECK(provider.clear_faults().size() == 2);
  CHECK(provider.order_faults("stat:always:status=busy").size() == 1);
  CHECK(errc_of([&] { session->stat(); }) == Errc::busy);
  check_error(thrown_by([&] { provider.order_faults("read:hang\nwrite:boom"); }), Errc::invalid_argument,
              {"at byte 16: \"boom\"", "expected"});
  CHECK(provider.faults().size() == 1);
}

TEST_CASE("faults: an order for a store strikes sessions that know nothing of it") {
  Faulty daemon;
  RemoteProvider ordering{options_for(daemon, "s")};
  ordering.grow(1);
  ordering.order_faults("read:always:status=damaged", FaultScope::store);
  const auto reader = open_session(daemon.unix_uri("s", "access=read"));
  std::byte one{};
  CHECK(errc_of([&] { reader->read(0, {&one, 1}); }) == Errc::damaged);
  CHECK(ordering.faults().empty());
  CHECK(ordering.clear_faults(FaultScope::store).at(0).struck == 1);
  reader->read(0, {&one, 1});
}

TEST_CASE("faults: an asynchronous session is struck by what its URI orders") {
  Faulty daemon;
  {
    RemoteProvider first{options_for(daemon, "s")};
    first.grow(1);
  }
  AsyncSession session{options_for(daemon, "s", "read:2:no_space")};
  std::byte one{};
  std::vector<Errc> errors;
  for (int i = 0; i < 3; ++i)
    session.read(0, {&one, 1}, [&](const MemoryError* error) {
      if (error != nullptr) errors.push_back(error->errc());
    });
  while (session.outstanding() > 0) session.wait();
  CHECK(errors == std::vector<Errc>{Errc::no_space});
}

TEST_CASE("faults: a daemon that was not started for it, and a text that is wrong, keep a session from opening") {
  Daemon plain({"--store", "s={dir}/s.img"});
  check_error(thrown_by([&] { RemoteProvider{options_for(plain, "s", "read:hang")}; }), Errc::unsupported,
              {"--allow-faults"});
  Faulty daemon;
  check_error(thrown_by([&] { open_session(daemon.tcp_uri("s", "faults=write:boom")); }), Errc::invalid_argument,
              {"at byte 6: \"boom\" is no condition and no action", "cut=before"});
  RemoteProvider{options_for(daemon, "s")}.grow(1);  // the lease was not kept
}

TEST_CASE("faults: at each request of a workload each fault in turn, and never a wrong byte, a hang or a lost answer") {
  Faulty daemon;
  pageserver::Daemon stores{daemon.server_uri()};
  const std::string fault = GENERATE("delay=1ms", "no_space", "status=provider_error", "cut=before", "cut=after",
                                     "torn", "torn=7", "drip=16KiB", "lost", "sync_failed", "hang");
  int store = 0;
  for (const Form& form : forms) {
    std::string what = fault;
    if (fault == "lost") what = form.access == Access::fork ? "snapshot_too_old" : "lease_lost";
    // A fork has nothing to sync, and its client does not ask.
    if (fault == "sync_failed" && form.access == Access::fork) continue;
    int number = 1, failed = 0;
    for (bool struck = true; struck; ++number) {
      REQUIRE(number < 200);
      const std::string name = "w" + std::to_string(++store), order = "any:" + std::to_string(number) + ":" + what;
      INFO(form.name << ", " << order);
      stores.create(name, 0);
      Walk walk{daemon, form, name, order};
      struck = walk.run();
      failed += walk.failures() > 0 ? 1 : 0;
    }
    INFO(form.name << ", " << what);
    // Each request was struck once, and each fault that is one was noticed.
    CHECK(number > (fault == "sync_failed" ? 2 : 4));
    // A fork in a cache that has lost its version needs it no more, once all is there.
    if (fault == "lost") CHECK(failed >= 1);
    if (fault != "lost" && fault != "delay=1ms" && fault != "drip=16KiB") CHECK(failed >= number / 2);
    if (fault == "delay=1ms" || fault == "drip=16KiB") CHECK(failed == 0);
  }
}

}  // namespace pageserver::test
