// The contract over the providers of this process: heap, plain file, and the file store behind a small adapter.
#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>

#include "storage/file_store.hpp"
#include "storage/thread_background.hpp"
#include "tests/contract/contract.hpp"
#include "tests/contract/store_provider.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {

struct HeapFixture {
  static constexpr bool durable = false;
  std::unique_ptr<MemoryProvider> make() { return std::make_unique<HeapProvider>(); }
};

struct FileFixture {
  static constexpr bool durable = true;
  std::unique_ptr<MemoryProvider> make() { return std::make_unique<FileProvider>(folder.path() / "db.img"); }
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    return make();
  }
  TempDir folder;
};

struct FileStoreFixture {
  static constexpr bool durable = true;
  std::unique_ptr<MemoryProvider> make() {
    storage::FileStoreOptions options;
    return std::make_unique<StoreProvider>(
        storage::open_file_store(storage::posix_file_system(), folder.file("db.img"), options, lane));
  }
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    return make();
  }
  TempDir folder;
  storage::ThreadBackground lane;
};

PAGESERVER_CONTRACT(HeapFixture, "heap");
PAGESERVER_CONTRACT(FileFixture, "file");
PAGESERVER_CONTRACT(FileStoreFixture, "file store");

}  // namespace pageserver::test
