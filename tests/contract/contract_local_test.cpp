// The contract over the providers of this process: heap, plain file, and the embedded store engine in each of its ways
// to write.
#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>

#include <string>

#include "storage/embedded/embedded_store.hpp"
#include "tests/contract/contract.hpp"
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

template <Publish publish>
struct EmbeddedFixture {
  static constexpr bool durable = true;
  static constexpr bool sessions = true;
  std::unique_ptr<MemoryProvider> make() {
    storage::EmbeddedOptions options;
    options.publish = publish;
    return storage::open_embedded_store(folder.file("db.img"), options);
  }
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    return make();
  }
  TempDir folder;
};
using EmbeddedOnWrite = EmbeddedFixture<Publish::on_write>;
using EmbeddedOnFlush = EmbeddedFixture<Publish::on_flush>;

/// A fork of an empty store: the same interface, and nothing that lasts.
struct ForkFixture {
  static constexpr bool durable = false;
  static constexpr bool sessions = true;
  std::unique_ptr<MemoryProvider> make() {
    const std::string path = folder.file("db" + std::to_string(++images) + ".img");
    storage::open_embedded_store(path, {});
    storage::EmbeddedOptions options;
    options.access = Access::fork;
    return storage::open_embedded_store(path, options);
  }
  TempDir folder;
  int images = 0;
};

PAGESERVER_CONTRACT(HeapFixture, "heap");
PAGESERVER_CONTRACT(FileFixture, "file");
PAGESERVER_CONTRACT(EmbeddedOnWrite, "embedded store");
PAGESERVER_CONTRACT(EmbeddedOnFlush, "embedded store, on_flush");
PAGESERVER_CONTRACT(ForkFixture, "fork");

}  // namespace pageserver::test
