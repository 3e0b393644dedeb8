// The engine with real threads and lanes: what the stepped tests can't see. Run under the thread sanitizer too.
// Catch2's assertions are not for several threads, so that these count what is wrong and assert at the end.
#include <atomic>
#include <future>
#include <thread>

#include "storage/engine/thread_background.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

constexpr std::uint64_t pages = 4;
constexpr std::size_t stripe_bytes = 3 * 4096 + 17;

class ThreadedStore {
public:
  explicit ThreadedStore(std::uint64_t log_bytes) {
    options.log_bytes = log_bytes;
    options.segment_bytes = log_bytes / 4;
    options.checkpoint_step_bytes = 16 << 10;
    options.held_bytes = 4 * log_bytes;
    options.private_memory_bytes = 8 << 10;
    options.salt = 7;
    options.read_lanes = 3;
    store =
        storage::open_engine(storage::posix_file_system(), folder.file("db.img"), sync_lane, checkpoint_lane, options);
  }

  TempDir folder;
  storage::EngineOptions options;
  storage::ThreadBackground sync_lane, checkpoint_lane;
  std::unique_ptr<storage::Store> store;
};

std::unique_ptr<storage::StoreSession> open_waiting(storage::Store& store, storage::SessionRequest request) {
  const auto opened = std::make_shared<std::promise<std::unique_ptr<storage::StoreSession>>>();
  auto session = opened->get_future();
  store.open_session(std::move(request),
                     [opened](std::unique_ptr<storage::StoreSession> one, std::exception_ptr error) {
                       error ? opened->set_exception(error) : opened->set_value(std::move(one));
                     });
  return session.get();
}

void flush_and_wait(storage::StoreSession& session) {
  const auto done = std::make_shared<std::promise<void>>();
  auto flushed = done->get_future();
  session.flush(
      [done](std::exception_ptr error, const Version&) { error ? done->set_exception(error) : done->set_value(); });
  flushed.get();
}

void wait_for_room(storage::StoreSession& session) {
  for (;;) {
    const auto room = std::make_shared<std::promise<void>>();
    auto there = room->get_future();
    if (session.may_write([room] { room->set_value(); })) return;
    there.get();
  }
}

/// True when all of the stripe is one value.
bool whole(std::span<const std::byte> stripe) {
  return std::all_of(stripe.begin(), stripe.end(), [&](std::byte byte) { return byte == stripe.front(); });
}

}  // namespace

TEST_CASE("engine threads: zeros over thousands of pieces are seen all at once, whoever reads meanwhile") {
  ThreadedStore threaded{16 << 20};
  storage::Store& store = *threaded.store;
  const auto session = open_waiting(store, session_request(Access::write));
  session->grow(pages);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0}, reads{0};
  std::thread reading([&] {
    const auto reader = open_waiting(store, session_request(Access::read));
    const auto is_set = [](std::byte byte) { return byte != std::byte{0}; };
    while (!done) {
      const auto seen = read_from(*reader, 0, pages * page_size);
      // Pieces come from the back, one by one, and go all at once.
      if (!is_set(seen.back()) && std::any_of(seen.begin(), seen.end(), is_set)) ++wrong;
      const auto first = static_cast<std::size_t>(std::find_if(seen.begin(), seen.end(), is_set) - seen.begin());
      for (std::size_t at = first; at < seen.size(); at += 256)
        if (!is_set(seen[at])) ++wrong;
      ++reads;
    }
  });
  for (int round = 0; round < 4 || reads < 8; ++round) {
    for (std::uint64_t at = pages * page_size; at != 0; at -= 256) {
      if (at % page_size == 0) wait_for_room(*session);
      session->write(at - 1, filled(1, 7));
    }
    wait_for_room(*session);
    session->zero(0, pages * page_size);
  }
  done = true;
  reading.join();
  CHECK(wrong == 0);
}

TEST_CASE(
    "engine threads: writers in turn, live and pinned readers and forks see whole requests while checkpoints run") {
  ThreadedStore threaded{256 << 10};
  storage::Store& store = *threaded.store;
  {
    const auto first = open_waiting(store, session_request(Access::write));
    first->grow(pages);
  }
  constexpr int rounds = 80;
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0}, reads{0}, given_up{0}, busy_writers{2};
  const auto write = [&](Publish publish, int salt) {
    for (int round = 0; round < rounds; round += 20) {
      auto request = session_request(Access::write, "w", true);
      request.publish = publish;
      const auto session = open_waiting(store, request);
      for (int i = 0; i < 20; ++i) {
        const auto stripe = filled(stripe_bytes, (round + i) * 2 + salt);
        wait_for_room(*session);
        session->write(0, stripe);
        wait_for_room(*session);
        session->write(page_size - 5000, stripe);
        if (i % 5 == 4) flush_and_wait(*session);
      }
    }
    if (--busy_writers == 0) done = true;
  };
  const auto read_live = [&] {
    const auto session = open_waiting(store, session_request(Access::read));
    while (!done) {
      if (!whole(read_from(*session, 0, stripe_bytes)) || !whole(read_from(*session, page_size - 5000, stripe_bytes)))
        ++wrong;
      ++reads;
      std::this_thread::yield();  // two cores for seven threads: the writers have to get in
    }
  };
  const auto read_held = [&](Access access, View view) {
    while (!done) {
      auto request = session_request(access);
      request.view = view;
      const auto session = open_waiting(store, request);
      try {
        const auto before = read_from(*session, 0, 2 * page_size);
        if (access == Access::fork) session->write(3 * page_size, filled(20000, 9));
        for (int i = 0; i < 5; ++i)
          if (read_from(*session, 0, 2 * page_size) != before) ++wrong;
        if (view == View::pinned) session->refresh();
      } catch (const MemoryError& error) {
        if (error.errc() != Errc::snapshot_too_old) ++wrong;
        ++given_up;
      }
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(write, Publish::on_write, 0);
  threads.emplace_back(write, Publish::on_flush, 1);
  threads.emplace_back(read_live);
  threads.emplace_back(read_live);
  threads.emplace_back(read_held, Access::read, View::pinned);
  threads.emplace_back(read_held, Access::fork, View::live);
  threads.emplace_back([&] {
    while (!done) {
      static_cast<void>(store.stat(0));
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(reads > 10);
  store.close();
  CHECK(std::filesystem::file_size(threaded.folder.file("db.img")) == pages * page_size);
}

TEST_CASE("engine threads: leases are broken under writers in mid-flight, and the image is one of them at a time") {
  ThreadedStore threaded{1 << 20};
  storage::Store& store = *threaded.store;
  open_waiting(store, session_request(Access::write))->grow(pages);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0}, lost{0}, writes{0};
  const auto write = [&](int salt) {
    while (!done) {
      try {
        const auto session = open_waiting(store, session_request(Access::write, "w", true));
        session->on_notice([&](const MemoryError&) {});
        for (int i = 0; i < 1000 && !done; ++i) {
          wait_for_room(*session);
          session->write(0, filled(stripe_bytes, salt));
          if (read_from(*session, 0, stripe_bytes) != filled(stripe_bytes, salt)) ++wrong;
          ++writes;
          if (i % 50 == 49) flush_and_wait(*session);
        }
      } catch (const MemoryError& error) {
        if (error.errc() != Errc::lease_lost) ++wrong;
        ++lost;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int salt = 1; salt <= 3; ++salt) threads.emplace_back(write, salt);
  for (int broken = 0; broken < 40;) {
    const int before = writes;
    if (store.break_lease(0, "test")) ++broken;
    while (writes == before) std::this_thread::yield();
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(lost > 10);
  store.close();
}

}  // namespace pageserver::test
