// The catalog of the daemon on the simulated disk: stores that clients create and remove, with a crash at every call.
#include <future>
#include <iostream>
#include "tests/support/catch.hpp"

#include "server/stores/catalog.hpp"
#include "tests/crash/image_lifecycle_check.hpp"

namespace pageserver::test {
namespace {

using server::Catalog;

/// A catalog that starts on the disk and stops before anybody else looks at that: one thread at a time does.
class Served {
public:
  explicit Served(SimulatedFileSystem& disk) : catalog_(config(), disk, log_, threads_) { catalog_.start(); }
  ~Served() {
    std::promise<void> closed;
    catalog_.close_all([&](const std::vector<std::string>&) { closed.set_value(); });
    closed.get_future().get();
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  void create(std::uint64_t pages) {
    on_admin([&] { catalog_.create("x", pages); });
  }
  void remove() {
    std::promise<std::exception_ptr> removed;
    on_admin([&] { catalog_.remove("x", [&](std::exception_ptr error) { removed.set_value(std::move(error)); }); });
    if (const auto error = removed.get_future().get()) std::rethrow_exception(error);
  }
  Content read() {
    std::shared_ptr<server::HostUse> use;
    bool listed = false;
    try {
      on_admin([&] {
        listed = !catalog_.list("", 9).empty();
        use = catalog_.resolve("x");
      });
    } catch (const MemoryError& error) {
      if (error.errc() != Errc::not_found || listed) throw;
      return {};
    }
    std::packaged_task<std::vector<std::byte>()> task([&] {
      storage::SessionRequest request;
      request.access = Access::read;
      std::unique_ptr<storage::StoreSession> session;
      use->host().opened().open_session(request,
                                        [&](std::unique_ptr<storage::StoreSession> opened, std::exception_ptr error) {
                                          if (error) std::rethrow_exception(error);
                                          session = std::move(opened);
                                        });
      std::vector<std::byte> bytes(static_cast<std::size_t>(session->pages() * page_size));
      if (!bytes.empty()) session->read(0, bytes);
      return bytes;
    });
    use->host().jobs().submit([&task] { task(); });
    return task.get_future().get();
  }

private:
  static const server::Config& config() {
    static const server::Config config = [] {
      server::Config made;
      made.directory = server::DirectoryConfig{"/data", true, true, false, 0600};
      return made;
    }();
    return config;
  }
  template <class Call>
  void on_admin(Call call) {
    std::packaged_task<void()> task(std::move(call));
    auto done = task.get_future();
    catalog_.changes().submit([&task] { task(); });
    done.get();
  }

  server::Log log_{server::LogFormat::text, server::LogLevel::error};
  server::SharedThreads threads_{1, {}, log_};
  Catalog catalog_;
};

}  // namespace

TEST_CASE("a store is created and removed as a whole, whatever a crash leaves of the directory's entries") {
  StoreCalls calls;
  calls.start = [](SimulatedFileSystem& disk) { const Served served(disk); };
  calls.create = [](SimulatedFileSystem& disk, std::uint64_t pages) { Served(disk).create(pages); };
  calls.remove = [](SimulatedFileSystem& disk) { Served(disk).remove(); };
  calls.read = [](SimulatedFileSystem& disk) { return Served(disk).read(); };
  const std::uint64_t crashes = check_image_lifecycle(calls, 0);
  std::cout << "stores created and removed: " << crashes << " crashes\n";
  CHECK(crashes > 200);
}

}  // namespace pageserver::test
