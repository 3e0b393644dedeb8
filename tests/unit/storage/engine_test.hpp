// A store engine on real files, its lanes stepped by the test and its file calls counted, failed or held.
#pragma once

#include "tests/support/catch.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/engine/open_engine.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/manual_background.hpp"
#include "tests/unit/storage/storage_test.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {

class EngineHarness {
public:
  EngineHarness() { options.salt = 42; }

  /// Opens the image, which a store that was not closed may have left with a log.
  storage::Store& open() {
    store_.reset();
    ++options.salt;
    store_ = storage::open_engine(files, path(), sync_lane, checkpoint_lane, options);
    return *store_;
  }
  storage::Store& store() { return *store_; }
  /// As a kill of the process: nothing is finished, the files stay as they are.
  void kill() { store_.reset(); }
  void close() {
    store_->close();
    store_.reset();
  }

  std::string path() const { return folder.file("db.img"); }
  std::string log(int number = 1) const { return path() + ".log.000000000" + std::to_string(number); }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }
  std::size_t log_files() const { return names_with(".log."); }
  std::size_t spare_files() const { return names_with(".spare."); }
  /// The image file's bytes.
  std::vector<std::byte> image() const {
    std::ifstream file{path(), std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    return bytes_of(text);
  }

  void run_lanes() {
    while (sync_lane.run_one() || checkpoint_lane.run_one()) {
    }
  }
  std::unique_ptr<storage::StoreSession> writer(Publish publish = Publish::on_write) {
    auto request = session_request(Access::write, "writer");
    request.publish = publish;
    return open_now(*store_, request);
  }
  /// A store with a log of four files, each with room for one record of 10,000 bytes, and its writer.
  std::unique_ptr<storage::StoreSession> writer_with_small_log(std::uint64_t pages = 2) {
    options.log_bytes = 128 << 10;
    options.segment_bytes = 32 << 10;
    open();
    auto session = writer();
    session->grow(pages);
    return session;
  }
  std::unique_ptr<storage::StoreSession> reader(View view = View::live) {
    auto request = session_request(Access::read, "reader");
    request.view = view;
    return open_now(*store_, request);
  }
  std::unique_ptr<storage::StoreSession> fork() { return open_now(*store_, session_request(Access::fork, "fork")); }

  /// Flushes and runs the lanes until that is done; throws its error.
  void flush(storage::StoreSession& session) {
    const auto flushing = start_flush(session);
    run_lanes();
    REQUIRE(flushing->calls == 1);
    if (flushing->error) std::rethrow_exception(flushing->error);
  }

  TempDir folder;
  FaultyFileSystem files;
  ManualBackground sync_lane, checkpoint_lane;
  storage::EngineOptions options;

private:
  std::size_t names_with(const std::string& part) const {
    const auto all = names();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const std::string& name) { return name.find(part) != std::string::npos; }));
  }

  std::unique_ptr<storage::Store> store_;
};

/// Whole syncs of content and of directories.
inline std::uint64_t syncs(const FaultyFileSystem& files) {
  return files.calls(Call::sync_data) + files.calls(Call::sync);
}

}  // namespace pageserver::test
