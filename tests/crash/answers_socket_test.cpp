// Writers that lose their leases in the middle of flushes, pins that move, and sessions that ask for the size, over
// real sockets against a real daemon: every answer about versions, pages, publishes and leases must agree with one
// sequence.
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include "tests/support/catch.hpp"

#include "tests/crash/answers.hpp"
#include "tests/crash/random.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test {
namespace {

using proto::Status;
using Outcome = AnswerHistory::Outcome;

constexpr std::uint64_t page_bytes = 65536;
// The mark is written to the first bytes of the image and, as another range of the same publish, further on.
constexpr std::uint64_t second_mark = 40'000;
// So many ranges enter the index in several steps.
constexpr std::uint64_t ranges_of_large = 1200;
// Answers that nobody reads fill a socket sooner than one would think.
constexpr std::size_t in_flight_max = 64;
constexpr std::chrono::seconds time_max{30};  // the counts end a run; this is for a machine that is busy

std::uint64_t now() { return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()); }

/// An answer with when it was asked for and when it came.
struct Told {
  Frame frame;
  AnswerHistory::Time time;
};

/// A connection that takes notices aside.
class Peer {
public:
  explicit Peer(const Daemon& daemon) : client_{RawClient::local(daemon.socket_path())} { client_.hello(); }

  template <class Request>
  Told ask(const Request& request) {
    Told told;
    told.time.asked = now();
    const std::uint64_t id = client_.send(request);
    told.frame = answer(id);
    told.time.answered = now();
    return told;
  }
  template <class Request>
  std::uint64_t send(const Request& request) {
    return client_.send(request);
  }
  Frame answer(std::uint64_t id) {
    for (;;) {
      Frame frame = client_.must_receive();
      if (frame.is_notice()) continue;
      if (frame.header.request_id != id) throw std::runtime_error("another answer than the one that was waited for");
      return frame;
    }
  }

private:
  RawClient client_;
};

struct Shared {
  explicit Shared(Daemon& one) : daemon(one) {}

  Daemon& daemon;
  std::mutex mutex;
  AnswerHistory history;
  std::string problem;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> flushing_epoch{0};
  std::atomic<std::uint64_t> next_number{1};
  std::atomic<std::uint64_t> broken{0};
  std::atomic<std::uint64_t> lost_flushes{0};
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> refreshes{0};

  void add(AnswerHistory::View view) {
    const std::lock_guard lock(mutex);
    history.views.push_back(std::move(view));
  }
  void add(const AnswerHistory::Publish& publish) {
    const std::lock_guard lock(mutex);
    history.publishes.push_back(publish);
    if (publish.outcome == Outcome::done) ++done;
  }
  void fail(const std::string& text) {
    const std::lock_guard lock(mutex);
    if (problem.empty()) problem = text;
    stop = true;
  }
  AnswerHistory::Lease& lease(std::uint64_t epoch) {
    for (auto& one : history.leases)
      if (one.epoch == epoch) return one;
    return history.leases.emplace_back(AnswerHistory::Lease{epoch, {}, false});
  }
};

/// One lease, from its open to its end.
class Writer {
public:
  Writer(Shared& shared, std::uint64_t seed) : shared_{shared}, random_{seed}, peer_{shared.daemon} {}

  void run() {
    proto::OpenRequest request;
    request.store = "shared";
    request.access = proto::Access::write;
    on_flush_ = !random_.one_in(4);
    request.publish = on_flush_ ? proto::Publish::on_flush : proto::Publish::on_write;
    request.wait_ms = 30'000;
    const Told told = peer_.ask(request);
    const auto opened = told.frame.as<proto::OpenAnswer>();
    epoch_ = opened.epoch;
    version_ = opened.version.number;
    pages_ = opened.pages;
    shared_.add({"open", told.time, version_, pages_, false});
    {
      const std::lock_guard lock(shared_.mutex);
      shared_.lease(epoch_);
    }
    const std::uint64_t transactions = 1 + random_.below(12);
    for (std::uint64_t at = 0; at < transactions && !lost_ && !shared_.stop; ++at)
      on_flush_ ? transaction() : publishes();
    if (lost_) check_lost();
    peer_.ask(proto::CloseRequest{}).frame.as<proto::CloseAnswer>();
  }

private:
  /// True when the answer is ok; false when the lease is lost.
  bool ok(const Told& told) {
    if (told.frame.status() == Status::ok) return true;
    if (told.frame.status() != Status::lease_lost)
      throw std::runtime_error("a writer was told " + proto::to_string(told.frame.status()) + ": " + told.frame.text());
    lost_ = true;
    const std::lock_guard lock(shared_.mutex);
    shared_.lease(epoch_).lost = true;
    return false;
  }
  void expect(bool right, const std::string& what, std::uint64_t found, std::uint64_t wanted) const {
    if (!right) throw std::runtime_error(what + " is " + std::to_string(found) + ", not " + std::to_string(wanted));
  }

  bool look() {
    const Told told = peer_.ask(proto::SizeRequest{});
    if (!ok(told)) return false;
    const auto size = told.frame.as<proto::SizeAnswer>();
    expect(size.pages == pages_ + private_pages_, "a writer's pages", size.pages, pages_ + private_pages_);
    shared_.add({"a writer's size", told.time, size.version.number, size.pages - private_pages_, false});
    expect(size.version.number == version_, "a writer's version", size.version.number, version_);
    return true;
  }
  bool grow(std::uint64_t more, AnswerHistory::Time* time = nullptr) {
    const Told told = peer_.ask(proto::GrowRequest{more});
    if (time != nullptr) *time = told.time;
    if (!ok(told)) return false;
    const std::uint64_t before = told.frame.as<proto::GrowAnswer>().previous_pages;
    expect(before == pages_ + private_pages_, "the pages before a grow", before, pages_ + private_pages_);
    return true;
  }

  /// Each write publishes: the mark in one place only.
  void publishes() {
    const std::uint64_t more = random_.below(3);
    AnswerHistory::Publish growth;
    growth.epoch = epoch_;
    growth.grown_pages = more;
    const bool grown = grow(more, &growth.time);
    if (more != 0) end_publish(growth, grown);
    if (!grown) return;
    AnswerHistory::Publish publish;
    publish.epoch = epoch_;
    publish.number = shared_.next_number++;
    std::vector<std::byte> whole(second_mark + 8);
    std::memcpy(whole.data(), &publish.number, 8);
    std::memcpy(whole.data() + second_mark, &publish.number, 8);
    const Told told = peer_.ask(proto::WriteRequest{0, whole});
    publish.time = told.time;
    end_publish(publish, ok(told));
    if (lost_ || !random_.one_in(3)) return;
    if (look()) flush_nothing();
  }
  void end_publish(AnswerHistory::Publish& publish, bool done) {
    if (done) {
      publish.outcome = Outcome::done;
      publish.version = ++version_;
      pages_ += publish.grown_pages;
    }
    shared_.add(publish);
  }
  void flush_nothing() {
    const Told told = peer_.ask(proto::FlushRequest{});
    if (!ok(told)) return;
    const std::uint64_t number = told.frame.as<proto::FlushAnswer>().version.number;
    expect(number == version_, "the version of a flush of nothing", number, version_);
  }

  void transaction() {
    AnswerHistory::Publish publish;
    publish.epoch = epoch_;
    publish.number = shared_.next_number++;
    publish.grown_pages = random_.below(3);
    if (publish.grown_pages != 0 && !grow(publish.grown_pages)) return shared_.add(publish);
    private_pages_ = publish.grown_pages;
    std::vector<std::uint64_t> ids;
    bool written = true;
    const auto bytes = std::as_bytes(std::span(&publish.number, 1));
    ids.push_back(peer_.send(proto::WriteRequest{0, bytes}));
    ids.push_back(peer_.send(proto::WriteRequest{second_mark, bytes}));
    if (publish.grown_pages != 0 && random_.one_in(2)) {
      const std::uint64_t step = publish.grown_pages * page_bytes / ranges_of_large / 8 * 8;
      for (std::uint64_t at = 0; at < ranges_of_large; ++at) {
        ids.push_back(peer_.send(proto::WriteRequest{pages_ * page_bytes + at * step, bytes}));
        if (ids.size() == in_flight_max) written = all_ok(ids) && written;
      }
    }
    written = all_ok(ids) && written;
    const bool discards = random_.one_in(8);
    if (!written || (random_.one_in(4) && !look())) return shared_.add(publish);
    if (!discards) return commit(publish);
    discard();
    shared_.add(publish);
  }
  bool all_ok(std::vector<std::uint64_t>& ids) {
    bool all = true;
    for (const std::uint64_t id : ids) all = ok({peer_.answer(id), {}}) && all;
    ids.clear();
    return all;
  }
  void discard() {
    const Told told = peer_.ask(proto::DiscardRequest{});
    if (!ok(told)) return;
    private_pages_ = 0;
    const auto left = told.frame.as<proto::DiscardAnswer>();
    expect(left.version.number == version_, "the version after a discard", left.version.number, version_);
    shared_.add({"discard", told.time, left.version.number, left.pages, false});
  }
  void commit(AnswerHistory::Publish publish) {
    shared_.flushing_epoch = epoch_;
    const bool commits = random_.one_in(2);
    const Told told = commits ? peer_.ask(proto::CommitRequest{}) : peer_.ask(proto::FlushRequest{});
    shared_.flushing_epoch = 0;
    publish.time = told.time;
    if (ok(told)) {
      publish.outcome = Outcome::done;
      publish.version = commits ? told.frame.as<proto::CommitAnswer>().version.number
                                : told.frame.as<proto::FlushAnswer>().version.number;
      expect(publish.version == version_ + 1, "the version of a transaction", publish.version, version_ + 1);
      version_ = publish.version;
      pages_ += publish.grown_pages;
    } else {
      ++shared_.lost_flushes;
    }
    private_pages_ = 0;
    shared_.add(publish);
  }

  /// Whoever lost the lease is told so by everything.
  void check_lost() {
    const auto told = [&](const char* what, const Told& one) {
      if (one.frame.status() != Status::lease_lost)
        throw std::runtime_error(std::string(what) + " after the lease was lost was answered " +
                                 proto::to_string(one.frame.status()));
    };
    told("size", peer_.ask(proto::SizeRequest{}));
    told("read", peer_.ask(proto::ReadRequest{0, 8}));
    told("grow", peer_.ask(proto::GrowRequest{1}));
    told("flush", peer_.ask(proto::FlushRequest{}));
    told("commit", peer_.ask(proto::CommitRequest{}));
    told("discard", peer_.ask(proto::DiscardRequest{}));
    told("stat", peer_.ask(proto::StatRequest{}));
    told("break_lease", peer_.ask(proto::BreakLeaseRequest{0}));
  }

  Shared& shared_;
  Random random_;
  Peer peer_;
  bool on_flush_ = true;
  bool lost_ = false;
  std::uint64_t epoch_ = 0;
  std::uint64_t version_ = 0;
  std::uint64_t pages_ = 0;
  std::uint64_t private_pages_ = 0;
};

/// Breaks the lease of whoever flushes, at a moment in or near the flush.
void break_leases(Shared& shared, std::uint64_t seed) {
  Random random(seed);
  Peer peer(shared.daemon);
  proto::OpenRequest request;
  request.store = "shared";
  request.access = proto::Access::read;
  peer.ask(request).frame.as<proto::OpenAnswer>();
  while (!shared.stop) {
    const std::uint64_t epoch = shared.flushing_epoch;
    if (epoch == 0) {
      std::this_thread::yield();
      continue;
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random.below(1500));
    while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
    const Told told = peer.ask(proto::BreakLeaseRequest{epoch});
    const auto answer = told.frame.as<proto::BreakLeaseAnswer>();
    if (!answer.broken) continue;
    if (answer.broken->epoch != epoch) throw std::runtime_error("another lease was broken than the one that was named");
    ++shared.broken;
    const std::lock_guard lock(shared.mutex);
    auto& lease = shared.lease(epoch);
    if (lease.broken.asked != 0) throw std::runtime_error("a lease was broken twice");
    lease.broken = told.time;
  }
}

void ask_sizes(Shared& shared, std::uint64_t seed) {
  Random random(seed);
  Peer peer(shared.daemon);
  proto::OpenRequest request;
  request.store = "shared";
  request.access = proto::Access::read;
  const Told opened = peer.ask(request);
  const auto at_open = opened.frame.as<proto::OpenAnswer>();
  shared.add({"a reader's open", opened.time, at_open.version.number, at_open.pages, false});
  while (!shared.stop) {
    if (random.one_in(16)) {
      const Told told = peer.ask(proto::StatRequest{});
      const auto stat = told.frame.as<proto::StatAnswer>();
      shared.add({"stat", told.time, stat.version.number, stat.pages, false});
    } else if (random.one_in(16)) {
      const Told told = peer.ask(proto::RefreshRequest{});
      const auto refreshed = told.frame.as<proto::RefreshAnswer>();
      shared.add({"a live refresh", told.time, refreshed.version.number, refreshed.pages, false});
    } else if (random.one_in(4)) {
      const Told told = peer.ask(proto::ReadRequest{0, static_cast<std::uint32_t>(second_mark + 8)});
      std::uint64_t marks[2] = {};
      const auto data = told.frame.as<proto::ReadAnswer>().data;
      std::memcpy(&marks[0], data.data(), 8);
      std::memcpy(&marks[1], data.data() + second_mark, 8);
      if (marks[0] != marks[1]) throw std::runtime_error("half of a publish was seen");
      const std::lock_guard lock(shared.mutex);
      shared.history.marks.push_back({told.time, marks[0], 0});
    } else {
      const Told told = peer.ask(proto::SizeRequest{});
      const auto size = told.frame.as<proto::SizeAnswer>();
      shared.add({"size", told.time, size.version.number, size.pages, false});
    }
  }
}

void move_pins(Shared& shared, std::uint64_t) {
  Peer peer(shared.daemon);
  proto::OpenRequest request;
  request.store = "shared";
  request.access = proto::Access::read;
  request.view = proto::View::pinned;
  const Told opened = peer.ask(request);
  const auto at_open = opened.frame.as<proto::OpenAnswer>();
  shared.add({"a pin's open", opened.time, at_open.version.number, at_open.pages, false});
  std::uint64_t version = at_open.version.number;
  while (!shared.stop) {
    const Told told = peer.ask(proto::RefreshRequest{});
    const auto refreshed = told.frame.as<proto::RefreshAnswer>();
    shared.add({"refresh", told.time, refreshed.version.number, refreshed.pages, false});
    AnswerHistory::Refresh refresh;
    refresh.from = std::exchange(version, refreshed.version.number);
    refresh.to = version;
    refresh.everything = refreshed.everything;
    for (const auto& range : refreshed.changed) {
      refresh.changed.push_back({range.offset, range.length});
    }
    ++shared.refreshes;
    const Told read = peer.ask(proto::ReadRequest{0, 8});
    std::uint64_t mark = 0;
    std::memcpy(&mark, read.frame.as<proto::ReadAnswer>().data.data(), 8);
    const Told sized = peer.ask(proto::SizeRequest{});
    const auto size = sized.frame.as<proto::SizeAnswer>();
    shared.add({"a pin's size", sized.time, size.version.number, size.pages, true});
    if (size.version.number != version) throw std::runtime_error("a pin moved by itself");
    const std::lock_guard lock(shared.mutex);
    shared.history.refreshes.push_back(std::move(refresh));
    shared.history.marks.push_back({read.time, mark, version});
  }
}

}  // namespace

TEST_CASE("answers about versions, publishes and leases agree with one sequence while leases are broken") {
  const unsigned threads = GENERATE(1u, 3u);
  TempDir dir;
  std::ofstream(dir.file("threads.json")) << "{\"threads\": " << threads << "}";
  Daemon daemon({"--config", "{dir}/threads.json", "--store", "shared={dir}/shared.img"}, &dir);
  Shared shared(daemon);
  {
    Peer peer(daemon);
    proto::OpenRequest request;
    request.store = "shared";
    request.access = proto::Access::write;
    peer.ask(request).frame.as<proto::OpenAnswer>();
    peer.ask(proto::GrowRequest{1}).frame.as<proto::GrowAnswer>();
    peer.ask(proto::FlushRequest{}).frame.as<proto::FlushAnswer>();
    const auto size = peer.ask(proto::SizeRequest{}).frame;
    shared.history.first_version = size.as<proto::SizeAnswer>().version.number;
    shared.history.first_pages = size.as<proto::SizeAnswer>().pages;
    peer.ask(proto::CloseRequest{});
  }

  std::vector<std::thread> crew;
  const auto add = [&](auto work) {
    crew.emplace_back([&shared, work, seed = crew.size() + 1] {
      try {
        work(shared, seed);
      } catch (const std::exception& error) {
        shared.fail(error.what());
      }
    });
  };
  const auto write = [](Shared& all, std::uint64_t seed) {
    for (std::uint64_t round = 0; !all.stop; ++round) Writer(all, 1000 * seed + round).run();
  };
  add(write);
  add(write);
  add(break_leases);
  add(ask_sizes);
  add(ask_sizes);
  add(move_pins);
  add(move_pins);
  const auto until = std::chrono::steady_clock::now() + time_max;
  const auto enough = [&] { return shared.broken >= 50 && shared.done >= 200 && shared.refreshes >= 500; };
  while (!shared.stop && !enough() && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  shared.stop = true;
  for (std::thread& thread : crew) thread.join();

  std::cout << threads << " threads: " << shared.done << " publishes, " << shared.broken << " leases broken, "
            << shared.lost_flushes << " flushes lost, " << shared.history.views.size() << " views, " << shared.refreshes
            << " refreshes\n";
  REQUIRE(shared.problem == "");
  CHECK(shared.broken >= 10);
  CHECK(shared.done >= 30);
  CHECK(shared.refreshes >= 30);
  CHECK(contradiction(shared.history).value_or("") == "");

  // What was answered as done lasts, and nothing else does.
  std::uint64_t newest = shared.history.first_version, number = 0, pages = shared.history.first_pages;
  for (const auto& publish : shared.history.publishes) {
    if (publish.outcome != Outcome::done) continue;
    pages += publish.grown_pages;
    if (publish.version <= newest || publish.number == 0) continue;
    newest = publish.version;
    number = publish.number;
  }
  daemon.kill_hard();
  daemon.start_again();
  Peer peer(daemon);
  proto::OpenRequest request;
  request.store = "shared";
  request.access = proto::Access::read;
  CHECK(peer.ask(request).frame.as<proto::OpenAnswer>().pages == pages);
  std::uint64_t mark = 0;
  const Frame read = peer.ask(proto::ReadRequest{0, 8}).frame;
  std::memcpy(&mark, read.as<proto::ReadAnswer>().data.data(), 8);
  CHECK(mark == number);
}

}  // namespace pageserver::test
