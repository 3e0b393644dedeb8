// A store of the engine whose lanes run when the test says so.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include "tests/support/catch.hpp"

#include "storage/engine/open_engine.hpp"
#include "tests/crash/stepped_background.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {

/// Whoever owns the file system, and derives from this, calls drop() at its end.
struct SteppedStore {
  SteppedStore() { options.salt = 42; }
  SteppedStore(const SteppedStore&) = delete;
  SteppedStore& operator=(const SteppedStore&) = delete;

  void open(storage::FileSystem& files, const std::string& path) {
    ++options.salt;
    store = storage::open_engine(files, path, sync_lane, checkpoint_lane, options);
  }
  std::unique_ptr<storage::StoreSession> writer(Publish publish = Publish::on_write) {
    auto request = session_request(Access::write);
    request.publish = publish;
    return open_now(*store, request);
  }
  void run_lanes() {
    while (sync_lane.step() || checkpoint_lane.step()) {
    }
  }
  void flush(storage::StoreSession& session) {
    const auto flushing = start_flush(session);
    run_lanes();
    REQUIRE(flushing->calls == 1);
    if (flushing->error) std::rethrow_exception(flushing->error);
  }

  void drop() {
    store.reset();
    sync_lane.clear();
    checkpoint_lane.clear();
  }

  SteppedBackground sync_lane, checkpoint_lane;
  storage::EngineOptions options;
  std::unique_ptr<storage::Store> store;
};

}  // namespace pageserver::test
