// What the sessions of a simulation do, each step checked against the model at once.
#include <algorithm>

#include "tests/crash/simulation.hpp"

namespace pageserver::test {

using storage::SessionRequest;

namespace {

std::string range_text(std::uint64_t offset, std::uint64_t length) {
  return std::to_string(offset) + "+" + std::to_string(length);
}

/// Marks a session as being called for as long as it lives.
class InCall {
public:
  explicit InCall(bool& flag) : flag_(flag) { flag_ = true; }
  ~InCall() { flag_ = false; }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;

private:
  bool& flag_;
};

}  // namespace

Simulation::ActorPointer Simulation::writer() const {
  for (const ActorPointer& actor : actors_) {
    if (actor->kind <= Kind::transaction && !actor->lost_lease) return actor;
  }
  return nullptr;
}

void Simulation::act(bool readers_only) {
  if (!failure_.empty()) return;
  if (hook_depth_ == 0) collect_granted();
  if (!readers_only) {
    const std::uint64_t what = random_.below(100);
    if (what < 12) return open_session();
    if (what < 30) return void(step_lanes());
    if (what < 32) return break_lease();
    if (what < 33) return cancel_waiter();
    if (what < 35) return check_stat();
  }
  std::vector<ActorPointer> free;
  for (const ActorPointer& actor : actors_) {
    if (actor->in_call || actor->flushing) continue;
    if (readers_only && actor->kind <= Kind::transaction) continue;
    // The writer acts as often as all others together.
    const std::size_t weight = !readers_only && actor->kind <= Kind::transaction ? actors_.size() : 1;
    free.insert(free.end(), weight, actor);
  }
  if (free.empty()) return readers_only ? void() : void(step_lanes());
  const ActorPointer actor = free[random_.below(free.size())];
  if (!readers_only && random_.one_in(30)) return close_session(actor);
  act_as(actor, readers_only);
}

void Simulation::act_as(const ActorPointer& actor, bool reads_only) {
  if (reads_only || actor->kind == Kind::live) return random_.one_in(6) ? read_ranges(*actor) : read(*actor);
  const std::uint64_t what = random_.below(20);
  if (actor->kind == Kind::pinned) return what < 16 ? read(*actor) : what < 18 ? read_ranges(*actor) : refresh(*actor);
  if (what < 2) return read(*actor);
  if (what < 3) return read_ranges(*actor);
  if (what < 4) return discard(*actor);
  if (what < 6 || (seen_by(*actor).size() == 0 && what < 15)) return grow(*actor);
  if (what < 7) return refresh(*actor);
  if (what < (actor->kind == Kind::transaction ? 12u : 10u)) return flush(actor);
  change(*actor);
}

void Simulation::follow_version() {
  const std::uint64_t number = store_->stat(0).version.number;
  if (number == model_.number(model_.newest())) return;
  if (!model_.has_pending() || number < model_.number(model_.newest())) {
    fail("the version moved from " + std::to_string(model_.number(model_.newest())) + " to " + std::to_string(number) +
         " though nothing was published");
    return;
  }
  model_.commit(number);
  ++counters_.publishes;
  trace("state " + std::to_string(model_.newest()) + " is visible, number " + std::to_string(number));
  if (pending_transaction_) {
    committed_transaction_ = transaction_;
    model_.flushed(model_.newest());
  }
}

const BlockBytes& Simulation::seen_by(const Actor& actor) {
  if (actor.has_own) return actor.own;
  if (actor.kind == Kind::pinned || actor.kind == Kind::fork) return model_.image(actor.base);
  return model_.newest_image();
}

ByteRange Simulation::pick_range(std::uint64_t size, std::uint64_t length_max) {
  std::uint64_t length = random_.below(random_.one_in(2) ? 65 : random_.one_in(4) ? length_max : length_max / 8);
  std::uint64_t offset = 0;
  switch (random_.below(4)) {
    case 0: offset = random_.below(2048); break;  // where all meet
    case 1: offset = page_size * random_.below(size / page_size + 1) - std::min<std::uint64_t>(size, 100); break;
    default: offset = random_.below(size + 1);
  }
  offset = std::min(offset, size);
  length = std::min(length, size - offset);
  return {offset, length};
}

// --- Opening and closing ---------------------------------------------------------------------------------------------

void Simulation::add_actor(std::unique_ptr<storage::StoreSession> session, Kind kind) {
  follow_version();
  auto actor = std::make_shared<Actor>();
  actor->session = std::move(session);
  actor->kind = kind;
  actor->name = "s" + std::to_string(++session_count_);
  actor->base = model_.newest();
  if (kind <= Kind::transaction) {
    ++counters_.leases;
    if (writer()) fail("a second writer was let in");
    // Whatever an earlier writer still had in flight was applied or refused before this one was let in.
    if (model_.has_pending()) model_.fail();
  }
  const std::weak_ptr<Actor> weak = actor;
  actor->session->on_notice([this, weak](const MemoryError& reason) {
    const auto one = weak.lock();
    if (!one) return;
    trace(one->name + " is told " + reason.what());
    if (++one->notices > 1 && one->kind <= Kind::transaction) fail(one->name + " got a second notice");
    const bool right = one->kind <= Kind::transaction ? reason.errc() == Errc::lease_lost && one->lost_lease
                                                      : reason.errc() == Errc::snapshot_too_old;
    if (!right) fail(one->name + " got a wrong notice: " + reason.what());
  });
  if (kind >= Kind::pinned && actor->session->version().number != model_.number(actor->base)) {
    fail(actor->name + " does not hold the newest version");
  }
  trace("open " + actor->name + " kind " + std::to_string(static_cast<int>(kind)) + " at state " +
        std::to_string(actor->base));
  actors_.push_back(std::move(actor));
}

void Simulation::opened(Waiter& waiter, std::unique_ptr<storage::StoreSession> session, std::exception_ptr error) {
  if (waiter.answered) fail("an opening was answered twice");
  waiter.answered = true;
  if (!error) {
    // Whoever stands in line before this one must have been answered.
    const auto self = std::find_if(line_.begin(), line_.end(), [&](const auto& one) { return one.get() == &waiter; });
    if (self != line_.end() && std::any_of(line_.begin(), self, [](const auto& one) { return !one->answered; })) {
      fail("the line was jumped");
    }
    waiter.session = std::move(session);
    return;
  }
  try {
    std::rethrow_exception(error);
  } catch (const MemoryError& reason) {
    waiter.busy = reason.errc() == Errc::busy;
    if (!waiter.busy && !faulted_life()) fail(std::string("opening a session: ") + reason.what());
  }
}

void Simulation::open_session() {
  if (actors_.size() > 8) return;
  const bool held = writer() != nullptr || !line_.empty();
  // Mostly the kind that is missing, so that there is a writer most of the time.
  const Kind kind = !held && random_.one_in(2) ? (random_.one_in(2) ? Kind::write_through : Kind::transaction)
                                               : static_cast<Kind>(random_.below(5));
  SessionRequest request;
  request.access = kind <= Kind::transaction ? Access::write : kind == Kind::fork ? Access::fork : Access::read;
  request.view = kind == Kind::pinned ? View::pinned : View::live;
  request.publish = kind == Kind::transaction ? Publish::on_flush : Publish::on_write;
  request.name = "simulated";
  request.wait_in_line = kind <= Kind::transaction && line_.size() < 3 && random_.one_in(2);
  auto waiter = std::make_shared<Waiter>();
  waiter->kind = kind;
  if (request.wait_in_line) line_.push_back(waiter);
  const bool waits = request.wait_in_line;
  // An earlier writer's flush in flight may hold the next one back although nobody has the lease.
  const bool may_be_held = held || model_.has_pending();
  const bool outer = std::exchange(in_store_call_, true);
  waiter->place = store_->open_session(std::move(request), [this, waiter](auto session, std::exception_ptr error) {
    opened(*waiter, std::move(session), error);
  });
  in_store_call_ = outer;
  if (waiter->busy && (!may_be_held || kind >= Kind::live || waits)) fail("busy though nobody holds the lease");
  if (waiter->session && kind <= Kind::transaction && held) fail("let in though the lease is held");
  if (!waiter->answered && (!waits || !may_be_held)) fail("an opening waits though it need not");
  if (!waiter->answered) {
    ++counters_.lease_waits;
    trace("a writer waits in line");
  }
  if (waiter->answered) {
    std::erase(line_, waiter);
    if (waiter->session) add_actor(std::move(waiter->session), kind);
  }
}

void Simulation::collect_granted() {
  while (!line_.empty() && line_.front()->answered) {
    const auto waiter = line_.front();
    line_.pop_front();
    if (waiter->session) add_actor(std::move(waiter->session), waiter->kind);
    if (!waiter->session && !waiter->cancelled && waiter->busy) fail("a writer in line was sent away");
  }
}

void Simulation::cancel_waiter() {
  if (line_.empty()) return;
  const auto waiter = line_[random_.below(line_.size())];
  if (waiter->answered) return;
  waiter->cancelled = true;
  trace("a writer leaves the line");
  store_->cancel_wait(waiter->place);
  if (!waiter->answered || !waiter->busy) fail("cancel_wait() did not answer busy");
  std::erase(line_, waiter);
}

void Simulation::close_session(const ActorPointer& actor) {
  trace("close " + actor->name);
  std::erase(actors_, actor);
  const bool outer = std::exchange(in_store_call_, true);
  actor->session.reset();
  in_store_call_ = outer;
  follow_version();
}

void Simulation::break_lease() {
  const ActorPointer holder = writer();
  if (holder && holder->in_call && !holder->flushing) return;
  if (!holder && !line_.empty()) return;  // granted, but not known here yet
  trace("break the lease of " + (holder ? holder->name : std::string("nobody")));
  const std::uint64_t epoch = holder && random_.one_in(2) ? holder->session->epoch() : 0;
  if (holder && random_.one_in(4) && store_->break_lease(holder->session->epoch() + 1, "wrong epoch")) {
    fail("a lease of another epoch was broken");
  }
  if (holder) holder->lost_lease = true;
  const auto broken = store_->break_lease(epoch, "the simulation said so");
  if (broken.has_value() != (holder != nullptr)) fail("break_lease() is wrong about the holder");
  if (holder) ++counters_.breaks;
  follow_version();
}

// --- Reading ---------------------------------------------------------------------------------------------------------

void Simulation::read_failed(Actor& actor, const MemoryError& error, std::uint64_t faults_before, const char* what) {
  if (actor.lost_lease && error.errc() == Errc::lease_lost) return;
  if (actor.kind >= Kind::pinned && error.errc() == Errc::snapshot_too_old && actor.base < model_.newest()) {
    if (!actor.too_old) {
      ++counters_.evictions;
      trace(actor.name + " is too old");
      for (const ActorPointer& other : actors_) {
        if (other->kind < Kind::pinned || other->base >= actor.base || other->too_old || other->in_call) continue;
        std::byte one[1];
        try {
          if (other->session->pages() > 0) other->session->read(0, one);
          if (other->session->pages() > 0) fail(other->name + " holds an older version and was kept");
        } catch (const MemoryError&) {
        }
      }
    }
    actor.too_old = true;
    return;
  }
  if (counters_.faults != faults_before && error.errc() != Errc::out_of_bounds) {
    ++counters_.errors;
    return;
  }
  fail(actor.name + " " + what + ": " + error.what());
}

void Simulation::read(Actor& actor) {
  follow_version();
  const BlockBytes image = seen_by(actor);
  const bool whole = random_.one_in(20);
  const ByteRange range = whole ? ByteRange{0, image.size()} : pick_range(image.size(), 6000);
  std::vector<std::byte> bytes(static_cast<std::size_t>(range.length));
  const std::uint64_t faults_before = counters_.faults;
  const InCall in_call(actor.in_call);
  ++counters_.reads;
  try {
    actor.session->read(range.offset, bytes);
    if (actor.lost_lease) return fail(actor.name + " still reads though its lease was broken");
    if (actor.too_old) return fail(actor.name + " reads again though it was too old");
    if (!image.equals(range.offset, bytes)) {
      return fail(actor.name + " reads wrong bytes at " + range_text(range.offset, range.length) + " of " +
                  (actor.has_own
                       ? "its own image"
                       : "state " + std::to_string(actor.kind >= Kind::pinned ? actor.base : model_.newest())));
    }
    if (actor.session->pages() != image.size() / page_size) return fail(actor.name + " sees a wrong number of pages");
    if (actor.kind >= Kind::pinned && actor.session->version().number != model_.number(actor.base)) {
      return fail(actor.name + " sees another version than it holds");
    }
    if (random_.one_in(10)) {
      std::byte one[1];
      try {
        actor.session->read(image.size(), one);
        fail(actor.name + " reads past the end");
      } catch (const MemoryError& error) {
        if (error.errc() != Errc::out_of_bounds) throw;
      }
    }
  } catch (const MemoryError& error) {
    read_failed(actor, error, faults_before, "read");
  }
}

void Simulation::read_ranges(Actor& actor) {
  follow_version();
  const BlockBytes image = seen_by(actor);
  const ByteRange range = pick_range(image.size(), image.size());
  const std::uint64_t faults_before = counters_.faults;
  const InCall in_call(actor.in_call);
  try {
    std::uint64_t until = 0;
    const std::uint64_t end = range.offset + range.length;
    const auto found = actor.session->data_ranges(range.offset, range.length, 1 + random_.below(20), until);
    if (actor.lost_lease || actor.too_old) return fail(actor.name + " still answers data_ranges()");
    if (until > end || until < range.offset || (range.length > 0 && until == range.offset)) {
      return fail(actor.name + " describes nothing");
    }
    std::uint64_t at = range.offset;
    const auto must_be_zero = [&](std::uint64_t to) {
      if (to > at && !image.equals(at, std::vector<std::byte>(static_cast<std::size_t>(to - at)))) {
        fail(actor.name + " calls data zeros in " + range_text(at, to - at));
      }
    };
    for (const ByteRange& one : found) {
      if (one.offset < at || one.length == 0 || one.offset + one.length > until) {
        return fail(actor.name + " answers ranges out of order or out of bounds");
      }
      must_be_zero(one.offset);
      at = one.offset + one.length;
    }
    must_be_zero(until);
  } catch (const MemoryError& error) {
    read_failed(actor, error, faults_before, "data_ranges");
  }
}

void Simulation::check_stat() {
  follow_version();
  const Stat stat = store_->stat(0);
  if (stat.pages != model_.newest_image().size() / page_size) fail("stat() has wrong pages");
  std::uint64_t live = 0, pinned = 0, forks = 0;
  for (const ActorPointer& actor : actors_) {
    live += actor->kind == Kind::live;
    pinned += actor->kind == Kind::pinned;
    forks += actor->kind == Kind::fork;
  }
  if (stat.sessions_live != live || stat.sessions_pinned != pinned || stat.sessions_fork != forks) {
    fail("stat() counts sessions wrongly");
  }
  if (line_.empty() && !model_.has_pending() && stat.writer.has_value() != (writer() != nullptr)) {
    fail("stat() is wrong about the writer");
  }
  if (stat.fork_bytes > engine_options_.forks_bytes_max) fail("forks take more than they may");
  if (!faulted_life() && !stat.last_sync_error.empty()) fail("a sync error out of nothing: " + stat.last_sync_error);
  if (!faulted_life() && !stat.image_warning.empty()) fail("a warning out of nothing: " + stat.image_warning);
}

// --- Writing ---------------------------------------------------------------------------------------------------------

void Simulation::refused(Actor& actor, const MemoryError& error, bool may_be_full, const char* what) {
  const Errc code = error.errc();
  trace(actor.name + " " + what + " refused: " + error.what());
  if (actor.lost_lease) {
    if (code != Errc::lease_lost) fail(actor.name + " lost its lease and is told " + error.what());
    return;
  }
  if (may_be_full && (code == Errc::limit_exceeded || code == Errc::no_space)) return;
  if (faulted_life() && (code == Errc::no_space || code == Errc::provider_error || code == Errc::limit_exceeded)) {
    ++counters_.errors;
    return;
  }
  if (actor.too_old && code == Errc::snapshot_too_old) return;
  fail(actor.name + " " + what + ": " + error.what());
}

void Simulation::publish(Actor& actor, BlockBytes image, const std::function<void()>& call, const char* what) {
  const bool full = !actor.session->may_write([] {});
  const bool lost = actor.lost_lease;
  const std::size_t newest = model_.newest();
  if (!lost) {
    model_.begin(std::move(image));
    pending_transaction_ = false;
  }
  try {
    const InCall in_call(actor.in_call);
    call();
    if (lost) return fail(actor.name + " publishes though its lease was broken");
    follow_version();
    if (model_.has_pending()) return fail(actor.name + " was answered and nothing is visible");
  } catch (const MemoryError& error) {
    follow_version();
    if (!lost && model_.newest() != newest) return fail(actor.name + " got an error for what is visible");
    if (!lost) model_.fail();
    refused(actor, error, full, what);
  }
}

void Simulation::change_own(Actor& actor, const BlockBytes& image, std::uint64_t bytes,
                            const std::function<void()>& call, const char* what) {
  // Past a quarter of the bounds of forks an upper bound of what the engine keeps says nothing more.
  std::uint64_t fork_bytes = 0;
  for (const ActorPointer& other : actors_) fork_bytes += other->kind == Kind::fork ? other->own_bytes : 0;
  const bool may_be_full = actor.kind == Kind::fork && (fork_bytes + bytes) * 4 > engine_options_.fork_bytes_max;
  try {
    const InCall in_call(actor.in_call);
    call();
    if (actor.lost_lease) return fail(actor.name + " writes though its lease was broken");
    actor.own = image;
    actor.has_own = true;
    actor.own_bytes += bytes + 4096;
  } catch (const MemoryError& error) {
    if (may_be_full && error.errc() == Errc::limit_exceeded) ++counters_.fork_limits;
    if (actor.kind == Kind::fork && error.errc() == Errc::snapshot_too_old && actor.base < model_.newest()) return;
    refused(actor, error, may_be_full, what);
  }
}

void Simulation::change(Actor& actor) {
  follow_version();
  if (actor.kind <= Kind::transaction && !actor.lost_lease && !random_.one_in(4) && !actor.session->may_write([] {})) {
    ++counters_.writer_waits;
    for (int more = 0; more < 3; ++more) step_lanes();
    return;
  }
  BlockBytes image = seen_by(actor);
  const ByteRange range = pick_range(image.size(), 20000);
  const bool zero = random_.one_in(5);
  std::vector<std::byte> bytes(static_cast<std::size_t>(range.length));
  for (std::byte& one : bytes) one = static_cast<std::byte>(zero ? 0 : random_.next() >> 32);
  image.write(range.offset, bytes);
  trace(actor.name + (zero ? " zero " : " write ") + range_text(range.offset, range.length));
  const auto call = [&] {
    if (zero) {
      actor.session->zero(range.offset, range.length);
    } else {
      actor.session->write(range.offset, bytes);
    }
  };
  if (actor.kind == Kind::write_through && range.length > 0) return publish(actor, std::move(image), call, "write");
  if (actor.kind != Kind::write_through && range.length > 0) {
    return change_own(actor, image, range.length, call, "write");
  }
  try {  // nothing to write: whether that publishes is the engine's own affair, but nothing must change
    const InCall in_call(actor.in_call);
    if (actor.kind == Kind::write_through) return;
    call();
  } catch (const MemoryError& error) {
    refused(actor, error, true, "write of nothing");
  }
}

void Simulation::grow(Actor& actor) {
  follow_version();
  BlockBytes image = seen_by(actor);
  const std::uint64_t before = image.size() / page_size;
  const std::uint64_t more = random_.below(3);
  const bool too_big = image.size() + more * page_size > engine_options_.size_bytes_max;
  trace(actor.name + " grow " + std::to_string(more));
  const auto call = [&] {
    if (actor.session->grow(more) != before) fail(actor.name + " grows from a wrong number of pages");
  };
  if (too_big || more == 0) {
    try {
      const InCall in_call(actor.in_call);
      call();
      if (too_big) fail(actor.name + " grew past size_bytes_max");
    } catch (const MemoryError& error) {
      if (too_big && error.errc() == Errc::limit_exceeded) return;
      if (actor.too_old && error.errc() == Errc::snapshot_too_old) return;
      refused(actor, error, actor.kind <= Kind::transaction, "grow");
    }
    return;
  }
  image.resize(image.size() + more * page_size);
  ++counters_.grows;
  if (actor.kind == Kind::write_through) return publish(actor, std::move(image), call, "grow");
  change_own(actor, image, 0, call, "grow");
}

void Simulation::flush(const ActorPointer& actor) {
  follow_version();
  const bool publishes = actor->kind == Kind::transaction && actor->has_own && !actor->lost_lease;
  if (publishes) {
    model_.begin(actor->own);
    pending_transaction_ = true;
    ++transaction_;
  }
  trace(actor->name + " flush");
  actor->flushing = actor->in_call = true;
  const std::size_t newest = model_.newest();
  const std::uint64_t transaction = publishes ? transaction_ : 0;
  const std::weak_ptr<Actor> weak = actor;
  try {
    actor->session->flush([this, weak, newest, transaction](std::exception_ptr error) {
      if (const auto one = weak.lock()) flush_done(*one, newest, transaction, error);
    });
  } catch (const MemoryError&) {
    flush_done(*actor, newest, transaction, std::current_exception());
  }
  actor->in_call = false;
}

void Simulation::flush_done(Actor& actor, std::size_t newest, std::uint64_t transaction, std::exception_ptr error) {
  if (!actor.flushing) return fail(actor.name + " got a second answer to its flush");
  actor.flushing = false;
  follow_version();
  if (!error) {
    trace(actor.name + " flush done");
    if (transaction != 0 && committed_transaction_ < transaction) {
      return fail(actor.name + " was told that its transaction is published, and it is not");
    }
    if (actor.kind <= Kind::transaction) {
      model_.flushed(newest);
      ++counters_.flushes;
    }
    if (transaction != 0) {
      ++counters_.transactions;
      actor.has_own = false;
      actor.own_bytes = 0;
    }
    return;
  }
  if (transaction != 0 && committed_transaction_ >= transaction) {
    return fail(actor.name + " got an error for a transaction that is visible");
  }
  if (transaction != 0 && model_.has_pending() && transaction == transaction_) model_.fail();
  try {
    std::rethrow_exception(error);
  } catch (const MemoryError& reason) {
    refused(actor, reason, !actor.lost_lease && !actor.session->may_write([] {}), "flush");
  }
}

void Simulation::discard(Actor& actor) {
  trace(actor.name + " discard");
  ++counters_.discards;
  try {
    const InCall in_call(actor.in_call);
    actor.session->discard();
    if (actor.lost_lease) return fail(actor.name + " discards though its lease was broken");
    actor.has_own = false;
    actor.own_bytes = 0;
  } catch (const MemoryError& error) {
    if (actor.kind == Kind::fork && error.errc() == Errc::snapshot_too_old && actor.base < model_.newest()) return;
    refused(actor, error, false, "discard");
  }
}

void Simulation::refresh(Actor& actor) {
  follow_version();
  const BlockBytes before = seen_by(actor);
  const std::uint64_t faults_before = counters_.faults;
  trace(actor.name + " refresh");
  try {
    Refreshed answer;
    {
      const InCall in_call(actor.in_call);
      answer = actor.session->refresh();
    }
    if (actor.kind <= Kind::transaction) return fail(actor.name + " is a writer and refreshes");
    if (actor.has_own) return fail(actor.name + " refreshes though it has private bytes");
    ++counters_.refreshes;
    actor.base = model_.newest();
    actor.too_old = false;
    const BlockBytes& after = model_.newest_image();
    if (answer.version.number != model_.number(actor.base) || answer.pages != after.size() / page_size) {
      return fail(actor.name + " is refreshed to a wrong version");
    }
    if (answer.everything) return;
    // What lies outside the ranges must be the same; what was grown counts as zeros before.
    BlockBytes patched = before;
    patched.resize(std::max(before.size(), after.size()));
    for (const ByteRange& one : answer.changed) {
      if (one.offset + one.length > after.size()) return fail(actor.name + " is told of changes past the end");
      std::vector<std::byte> bytes(static_cast<std::size_t>(one.length));
      after.read(one.offset, bytes);
      patched.write(one.offset, bytes);
    }
    if (patched.hash() != after.hash()) fail(actor.name + " is not told of all changes");
  } catch (const MemoryError& error) {
    if (actor.kind <= Kind::transaction && error.errc() == Errc::unsupported) return;
    if (actor.kind == Kind::fork && actor.has_own && error.errc() == Errc::invalid_argument) return;
    read_failed(actor, error, faults_before, "refresh");
  }
}

}  // namespace pageserver::test
