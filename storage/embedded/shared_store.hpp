// The stores of this process: sessions on one image share one store.
//
//   path --> folder and name (Name) --> file (Image) --> store, open for as long as a session shares it
//
// An image may have several paths, and a path may come to name another file. So stores are found by the file that is
// their image; the name is for a file that does not exist yet, or that took the place of another one.
#pragma once

#include <memory>
#include <string>

#include "storage/engine/open_engine.hpp"

namespace pageserver::storage {

class OpenStore;
struct StoreImage;
struct EmbeddedOptions;

/// One session's share in a store: the first one opens it, and the last one closes it, each waiting for the other.
class SharedStore {
public:
  /// Throws as open_embedded_store() does.
  SharedStore(FileSystem& file_system, const std::string& path, const EmbeddedOptions& options);
  SharedStore(const SharedStore&) = delete;
  SharedStore& operator=(const SharedStore&) = delete;
  ~SharedStore();

  Store& operator*();
  /// As the destructor, but throws what closing the store throws, if this is the last share. No session is left.
  void close();
  /// In a child after fork(2): closes the child's copies of the store's descriptors.
  void close_files() noexcept;

private:
  std::shared_ptr<StoreImage> image_;
  std::shared_ptr<OpenStore> store_;
};

}  // namespace pageserver::storage
