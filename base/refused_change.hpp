// Remembers that a change of a session was refused, for a commit.
#pragma once

#include <atomic>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <pageserver/error.hpp>

#include "base/mutex.hpp"

namespace pageserver::base {

/// For one session that blocks. A commit that is called while a change is under way in another thread takes effect
/// before it, so that what counts is which changes had ended.
///
/// Threads: any.
class RefusedChange {
public:
  /// Runs a change; what it throws passes.
  template <class Change>
  auto watch(std::string_view operation, Change change) -> decltype(change()) {
    try {
      return change();
    } catch (const MemoryError& error) {
      note(operation, &error);
      throw;
    } catch (const std::bad_alloc&) {
      note(operation, nullptr);
      throw;
    }
  }

  /// After a flush, commit or discard that went well.
  void forget() noexcept {
    if (!any_.load(std::memory_order_relaxed)) return;
    const Lock lock{mutex_};
    any_ = false;
    reason_.reset();
  }

  /// Throws invalid_argument when a change was refused; its text begins with `context`.
  void check(const std::string& context) {
    if (!any_.load(std::memory_order_relaxed)) return;
    const Lock lock{mutex_};
    if (!any_) return;  // another thread's flush came between
    throw MemoryError{Errc::invalid_argument,
                      context + "commit: nothing is published, since a " + std::string{operation_} +
                          " was refused: " + (reason_ ? reason_->what() : "this process had no memory left") +
                          "; do again what is missing and flush, or discard"};
  }

private:
  void note(std::string_view operation, const MemoryError* reason) noexcept {
    // What ends a session is thrown by its every call.
    if (reason != nullptr && (reason->errc() == Errc::connection_lost || reason->errc() == Errc::timed_out ||
                              reason->errc() == Errc::protocol_error || reason->errc() == Errc::lease_lost))
      return;
    const Lock lock{mutex_};
    if (any_) return;
    operation_ = operation;
    if (reason != nullptr) reason_.emplace(*reason);
    any_ = true;
  }

  Mutex mutex_;
  std::atomic<bool> any_{false};
  std::string_view operation_ PAGESERVER_GUARDED_BY(mutex_);
  std::optional<MemoryError> reason_ PAGESERVER_GUARDED_BY(mutex_);  // nothing: memory
};

}  // namespace pageserver::base
