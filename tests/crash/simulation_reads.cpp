// How the sessions of a simulation read, each answer checked against the model at once.
#include <algorithm>
#include <utility>

#include "tests/crash/in_call.hpp"
#include "tests/crash/simulation.hpp"

namespace pageserver::test {

void Simulation::read_failed(Actor& actor, const MemoryError& error, std::uint64_t faults_before, const char* what) {
  if (actor.lost_lease && error.errc() == Errc::lease_lost) return;
  if (actor.kind >= Kind::pinned && error.errc() == Errc::snapshot_too_old && actor.base < model_.newest()) {
    if (!actor.too_old) {
      ++counters_.evictions;
      trace(actor.name + " is too old");
      const bool outer = std::exchange(in_store_call_, true);
      for (const ActorPointer& other : actors_) {
        if (other->kind < Kind::pinned || other->base >= actor.base || other->too_old || other->in_call) continue;
        std::byte one[1];
        try {
          if (other->session->pages() > 0) other->session->read(0, one);
          if (other->session->pages() > 0) fail(other->name + " holds an older version and was kept");
        } catch (const MemoryError&) {
        }
      }
      in_store_call_ = outer;
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
    if (!disk_->dropped_pages() && !image.equals(range.offset, bytes)) {
      return fail(actor.name + " reads wrong bytes at " + range_text(range.offset, range.length) + " of " +
                  (actor.has_own
                       ? "its own image"
                       : "state " + std::to_string(actor.kind >= Kind::pinned ? actor.base : model_.newest())));
    }
    follow_version();  // others may have published meanwhile
    const std::uint64_t size = seen_by(actor).size();
    if (actor.session->pages() != size / page_size) return fail(actor.name + " sees a wrong number of pages");
    if (actor.kind >= Kind::pinned && actor.session->version().number != model_.number(actor.base)) {
      return fail(actor.name + " sees another version than it holds");
    }
    if (random_.one_in(10)) {
      std::byte one[1];
      try {
        actor.session->read(size, one);
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
      if (to > at && !disk_->dropped_pages() &&
          !image.equals(at, std::vector<std::byte>(static_cast<std::size_t>(to - at)))) {
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
  if (stat.fork_bytes > engine_options_.forks_bytes) fail("forks take more than they may");
  if (!faulted_life() && !stat.last_sync_error.empty()) fail("a sync error out of nothing: " + stat.last_sync_error);
  // What a failed call left of the log in an earlier life is found by the next opening.
  const bool of_log = counters_.faults != 0 && stat.image_warning.starts_with("more than a torn end");
  const bool may_warn = faulted_life() || (moved_ && !in_directory_) || of_log;
  if (!may_warn && !stat.image_warning.empty()) fail("a warning out of nothing: " + stat.image_warning);
}

}  // namespace pageserver::test
