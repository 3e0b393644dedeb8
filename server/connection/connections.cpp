#include "server/connection/connections.hpp"

#include <algorithm>
#include <chrono>

namespace pageserver::server {

void Connections::add(const std::shared_ptr<Connection>& connection) {
  const Lock lock{mutex_};
  connections_.emplace(connection->id(), connection);
}

bool Connections::remove(std::uint64_t id) noexcept {
  const Lock lock{mutex_};
  connections_.erase(id);
  return connections_.empty();
}

std::size_t Connections::count() const {
  const Lock lock{mutex_};
  return connections_.size();
}

std::shared_ptr<Connection> Connections::find(std::uint64_t id) const {
  const Lock lock{mutex_};
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second;
}

std::shared_ptr<Connection> Connections::find_session(std::uint64_t session_id) const {
  if (session_id == 0) return nullptr;
  const Lock lock{mutex_};
  for (const auto& [id, connection] : connections_) {
    if (connection->record()->session_id == session_id) return connection;
  }
  return nullptr;
}

std::vector<std::shared_ptr<const ConnectionRecord>> Connections::records(std::uint64_t after,
                                                                          std::size_t count) const {
  std::vector<std::shared_ptr<const ConnectionRecord>> found;
  const Lock lock{mutex_};
  found.reserve(std::min(count, connections_.size()));
  for (auto one = connections_.upper_bound(after); one != connections_.end() && found.size() < count; ++one)
    found.push_back(one->second->record());
  return found;
}

void Connections::let_writers_go(const std::string& store) const {
  constexpr std::chrono::milliseconds patience{500};
  struct Waiting {
    Mutex mutex;
    CondVar changed;
    std::size_t left PAGESERVER_GUARDED_BY(mutex) = 0;
  };
  const auto on_it = those([&](const Connection& connection) { return connection.record()->is_on(store); });
  const auto waiting = std::make_shared<Waiting>();
  {
    const Lock lock{waiting->mutex};
    waiting->left = on_it.size();
  }
  for (const auto& connection : on_it)
    connection->go_to_successor([waiting] {
      const Lock lock{waiting->mutex};
      --waiting->left;
      waiting->changed.notify_all();
    });
  Lock lock{waiting->mutex};
  waiting->changed.wait_for(lock, patience, [&]() PAGESERVER_REQUIRES(waiting->mutex) { return waiting->left == 0; });
}

}  // namespace pageserver::server
