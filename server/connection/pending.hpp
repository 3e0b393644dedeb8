// Work of a connection that another thread completes.
#pragma once

#include <cstdint>
#include <functional>

#include "proto/messages.hpp"
#include "server/runtime/tally.hpp"

namespace pageserver::server {

/// At most one thing is pending: later requests of the connection wait for it. Each has a number, so that a completion
/// that comes after its work was given up is known for what it is.
///
/// Threads: that of the connection.
class Pending {
public:
  enum class What : std::uint8_t { nothing, admin, session, flush, room, kick, refusal, fault, drip, acknowledgement };

  /// `shown` says what is pending, to other threads.
  explicit Pending(Tally& shown) noexcept : shown_{shown} {}

  /// Inside the call that begins what is pending: a completion that comes within it needs no way through the queue.
  class Beginning {
  public:
    explicit Beginning(Pending& pending) noexcept : pending_{pending} { pending_.beginning_ = true; }
    Beginning(const Beginning&) = delete;
    Beginning& operator=(const Beginning&) = delete;
    ~Beginning() { pending_.beginning_ = false; }

  private:
    Pending& pending_;
  };

  What what() const noexcept { return what_; }
  bool is_any() const noexcept { return what_ != What::nothing; }
  bool is_done() const noexcept { return done_; }
  bool is_beginning() const noexcept { return beginning_; }

  std::uint64_t begin(What what) noexcept {
    clear();
    what_ = what;
    shown_.set(what);
    return ++number_;
  }
  /// False, and `finish` is dropped, when `number` is not what is pending.
  bool complete(std::uint64_t number, std::function<void()> finish) {
    if (what_ == What::nothing || number_ != number) return false;
    done_ = true;
    finish_ = std::move(finish);
    return true;
  }
  /// As complete() of whatever waits for `what`, with nothing left to do.
  bool complete_if(What what) noexcept {
    if (what_ != what) return false;
    done_ = true;
    finish_ = nullptr;
    return true;
  }
  /// What is left to do, perhaps empty; nothing is pending any more.
  std::function<void()> take() noexcept {
    std::function<void()> finish = std::move(finish_);
    clear();
    return finish;
  }
  void clear() noexcept {
    what_ = What::nothing;
    shown_.set(What::nothing);
    done_ = false;
    finish_ = nullptr;
  }

private:
  Tally& shown_;
  What what_ = What::nothing;
  bool done_ = false;
  bool beginning_ = false;
  std::uint64_t number_ = 0;
  std::function<void()> finish_;
};

}  // namespace pageserver::server
