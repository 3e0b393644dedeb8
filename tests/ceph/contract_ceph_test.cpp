// The contract of providers over images whose home is a pool of a real cluster.
#include <pageserver/file_provider.hpp>

#include "storage/embedded/embedded_store.hpp"
#include "tests/ceph/cluster.hpp"
#include "tests/contract/contract.hpp"

namespace pageserver::test {

struct CephFileFixture {
  static constexpr bool durable = true;
  std::unique_ptr<MemoryProvider> make() { return std::make_unique<FileProvider>(home_path("db.img", keys)); }
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    return make();
  }
  std::string keys = new_home_keys();
};

template <Publish publish>
struct CephStoreFixture {
  static constexpr bool durable = true;
  static constexpr bool sessions = true;
  std::unique_ptr<MemoryProvider> make() {
    storage::EmbeddedOptions options;
    options.publish = publish;
    return storage::open_embedded_store(home_path("db.img", keys), options);
  }
  std::unique_ptr<MemoryProvider> reopen(std::unique_ptr<MemoryProvider> provider) {
    provider.reset();
    return make();
  }
  std::string keys = new_home_keys();
};
using CephOnWrite = CephStoreFixture<Publish::on_write>;
using CephOnFlush = CephStoreFixture<Publish::on_flush>;

PAGESERVER_CONTRACT(CephFileFixture, "ceph file");
PAGESERVER_CONTRACT(CephOnWrite, "ceph store on_write");
PAGESERVER_CONTRACT(CephOnFlush, "ceph store on_flush");

}  // namespace pageserver::test
