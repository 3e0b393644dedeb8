// What fio writes to a mounted image it finds again, in each mode.
#include "tests/support/catch.hpp"

#include <utility>

#include "tests/pagectl/mounted.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver::test;

namespace {

constexpr std::uint64_t image_pages = 64;

/// Each block of `file` once, in any order, each with a checksum of its own, and all of them read again.
RunResult write_and_verify(const std::string& file, const std::string& block, const std::string& engine) {
  return run({"fio", "--name=verify", "--filename=" + file, "--size=" + std::to_string(image_pages * page_bytes),
              "--allow_file_create=0", "--rw=randwrite", "--bs=" + block, "--ioengine=" + engine, "--fsync=50",
              "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0", "--randseed=22",
              "--output-format=terse"});
}

/// What the writes left in a file that is only read: the checksums of its blocks.
RunResult verify(const std::string& file, const std::string& block) {
  return run({"fio", "--name=verify", "--filename=" + file, "--size=" + std::to_string(image_pages * page_bytes),
              "--readonly", "--rw=read", "--bs=" + block, "--ioengine=psync", "--verify=crc32c", "--verify_fatal=1",
              "--verify_state_save=0", "--output-format=terse"});
}

}  // namespace

TEST_CASE(
    "fio finds on a mounted image what it wrote, in each mode, by calls and by maps, and so do readers after it") {
  if (!can_mount()) return;
  if (run({"bash", "-c", "command -v fio"}).status != 0) return skip("there is no fio here");
  Served served(image_pages);
  const std::vector<std::string> all{"rw", "writeback", "direct_io"};
  for (const auto& [query, options] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"access=fork", all}, {"publish=on_flush", all}, {"publish=on_write", {"rw", "direct_io"}}}) {
    for (const auto& option : options) {
      for (const auto& [block, engine] :
           {std::pair{"4k", "psync"}, std::pair{"64k", "psync"}, std::pair{"4k", "mmap"}}) {
        if (engine == std::string("mmap") && option == "direct_io") continue;  // refused there
        INFO(query << " -o " << option << " " << block << " " << engine);
        const Mount mount(served.daemon->unix_uri("demo", query + "&wait_ms=10000"), served.dir.file("mounted"),
                          {"-o", option});
        const auto result = write_and_verify(mount.file, block, engine);
        INFO(result.out << result.err);
        CHECK(result.status == 0);
        CHECK(mount.unmount() == 0);
        CHECK(mount.process->err_so_far() == "");
        if (query == "access=fork") continue;
        for (const std::string view : {"access=read", "access=read&view=pinned"}) {
          const Mount reader(served.daemon->unix_uri("demo", view), served.dir.file("reader"));
          const auto read = verify(reader.file, block);
          INFO(view << ": " << read.out << read.err);
          CHECK(read.status == 0);
          CHECK(reader.unmount() == 0);
        }
      }
    }
  }
  // The checks are some: of an image that fio has not written it says so.
  REQUIRE(pagectl({"write", served.daemon->unix_uri("demo"), "70000"}, "not by fio").status == 0);
  const Mount reader(served.daemon->unix_uri("demo", "access=read"), served.dir.file("reader"));
  CHECK(verify(reader.file, "64k").status != 0);
}
