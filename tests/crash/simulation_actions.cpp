// What the sessions of a simulation do: who acts next; opening, closing, the lease.
#include <algorithm>

#include "tests/crash/simulation.hpp"

namespace pageserver::test {

using storage::SessionRequest;

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
    if (what == 36 && options_.is_engine && random_.one_in(3)) return set_clock();
    if (what == 35 && hook_depth_ == 0 && options_.is_engine && random_.one_in(4)) return move_folder();
  }
  std::vector<ActorPointer> free;
  for (const ActorPointer& actor : actors_) {
    if (actor->in_call || actor->flushing) continue;
    if (readers_only && actor->kind <= Kind::transaction) continue;
    // The writer acts as often as all others together.
    const bool writes = actor->kind <= Kind::transaction && !actor->lost_lease;
    const std::size_t weight = writes ? actors_.size() : 1;
    free.insert(free.end(), weight, actor);
  }
  if (free.empty()) return readers_only ? void() : void(step_lanes());
  const ActorPointer actor = free[random_.below(free.size())];
  if (!readers_only && random_.one_in(actor->lost_lease ? 3 : 30)) return close_session(actor);
  act_as(actor, readers_only);
}

void Simulation::set_clock() {
  // By seconds or hours, and sometimes hours pass without anybody doing anything.
  constexpr std::int64_t second_ns = 1'000'000'000;
  const auto by_s = static_cast<std::int64_t>(random_.one_in(2) ? 1 + random_.below(20) : random_.below(20'000));
  const bool passes = random_.one_in(3);
  const std::int64_t by_ns = (passes || random_.one_in(2) ? by_s : -by_s) * second_ns;
  trace((passes ? "time passes, s: " : "the clock is set by s: ") + std::to_string(by_ns / second_ns));
  passes ? disk_->pass_time(by_ns) : disk_->set_clock(by_ns);
  ++counters_.clocks_set;
}

void Simulation::act_as(const ActorPointer& actor, bool reads_only) {
  if (reads_only && actor->kind == Kind::pinned && random_.one_in(4)) return refresh(*actor);
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
  // It may write a note, while which nobody else comes.
  const bool outer = std::exchange(in_store_call_, true);
  const std::uint64_t number = store_->stat(0).version.number;
  in_store_call_ = outer;
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

void Simulation::add_actor(std::unique_ptr<storage::StoreSession> session, Kind kind) {
  follow_version();
  auto actor = std::make_shared<Actor>();
  actor->session = std::move(session);
  actor->kind = kind;
  actor->name = "s" + std::to_string(++session_count_);
  actor->base = model_.newest();
  if (kind <= Kind::transaction) {
    // Not drawn, so that the workloads of all seeds are what they were.
    actor->remembers = options_.is_engine && (session_count_ + options_.seed) % 3 != 0;
    // What was known from before this opening may go: nobody comes back for it any more.
    model_.let_entry_go();
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
    if (!waiter.busy && !waiter.cancelled && !faulted_life()) fail(std::string("opening a session: ") + reason.what());
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

}  // namespace pageserver::test
