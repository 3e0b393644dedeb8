// The stores of a soak as files: where they lie, what belongs to them, and what a person has beside them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/soak/store_model.hpp"
#include "tests/support/neighbours.hpp"

namespace pageserver::test::soak {

struct SoakStore {
  StoreModel model;
  std::filesystem::path folder;
  bool in_directory = false;  ///< served by --directory, opened by its first session
  bool on_small_disk = false;
  bool mounts = false;          ///< the soak may mount what only it and its daemon see
  std::optional<Image> backup;  ///< what backup_path() holds
  bool lost = false;  ///< its files were removed or cut while it was served: the backup has to take their place
  bool cut = false;   ///< its log was: what that held is nowhere

  SoakStore(const std::string& name, std::filesystem::path where) : model{name}, folder{std::move(where)} {}
  std::string file_name() const { return model.name() + ".img"; }
  std::filesystem::path image() const { return folder / file_name(); }
  std::filesystem::path backup_path() const { return folder.parent_path() / (file_name() + ".backup"); }
  /// Files of the store beside the image: its log, spares, spilled bytes. By their exact form, as operations.md has it.
  std::vector<std::filesystem::path> siblings(const std::string& word = "") const;
  /// With what is in it; no page of it is anybody else's. Throws Violation when it is no image of this soak.
  Image read() const;
  std::uint64_t bytes() const;  ///< of the image and its siblings
};

/// Copies bytes as cp does: into the file that is there, if there is one.
void copy_bytes(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace pageserver::test::soak
