// What every later call of a connection throws: the error that ended it, or that its lease is lost.
#pragma once

#include <optional>
#include <string>

#include <pageserver/error.hpp>

#include "proto/wire.hpp"

namespace pageserver::client {

/// Threads: one at a time.
class ConnectionEnd {
public:
  /// The error for want of memory, made in time: when it is needed nothing can be made.
  void prepare(Errc code, std::string text) { out_of_memory_.emplace(code, text); }

  /// Null while the connection lives.
  const MemoryError* error() const noexcept { return error_; }
  /// Only while the connection lives, once.
  void set(Errc code, const std::string& text) { error_ = &end_.emplace(code, text); }
  void set_out_of_memory() noexcept { error_ = &*out_of_memory_; }
  void lose_lease(const MemoryError& error) {
    if (!lease_lost_) lease_lost_ = error;
  }
  bool has_lost_lease() const noexcept { return lease_lost_.has_value(); }
  /// The one or the other; null: a session can go on.
  const MemoryError* lost() const noexcept {
    return error_ != nullptr ? error_ : lease_lost_ ? &*lease_lost_ : nullptr;
  }

  void throw_if_ended() const {
    if (error_ != nullptr) throw MemoryError{*error_};
  }
  /// Throws what a request of `operation` would throw now. After a lost lease, what is about the daemon and not about
  /// the store still works.
  void check(proto::Operation operation) const {
    throw_if_ended();
    if (!lease_lost_) return;
    const bool allowed = operation == proto::Operation::close || operation == proto::Operation::ping ||
                         operation == proto::Operation::list;
    if (!allowed) throw MemoryError{*lease_lost_};
  }

private:
  std::optional<MemoryError> out_of_memory_;
  std::optional<MemoryError> end_;
  const MemoryError* error_ = nullptr;  // one of the two
  std::optional<MemoryError> lease_lost_;
};

}  // namespace pageserver::client
