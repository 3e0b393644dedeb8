// Images as files: real mounts, and what the kernel and programs make of them.
#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "tests/pagectl/mounted.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver::test;

namespace {

/// The user of no files, whom each system has.
constexpr unsigned nobody = 65534;

}  // namespace

TEST_CASE("a mounted image has its size and bytes, and is written, grown and flushed as a file") {
  if (!can_mount()) return;
  Served served;
  for (const std::string option : {"rw", "direct_io"}) {
    INFO(option);
    Mount mount(served.daemon->unix_uri("demo"), served.dir.file("mounted"), {"-o", option});
    const auto before = read_file(mount.file);
    CHECK(before.size() == size_of(served.dir.file("mounted")));
    CHECK((before == stored(served, 0, before.size())));
    {
      const auto file = opened(mount.file);
      REQUIRE(write_at(file, 65530, "over a page's end") == 0);
      CHECK(read_at(file, 65530, 17) == "over a page's end");
      CHECK(stored(served, 65530, 17) == "over a page's end");  // on_write: seen by others at once
      CHECK(errno_after(::fsync(file.get())) == 0);
      CHECK(errno_after(::fdatasync(file.get())) == 0);
      const auto size = static_cast<off_t>(before.size());
      CHECK(errno_after(::ftruncate(file.get(), size + 2 * 65536)) == 0);
      CHECK(size_of(mount.file) == before.size() + 2 * page_bytes);
      CHECK(read_at(file, before.size(), 131072) == std::string(131072, '\0'));
      // Past the end: whole pages, whatever is written.
      CHECK(write_at(file, before.size() + 2 * page_bytes + 10, "ten behind") == 0);
      CHECK(size_of(mount.file) == before.size() + 3 * page_bytes);
      CHECK(stored(served, before.size() + 2 * page_bytes + 10, 10) == "ten behind");
    }
    CHECK(mount.unmount() == 0);
    CHECK(mount.process->err_so_far() == "");
    CHECK(::access(mount.file.c_str(), F_OK) != 0);  // it was made, and is gone
  }
}

TEST_CASE("a growth leaves what the kernel has kept of a mounted file, and the new pages are zeros") {
  if (!can_mount()) return;
  Served served;
  for (const std::string query : {"access=write", "access=fork", "publish=on_flush"}) {
    INFO(query);
    Mount mount(served.daemon->unix_uri("demo", query + "&wait_ms=10000"), served.dir.file("mounted"));
    auto file = opened(mount.file);
    const auto size = size_of(mount.file);
    const auto before = read_at(file, 0, size);
    REQUIRE(before.size() == size);
    // The kernel reads ahead by whole pages of its own: all that was read is there, before and after.
    const auto kept = [&] {
      void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
      REQUIRE(mapped != MAP_FAILED);
      std::vector<unsigned char> pages(size / 4096);
      CHECK(::mincore(mapped, size, pages.data()) == 0);
      ::munmap(mapped, size);
      return std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
    };
    REQUIRE(kept() == static_cast<long>(size / 4096));
    REQUIRE(errno_after(::ftruncate(file.get(), static_cast<off_t>(size + 2 * page_bytes))) == 0);
    CHECK(kept() == static_cast<long>(size / 4096));
    CHECK(size_of(mount.file) == size + 2 * page_bytes);
    CHECK((read_at(file, 0, size + 3 * page_bytes) == before + std::string(2 * page_bytes, '\0')));
    // Also behind a write past the end, after which the kernel knows of less than the image has.
    REQUIRE(write_at(file, size + 2 * page_bytes, "ten behind") == 0);
    REQUIRE(errno_after(::ftruncate(file.get(), static_cast<off_t>(size + 4 * page_bytes))) == 0);
    CHECK(read_at(file, size + 2 * page_bytes, 10) == "ten behind");
    CHECK((read_at(file, size + 2 * page_bytes + 10, 2 * page_bytes) == std::string(2 * page_bytes - 10, '\0')));
    file.reset();
    CHECK(mount.unmount() == 0);
  }
}

TEST_CASE("what a mounted image can't do has its errno, and changes nothing") {
  if (!can_mount()) return;
  Served served;
  Mount mount(served.daemon->unix_uri("demo"), served.dir.file("mounted"));
  const auto file = opened(mount.file);
  const off_t size = 4 * 65536;
  CHECK(errno_after(::ftruncate(file.get(), size + 1)) == EINVAL);
  CHECK(errno_after(::ftruncate(file.get(), size - 65536)) == EPERM);
  CHECK(errno_after(::ftruncate(file.get(), 0)) == EPERM);
  CHECK(errno_after(::ftruncate(file.get(), size)) == 0);
  CHECK(errno_after(::open(mount.file.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC)) == EPERM);
  CHECK(errno_after(::open(mount.file.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) == EEXIST);
  CHECK(errno_after(::unlink(mount.file.c_str())) == EBUSY);
  CHECK(errno_after(::rename(mount.file.c_str(), served.dir.file("moved").c_str())) == EBUSY);
  CHECK(errno_after(::chmod(mount.file.c_str(), 0644)) == EPERM);
  CHECK(errno_after(::fallocate(file.get(), 0, 0, size)) == 0);
  CHECK(errno_after(::fallocate(file.get(), 0, size, 100)) == EINVAL);
  CHECK(errno_after(::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, size, 65536)) == EOPNOTSUPP);
  CHECK(errno_after(::fallocate(file.get(), FALLOC_FL_COLLAPSE_RANGE, 0, 65536)) == EOPNOTSUPP);
  CHECK(errno_after(::lseek(file.get(), size, SEEK_DATA)) == ENXIO);
  // An end that is always a page's takes whole pages only.
  const auto appending = opened(mount.file, O_WRONLY | O_APPEND);
  CHECK(errno_after(::write(appending.get(), "x", 1)) == EINVAL);
  CHECK(size_of(mount.file) == 4 * page_bytes);
  const std::string page(page_bytes, 'p');
  CHECK(::write(appending.get(), page.data(), page.size()) == 65536);
  CHECK((read_at(file, 4 * page_bytes, page_bytes) == page));
  CHECK((read_file(mount.file).substr(0, 4 * page_bytes) == random_bytes(4, 1)));
}

TEST_CASE("ranges of a mounted image are made zero, and its holes are found") {
  if (!can_mount()) return;
  Served served;
  Mount mount(served.daemon->unix_uri("demo", "access=fork"), served.dir.file("mounted"));
  const auto file = opened(mount.file);
  CHECK(::lseek(file.get(), 0, SEEK_HOLE) == 4 * 65536);
  REQUIRE(errno_after(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536)) == 0);
  CHECK((read_at(file, 65536, 65536) == std::string(65536, '\0')));
  CHECK(::lseek(file.get(), 0, SEEK_HOLE) == 65536);
  CHECK(::lseek(file.get(), 65536, SEEK_DATA) == 2 * 65536);
  CHECK(errno_after(::ftruncate(file.get(), 8l * 65536)) == 0);
  CHECK(::lseek(file.get(), 4 * 65536, SEEK_HOLE) == 4 * 65536);
  CHECK(errno_after(::lseek(file.get(), 4 * 65536, SEEK_DATA)) == ENXIO);
}

TEST_CASE("a mounted fork is nobody else's, and gone afterwards") {
  if (!can_mount()) return;
  Served served;
  const auto uri = served.daemon->unix_uri("demo", "access=fork");
  Mount first(uri, served.dir.file("first"));
  Mount second(uri, served.dir.file("second"));
  REQUIRE(write_at(opened(first.file), 0, "first") == 0);
  REQUIRE(write_at(opened(second.file), 0, "second") == 0);
  CHECK(read_at(opened(first.file), 0, 5) == "first");
  CHECK(read_at(opened(second.file), 0, 6) == "second");
  CHECK(first.unmount() == 0);
  CHECK(second.unmount() == 0);
  CHECK((stored(served, 0, 4 * page_bytes) == random_bytes(4, 1)));
}

TEST_CASE("with on_flush nothing of a mount is seen before fsync, and all of it after") {
  if (!can_mount()) return;
  Served served;
  const auto original = random_bytes(4, 1);
  Mount writer(served.daemon->unix_uri("demo", "publish=on_flush"), served.dir.file("writer"));
  Mount live(served.daemon->unix_uri("demo", "access=read"), served.dir.file("live"));
  Mount pinned(served.daemon->unix_uri("demo", "access=read&view=pinned"), served.dir.file("pinned"));
  const auto reader = opened(live.file, O_RDONLY);
  const auto file = opened(writer.file);
  REQUIRE(write_at(file, 100, "private") == 0);
  REQUIRE(errno_after(::ftruncate(file.get(), 5 * 65536)) == 0);
  CHECK(read_at(reader, 100, 7) == original.substr(100, 7));
  CHECK(size_of(live.file) == 4 * page_bytes);
  { const auto closed = opened(writer.file); }  // a close publishes nothing
  CHECK(read_at(reader, 100, 7) == original.substr(100, 7));
  REQUIRE(errno_after(::fsync(file.get())) == 0);
  CHECK(read_at(reader, 100, 7) == "private");
  CHECK(size_of(live.file) == 5 * page_bytes);
  CHECK(size_of(pinned.file) == 4 * page_bytes);
  CHECK((read_file(pinned.file) == original));
}

TEST_CASE("a mount publishes by the clock, at close or when it ends, where it is told so") {
  if (!can_mount()) return;
  Served served;
  const auto uri = served.daemon->unix_uri("demo", "publish=on_flush");
  {
    Mount mount(uri, served.dir.file("mounted"), {"-o", "flush_every=20ms"});
    const auto file = opened(mount.file);
    REQUIRE(write_at(file, 0, "by the clock") == 0);
    wait_until([&] { return stored(served, 0, 12) == "by the clock"; });
  }
  Mount closing(uri + "&wait_ms=10000", served.dir.file("closing"), {"-o", "flush_at_close"});
  { REQUIRE(write_at(opened(closing.file), 0, "at its close") == 0); }
  CHECK(stored(served, 0, 12) == "at its close");
  CHECK(closing.unmount() == 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    Mount stopped(uri + "&wait_ms=10000", served.dir.file("stopped"));
    const std::string text = "with signal " + std::to_string(signal);
    const auto file = opened(stopped.file);
    REQUIRE(write_at(file, 0, text) == 0);
    stopped.process->signal(signal);
    CHECK(stopped.process->wait() == 0);
    CHECK(stored(served, 0, text.size()) == text);
    CHECK_FALSE(is_mounted(stopped.file));
  }
}

TEST_CASE("maps of a mount are shared where nobody else changes the image, and refused where others do") {
  if (!can_mount()) return;
  Served served;
  {
    Mount writer(served.daemon->unix_uri("demo"), served.dir.file("writer"));
    const auto file = opened(writer.file);
    void* const mapped = ::mmap(nullptr, 4 * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    REQUIRE(mapped != MAP_FAILED);
    std::copy_n("mapped", 6, static_cast<char*>(mapped) + 70000);
    CHECK(errno_after(::msync(mapped, 4 * page_bytes, MS_SYNC)) == 0);
    CHECK(stored(served, 70000, 6) == "mapped");
    std::copy_n("signal", 6, static_cast<char*>(mapped) + 70000);  // not synced: the end takes it in
    writer.process->signal(SIGTERM);
    CHECK(writer.process->wait() == 0);
    CHECK(stored(served, 70000, 6) == "signal");
    ::munmap(mapped, 4 * page_bytes);
  }
  Mount pinned(served.daemon->unix_uri("demo", "access=read&view=pinned"), served.dir.file("pinned"));
  void* const mapped = ::mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, opened(pinned.file, O_RDONLY).get(), 0);
  REQUIRE(mapped != MAP_FAILED);
  CHECK(std::string(static_cast<char*>(mapped), 100) == random_bytes(4, 1).substr(0, 100));
  ::munmap(mapped, page_bytes);
  Mount live(served.daemon->unix_uri("demo", "access=read"), served.dir.file("live"));
  CHECK(::mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, opened(live.file, O_RDONLY).get(), 0) == MAP_FAILED);
  CHECK(errno == ENODEV);
  // An errno has no words: the mount says beforehand which mode allows them.
  const auto told = [&](const std::string& query, const std::vector<std::string>& options = {}) {
    const auto file = served.dir.file("told");
    std::vector<std::string> words{"mount", served.daemon->unix_uri("demo", query), file};
    words.insert(words.end(), options.begin(), options.end());
    const auto result = pagectl(words);
    REQUIRE(result.status == 0);
    REQUIRE(run({"fusermount3", "-u", file}).status == 0);
    wait_until([&] { return ::access(file.c_str(), F_OK) != 0; });
    return result.out;
  };
  CHECK(told("access=read").find("shared maps are refused, view=pinned allows them") != std::string::npos);
  CHECK(told("access=fork", {"-o", "direct_io"}).find("a mount without -o direct_io allows them") != std::string::npos);
  CHECK(told("access=fork").find("maps") == std::string::npos);
}

TEST_CASE("a write that asks to be durable is published before its answer, however the kernel keeps bytes") {
  if (!can_mount()) return;
  Served served;
  for (const std::string option : {"rw", "direct_io", "writeback"}) {
    for (const int flag : {O_DSYNC, O_SYNC}) {
      INFO(option << " " << flag);
      Mount mount(served.daemon->unix_uri("demo", "publish=on_flush"), served.dir.file("mounted"), {"-o", option});
      const auto text = option + std::to_string(flag);
      const auto file = opened(mount.file, O_RDWR | flag);
      REQUIRE(write_at(file, 0, text) == 0);
      CHECK(stored(served, 0, text.size()) == text);
      mount.process->signal(SIGTERM);
      CHECK(mount.process->wait() == 0);
    }
  }
}

TEST_CASE("the second mount for writing is refused with the holder's name, and a reader can't write") {
  if (!can_mount()) return;
  Served served;
  const auto uri = served.daemon->unix_uri("demo");
  Mount first(uri, served.dir.file("first"));
  const auto second = pagectl({"mount", uri, served.dir.file("second")});
  CHECK(second.status == 75);
  CHECK(second.err.find("pagectl mount " + first.file) != std::string::npos);
  CHECK(::access(served.dir.file("second").c_str(), F_OK) != 0);
  Mount reader(uri, served.dir.file("reader"), {"--read-only"});
  CHECK(errno_after(::open(reader.file.c_str(), O_RDWR | O_CLOEXEC)) == EROFS);
  // Locks act between the programs of one mount.
  const auto one = opened(first.file);
  const auto other = opened(first.file);
  CHECK(errno_after(::flock(one.get(), LOCK_EX | LOCK_NB)) == 0);
  CHECK(errno_after(::flock(other.get(), LOCK_EX | LOCK_NB)) == EWOULDBLOCK);
}

TEST_CASE("a mount whose daemon is killed answers EIO, says why, and goes when nobody has it open") {
  if (!can_mount()) return;
  Served served;
  const auto log = served.dir.file("mount.log");
  Mount mount(served.daemon->unix_uri("demo"), served.dir.file("mounted"), {"--log", log});
  auto file = opened(mount.file);
  CHECK(read_at(file, 0, 100).size() == 100);  // the kernel has kept it
  served.daemon->kill_hard();
  wait_until([&] { return mount.process->err_so_far().find("every call fails from now on") != std::string::npos; });
  std::array<char, 8> bytes{};
  wait_until([&] { return ::pread(file.get(), bytes.data(), bytes.size(), 0) < 0; });
  CHECK(errno_after(::pread(file.get(), bytes.data(), bytes.size(), 0)) == EIO);
  CHECK(write_at(file, 0, "x") == EIO);
  CHECK(errno_after(::fsync(file.get())) == EIO);
  CHECK(errno_after(::ftruncate(file.get(), 8l * 65536)) == EIO);
  CHECK(errno_after(::open(mount.file.c_str(), O_RDONLY | O_CLOEXEC)) == EIO);
  CHECK(mount.process->running());
  const int copy = ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0);
  CHECK(errno_after(::close(copy)) == EIO);  // what close can report
  CHECK(read_file(log).find("every call fails from now on") != std::string::npos);
  file.reset();  // the last handle
  CHECK(mount.process->wait() == 75);
  CHECK_FALSE(is_mounted(mount.file));
}

TEST_CASE("a mount that is killed is gone by itself, and its lease is free") {
  if (!can_mount()) return;
  Served served;
  const auto uri = served.daemon->unix_uri("demo");
  Mount killed(uri, served.dir.file("mounted"));
  const auto file = opened(killed.file);
  REQUIRE(write_at(file, 0, "published") == 0);
  killed.process->signal(SIGKILL);
  CHECK(killed.process->wait() == 128 + SIGKILL);
  CHECK(write_at(file, 0, "too late") == ENOTCONN);
  wait_until([&] { return !is_mounted(killed.file); });
  Mount again(served.daemon->unix_uri("demo", "wait_ms=10000"), served.dir.file("again"));
  CHECK(read_at(opened(again.file), 0, 9) == "published");
}

TEST_CASE("a user's mount that is killed is gone by itself, too") {
  if (!can_mount()) return;
  if (::geteuid() != 0) return skip("only root can become another user; as that one the other tests run already");
  const TempDir dir;
  // /dev/fuse for everybody and a fusermount3 that is root's by its mode, as they are where users mount, in a namespace
  // of the test's own.
  write_file(dir.file("as_user.sh"), R"(
    set -eu
    pagectl=$1 dir=$2 user=$3
    chmod 755 "$dir"
    install -d -o "$user" -g "$user" "$dir/place"
    install -m 4755 /usr/bin/fusermount3 "$dir/fusermount3"
    mknod -m 666 "$dir/fuse" c 10 229
    mount --bind "$dir/fusermount3" /usr/bin/fusermount3
    mount --bind "$dir/fuse" /dev/fuse
    file=$dir/place/mounted
    is_mounted() { grep -q " $file fuse.pageserver " /proc/self/mounts; }
    setpriv --reuid "$user" --regid "$user" --clear-groups "$pagectl" mount --quiet --foreground heap: "$file" & mount=$!
    until is_mounted; do kill -0 "$mount" || exit 77; sleep 0.02; done
    kill -"$4" "$mount"
    wait "$mount" || echo "status $?"
    while is_mounted; do sleep 0.02; done
    echo gone
  )");
  for (const auto& [number, said] : {std::pair{"KILL", "status 137\ngone\n"}, std::pair{"TERM", "gone\n"}}) {
    const auto result = run({"unshare", "--mount", "bash", dir.file("as_user.sh"), pagectl_program(),
                             dir.path().string(), std::to_string(nobody), number});
    INFO(number << ": " << result.out << result.err);
    if (result.status == 77 || result.err.find("not permitted") != std::string::npos)
      return skip("a user can't mount here: " + result.err);
    CHECK(result.status == 0);
    CHECK(result.out == said);
    std::filesystem::remove(dir.file("fuse"));
  }
}

TEST_CASE("locks of programs on one mount keep each other out: flock, POSIX and OFD, by range where they have one") {
  if (!can_mount()) return;
  if (run({"python3", "-c", ""}).status != 0) return skip("there is no python3 here");
  Served served;
  Mount mount(served.daemon->unix_uri("demo"), served.dir.file("mounted"));
  // Another program that asks for a lock, without waiting, and says what came of it.
  write_file(served.dir.file("ask.py"), R"(
import errno, fcntl, os, struct, sys
path, kind, first, length = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
file = os.open(path, os.O_RDWR)
wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, first, length, 0)
try:
    if kind == "flock":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        fcntl.fcntl(file, fcntl.F_SETLK if kind == "posix" else fcntl.F_OFD_SETLK, wanted)
    print("taken")
except OSError as error:
    print(errno.errorcode[error.errno])
)");
  const auto asked = [&](const std::string& kind, int first, int length) {
    const auto result =
        run({"python3", served.dir.file("ask.py"), mount.file, kind, std::to_string(first), std::to_string(length)});
    INFO(result.err);
    CHECK(result.status == 0);
    return result.out;
  };
  {
    const auto file = opened(mount.file);
    CHECK(asked("flock", 0, 0) == "taken\n");
    REQUIRE(::flock(file.get(), LOCK_EX) == 0);
    CHECK(asked("flock", 0, 0) == "EAGAIN\n");
    REQUIRE(::flock(file.get(), LOCK_UN) == 0);
    CHECK(asked("flock", 0, 0) == "taken\n");
  }
  for (const bool of_file : {false, true}) {
    INFO((of_file ? "OFD" : "POSIX"));
    const auto file = opened(mount.file);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = 100;
    lock.l_len = 10;
    const int set = of_file ? F_OFD_SETLK : F_SETLK;
    REQUIRE(::fcntl(file.get(), set, &lock) == 0);
    // The two kinds keep each other out as well.
    for (const char* const kind : {"posix", "ofd"}) {
      CHECK(asked(kind, 105, 1) == "EAGAIN\n");
      CHECK(asked(kind, 0, 0) == "EAGAIN\n");
      CHECK(asked(kind, 110, 5) == "taken\n");
    }
    lock.l_type = F_UNLCK;
    REQUIRE(::fcntl(file.get(), set, &lock) == 0);
    CHECK(asked("posix", 105, 1) == "taken\n");
  }
  CHECK(mount.unmount() == 0);
}

TEST_CASE("sqlite's VACUUM wants a shorter file, is refused, and leaves the database as it was") {
  if (!can_mount()) return;
  if (run({"bash", "-c", "command -v sqlite3"}).status != 0) return skip("there is no sqlite3 here");
  Served served;
  REQUIRE(pagectl({"create", served.daemon->unix_uri("tables")}).status == 0);
  Mount mount(served.daemon->unix_uri("tables", "publish=on_flush"), served.dir.file("tables"));
  const auto sql = [&](const std::string& words) { return run({"sqlite3", mount.file, words}); };
  const auto made =
      sql("create table t(a integer primary key, b); "
          "insert into t select value, hex(randomblob(100)) from generate_series(1, 3000); delete from t where a > 10");
  CHECK(made.err == "");
  const auto size = size_of(mount.file);
  const auto vacuumed = sql("vacuum");
  CHECK(vacuumed.status != 0);
  CHECK(vacuumed.err.find("disk I/O error") != std::string::npos);
  CHECK(size_of(mount.file) == size);
  CHECK(errno_after(::truncate(mount.file.c_str(), static_cast<off_t>(page_bytes))) == EPERM);
  // docs/files.md: the journal that it left has to go by a copy, which it can be rolled back in.
  const auto copy = served.dir.file("copy.db");
  CHECK(run({"cp", mount.file, copy}).status == 0);
  const auto journal = mount.file + "-journal";
  if (::access(journal.c_str(), F_OK) == 0) CHECK(run({"cp", journal, copy + "-journal"}).status == 0);
  CHECK(run({"sqlite3", copy, "select count(*) from t; pragma integrity_check"}).out == "10\nok\n");
}

TEST_CASE("a mount whose lease is taken answers EIO") {
  if (!can_mount()) return;
  Served served;
  Mount mount(served.daemon->unix_uri("demo", "publish=on_flush"), served.dir.file("mounted"));
  auto file = opened(mount.file);
  REQUIRE(write_at(file, 0, "never seen") == 0);
  REQUIRE(pagectl({"lease", served.daemon->unix_uri("demo"), "--break"}).status == 0);
  wait_until([&] { return ::fsync(file.get()) < 0; });
  CHECK(errno_after(::fsync(file.get())) == EIO);
  file.reset();
  CHECK(mount.process->wait() == 75);
  CHECK((stored(served, 0, 4 * page_bytes) == random_bytes(4, 1)));
}

TEST_CASE("a mount goes on in the background, and its descriptor says when it is ready") {
  if (!can_mount()) return;
  Served served;
  const auto file = served.dir.file("mounted");
  const auto ready = served.dir.file("ready");
  write_file(file, "");
  const auto result = run({"bash", "-c", "exec 7>'" + ready + "'; exec \"$@\"", "bash", pagectl_program(), "mount",
                           "--ready-fd", "7", served.daemon->unix_uri("demo", "access=fork"), file});
  CHECK(result.status == 0);
  CHECK(result.err == "");
  CHECK(read_file(ready) == "ready\n");
  CHECK((read_file(file) == random_bytes(4, 1)));
  REQUIRE(run({"fusermount3", "-u", file}).status == 0);
  CHECK(size_of(file) == 0);  // it was there before, so it stays
}

TEST_CASE("a mount in the background finds a daemon that was restarted by a path from where it was started") {
  if (!can_mount()) return;
  Served served;
  const auto folder = served.dir.path().string();
  const auto socket = std::filesystem::path(served.daemon->socket_path()).filename().string();
  const auto file = served.dir.file("mounted");
  const auto result = run({"bash", "-ec", "cd \"$1\"; exec \"$2\" mount \"$3\" mounted", "bash", folder,
                           pagectl_program(), "pageserver+unix:///demo?resume=30&socket=" + socket});
  INFO(result.err);
  REQUIRE(result.status == 0);
  auto opened_file = opened(file);
  REQUIRE(write_at(opened_file, 0, "before") == 0);
  served.daemon->kill_hard();
  served.daemon->start_again();
  CHECK(write_at(opened_file, 0, "behind") == 0);
  CHECK(errno_after(::fsync(opened_file.get())) == 0);
  opened_file.reset();
  CHECK(run({"fusermount3", "-u", file}).status == 0);
  wait_until([&] { return ::access(file.c_str(), F_OK) != 0; });
  CHECK(stored(served, 0, 6) == "behind");
}

TEST_CASE("what can't be mounted is refused in one sentence, and leaves nothing") {
  if (!can_mount()) return;
  TempDir dir;
  const auto refused = [&](const std::vector<std::string>& words, const std::string& text) {
    std::vector<std::string> all{"mount"};
    all.insert(all.end(), words.begin(), words.end());
    const auto result = pagectl(all);
    INFO(result.err);
    CHECK(result.status == 2);
    CHECK(result.err.find(text) != std::string::npos);
  };
  write_file(dir.file("full"), "bytes");
  refused({"heap:", dir.file("full")}, "holds 5 bytes, which the mount would hide");
  refused({"heap:", dir.path().string()}, "is no plain file");
  refused({"heap:", dir.file("none/there")}, "can't be made");
  refused({"heap:", dir.file("x"), "-o", "noatime,quick"}, "there is no option -o \"quick\"");
  refused({"heap:", dir.file("x"), "-o", "flush_every=soon"}, "is no duration");
  refused({"pageserver://127.0.0.1/demo?access=write", dir.file("x"), "--read-only"}, "leave one of them out");
  refused({"heap:", dir.file("x"), "--ready-fd", "99"}, "is no open descriptor");
  CHECK(::access(dir.file("x").c_str(), F_OK) != 0);
  Mount mount("heap:", dir.file("mounted"));
  refused({"heap:", mount.file}, "has something mounted over it");
}

TEST_CASE("programs work on mounted images: dd, cp, and sqlite3 where it is there") {
  if (!can_mount()) return;
  Served served;
  REQUIRE(pagectl({"create", served.daemon->unix_uri("empty")}).status == 0);
  {
    Mount mount(served.daemon->unix_uri("empty"), served.dir.file("mounted"));
    const auto source = served.dir.file("demo.img");
    // O_TRUNC of what is empty cuts nothing, so that a plain cp works once.
    CHECK(run({"cp", source, mount.file}).status == 0);
    CHECK(run({"cmp", source, mount.file}).status == 0);
    CHECK(run({"cp", source, mount.file}).err.find("Operation not permitted") != std::string::npos);
    CHECK(run({"dd", "if=" + source, "of=" + mount.file, "bs=4096", "seek=80", "conv=notrunc,fsync"}).status == 0);
    CHECK(size_of(mount.file) == 9 * page_bytes);
    CHECK(mount.unmount() == 0);
  }
  if (run({"bash", "-c", "command -v sqlite3"}).status != 0) return;
  REQUIRE(pagectl({"create", served.daemon->unix_uri("tables")}).status == 0);
  const auto sql = [&](const std::string& query, const std::string& words, const std::string& option = "rw") {
    Mount mount(served.daemon->unix_uri("tables", query), served.dir.file("tables"), {"-o", option});
    const auto result = run({"sqlite3", "file:" + mount.file + "?vfs=unix-none", words});
    CHECK(result.err == "");
    CHECK(mount.unmount() == 0);
    return result.out;
  };
  CHECK(sql("publish=on_flush",
            "create table t(a integer primary key, b); "
            "insert into t select value, hex(randomblob(100)) from generate_series(1, 3000); select count(*) from t") ==
        "3000\n");
  CHECK(sql("access=fork", "delete from t where a > 10; select count(*) from t; pragma integrity_check") == "10\nok\n");
  CHECK(sql("access=fork", "select count(*) from t; pragma integrity_check") == "3000\nok\n");
  CHECK(sql("publish=on_flush",
            "insert into t select value, hex(randomblob(100)) from generate_series(3001, 6000); begin; "
            "delete from t; rollback; delete from t where a % 2; select count(*) from t; pragma integrity_check",
            "writeback") == "3000\nok\n");
  CHECK(sql("access=read&view=pinned", "select min(a), max(a), count(*) from t; pragma integrity_check") ==
        "2|6000|3000\nok\n");
}

TEST_CASE("the engine's recorded calls leave on mounted forks and writers what they left on a file") {
  if (!can_mount()) return;
  Served served;
  for (const TraceCase& trace : {small_crud, blob, reopen}) {
    for (const auto& [query, option] :
         {std::pair{"access=fork", "rw"}, std::pair{"access=fork", "writeback"}, std::pair{"publish=on_flush", "rw"},
          std::pair{"publish=on_flush", "writeback"}}) {
      INFO(trace.name << " " << query << " " << option);
      const auto store = served.daemon->unix_uri("recorded");
      REQUIRE(pagectl({"create", store}).status == 0);
      if (trace.starts_from_image) {
        unpack("small_crud.img", served.dir.file("start.img"));
        REQUIRE(pagectl({"copy", served.dir.file("start.img"), store}).status == 0);
      }
      Mount mount(served.daemon->unix_uri("recorded", query), served.dir.file("recorded"), {"-o", option});
      const auto replayed = run(
          {"python3", PAGESERVER_REPLAY_ON_FILE, engine_fixture(std::string(trace.name) + ".wdtr.zst"), mount.file});
      INFO(replayed.err);
      CHECK(replayed.status == 0);
      CHECK(sha256_of(mount.file) == trace.sha256);
      CHECK(mount.unmount() == 0);
      if (std::string(query) != "access=fork") CHECK(pagectl({"hash", store}).out.starts_with(trace.hash));
      REQUIRE(pagectl({"remove", store}).status == 0);
    }
  }
}
