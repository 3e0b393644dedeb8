// Stores in a served directory, as clients see them.
#include <sys/vfs.h>

#include <atomic>
#include <thread>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

std::vector<std::string> names_of(RawClient& client) {
  std::vector<std::string> names;
  bool more = true;
  while (more) {
    proto::ListRequest request;
    if (!names.empty()) request.after = names.back();
    const Frame frame = client.call(request);
    const auto answer = frame.as<proto::ListAnswer>();
    for (const auto& entry : answer.entries) names.emplace_back(entry.store);
    more = answer.more;
  }
  return names;
}

RawClient greeted(const Daemon& daemon) {
  RawClient client = RawClient::tcp(daemon.port());
  client.hello();
  return client;
}

}  // namespace

TEST_CASE("an image of a served directory is read through a mapping, as one that is served by its path") {
  TempDir dir;
  std::filesystem::create_directory(dir.path() / "stores");
  std::ofstream(dir.path() / "stores" / "in_directory.img").close();
  const Daemon daemon({"--directory", "{dir}/stores", "--store", "by_path={dir}/by_path.img"}, &dir);
  std::vector<bool> mapped;
  for (const std::string name : {"in_directory", "by_path"}) {
    RawClient client = session_on(daemon, name);
    client.grow(1);
    CHECK(client.read(0, 8) == std::vector<std::byte>(8));
    std::ifstream maps("/proc/" + std::to_string(daemon.pid()) + "/maps");
    const std::string text{std::istreambuf_iterator<char>(maps), {}};
    mapped.push_back(text.find("/" + name + ".img") != std::string::npos);
  }
  // Where nothing is mapped, as on a tmpfs, both are read by calls.
  struct statfs kind {};
  REQUIRE(::statfs(dir.path().c_str(), &kind) == 0);
  CHECK(mapped == std::vector<bool>(2, kind.f_type != 0x01021994));
}

TEST_CASE("clients create, use and remove stores in the directory when that is allowed") {
  TempDir dir;
  std::filesystem::create_directory(dir.path() / "stores");
  Daemon daemon({"--directory", "{dir}/stores", "--allow-create", "--allow-remove"}, &dir);
  RawClient admin = greeted(daemon);
  CHECK(admin.call(proto::CreateRequest{"fresh", 3}).status() == proto::Status::ok);
  CHECK(admin.call(proto::CreateRequest{"fresh", 3}).status() == proto::Status::already_exists);
  CHECK(std::filesystem::file_size(dir.path() / "stores" / "fresh.img") == 3 * 65536);
  const auto data = pattern(100, 1);
  {
    RawClient writer = session_on(daemon, "fresh");
    writer.write(3 * 65536 - 100, data);
    const Frame busy = admin.call(proto::RemoveRequest{"fresh"});
    CHECK(busy.status() == proto::Status::busy);
    CHECK(busy.text().find("1 sessions are on it") != std::string::npos);
    CHECK(writer.call(proto::CloseRequest{}).status() == proto::Status::ok);
    // Removed at once: the answer to close means that the session is gone.
    CHECK(admin.call(proto::RemoveRequest{"fresh"}).status() == proto::Status::ok);
  }
  CHECK(std::filesystem::is_empty(dir.path() / "stores"));
  CHECK(admin.call(proto::RemoveRequest{"fresh"}).status() == proto::Status::not_found);
  CHECK(admin.try_open("fresh").status() == proto::Status::not_found);
  daemon.wait_for_log(" INFO store created store=fresh pages=3");
  daemon.wait_for_log(" INFO store removed store=fresh");
}

TEST_CASE("creating and removing need the configuration's leave") {
  TempDir dir;
  std::filesystem::create_directory(dir.path() / "stores");
  std::ofstream(dir.path() / "stores" / "a.img").flush();
  Daemon daemon({"--directory", "{dir}/stores"}, &dir);
  RawClient client = greeted(daemon);
  const Frame create = client.call(proto::CreateRequest{"x", 0});
  CHECK(create.status() == proto::Status::permission_denied);
  CHECK(create.text().find("\"create\": true") != std::string::npos);
  CHECK(client.call(proto::RemoveRequest{"a"}).status() == proto::Status::permission_denied);
  CHECK(names_of(client) == std::vector<std::string>{"a"});
}

TEST_CASE("a list of many stores comes in parts, in order") {
  TempDir dir;
  std::filesystem::create_directory(dir.path() / "stores");
  std::vector<std::string> names;
  for (int i = 100; i < 200; ++i) names.push_back("s" + std::to_string(i));
  for (const auto& name : names) std::ofstream(dir.path() / "stores" / (name + ".img")).flush();
  Daemon daemon({"--directory", "{dir}/stores"}, &dir);
  RawClient client = greeted(daemon);
  CHECK(names_of(client) == names);
  std::ofstream(dir.path() / "stores" / "later.img").flush();
  CHECK(names_of(client).front() == "later");
}

TEST_CASE("no name and no link leads out of the directory") {
  TempDir dir;
  std::filesystem::create_directories(dir.path() / "stores" / "sub.img");
  const std::filesystem::path secret = dir.path() / "secret.img";
  std::ofstream(secret).flush();
  std::filesystem::resize_file(secret, 65536);
  std::filesystem::create_symlink(secret, dir.path() / "stores" / "link.img");
  std::filesystem::create_symlink("../secret.img", dir.path() / "stores" / "relative.img");
  std::filesystem::create_symlink("/nowhere", dir.path() / "stores" / "dangling.img");
  Daemon daemon({"--directory", "{dir}/stores", "--allow-create", "--allow-remove"}, &dir);
  RawClient client = greeted(daemon);
  CHECK(names_of(client).empty());
  for (const char* name : {"link", "relative", "dangling", "sub", "a..b"}) {
    INFO(name);
    CHECK(client.try_open(name).status() == proto::Status::not_found);
    CHECK(client.call(proto::RemoveRequest{name}).status() == proto::Status::not_found);
  }
  for (const char* name : {"link", "relative", "dangling", "sub"}) {
    CHECK(client.call(proto::CreateRequest{name, 1}).status() == proto::Status::already_exists);
  }
  CHECK(std::filesystem::file_size(secret) == 65536);
  // Names that the pattern forbids never reach the file system; the codec does not even send them, so by hand.
  for (const std::string name : {"../secret", "..", ".", "sub.img/../../secret", "/etc/passwd", "a b", ""}) {
    INFO(name);
    proto::Bytes frame;
    proto::encode(frame, 77, proto::RemoveRequest{"x"});
    frame.resize(frame.size() - 1);
    for (const char c : name) frame.push_back(static_cast<std::byte>(c));
    frame[16] = static_cast<std::byte>(8 + name.size());
    frame[proto::frame_header_bytes] = static_cast<std::byte>(name.size());
    client.send_bytes(frame);
    CHECK(client.must_receive().status() == proto::Status::invalid_argument);
  }
}

TEST_CASE("directory stores open on first use and close with their last session, again and again") {
  TempDir dir;
  std::filesystem::create_directory(dir.path() / "stores");
  std::ofstream(dir.path() / "stores" / "a.img").flush();
  Daemon daemon({"--directory", "{dir}/stores", "--log-level", "debug"}, &dir);
  for (std::size_t round = 1; round <= 20; ++round) {
    RawClient first = session_on(daemon, "a");
    CHECK(first.grow(1) == round - 1);
    RawClient second = session_on(daemon, "a", proto::Access::read);
    first.call(proto::CloseRequest{});
    CHECK(second.call(proto::SizeRequest{}).as<proto::SizeAnswer>().pages == round);
    second.call(proto::CloseRequest{});
  }
  CHECK(daemon.stop() == 0);
  daemon.wait_for_log("store opened store=a");
  CHECK(count_of(daemon.log(), "store opened") == count_of(daemon.log(), "store closed"));
}

TEST_CASE("sessions that come while their store is being closed find it open") {
  TempDir dir;
  std::filesystem::create_directory(dir.path() / "stores");
  std::ofstream(dir.path() / "stores" / "a.img").flush();
  Daemon daemon({"--directory", "{dir}/stores"}, &dir);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        try {
          RawClient client = session_on(daemon, "a", proto::Access::read);
          if (client.call(proto::SizeRequest{}).status() != proto::Status::ok) ++failures;
          if (i % 2 == 0) client.call(proto::CloseRequest{});
        } catch (const std::exception&) {
          ++failures;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
}

TEST_CASE("an image in the directory that can't be opened is an answer, and the others are served") {
  TempDir dir;
  std::filesystem::create_directory(dir.path() / "stores");
  std::ofstream(dir.path() / "stores" / "bad.img") << "no image";
  std::ofstream(dir.path() / "stores" / "good.img").flush();
  Daemon daemon({"--directory", "{dir}/stores"}, &dir);
  RawClient client = greeted(daemon);
  const Frame refused = client.try_open("bad");
  CHECK(refused.status() == proto::Status::provider_error);
  CHECK(refused.text().find("8") != std::string::npos);
  CHECK(client.try_open("good").status() == proto::Status::ok);
}
