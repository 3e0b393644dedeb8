// store: and file: across fork(2): the child can do nothing to what its parent has open.
#include "tests/support/catch.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/file_provider.hpp>

#include "storage/embedded/embedded_store.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/forked.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

using Bytes = std::vector<std::byte>;
constexpr std::size_t pages = 4;

Bytes filled(unsigned char value, std::size_t size = pages * page_size) { return Bytes(size, std::byte{value}); }

/// The number of calls that did not throw what they should.
template <class... Calls>
int count_wrong(Calls... calls) {
  int wrong = 0;
  const auto expect = [&](auto call) {
    try {
      call();
      ++wrong;
    } catch (const MemoryError& error) {
      const std::string text{error.what()};
      if (error.errc() != Errc::connection_lost || text.find("process " + std::to_string(::getppid())) == text.npos)
        ++wrong;
    }
  };
  (expect(calls), ...);
  return wrong;
}

int call_all(MemoryProvider& image) {
  Bytes bytes(8);
  return count_wrong([&] { (void)image.size(); }, [&] { (void)image.pages(); }, [&] { image.read(0, bytes); },
                     [&] { image.write(0, bytes); }, [&] { (void)image.grow(1); }, [&] { (void)image.grow(0); },
                     [&] { image.flush(); });
}

int call_all(Session& session) {
  return call_all(static_cast<MemoryProvider&>(session)) +
         count_wrong([&] { (void)session.version(); }, [&] { (void)session.refresh(); }, [&] { session.discard(); },
                     [&] { (void)session.stat(); }, [&] { session.zero(0, 8); },
                     [&] { (void)session.data_ranges(0, 8); });
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) ++count;
  return count;
}

/// Runs `work` in a child; its result is the child's exit status, -1 for a signal. One that hangs is ended.
template <class Work>
int in_child(Work work) {
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(60);
    int status = 99;
    try {
      status = work();
    } catch (...) {
    }
    ::_exit(status);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

storage::EmbeddedOptions options_of(Access access, Publish publish, View view) {
  storage::EmbeddedOptions options;
  options.access = access;
  options.publish = publish;
  options.view = view;
  return options;
}

/// In a process of its own: a session, a child that tries everything, then more of the parent's, and SIGKILL. 0 at once
/// when the child did what it should not.
[[noreturn]] void live_and_be_killed(const std::string& path, Publish publish) {
  auto session = storage::open_embedded_store(path, options_of(Access::write, publish, View::live));
  session->grow(pages);
  session->write(0, filled('A'));
  session->flush();
  session->write(0, filled('X', 100));  // logged and not yet in the image, or private
  const int wrong = in_child([&] {
    const auto before = open_descriptors();
    int failures = call_all(*session);
    session.reset();
    if (open_descriptors() >= before) ++failures;  // the image's, its folder's and its log's are closed
    return failures;
  });
  if (wrong != 0) ::_exit(1);
  session->write(0, filled('B'));
  session->flush();
  ::raise(SIGKILL);
  ::_exit(2);
}

}  // namespace

TEST_CASE("a child after fork does nothing to its parent's store: what the parent flushed afterwards survives a kill") {
  for (const auto publish : {Publish::on_write, Publish::on_flush}) {
    const TempDir folder;
    const auto path = folder.file("a.img");
    const ::pid_t parent = ::fork();
    REQUIRE(parent >= 0);
    if (parent == 0) live_and_be_killed(path, publish);
    int status = 0;
    REQUIRE(::waitpid(parent, &status, 0) == parent);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);
    const auto session = storage::open_embedded_store(path, {});
    Bytes seen(pages * page_size);
    session->read(0, seen);
    CHECK((seen == filled('B')));
  }
}

TEST_CASE("sessions of every kind are refused in a child, and their ends there leave the parent's as they were") {
  const TempDir folder;
  const auto path = folder.file("a.img");
  auto writer = storage::open_embedded_store(path, options_of(Access::write, Publish::on_flush, View::live));
  writer->grow(pages);
  writer->write(0, filled('A'));
  writer->flush();
  std::vector<std::unique_ptr<Session>> sessions;
  sessions.push_back(storage::open_embedded_store(path, options_of(Access::read, Publish::on_write, View::live)));
  sessions.push_back(storage::open_embedded_store(path, options_of(Access::read, Publish::on_write, View::pinned)));
  sessions.push_back(storage::open_embedded_store(path, options_of(Access::fork, Publish::on_write, View::live)));
  sessions.back()->write(0, filled('F'));
  writer->write(0, filled('P', 10));
  CHECK(in_child([&] {
          int failures = call_all(*writer);
          for (auto& session : sessions) failures += call_all(*session);
          for (auto& session : sessions) session.reset();
          writer.reset();
          return failures;
        }) == 0);
  Bytes seen(pages * page_size);
  sessions[0]->read(0, seen);
  CHECK((seen == filled('A')));
  sessions[2]->read(0, seen);
  CHECK((seen == filled('F')));
  writer->flush();
  sessions[0]->read(0, seen);
  CHECK(seen[0] == std::byte{'P'});
  CHECK(writer->stat().sessions_fork == 1);
}

TEST_CASE("a child opens the store of its parent as any other process does: when the parent has closed it") {
#if defined(__SANITIZE_THREAD__)
  return skip("ThreadSanitizer ends a child that makes threads where its parent had some");
#endif
  const TempDir folder;
  const auto path = folder.file("a.img");
  auto session = storage::open_embedded_store(path, {});
  session->grow(1);
  int tried[2];
  int go[2];
  REQUIRE(::pipe(tried) == 0);
  REQUIRE(::pipe(go) == 0);
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(60);
    ::close(tried[0]);
    ::close(go[1]);
    int failures = 0;
    session.reset();
    try {
      (void)storage::open_embedded_store(path, {});
      ++failures;
    } catch (const MemoryError& error) {
      if (error.errc() != Errc::busy) ++failures;
    }
    ::close(tried[1]);
    char closed = 0;
    (void)!::read(go[0], &closed, 1);  // until the parent has closed it
    try {
      auto own = storage::open_embedded_store(path, {});
      own->write(0, filled('C', 8));
      own->flush();
    } catch (const MemoryError&) {
      failures += 10;
    }
    ::_exit(failures);
  }
  ::close(tried[1]);
  ::close(go[0]);
  char done = 0;
  (void)!::read(tried[0], &done, 1);  // until the child was refused
  ::close(tried[0]);
  // The parent's log and lock are there until it ends its own session.
  session->write(0, filled('A', 8));
  session->flush();
  session.reset();
  ::close(go[1]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  Bytes seen(8);
  storage::open_embedded_store(path, {})->read(0, seen);
  CHECK((seen == filled('C', 8)));
}

TEST_CASE("a file provider in a child is refused, and its end there leaves the parent's lock") {
  const TempDir folder;
  const auto path = folder.file("a.img");
  auto provider = std::make_unique<FileProvider>(path);
  provider->grow(1);
  CHECK(in_child([&] {
          const int failures = call_all(*provider);
          provider.reset();
          try {
            FileProvider{path};
            return failures + 1;
          } catch (const MemoryError& error) {
            return failures + (error.errc() == Errc::busy ? 0 : 1);
          }
        }) == 0);
  provider->write(0, filled('A', 8));
  provider->flush();
  CHECK(provider->pages() == 1);
}

TEST_CASE("what a process has closed others can open, although a child of it still has the descriptors") {
  const TempDir folder;
  const auto path = folder.file("a.img");
  std::unique_ptr<MemoryProvider> image;
  const auto opens_in_another_process = [&](Access access) {
    return in_child([&] {
      // As a stranger: with nothing of what this process has open.
      for (const bool store : {false, true}) {
        if (store)
          (void)storage::open_embedded_store(path, options_of(access, Publish::on_write, View::live));
        else
          (void)FileProvider{path, access};
      }
      return 0;
    });
  };
  FileProvider{path}.grow(1);
  for (const bool store : {false, true})
    for (const Access access : {Access::write, Access::read}) {
      INFO((store ? "store:" : "file:") << (access == Access::write ? " for writing" : " for reading"));
      if (store)
        image = storage::open_embedded_store(path, options_of(access, Publish::on_write, View::live));
      else
        image = std::make_unique<FileProvider>(path, access);
      if (access == Access::write) image->write(0, filled('A', 8));
      const Forked child{[](const auto&, const auto& wait_for_parent) { wait_for_parent(); }};
      CHECK(opens_in_another_process(Access::write) != 0);
      image.reset();
      CHECK(opens_in_another_process(Access::write) == 0);
      CHECK(opens_in_another_process(Access::read) == 0);
      // And this process itself.
      (void)storage::open_embedded_store(path, {});
      (void)FileProvider{path};
    }
}

TEST_CASE("an opening that fails behind its lock gives the lock back, although a child has the descriptor") {
  const TempDir folder;
  const auto path = folder.file("a.img");
  FileProvider{path}.grow(1);
  std::filesystem::resize_file(path, page_size + 1);
  // The child is made between the lock and the look at the size, which refuses the file.
  std::unique_ptr<Forked> child;
  FaultyFileSystem files;
  files.before(Call::status_of, [&] {
    if (!child && files.calls(Call::lock) > 0)
      child = std::make_unique<Forked>([](const auto&, const auto& wait_for_parent) { wait_for_parent(); });
  });
  storage::EmbeddedOptions options;
  options.file_system = &files;
  CHECK_THROWS_AS(storage::open_embedded_store(path, options), MemoryError);
  REQUIRE(child);
  std::filesystem::resize_file(path, page_size);
  CHECK(in_child([&] {
          (void)FileProvider{path};
          return 0;
        }) == 0);
}
