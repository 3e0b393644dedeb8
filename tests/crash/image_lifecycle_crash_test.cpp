// Images that are made and removed, with crashes at every call of the disk, and faults built into that which the same
// runs find.
#include "tests/crash/image_lifecycle_check.hpp"

#include <iostream>
#include "tests/support/catch.hpp"

#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/image_lifecycle.hpp"

namespace pageserver::test {
namespace {

using storage::Folder;
using storage::Mutation;

const std::string path = "/data/x.img";

std::unique_ptr<storage::StoreSession> open_live(storage::Store& store) {
  storage::SessionRequest request;
  request.access = Access::read;
  std::unique_ptr<storage::StoreSession> session;
  store.open_session(request, [&](std::unique_ptr<storage::StoreSession> opened, std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
    session = std::move(opened);
  });
  return session;
}

StoreCalls storage_calls() {
  StoreCalls calls;
  calls.start = [](SimulatedFileSystem& disk) {
    const Folder folder = Folder::open(disk, "/data");
    for (const std::string& name : folder.names())
      if (const auto sibling = storage::parse_sibling_name(name))
        storage::finish_removal(folder, std::string(sibling->image_name), path);
  };
  calls.create = [](SimulatedFileSystem& disk, std::uint64_t pages) {
    const Folder folder = Folder::open(disk, "/data");
    storage::check_image_place(folder, "x.img", "create", path);
    storage::create_image(folder, "x.img", pages, 0640, path);
  };
  calls.remove = [](SimulatedFileSystem& disk) { storage::remove_image(Folder::open(disk, "/data"), "x.img", path); };
  calls.read = [](SimulatedFileSystem& disk) -> Content {
    if (disk.find(path) == nullptr) return {};
    SteppedBackground sync_lane, checkpoint_lane;
    storage::EngineOptions options;
    options.create = false;
    options.salt = 5;
    const auto store = storage::open_engine(disk, path, sync_lane, checkpoint_lane, options);
    std::vector<std::byte> bytes;
    {
      const auto session = open_live(*store);
      bytes.resize(static_cast<std::size_t>(session->pages() * page_size));
      if (!bytes.empty()) session->read(0, bytes);
    }
    store->close();
    return bytes;
  };
  return calls;
}

}  // namespace

TEST_CASE("an image is made and removed as a whole, whatever a crash leaves of its folder's entries") {
  const std::uint64_t crashes = check_image_lifecycle(storage_calls(), 6);
  std::cout << "whole images: " << crashes << " crashes\n";
  CHECK(crashes > 1000);
}

TEST_CASE("the crashes find each fault in making and removing an image") {
  const auto [name, mutation] = GENERATE(table<const char*, Mutation>({
      {"remove_image_first", Mutation::remove_image_first},
      {"drop_removed_image_sync", Mutation::drop_removed_image_sync},
      {"drop_removed_log_sync", Mutation::drop_removed_log_sync},
      {"create_in_place", Mutation::create_in_place},
  }));
  INFO(name);
  storage::active_mutation = mutation;
  std::string found;
  try {
    check_image_lifecycle(storage_calls(), 6);
  } catch (const std::runtime_error& error) {
    found = error.what();
  }
  storage::active_mutation = Mutation::none;
  std::cout << name << " found: " << found << "\n";
  CHECK_FALSE(found.empty());
}

}  // namespace pageserver::test
