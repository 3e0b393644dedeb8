#include "server/stores/host_factory.hpp"

#include <utility>

#include "storage/file/file_io.hpp"

namespace pageserver::server {

HostFactory::HostFactory(const Config& config, storage::FileSystem& file_system, Log& log, SharedThreads& threads,
                         Recoveries& recoveries, Figures* figures, MemoryShares* memory,
                         std::function<void(StoreHost&)> unneeded)
    : config_(config),
      file_system_(file_system),
      log_(log),
      threads_(threads),
      recoveries_(recoveries),
      figures_(figures),
      memory_(memory),
      unneeded_(std::move(unneeded)),
      disk_of_directory_(config.directory ? disk_of(config.directory->path) : nullptr) {}

Loops::Disk* HostFactory::disk_of(const std::string& folder) {
  storage::FileStatus status;
  return file_system_.status_of(folder, status).ok() ? &threads_.loops.disk(status.device) : nullptr;
}

StoreSettings HostFactory::common_settings(std::string name, std::string path) {
  StoreSettings settings;
  settings.name = std::move(name);
  settings.path = std::move(path);
  settings.size_bytes_max = config_.limits.size_bytes_max;
  settings.engine = config_.limits.engine;
  settings.forks_bytes = &forks_bytes_;
  settings.abandon_recovery = &abandon_openings_;
  settings.figures = figures_;
  settings.recoveries = &recoveries_;
  settings.readers_max = static_cast<std::uint32_t>(threads_.loops.readers_max());
  settings.lease_idle_max = config_.limits.lease_idle_max;
  settings.resume_linger = config_.resume_linger;
  settings.home_timeout = config_.home_timeout;
  settings.let_writers_go = &let_writers_go_;
  settings.private_memory = memory_ == nullptr ? nullptr : &memory_->private_bytes;
  settings.index_memory = memory_ == nullptr ? nullptr : &memory_->index;
  settings.home_memory = memory_ == nullptr ? nullptr : &memory_->home;
  settings.lease_line = config_.limits.lease_line;
  settings.peer_percent = config_.limits.peer_percent;
  return settings;
}

std::shared_ptr<StoreHost> HostFactory::host_of(std::shared_ptr<storage::FileSystem> files, StoreSettings settings) {
  return std::make_shared<StoreHost>(std::move(files), std::move(settings), log_, threads_, unneeded_);
}

std::shared_ptr<StoreHost> HostFactory::make(std::shared_ptr<storage::FileSystem> files, const StoreConfig& store) {
  StoreSettings settings = common_settings(store.name, store.path);
  settings.disk = disk_of(storage::parent_folder(store.path));
  settings.read_only = store.read_only;
  settings.create = store.create && !store.read_only;
  settings.standby = store.standby;
  settings.file_mode = store.mode.value_or(settings.file_mode);
  settings.size_bytes_max = store.size_bytes_max.value_or(settings.size_bytes_max);
  return host_of(std::move(files), std::move(settings));
}

std::shared_ptr<StoreHost> HostFactory::make(const StoreDirectory& directory, const std::string& name) {
  StoreSettings settings = common_settings(name, directory.path_of(name));
  settings.read_only = config_.directory->read_only;
  settings.on_demand = true;
  settings.disk = disk_of_directory_;
  settings.file_mode = config_.directory->mode;
  return host_of(directory.files(), std::move(settings));
}

}  // namespace pageserver::server
