// How the sessions of a simulation write, publish and flush, and what the model makes of it.
#include <algorithm>

#include "tests/crash/in_call.hpp"
#include "tests/crash/simulation.hpp"

namespace pageserver::test {

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

std::uint64_t Simulation::remember(Actor& actor) {
  if (!actor.remembers) return 0;
  storage::ResumeEntry entry;
  entry.token_hash.fill(static_cast<std::byte>(0x5a));
  entry.owner = options_.seed;
  entry.publish = actor.kind == Kind::transaction ? Publish::on_flush : Publish::on_write;
  entry.last_request_id = ++remembered_request_;
  for (std::uint64_t more = entry.last_request_id % 3; more > 0; --more)
    entry.outcomes.push_back({entry.last_request_id - more, more, static_cast<std::uint32_t>(more)});
  actor.session->remember(&entry);
  ++counters_.remembered;
  actor.last_entry = entry.last_request_id;
  return entry.last_request_id;
}

std::uint64_t Simulation::resumable(storage::Store& store) {
  const auto entry = store.resumable();
  if (!entry) return 0;
  ++counters_.found_entries;
  if (entry->owner != options_.seed || entry->outcomes.size() != entry->last_request_id % 3)
    fail("what is remembered of a writer is not what was published");
  return entry->last_request_id;
}

/// Before its first change it publishes that it is there.
bool Simulation::introduce(Actor& actor) {
  if (!actor.remembers || std::exchange(actor.introduced, true)) return false;
  trace(actor.name + " is remembered");
  publish(
      actor, model_.newest_image(), [&] { actor.session->publish_remembered(); }, "introduction");
  return true;
}

void Simulation::publish(Actor& actor, BlockBytes image, const std::function<void()>& call, const char* what) {
  const std::uint64_t entry = remember(actor);
  publish(actor, std::move(image), entry, call, what);
}

void Simulation::publish(Actor& actor, BlockBytes image, std::uint64_t entry, const std::function<void()>& call,
                         const char* what) {
  const bool full = !actor.session->may_write([] {});
  const bool lost = actor.lost_lease;
  const std::size_t newest = model_.newest();
  if (!lost) {
    model_.begin(std::move(image), entry);
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

void Simulation::PrivateBlocks::change(const ByteRange& range, bool zero) {
  ++changes;
  const std::uint64_t first = range.offset / 4096, last = (range.offset + range.length - 1) / 4096;
  const std::set<std::uint64_t> before = touched;
  for (std::uint64_t block = first; block <= last; ++block) touched.insert(block);
  const std::uint64_t whole_first = (range.offset + 4095) / 4096, whole_end = (range.offset + range.length) / 4096;
  if (zero && whole_first < whole_end) {
    ++zeros;
    for (std::uint64_t block = whole_first; block < whole_end; ++block) data.erase(block);
    return;
  }
  for (std::uint64_t block = first; block <= last; ++block) {
    // Zeros in what is all zeros already take nothing.
    if (!zero || !before.contains(block) || data.contains(block)) data.insert(block);
  }
}

std::uint64_t Simulation::PrivateBlocks::ranges_min() const {
  std::uint64_t runs = 0;
  for (const std::uint64_t block : touched) runs += block == 0 || !touched.contains(block - 1) ? 1u : 0u;
  return runs;
}

void Simulation::change_own(Actor& actor, const BlockBytes& image, const ByteRange& range, bool zero,
                            const std::function<void()>& call, const char* what) {
  const bool fork = actor.kind == Kind::fork;
  const std::uint64_t bytes_bound = fork ? engine_options_.fork_bytes : engine_options_.transaction_bytes;
  PrivateBlocks kept = actor.kept;
  if (range.length != 0) kept.change(range, zero);
  // What a change needs at first may be more than what is kept of it: one more block, or range.
  std::uint64_t forks_blocks = kept.blocks_max() + 1;
  for (const ActorPointer& other : actors_) {
    if (other->kind == Kind::fork && other.get() != &actor) forks_blocks += other->kept.blocks_max();
  }
  const bool may_be_full = range.length != 0 && ((kept.blocks_max() + 1) * 4096 > bytes_bound ||
                                                 (fork && forks_blocks * 4096 > engine_options_.forks_bytes) ||
                                                 kept.ranges_max() + 1 > engine_options_.private_ranges);
  try {
    const InCall in_call(actor.in_call);
    call();
    if (actor.lost_lease) return fail(actor.name + " writes though its lease was broken");
    actor.own = image;
    actor.has_own = true;
    actor.kept = std::move(kept);
    if (!options_.is_engine) return;
    if (actor.kept.data.size() * 4096 > bytes_bound) fail(actor.name + " keeps more private bytes than it may");
    if (actor.kept.ranges_min() > engine_options_.private_ranges) fail(actor.name + " keeps more ranges than it may");
  } catch (const MemoryError& error) {
    ++actor.kept.refusals;
    if (may_be_full && error.errc() == Errc::limit_exceeded)
      ++(fork ? counters_.fork_limits : counters_.private_limits);
    if (fork && error.errc() == Errc::snapshot_too_old && actor.base < model_.newest()) return;
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
  if (introduce(actor)) return;
  if (actor.kind == Kind::write_through && random_.one_in(6)) return change_together(actor);
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
    return change_own(actor, image, range, zero, call, "write");
  }
  try {  // nothing to write: whether that publishes is the engine's own affair, but nothing must change
    const InCall in_call(actor.in_call);
    if (actor.kind == Kind::write_through) return;
    call();
  } catch (const MemoryError& error) {
    refused(actor, error, true, "write of nothing");
  }
}

void Simulation::change_together(Actor& actor) {
  BlockBytes image = seen_by(actor);
  std::vector<std::vector<std::byte>> bytes;
  std::vector<storage::StoreSession::Write> writes;
  for (std::uint64_t at = random_.below(image.size() + 1); bytes.size() < 4; at += random_.below(3000)) {
    if (at >= image.size()) break;
    bytes.emplace_back(static_cast<std::size_t>(1 + random_.below(std::min<std::uint64_t>(image.size() - at, 1500))));
    for (std::byte& one : bytes.back()) one = static_cast<std::byte>(random_.next() >> 32);
    image.write(at, bytes.back());
    writes.push_back({at, bytes.back()});
    at += bytes.back().size();
  }
  if (writes.empty()) return;
  std::reverse(writes.begin(), writes.end());  // they are sorted there
  trace(actor.name + " writes " + std::to_string(writes.size()) + " ranges together");
  const auto call = [&] {
    if (actor.session->write_together(writes)) return;
    // It does not say why: it may because the log is full, the disk fails or the lease is lost.
    throw MemoryError(actor.lost_lease ? Errc::lease_lost : Errc::limit_exceeded, "not written together");
  };
  publish(actor, std::move(image), call, "write together");
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
  change_own(actor, image, {}, false, call, "grow");
}

void Simulation::flush(const ActorPointer& actor) {
  follow_version();
  const bool publishes = actor->kind == Kind::transaction && actor->has_own && !actor->lost_lease;
  if (publishes) {
    model_.begin(actor->own, remember(*actor));
    pending_transaction_ = true;
    ++transaction_;
  }
  trace(actor->name + " flush");
  actor->flushing = actor->in_call = true;
  const std::size_t newest = model_.newest();
  const std::uint64_t transaction = publishes ? transaction_ : 0;
  const bool had_lease = !actor->lost_lease;
  const std::weak_ptr<Actor> weak = actor;
  try {
    actor->session->flush([this, weak, had_lease, newest, transaction](std::exception_ptr error, const Version&) {
      if (const auto one = weak.lock()) flush_done(*one, had_lease, newest, transaction, error);
    });
  } catch (const MemoryError&) {
    flush_done(*actor, had_lease, newest, transaction, std::current_exception());
  }
  actor->in_call = false;
}

void Simulation::flush_done(Actor& actor, bool had_lease, std::size_t newest, std::uint64_t transaction,
                            std::exception_ptr error) {
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
      actor.kept = {};
    }
    return;
  }
  if (transaction != 0 && committed_transaction_ >= transaction) {
    return fail(actor.name + " got an error for a transaction that is visible");
  }
  // Another writer may be publishing by now.
  if (transaction != 0 && pending_transaction_ && model_.has_pending() && transaction == transaction_) model_.fail();
  try {
    std::rethrow_exception(error);
  } catch (const MemoryError& reason) {
    // A flush that was under way when its lease was broken may have failed for a reason of its own.
    if (had_lease && actor.lost_lease && faulted_life() && reason.errc() != Errc::lease_lost) return;
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
    actor.kept = {};
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
