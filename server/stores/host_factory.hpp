// What each store is served with: the configuration's words for it, and what all stores share.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/stores/memory_shares.hpp"
#include "server/stores/recoveries.hpp"
#include "server/stores/store_directory.hpp"
#include "server/stores/store_host.hpp"
#include "storage/file/file_system.hpp"

namespace pageserver::server {

/// Thread-safe. The hosts that it makes refer to it.
class HostFactory {
public:
  /// All outlive it; `figures` and `memory` may be null. `unneeded` is called in a job of a host of the directory, to
  /// close it when nobody uses it any more.
  HostFactory(const Config& config, storage::FileSystem& file_system, Log& log, SharedThreads& threads,
              Recoveries& recoveries, Figures* figures, MemoryShares* memory, std::function<void(StoreHost&)> unneeded);
  HostFactory(const HostFactory&) = delete;
  HostFactory& operator=(const HostFactory&) = delete;
  ~HostFactory() = default;

  std::shared_ptr<StoreHost> make(std::shared_ptr<storage::FileSystem> files, const StoreConfig& store);
  /// Of the served directory.
  std::shared_ptr<StoreHost> make(const StoreDirectory& directory, const std::string& name);

  /// From any thread: a store that is being recovered is not opened.
  void abandon_openings() noexcept { abandon_openings_ = true; }
  /// Before the first host is made: see StoreSettings::let_writers_go.
  void on_give_up(std::function<void(const std::string& store)> let_writers_go) {
    let_writers_go_ = std::move(let_writers_go);
  }

private:
  std::shared_ptr<StoreHost> host_of(std::shared_ptr<storage::FileSystem> files, StoreSettings settings);
  StoreSettings common_settings(std::string name, std::string path);
  /// Where `folder` is; null where that can't be asked.
  Loops::Disk* disk_of(const std::string& folder);

  const Config& config_;
  storage::FileSystem& file_system_;
  Log& log_;
  SharedThreads& threads_;
  Recoveries& recoveries_;
  Figures* const figures_;
  MemoryShares* const memory_;
  const std::function<void(StoreHost&)> unneeded_;
  Loops::Disk* const disk_of_directory_;
  std::function<void(const std::string& store)> let_writers_go_;
  std::atomic<bool> abandon_openings_{false};
  std::atomic<std::uint64_t> forks_bytes_{0};  ///< private bytes of the forks of all stores
};

}  // namespace pageserver::server
