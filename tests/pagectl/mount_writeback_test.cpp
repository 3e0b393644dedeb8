// Mounts in which the kernel gathers writes (-o writeback): what stays as without, and what is another way.
#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "tests/pagectl/mounted.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver::test;

namespace {

/// A writer whose writes the kernel gathers, of the store `demo`.
Mount gathering(const Served& served, const std::string& name = "mounted", std::vector<std::string> options = {}) {
  options.insert(options.end(), {"-o", "writeback"});
  return {served.daemon->unix_uri("demo", "publish=on_flush&wait_ms=10000"), served.dir.file(name), options};
}

std::uint64_t pages_of(const Served& served) {
  return pagectl_json({"info", served.daemon->unix_uri("demo", "access=read")}).at("pages");
}

}  // namespace

TEST_CASE("writeback: what programs write is with the kernel, seen by all of them, and a flush publishes it whole") {
  if (!can_mount()) return;
  Served served;
  const auto original = random_bytes(4, 1);
  const auto mount = gathering(served);
  CHECK(size_of(mount.file) == 4 * page_bytes);
  CHECK((read_file(mount.file) == original));
  auto file = opened(mount.file);
  REQUIRE(write_at(file, 65530, "over a page's end") == 0);
  REQUIRE(write_at(file, 200'000, std::string(30'000, 'x')) == 0);
  auto changed = original;
  changed.replace(65530, 17, "over a page's end").replace(200'000, 30'000, std::string(30'000, 'x'));
  CHECK((run({"cat", mount.file}).out == changed));  // another program of the same mount
  CHECK((stored(served, 0, 4 * page_bytes) == original));
  REQUIRE(errno_after(::fdatasync(file.get())) == 0);
  CHECK((stored(served, 0, 4 * page_bytes) == changed));
  // A close brings the bytes to the image, and publishes none.
  REQUIRE(write_at(file, 0, "closed") == 0);
  file.reset();
  CHECK(stored(served, 0, 6) == changed.substr(0, 6));
  CHECK(mount.unmount() == 0);
  CHECK(mount.process->err_so_far() == "");
  CHECK(stored(served, 0, 6) == "closed");  // the mount's end does
  CHECK((stored(served, 6, 4 * page_bytes - 6) == changed.substr(6)));
}

TEST_CASE("writeback: a write past the end shows its own length, and the image has whole pages at the flush") {
  if (!can_mount()) return;
  Served served;
  {
    const auto mount = gathering(served);
    const auto file = opened(mount.file);
    REQUIRE(write_at(file, 4 * page_bytes + 100, "ten behind") == 0);
    CHECK(size_of(mount.file) == 4 * page_bytes + 110);
    CHECK(read_at(file, 4 * page_bytes, 1000) == std::string(100, '\0') + "ten behind");
    CHECK(pages_of(served) == 4);
    // So that what appends may append anything.
    const auto appending = opened(mount.file, O_WRONLY | O_APPEND);
    CHECK(::write(appending.get(), " and more", 9) == 9);
    CHECK(size_of(mount.file) == 4 * page_bytes + 119);
    REQUIRE(errno_after(::fsync(file.get())) == 0);
    CHECK(pages_of(served) == 5);
    CHECK((stored(served, 4 * page_bytes, page_bytes) ==
           std::string(100, '\0') + "ten behind and more" + std::string(page_bytes - 119, '\0')));
    // What is asked for is in whole pages as ever.
    CHECK(errno_after(::ftruncate(file.get(), 5 * 65536 + 1)) == EINVAL);
    CHECK(errno_after(::ftruncate(file.get(), 3 * 65536)) == EPERM);
    CHECK(errno_after(::open(mount.file.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC)) == EPERM);
    CHECK(errno_after(::ftruncate(file.get(), 6 * 65536)) == 0);
    CHECK(size_of(mount.file) == 6 * page_bytes);
    CHECK(read_at(file, 4 * page_bytes + 100, 19) == "ten behind and more");
    mount.process->signal(SIGTERM);
    CHECK(mount.process->wait() == 0);
  }
  const auto again = gathering(served, "again");
  CHECK(size_of(again.file) == 6 * page_bytes);
}

TEST_CASE("writeback: a growth neither drops nor overwrites what the kernel has gathered") {
  if (!can_mount()) return;
  Served served;
  const auto mount = gathering(served);
  const auto file = opened(mount.file);
  std::string image = random_bytes(4, 1);
  REQUIRE(write_at(file, 10, "gathered") == 0);
  REQUIRE(errno_after(::ftruncate(file.get(), 6 * 65536)) == 0);
  image.replace(10, 8, "gathered").resize(6 * page_bytes);
  CHECK((read_at(file, 0, 7 * page_bytes) == image));
  // Written past the end, up to the last byte of what becomes the end now: for programs a cut, and right at the cut.
  REQUIRE(write_at(file, 8 * page_bytes - 10, "last bytes, and the next page's") == 0);
  REQUIRE(errno_after(::ftruncate(file.get(), 8 * 65536)) == 0);
  image.resize(8 * page_bytes - 10);
  image += "last bytes";
  CHECK(size_of(mount.file) == 8 * page_bytes);
  CHECK((read_at(file, 0, 9 * page_bytes) == image));
  REQUIRE(errno_after(::fsync(file.get())) == 0);
  CHECK((stored(served, 0, 8 * page_bytes) == image));
}

TEST_CASE("writeback: ranges are made zero over what was gathered, and no hole is seen where bytes are on their way") {
  if (!can_mount()) return;
  Served served;
  const auto mount = gathering(served);
  const auto file = opened(mount.file);
  REQUIRE(errno_after(::ftruncate(file.get(), 8 * 65536)) == 0);
  REQUIRE(write_at(file, 6 * page_bytes, "in a hole of the image") == 0);
  // cp asks for holes.
  CHECK(run({"cp", "--sparse=always", mount.file, served.dir.file("copy")}).status == 0);
  CHECK(read_file(served.dir.file("copy")).substr(6 * page_bytes, 22) == "in a hole of the image");
  CHECK(::lseek(file.get(), 6 * 65536, SEEK_DATA) == 6 * 65536);
  REQUIRE(write_at(file, 65536, std::string(page_bytes, 'z')) == 0);
  REQUIRE(errno_after(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536 + 8192, 8192)) == 0);
  REQUIRE(write_at(file, page_bytes + 8192, "after") == 0);
  std::string page(page_bytes, 'z');
  page.replace(8192, 8192, "after" + std::string(8187, '\0'));
  CHECK((read_at(file, page_bytes, page_bytes) == page));
  REQUIRE(errno_after(::fsync(file.get())) == 0);
  CHECK((stored(served, page_bytes, page_bytes) == page));
}

TEST_CASE("writeback: a map that programs share is one with what they write, and arrives with msync and at the end") {
  if (!can_mount()) return;
  Served served;
  const auto mount = gathering(served);
  const auto file = opened(mount.file);
  void* const mapped = ::mmap(nullptr, 4 * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  REQUIRE(mapped != MAP_FAILED);
  auto* const bytes = static_cast<char*>(mapped);
  std::copy_n("mapped", 6, bytes + 70000);
  CHECK(read_at(file, 70000, 6) == "mapped");
  REQUIRE(write_at(file, 70006, " and written") == 0);
  CHECK(std::string(bytes + 70000, 18) == "mapped and written");
  CHECK(errno_after(::msync(mapped, 4 * page_bytes, MS_SYNC)) == 0);
  CHECK(stored(served, 70000, 18) == "mapped and written");
  std::copy_n("signal", 6, bytes + 70000);
  REQUIRE(write_at(file, 0, "signal") == 0);
  mount.process->signal(SIGTERM);
  CHECK(mount.process->wait() == 0);
  CHECK(stored(served, 70000, 6) == "signal");
  CHECK(stored(served, 0, 6) == "signal");
  ::munmap(mapped, 4 * page_bytes);
}

TEST_CASE("writeback: what was gathered is flushed by the clock and at close where the mount is told so") {
  if (!can_mount()) return;
  Served served;
  {
    const auto mount = gathering(served, "clock", {"-o", "flush_every=20ms"});
    const auto file = opened(mount.file);
    REQUIRE(write_at(file, 0, "by the clock") == 0);
    wait_until([&] { return stored(served, 0, 12) == "by the clock"; });
  }
  const auto closing = gathering(served, "closing", {"-o", "flush_at_close"});
  { REQUIRE(write_at(opened(closing.file), 0, "at its close") == 0); }
  CHECK(stored(served, 0, 12) == "at its close");
}

TEST_CASE("writeback: the file's time is that of the mount or of a change of its size, or what a program says") {
  if (!can_mount()) return;
  Served served;
  const auto mount = gathering(served);
  const auto changed = [&] {
    struct stat status {};
    REQUIRE(::stat(mount.file.c_str(), &status) == 0);
    return status.st_mtim.tv_sec;
  };
  const auto file = opened(mount.file);
  CHECK(changed() > ::time(nullptr) - 600);
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'001, 0}};
  REQUIRE(errno_after(::futimens(file.get(), times)) == 0);
  CHECK(changed() == 1'000'000'001);
  REQUIRE(errno_after(::fsync(file.get())) == 0);
  CHECK(changed() == 1'000'000'001);
  REQUIRE(errno_after(::ftruncate(file.get(), 5 * 65536)) == 0);
  CHECK(changed() > ::time(nullptr) - 600);
}

TEST_CASE("writeback: bytes that the image can't take fail the flush, and nothing is published without them") {
  if (!can_mount()) return;
  TempDir dir;
  write_file(dir.file("demo.img"), random_bytes(4, 1));
  write_file(dir.file("config.json"), nlohmann::json{{"limits", {{"size_bytes_max", "512KiB"}}}}.dump());
  Daemon daemon({"--config", "{dir}/config.json", "--store", "demo={dir}/demo.img"}, &dir);
  for (const std::string query : {"publish=on_flush&wait_ms=10000", "access=fork"}) {
    INFO(query);
    Mount mount(daemon.unix_uri("demo", query), dir.file("mounted"), {"-o", "writeback"});
    auto file = opened(mount.file);
    REQUIRE(write_at(file, 0, "half of it") == 0);
    // The kernel takes it: nobody has asked the image yet.
    REQUIRE(write_at(file, 9 * page_bytes, "past the limit") == 0);
    CHECK(errno_after(::fsync(file.get())) != 0);
    // The kernel has forgotten those bytes by now, and the image has not.
    CHECK(errno_after(::fsync(file.get())) == EIO);
    wait_until([&] { return write_at(file, 0, std::string(4096, 'x')) == EIO; });
    mount.process->wait_for_err("can't be taken in any more");
    mount.process->wait_for_err("size_bytes_max");
    file.reset();
    CHECK(mount.process->wait() == 75);
    CHECK((pagectl({"read", daemon.unix_uri("demo"), "0", "262144"}).out == random_bytes(4, 1)));
  }
}

TEST_CASE("writeback: when the daemon is killed or the lease taken, flush, close and soon each write fail") {
  if (!can_mount()) return;
  for (const bool killed : {true, false}) {
    INFO((killed ? "killed" : "lease taken"));
    Served served;
    const auto mount = gathering(served);
    auto file = opened(mount.file);
    REQUIRE(write_at(file, 0, "flushed") == 0);
    REQUIRE(errno_after(::fsync(file.get())) == 0);
    REQUIRE(write_at(file, 0, "no more") == 0);
    if (killed)
      served.daemon->kill_hard();
    else
      REQUIRE(pagectl({"lease", served.daemon->unix_uri("demo"), "--break"}).status == 0);
    wait_until([&] { return mount.process->err_so_far().find("every call fails from now on") != std::string::npos; });
    CHECK(errno_after(::fsync(file.get())) == EIO);
    wait_until([&] { return write_at(file, 4096, std::string(4096, 'x')) == EIO; });
    char byte = 0;
    wait_until([&] { return ::pread(file.get(), &byte, 1, 0) < 0; });
    const int copy = ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0);
    CHECK(errno_after(::close(copy)) == EIO);
    file.reset();
    CHECK(mount.process->wait() == 75);
    if (killed) served.daemon->start_again();
    CHECK(stored(served, 0, 7) == "flushed");
  }
}

TEST_CASE("writeback: a mount that is killed loses what was not flushed, and says so at flush and close") {
  if (!can_mount()) return;
  Served served;
  const auto mount = gathering(served);
  auto file = opened(mount.file);
  REQUIRE(write_at(file, 0, "flushed") == 0);
  REQUIRE(errno_after(::fsync(file.get())) == 0);
  REQUIRE(write_at(file, 0, "no more") == 0);
  mount.process->signal(SIGKILL);
  CHECK(mount.process->wait() == 128 + SIGKILL);
  CHECK(errno_after(::fsync(file.get())) != 0);
  wait_until([&] { return write_at(file, 4096, std::string(4096, 'x')) == ENOTCONN; });
  const int raw = file.release();
  CHECK(errno_after(::close(raw)) != 0);
  wait_until([&] { return !is_mounted(mount.file); });
  const auto again = gathering(served, "again");
  CHECK(read_at(opened(again.file), 0, 7) == "flushed");
}

TEST_CASE("writeback: a program that is killed leaves what it wrote to the others of the mount, unpublished") {
  if (!can_mount()) return;
  Served served;
  const auto mount = gathering(served);
  Process writer({"python3", "-c",
                  "import os, sys, time\n"
                  "file = os.open(sys.argv[1], os.O_RDWR)\n"
                  "os.pwrite(file, b'half a transaction', 1000)\n"
                  "print('written', flush=True)\n"
                  "time.sleep(600)",
                  mount.file});
  CHECK(writer.next_line() == "written");
  writer.signal(SIGKILL);
  CHECK(writer.wait() == 128 + SIGKILL);
  CHECK(read_at(opened(mount.file), 1000, 18) == "half a transaction");
  CHECK((stored(served, 0, 4 * page_bytes) == random_bytes(4, 1)));
}

TEST_CASE("writeback: refused where others are to see a write at once, and where the kernel is to keep nothing") {
  if (!can_mount()) return;
  Served served;
  const auto refused = [&](const std::string& query, const std::string& option, const std::string& text) {
    const auto result = pagectl({"mount", served.daemon->unix_uri("demo", query), served.dir.file("x"), "-o", option});
    INFO(result.err);
    CHECK(result.status == 2);
    CHECK(result.err.find(text) != std::string::npos);
  };
  for (const std::string query : {"access=write", "publish=on_write", "access=read", "access=read&view=pinned"})
    refused(query, "writeback", "add publish=on_flush or access=fork");
  refused("access=fork", "writeback,direct_io", "keeps the kernel from");
}
