// An image that was put back from a copy, or changed, beside a log that was written for what was there before: replayed
// rightly, or refused with what can be done. Never mixed.
#include <signal.h>

#include <filesystem>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/images.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

namespace fs = std::filesystem;

/// Pages 0 and 1 are "one" in backup.img, and "two" in a.img and its log: page 1 in the image, page 0 in the log alone.
class Restored {
public:
  Restored() {
    make_image(image(), 2);
    Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
    put(daemon, "a", 0, "one");
    put(daemon, "a", page, "one");
    REQUIRE(daemon.stop() == 0);
    REQUIRE(shell("cp -p '" + file("a.img") + "' '" + file("backup.img") + "'").status == 0);
    daemon.start_again();
    put(daemon, "a", page, "two");
    REQUIRE(daemon.stop() == 0);
    daemon.start_again();
    put(daemon, "a", 0, "two");
    daemon.kill_hard();
  }
  fs::path image() const { return dir.path() / "a.img"; }
  std::string file(const std::string& name) const { return dir.file(name); }
  /// `$a` and `$b` are the image and its backup.
  RunResult change(const std::string& script) const {
    return shell("a='" + file("a.img") + "' b='" + file("backup.img") + "'; " + script);
  }
  RunResult start() const { return started({"--unix", file("s"), "--store", "a=" + file("a.img")}); }
  void check_served(const std::string& first, const std::string& second, const std::string& said = {}) {
    const Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
    CHECK(text_of(daemon, "a", 0, 3) == first);
    CHECK(text_of(daemon, "a", page, 3) == second);
    daemon.wait_for_log(said);
  }
  /// Refused by everybody who would open it, and nothing is changed.
  void check_refused() const {
    const std::string before = content_of(image());
    const RunResult refused = start();
    INFO(refused.err);
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "was written for an image with"));
    CHECK(contains(refused.err, "pagectl recover --drop-log " + file("a.img")));
    CHECK(contains(refused.err, "pagectl recover --adopt " + file("a.img")));
    CHECK(contains(refused.err, "loses the 1 publishes"));
    CHECK(tool({"recover", file("a.img")}).status == 1);
    CHECK(tool({"check", file("a.img")}).status == 1);
    CHECK(tool({"read", "store:" + file("a.img"), "0", "3"}).status == 1);
    CHECK(content_of(image()) == before);
    CHECK(names_with(dir.path(), "a.img.log.").size() == 1);
  }

  TempDir dir;
};

}  // namespace

TEST_CASE("a backup that was put back beside a log is refused, and the log is dropped or replayed by hand only") {
  const Restored files;
  const std::string how =
      GENERATE(as<std::string>{}, "cp $b $a", "cp -p $b $a", "rm $a; cp $b $a", "cp -p $b $a.new; mv $a.new $a",
               "cat $b >$a", "dd if=$b of=$a conv=notrunc status=none", "cp $b $a.new; mv $a $a.old; mv $a.new $a");
  INFO(how);
  REQUIRE(files.change(how).status == 0);
  files.check_refused();
  // No other way of putting it there looks past the log.
  CHECK(tool({"copy", "--force", files.file("backup.img"), files.file("a.img")}).status == 1);
  fs::remove(files.image());
  CHECK(tool({"copy", files.file("backup.img"), files.file("a.img")}).status == 1);
  CHECK(tool({"recover", files.file("a.img")}).status == 1);
  CHECK(files.start().status == 1);
  CHECK_FALSE(fs::exists(files.image()));
}

TEST_CASE("after recover --drop-log the image is used as it is, and the log is kept under a name that nobody takes") {
  Restored files;
  const std::string log = content_of(files.image().string() + ".log.0000000001");
  REQUIRE(shell("cp '" + files.file("backup.img") + "' '" + files.file("a.img") + "'").status == 0);
  CHECK(tool({"recover", "--drop-log", "--adopt", files.file("a.img")}).status == 2);
  const RunResult dropped = tool({"recover", "--drop-log", files.file("a.img")});
  INFO(dropped.err << dropped.out);
  CHECK(dropped.status == 0);
  CHECK(names_with(files.dir.path(), "a.img.log.").empty());
  const auto kept = names_with(files.dir.path(), "a.img.kept-");
  REQUIRE(kept.size() == 1);
  CHECK(content_of(files.dir.path() / kept.front()) == log);
  files.check_served("one", "one");
  CHECK(names_with(files.dir.path(), "a.img.kept-") == kept);
  CHECK(tool({"check", files.file("a.img")}).status == 0);
}

TEST_CASE("the log of an image with the longest name that is served can be kept aside as well") {
  TempDir dir;
  const std::string name = std::string(232, 'n') + ".img";
  make_image(dir.path() / name, 2);
  Daemon daemon({"--store", "a={dir}/" + name}, &dir);
  put(daemon, "a", 0, "one");
  daemon.kill_hard();
  const RunResult dropped = tool({"recover", "--drop-log", dir.file(name)});
  INFO(dropped.err << dropped.out);
  CHECK(dropped.status == 0);
  CHECK(names_with(dir.path(), name + ".kept-").size() == 1);
  CHECK(names_with(dir.path(), name + ".log.").empty());
}

TEST_CASE("an image of which only the time was changed is refused, and replayed by recover --adopt") {
  Restored files;
  REQUIRE(shell("touch '" + files.file("a.img") + "'").status == 0);
  files.check_refused();
  const RunResult adopted = tool({"recover", "--adopt", files.file("a.img")});
  INFO(adopted.err << adopted.out);
  CHECK(adopted.status == 0);
  files.check_served("two", "two");
}

TEST_CASE("the same bytes with the same time, another mode or a name that came and went change nothing") {
  Restored files;
  const std::string how =
      GENERATE(as<std::string>{}, "cp -p $a $a.same; cat $a.same >$a; touch -r $a.same $a",
               "chmod 600 $a; chmod 640 $a", "ln $a $a.other; rm $a.other", "mv $a $a.away; mv $a.away $a");
  INFO(how);
  REQUIRE(files.change(how).status == 0);
  files.check_served("two", "two", "records=1");
}

TEST_CASE("what a killed daemon had not flushed is replayed, also while it was growing into new pages") {
  TempDir dir;
  make_image(dir.path() / "a.img", 64);
  Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  for (std::uint64_t round = 0; round < 8; ++round) {
    {
      RawClient client = session_on(daemon, "a");
      for (std::uint64_t i = 0; i < 8; ++i) client.write((round * 8 + i) * page, bytes_of("x" + std::to_string(i)));
      if (round % 3 == 1) REQUIRE(client.call(proto::FlushRequest{}).status() == proto::Status::ok);
    }
    daemon.kill_hard();
    daemon.start_again();
    for (std::uint64_t i = 0; i < 8; ++i)
      REQUIRE(text_of(daemon, "a", (round * 8 + i) * page, 2) == "x" + std::to_string(i));
  }
}

TEST_CASE("a log that is none any more is kept aside, with a warning that says so") {
  TempDir dir;
  make_image(dir.path() / "a.img", 2);
  Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  put(daemon, "a", 0, "one");
  daemon.kill_hard();
  const std::string log = dir.file("a.img.log.0000000001");
  const std::string how = GENERATE("garbage", "emptied");
  INFO(how);
  REQUIRE(shell(how == "garbage"
                    ? "head -c 5000 /dev/urandom >'" + log + "'"
                    : "touch -d '+5 seconds' '" + log + "'; : >'" + log + "'; touch -d '+9 seconds' '" + log + "'")
              .status == 0);
  const std::string bytes = content_of(log);
  daemon.expect_complaint("of the log");
  daemon.start_again();
  if (how == "garbage") {
    daemon.wait_for_log("kept aside");
    const auto kept = names_with(dir.path(), "a.img.kept-");
    REQUIRE(kept.size() == 1);
    CHECK(content_of(dir.path() / kept.front()) == bytes);
    daemon.wait_for_log(kept.front());
  } else {
    daemon.wait_for_log("of the log is empty");
  }
  daemon.wait_for_log("dropped_files=1");
  CHECK(text_of(daemon, "a", 0, 3) == std::string(3, '\0'));
}
