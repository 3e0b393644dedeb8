// A machine with its own client of the pool, and a store of the engine on it.
#pragma once

#include "tests/support/catch.hpp"

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/engine/open_engine.hpp"
#include "storage/engine/thread_background.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/objects/object_file_system.hpp"
#include "tests/support/bytes.hpp"
#include "tests/support/wait.hpp"
#include "tests/unit/objects/object_model.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {

using storage::ObjectFileSystem;

// Short leases, so that a test of an owner that is gone does not take seconds.
inline constexpr ObjectFileSystem::Times quick{300, 50, true};

/// Runs of files: names and locks are other objects.
inline bool is_run(const std::string& object) {
  return object != storage::names_object && !object.starts_with("pageserver.lock.");
}

/// One machine.
struct Machine {
  explicit Machine(ObjectCluster& cluster, const ObjectFileSystem::Times& times = quick)
      : client{cluster}, files{client, times} {}
  ObjectClient client;
  ObjectFileSystem files;

  storage::Folder folder() { return storage::Folder::open(files, "ceph:pool"); }
  storage::File locked(const std::string& name) {
    storage::File file = folder().open_file(name, O_RDWR | O_CREAT, 0640, "open");
    REQUIRE(files.lock(file.descriptor(), storage::LockKind::exclusive).ok());
    return file;
  }
};

inline std::vector<std::byte> content(const storage::File& file, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> bytes(length);
  bytes.resize(file.read_up_to(offset, bytes));
  return bytes;
}

/// The bytes from `offset` on of pattern(size, seed).
inline std::vector<std::byte> sub_pattern(std::size_t size, std::uint64_t seed, std::size_t offset,
                                          std::size_t length) {
  const auto all = pattern(size, static_cast<unsigned>(seed));
  return {all.begin() + static_cast<std::ptrdiff_t>(offset),
          all.begin() + static_cast<std::ptrdiff_t>(offset + length)};
}

/// A store of the engine on some machine.
struct Served {
  explicit Served(Machine& machine, std::string path = "ceph:pool/db.img",
                  std::chrono::milliseconds home_timeout = std::chrono::seconds{5}) {
    storage::EngineOptions options;
    options.home_timeout = home_timeout;
    options.salt = base_salt++;
    store = storage::open_engine(machine.files, path, sync_lane, checkpoint_lane, options);
  }
  std::unique_ptr<storage::StoreSession> session(Publish publish = Publish::on_flush) {
    auto request = session_request(Access::write, "writer");
    request.publish = publish;
    return open_now(*store, request);
  }
  static void flush(storage::StoreSession& session) {
    std::mutex mutex;
    bool done = false;
    std::exception_ptr failed;
    session.flush([&](std::exception_ptr error, const Version&) {
      const std::lock_guard lock{mutex};
      failed = error;
      done = true;
    });
    wait_until([&] {
      const std::lock_guard lock{mutex};
      return done;
    });
    if (failed) std::rethrow_exception(failed);
  }

  static inline std::atomic<std::uint64_t> base_salt{77};
  storage::ThreadBackground sync_lane, checkpoint_lane;
  std::unique_ptr<storage::Store> store;
};

}  // namespace pageserver::test
