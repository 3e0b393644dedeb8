// Images that a start has made: one that fails leaves none of them.
#pragma once

#include <vector>

#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/stores/catalog.hpp"
#include "storage/file/file_system.hpp"

namespace pageserver::server {

class NewImages {
public:
  /// Both outlive it.
  NewImages(const Config& config, storage::FileSystem& file_system) : config_(config), file_system_(file_system) {}

  /// Before the stores are opened: notes which images are not there yet.
  void note_missing();
  /// Nothing serves. Closes those stores and removes their images where they are empty; the other stores are left to
  /// end as by a kill, which leaves them as they are. What can't be removed is logged.
  void remove(Catalog& catalog, Log& log) const noexcept;

private:
  void remove(Catalog& catalog, const StoreConfig& store) const;

  const Config& config_;
  storage::FileSystem& file_system_;
  std::vector<const StoreConfig*> missing_;
};

}  // namespace pageserver::server
