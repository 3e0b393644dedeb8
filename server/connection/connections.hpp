// All connections that there are, to be found by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "server/connection/connection.hpp"
#include "server/connection/record.hpp"
#include "server/runtime/peers.hpp"

namespace pageserver::server {

/// Thread-safe.
class Connections {
public:
  /// From the front worker alone: the number of the next one.
  std::uint64_t next_id() noexcept { return next_id_++; }
  /// Throws std::bad_alloc, having done nothing.
  void add(const std::shared_ptr<Connection>& connection);
  /// True: no one is left. Who has found it before still has it.
  bool remove(std::uint64_t id) noexcept;

  std::size_t count() const;
  std::shared_ptr<Connection> find(std::uint64_t id) const;
  /// The connection with, or about to have, that session.
  std::shared_ptr<Connection> find_session(std::uint64_t session_id) const;
  /// Those with a greater id than `after`, up to so many, in rising order.
  std::vector<std::shared_ptr<const ConnectionRecord>> records(std::uint64_t after, std::size_t count) const;

  /// Calls `look` with each of them, which must not wait, and find no other.
  template <class Look>
  void for_each(const Look& look) const {
    const Lock lock{mutex_};
    for (const auto& [id, connection] : connections_) look(*connection);
  }
  /// Those for which `which(connection)` is true.
  template <class Which>
  std::vector<std::shared_ptr<Connection>> those(const Which& which) const {
    std::vector<std::shared_ptr<Connection>> found;
    const Lock lock{mutex_};
    for (const auto& [id, connection] : connections_)
      if (which(*connection)) found.push_back(connection);
    return found;
  }

  /// The writers of a store that can go on at another daemon end, and are waited for a while. One whose thread is stuck
  /// finds later that its lease is lost.
  void let_writers_go(const std::string& store) const;

private:
  mutable Mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Connection>> connections_ PAGESERVER_GUARDED_BY(mutex_);
  std::uint64_t next_id_ = 1;
};

}  // namespace pageserver::server
