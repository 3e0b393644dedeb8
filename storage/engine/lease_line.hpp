// The writer lease: who has it, who waits for it, who had it before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "storage/engine/session_state.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class LeaseLine {
public:
  /// A writer before it has the lease. All that its session takes is made already.
  struct Waiting {
    std::uint64_t place = 0;
    SessionRef state;
    std::unique_ptr<StoreSession> session;
    Store::Opened opened;
    bool waited = false;  ///< was not let in at once
  };
  using Line = std::list<Waiting>;

  /// Null: nobody has it.
  const SessionRef& writer() const noexcept { return writer_; }
  /// Who had it last, where what it published last is still under way.
  SessionRef leaving() const noexcept { return last_writer_.lock(); }
  bool taken() const noexcept { return writer_ != nullptr || !line_.empty(); }
  std::size_t length() const noexcept { return line_.size(); }

  /// Puts the one in `waiting` at the end of the line.
  void join(Line& waiting) noexcept { line_.splice(line_.end(), waiting); }
  /// Takes the one with that place out of the line to `cancelled`; false when it is not there (any more).
  bool leave(std::uint64_t place, Line& cancelled) noexcept;
  /// Where nobody has the lease, the first one in line gets it and goes to `granted`. Returns it, or null.
  Waiting* grant(Line& granted) noexcept;
  /// The writer loses the lease, or gives it back. Returns who it was.
  SessionRef end() noexcept;
  /// Everybody in line goes to `left`.
  void clear(Line& left) noexcept { left.swap(line_); }

private:
  std::uint64_t next_epoch_ = 1;
  SessionRef writer_;
  std::weak_ptr<SessionState> last_writer_;
  Line line_;
};

}  // namespace pageserver::storage
