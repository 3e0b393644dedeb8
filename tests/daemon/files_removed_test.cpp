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

TEST_CASE("after the image was emptied or cut a flush fails, and the stop keeps the log and is status 1") {
  ServedFiles files;
  const std::uint64_t left = GENERATE(0u, 100u, 65536u);
  fs::resize_file(files.file("a.img"), left);
  files.check_flush_fails("has size=" + std::to_string(left) + " and should have size=131072");
  CHECK(files.stop() == 1);
  CHECK(contains(files.daemon->log(), "pagectl recover"));
  CHECK(fs::file_size(files.file("a.img")) == left);
  CHECK(names_with(files.dir.path(), "a.img.log.").size() == 1);
  // What was flushed is in the log, and what the rest was nobody knows: so that a person has to say it.
  CHECK(started({"--store", "a=" + files.file("a.img"), "--listen", "127.0.0.1:0"}).status == 1);
}

TEST_CASE("a directory served through a symbolic link that is changed: flushes fail, and no store is made") {
  TempDir dir;
  for (const char* folder : {"one", "two"}) {
    fs::create_directory(dir.path() / folder);
    make_image(dir.path() / folder / "a.img", 2);
  }
  const auto link_to = [&](const std::string& folder) {
    fs::create_symlink(folder, dir.path() / "new");
    fs::rename(dir.path() / "new", dir.path() / "now");
  };
  link_to("one");
  Daemon daemon({"--directory", "{dir}/now", "--allow-create"}, &dir);
  daemon.expect_complaint("was replaced by another");
  daemon.expect_complaint("sync failed");
  daemon.expect_complaint("are where they were again");
  put(daemon, "a", 0, "one");
  link_to("two");
  {
    RawClient client = session_on(daemon, "a");
    const Frame frame = client.call(proto::FlushRequest{});
    CHECK(frame.status() == proto::Status::provider_error);
    CHECK(contains(frame.text(), "was replaced by another one"));
    CHECK(tool({"create", daemon.tcp_uri("b")}).status == 1);
    link_to("one");
    client.flush();
    CHECK(tool({"create", daemon.tcp_uri("b")}).status == 0);
  }
  CHECK(daemon.stop() == 0);
  CHECK(fs::exists(dir.path() / "one" / "b.img"));
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

TEST_CASE("after the link to an image was changed a flush fails, until it leads there again") {
  TempDir dir;
  for (const char* folder : {"one", "two"}) {
    fs::create_directory(dir.path() / folder);
    make_image(dir.path() / folder / "a.img", 2);
  }
  const bool of_folder = GENERATE(false, true);
  const auto link_to = [&](const std::string& folder) {
    fs::create_symlink(of_folder ? folder : folder + "/a.img", dir.path() / "new");
    fs::rename(dir.path() / "new", dir.path() / "now");
  };
  link_to("one");
  Daemon daemon({"--store", of_folder ? "a={dir}/now/a.img" : "a={dir}/now"}, &dir);
  daemon.expect_complaint("leads to another file now");
  daemon.expect_complaint("sync failed");
  put(daemon, "a", 0, "one");
  link_to("two");
  daemon.wait_for_log("leads to another file now");  // without a flush, too
  {
    RawClient client = session_on(daemon, "a");
    const Frame frame = client.call(proto::FlushRequest{});
    CHECK(frame.status() == proto::Status::provider_error);
    CHECK(contains(frame.text(), "leads to another file now, by a symbolic link"));
    CHECK(client.call(proto::WriteRequest{0, bytes_of("two")}).status() == proto::Status::provider_error);
    link_to("one");
    daemon.expect_complaint("are where they were again");
    client.write(0, bytes_of("new"));
    client.flush();
    link_to("two");
  }
  CHECK(daemon.stop() == 0);
  CHECK(content_of(dir.path() / "one" / "a.img").substr(0, 3) == "new");
  CHECK(names_with(dir.path() / "one", "a.img.").empty());
  CHECK(content_of(dir.path() / "two" / "a.img").substr(0, 3) == std::string(3, '\0'));
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

TEST_CASE("after a file of the log was emptied or cut nothing is called durable, copied or brought into the image") {
  ServedFiles files;
  const std::string log = files.file("a.img.log.0000000001");
  const std::string how = GENERATE("emptied", "emptied, and written to", "cut", "cut, and written to");
  INFO(how);
  files.daemon->expect_complaint("sync failed");
  files.daemon->expect_complaint("store");
  {
    RawClient client = session_on(*files.daemon, "a");
    fs::resize_file(log, how.starts_with("cut") ? 16400 : 0);
    if (how.ends_with("written to")) client.write(page, bytes_of("two"));
    const Frame frame = client.call(proto::FlushRequest{});
    CHECK(frame.status() == proto::Status::provider_error);
    INFO(frame.text());
    CHECK(contains(frame.text(), "somebody emptied or cut it"));
    CHECK(client.call(proto::WriteRequest{8, bytes_of("six")}).status() == proto::Status::provider_error);
  }
  CHECK(files.stop() == 1);
  CHECK(contains(files.daemon->log(), "what the image lacks is lost"));
  CHECK(fs::exists(log));
  // What was there before is there still: no zeros were taken for what the log had.
  CHECK(content_of(files.dir.path() / "a.img").size() == 2 * page);
  CHECK(tool({"recover", "--drop-log", files.file("a.img")}).status == 0);
  const Daemon again({"--store", "a={dir}/a.img"}, &files.dir);
  CHECK(text_of(again, "a", 0, 3) == std::string(3, '\0'));
}

TEST_CASE("a log that is emptied while nobody writes is said to be so") {
  ServedFiles files;
  files.daemon->expect_complaint("emptied or cut");
  fs::resize_file(files.file("a.img.log.0000000001"), 0);
  files.daemon->wait_for_log("emptied or cut");
  CHECK(files.stop() == 1);
}

TEST_CASE("a checkpoint takes nothing from a log that was emptied") {
  ServedFiles files;
  files.daemon->expect_complaint("sync failed");
  files.daemon->expect_complaint("store");
  fs::resize_file(files.file("a.img.log.0000000001"), 0);
  {
    // Behind the emptied part are bytes of now. The image has nothing, and must not get zeros where it had something.
    RawClient client = session_on(*files.daemon, "a");
    client.write(page, bytes_of("two"));
  }
  CHECK(files.stop() == 1);
  CHECK(contains(files.daemon->log(), "emptied or cut"));
  CHECK(content_of(files.dir.path() / "a.img").substr(page, 3) == std::string(3, '\0'));
}

TEST_CASE("what a cut log held is an error for its readers, and never zeros, and the rest is read as before") {
  const std::string how = GENERATE("emptied", "cut in the middle");
  INFO(how);
  TempDir dir;
  make_image(dir.path() / "a.img", 3);
  REQUIRE(shell("printf image | dd of='" + dir.file("a.img") + "' bs=65536 seek=2 conv=notrunc status=none").status ==
          0);
  Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  daemon.expect_complaint("store");
  daemon.expect_complaint("sync failed");
  const std::string many(20'000, 'm');
  put(daemon, "a", 0, many);
  put(daemon, "a", page, many);
  RawClient pin = RawClient::tcp(daemon.port());
  pin.hello("reader");
  proto::OpenRequest request;
  request.store = "a";
  request.access = proto::Access::read;
  request.view = proto::View::pinned;
  REQUIRE(pin.call(request).status() == proto::Status::ok);
  fs::resize_file(dir.file("a.img.log.0000000001"), how == "emptied" ? 0 : 30'000);
  const auto read = [&](RawClient& client, std::uint64_t offset, std::uint32_t length) {
    return client.call(proto::ReadRequest{offset, length});
  };
  RawClient live = session_on(daemon, "a", proto::Access::read);
  // Past the end of the file now: nobody gets zeros, whether it was noticed or not.
  CHECK(read(live, page, 20'000).status() != proto::Status::ok);
  RawClient writer = session_on(daemon, "a");
  writer.write(8, bytes_of("eight"));  // small, so that the log's file is not made larger: nobody looks
  CHECK(writer.call(proto::FlushRequest{}).status() == proto::Status::provider_error);
  for (RawClient* client : {&live, &pin}) {
    const Frame frame = read(*client, page, 20'000);
    CHECK(frame.status() == proto::Status::damaged);
    INFO(frame.text());
    CHECK(contains(frame.text(), "was emptied or cut by somebody"));
    CHECK(text_at(std::move(*client), 2 * page, 5) == "image");
  }
  CHECK(writer.call(proto::WriteRequest{8, bytes_of("more")}).status() == proto::Status::provider_error);
  writer.close();
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 1);
  // Neither zeros nor anything else were brought into the image.
  CHECK(content_of(dir.path() / "a.img").substr(2 * page, 5) == "image");
  CHECK(content_of(dir.path() / "a.img").find(many.substr(0, 9)) == std::string::npos);
}

TEST_CASE("a record that would make a cut log as large as it was is refused") {
  ServedFiles files;
  files.daemon->expect_complaint("store");
  files.daemon->expect_complaint("sync failed");
  {
    RawClient client = session_on(*files.daemon, "a");
    fs::resize_file(files.file("a.img.log.0000000001"), 16400);
    const auto record = bytes_of(std::string(2 * page, 'm'));
    client.write(0, record);  // has room in the zeros that were written ahead
    const Frame frame = client.call(proto::WriteRequest{0, record});
    CHECK(frame.status() == proto::Status::damaged);
    INFO(frame.text());
    CHECK(contains(frame.text(), "pagectl recover --drop-log"));
    CHECK(client.call(proto::FlushRequest{}).status() == proto::Status::provider_error);
  }
  CHECK(files.stop() == 1);
}
