// Files of a store that are removed, renamed or replaced while it is served: the next flush fails, it is said without
// one too, and a stop keeps whatever still has the bytes.
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

class ServedFiles {
public:
  ServedFiles() {
    make_image(dir.path() / "a.img", 2);
    daemon.emplace(std::vector<std::string>{"--store", "a={dir}/a.img"}, &dir);
    put(*daemon, "a", 0, "one");
  }
  /// A write that is taken, and a flush that has to fail with this text.
  void check_flush_fails(const std::string& text) {
    daemon->expect_complaint("sync failed");
    daemon->expect_complaint("store");
    RawClient client = session_on(*daemon, "a");
    client.write(0, bytes_of("two"));
    const Frame frame = client.call(proto::FlushRequest{});
    CHECK(frame.status() == proto::Status::provider_error);
    INFO(frame.text());
    CHECK(contains(frame.text(), text));
    CHECK(client.call(proto::CloseRequest{}).status() == proto::Status::ok);
  }
  int stop() {
    daemon->process().signal(SIGTERM);
    return daemon->process().wait();
  }
  std::string file(const std::string& name) const { return dir.file(name); }

  TempDir dir;
  std::optional<Daemon> daemon;
};

}  // namespace

TEST_CASE("after the image was removed or replaced a flush fails, and the stop keeps the log and is status 1") {
  ServedFiles files;
  const bool replaced = GENERATE(false, true);
  if (replaced) {
    make_image(files.dir.path() / "other.img", 2);
    fs::rename(files.file("other.img"), files.file("a.img"));
  } else {
    fs::remove(files.file("a.img"));
  }
  files.check_flush_fails(replaced ? "names another file now" : "was removed");
  files.daemon->expect_complaint("was removed or replaced");
  CHECK(files.stop() == 1);
  CHECK(contains(files.daemon->log(), "was removed or replaced while it was served"));
  CHECK(contains(files.daemon->log(), "pagectl recover"));
  CHECK(names_with(files.dir.path(), "a.img.log.").size() == 1);
}

TEST_CASE("after the image was renamed a flush fails, and the stop leaves everything in it") {
  ServedFiles files;
  fs::rename(files.file("a.img"), files.file("b.img"));
  files.check_flush_fails("was renamed");
  CHECK(files.stop() == 0);
  CHECK(names_with(files.dir.path(), "a.img").empty());
  CHECK(content_of(files.dir.path() / "b.img").substr(0, 3) == "two");
}

TEST_CASE("after the log's files were removed or replaced a flush fails, and the stop brings all into the image") {
  ServedFiles files;
  const std::string log = files.file("a.img.log.0000000001");
  const std::string how = GENERATE("removed", "renamed", "replaced");
  INFO(how);
  if (how == "removed") fs::remove(log);
  if (how == "renamed") fs::rename(log, log + ".gz");
  if (how == "replaced") {
    fs::copy_file(log, log + ".copy");
    fs::rename(log + ".copy", log);
  }
  files.check_flush_fails("of its log was removed or replaced");
  CHECK(files.stop() == 0);
  CHECK(content_of(files.dir.path() / "a.img").substr(0, 3) == "two");
}

TEST_CASE("files that are removed while nobody writes are said to be gone all the same") {
  ServedFiles files;
  const std::string what = GENERATE("a.img", "a.img.log.0000000001");
  INFO(what);
  files.daemon->expect_complaint("removed");
  fs::remove(files.file(what));
  files.daemon->wait_for_log("removed");
  CHECK(files.stop() == (what == "a.img" ? 1 : 0));
}

TEST_CASE("once a renamed image is back, flushes go on, and that is said") {
  ServedFiles files;
  fs::rename(files.file("a.img"), files.file("b.img"));
  files.check_flush_fails("was renamed");
  fs::rename(files.file("b.img"), files.file("a.img"));
  put(*files.daemon, "a", 0, "new");
  files.daemon->wait_for_log("are where they were again, and flushes go on");
  files.daemon->kill_hard();
  const Daemon again({"--store", "a={dir}/a.img"}, &files.dir);
  CHECK(text_of(again, "a", 0, 3) == "new");
}

TEST_CASE("a flush with nothing new fails as well when what was flushed would not be found") {
  ServedFiles files;
  files.daemon->expect_complaint("sync failed");
  files.daemon->expect_complaint("store");
  RawClient client = session_on(*files.daemon, "a");
  CHECK(client.call(proto::FlushRequest{}).status() == proto::Status::ok);
  fs::rename(files.file("a.img"), files.file("b.img"));
  CHECK(client.call(proto::FlushRequest{}).status() == proto::Status::provider_error);
  fs::rename(files.file("b.img"), files.file("a.img"));
  CHECK(client.call(proto::FlushRequest{}).status() == proto::Status::ok);
}
