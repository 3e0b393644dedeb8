#include "storage/engine/session_factory.hpp"

#include <atomic>

#include "tests/support/catch.hpp"
#include "tests/support/files.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

using storage::EngineOptions;
using storage::ImageFile;
using storage::ServedImage;
using storage::SessionFactory;
using storage::SessionRef;
using storage::SessionRequest;
using storage::SessionState;

SessionRequest request_of(Access access, Publish publish = Publish::on_write) {
  SessionRequest request;
  request.access = access;
  request.publish = publish;
  request.opened_ms = 42;
  return request;
}

struct World {
  World() : image{ImageFile::open(storage::posix_file_system(), (dir.path() / "a.img").string(), {})} {}

  SessionFactory factory() const {
    return {options, image, [](const SessionState& state, std::uint64_t /*offset*/, std::span<std::byte> buffer) {
              for (std::byte& one : buffer) one = static_cast<std::byte>(state.id);
            }};
  }
  /// What the write is refused with; empty: it is not.
  static std::string refusal(const SessionRef& session, std::uint64_t offset, std::size_t bytes) {
    try {
      session->bytes->write(offset, filled(bytes, 1));
    } catch (const MemoryError& error) {
      return error.what();
    }
    return {};
  }

  TempDir dir;
  EngineOptions options;
  ServedImage image;
};

TEST_CASE("session factory: each session has a number of its own, and only who keeps bytes private has room for them") {
  const World world;
  SessionFactory factory = world.factory();
  const SessionRef reader = factory.make(request_of(Access::read));
  const SessionRef writer = factory.make(request_of(Access::write));
  const SessionRef flusher = factory.make(request_of(Access::write, Publish::on_flush));
  const SessionRef fork = factory.make(request_of(Access::fork));
  CHECK(reader->id == 1);
  CHECK(fork->id == 4);
  CHECK(fork->last_request_ms == 42);
  CHECK(reader->bytes == nullptr);
  CHECK(writer->bytes == nullptr);
  CHECK(flusher->bytes != nullptr);
  CHECK(fork->bytes != nullptr);
}

TEST_CASE("session factory: what is below private bytes is read for the session that has them") {
  const World world;
  SessionFactory factory = world.factory();
  static_cast<void>(factory.make(request_of(Access::read)));
  const SessionRef fork = factory.make(request_of(Access::fork));
  // A block of very many ranges is filled from below.
  for (std::uint64_t offset = 1; offset < 4096; offset += 2) fork->bytes->write(offset, filled(1, 9));
  std::vector<std::byte> buffer = filled(4096, 5);
  fork->bytes->read_over(0, buffer);
  CHECK(fork->bytes->range_count() < 100);
  CHECK(buffer[0] == static_cast<std::byte>(fork->id));
  CHECK(buffer[1] == std::byte{9});
}

TEST_CASE("session factory: a writer's bound is another one than a fork's, and each error names its own") {
  World world;
  world.options.transaction_bytes = 100'000;
  world.options.fork_bytes = 200'000;
  SessionFactory factory = world.factory();
  const SessionRef flusher = factory.make(request_of(Access::write, Publish::on_flush));
  const SessionRef fork = factory.make(request_of(Access::fork));
  CHECK(contains(World::refusal(flusher, 0, 150'000), "limits.transaction_bytes=100000"));
  CHECK(World::refusal(fork, 0, 150'000).empty());
  CHECK(contains(World::refusal(fork, 1'000'000, 150'000), "limits.fork_bytes=200000"));
}

TEST_CASE("session factory: all forks of stores that share a counter have one bound, and each store counts its own") {
  World world;
  std::atomic<std::uint64_t> all{0};
  world.options.forks_bytes_used = &all;
  world.options.forks_bytes = 300'000;
  SessionFactory one = world.factory(), other = world.factory();
  const SessionRef fork = one.make(request_of(Access::fork));
  const SessionRef second = other.make(request_of(Access::fork));
  CHECK(World::refusal(fork, 0, 150'000).empty());
  CHECK(one.fork_bytes() >= 150'000);
  CHECK(one.fork_bytes() == all);
  CHECK(other.fork_bytes() == 0);
  CHECK(World::refusal(second, 0, 100'000).empty());
  CHECK(all == one.fork_bytes() + other.fork_bytes());
  CHECK(contains(World::refusal(second, 1'000'000, 100'000), "limits.forks_bytes=300000"));
  fork->bytes->clear();
  CHECK(one.fork_bytes() == 0);
  CHECK(World::refusal(second, 1'000'000, 100'000).empty());
}

}  // namespace
}  // namespace pageserver::test
