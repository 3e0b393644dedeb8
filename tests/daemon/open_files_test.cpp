// A daemon with few descriptors: its stores have theirs, whatever connections come.
#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <filesystem>

#include "tests/daemon/helpers.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::uint64_t image_page = 65536;

struct FewFiles {
  explicit FewFiles(int files) {
    std::ofstream(dir.file("c.json")) << R"({"limits": {"log_bytes": "64MiB", "held_bytes": "64MiB",)"
                                      << R"( "private_memory_bytes": "64KiB"}})";
    process.emplace(std::vector<std::string>{"prlimit", "--nofile=" + std::to_string(files), pageserverd_path(),
                                             "--unix", dir.file("s"), "--config", dir.file("c.json"), "--store",
                                             "a=" + dir.file("a.img")});
    process->wait_for_err(" INFO start ");
  }
  RawClient connected() const { return RawClient::local(dir.file("s")); }

  TempDir dir;
  std::optional<Process> process;
};

}  // namespace

TEST_CASE("a start that has not even the descriptors of its own says which limit that is") {
#if defined(__SANITIZE_ADDRESS__)
  // It reports a fault where there are none.
  return skip("the undefined-behaviour sanitizer takes descriptors for its own look at an exception's type");
#endif
  TempDir dir;
  // What runs the tests may have left some open that would count.
  for (int other = 3; other < 256; ++other) ::fcntl(other, F_SETFD, FD_CLOEXEC);
  const int files = GENERATE(4, 8, 12);
  const RunResult refused = run({"prlimit", "--nofile=" + std::to_string(files), pageserverd_path(), "--unix",
                                 dir.file("s"), "--store", "a=" + dir.file("a.img")});
  INFO(refused.err);
  CHECK(refused.status == 1);
  CHECK(refused.err.find("this process may have " + std::to_string(files) + " open files") != std::string::npos);
  CHECK(refused.err.find("ulimit -n") != std::string::npos);
}

TEST_CASE("idle connections leave the writer the descriptors of its log") {
  raise_open_files_limit();
  const int files = GENERATE(1024, 128);
  FewFiles few{files};
  CHECK(few.process->err_so_far().find("limits.connections can't be reached") != std::string::npos);
  RawClient writer = few.connected();
  writer.hello();
  writer.open("a");
  writer.grow(256);
  std::vector<RawClient> idle;
  std::size_t refused = 0;
  for (int i = 0; i < files + 100; ++i) {
    idle.push_back(few.connected());
    if (i % 8 == 0) continue;  // who says nothing makes way
    // One that asks is greeted, or told why not.
    proto::HelloRequest request;
    request.client_name = "idle";
    request.payload_bytes_max = 1u << 20;
    idle.back().send(request);
    const auto frame = idle.back().receive();
    if (!frame) {
      ++refused;  // past those that are told
    } else if (frame->is_notice()) {
      ++refused;
      INFO(frame->text());
      CHECK(frame->status() == proto::Status::limit_exceeded);
      CHECK(frame->text().find("ulimit -n") != std::string::npos);
    }
  }
  CHECK(refused > 0);
  few.process->wait_for_err("connections refused for want of descriptors");
  // Several times the log: it needs its files, one after the other.
  const auto data = pattern(1u << 20, 3);
  for (std::uint64_t i = 0; i < 256; ++i) writer.write((i % 16) << 20, data);
  writer.flush();
  CHECK(writer.read(0, 1u << 20) == data);
  idle.clear();
  few.process->signal(SIGTERM);
  CHECK(few.process->wait() == 0);
}

TEST_CASE("forks whose private bytes go to files leave the writer the descriptors of its log") {
  FewFiles few{40};
  RawClient writer = few.connected();
  writer.hello();
  writer.open("a");
  writer.grow(256);
  std::vector<RawClient> forks;
  const auto data = pattern(1u << 20, 3);
  const auto write_some = [&] {
    for (std::uint64_t i = 0; i < 64; ++i) writer.write((i % 16) << 20, data);
    writer.flush();
  };
  for (int i = 0; i < 40; ++i) {
    RawClient client = few.connected();
    proto::HelloRequest hello;
    hello.client_name = "fork";
    hello.payload_bytes_max = 1u << 20;
    client.send(hello);
    const auto greeted = client.receive();
    if (!greeted || greeted->is_notice()) break;  // no more connections
    client.open("a", proto::Access::fork);
    const Frame written = client.call(proto::WriteRequest{0, data});
    if (written.status() != proto::Status::ok) {
      INFO(written.text());
      CHECK(written.status() == proto::Status::limit_exceeded);
      CHECK(written.text().find("limits.private_memory_bytes=65536") != std::string::npos);
      CHECK(written.text().find("(ulimit -n)") != std::string::npos);
      // It goes on in memory.
      client.write(0, std::span(data).first(1000));
    }
    forks.push_back(std::move(client));
    write_some();
  }
  CHECK(forks.size() >= 2);
  write_some();
  CHECK(writer.read(0, 1u << 20) == data);
  forks.clear();
  few.process->signal(SIGTERM);
  CHECK(few.process->wait() == 0);
}

TEST_CASE("a file that may not grow is an error of the request that asked, and the daemon lives") {
  TempDir dir;
  Process process{
      {"prlimit", "--fsize=2097152", pageserverd_path(), "--unix", dir.file("s"), "--store", "a=" + dir.file("a.img")}};
  process.wait_for_err(" INFO start ");
  RawClient client = RawClient::local(dir.file("s"));
  client.hello();
  client.open("a");
  const Frame refused = client.call(proto::GrowRequest{33});
  REQUIRE(refused.status() == proto::Status::limit_exceeded);
  INFO(refused.text());
  CHECK(refused.text().find("ulimit -f") != std::string::npos);
  client.grow(32);
  const auto data = pattern(1u << 20, 3);
  for (std::uint64_t i = 0; i < 8; ++i) client.write((i % 2) << 20, data);
  client.flush();
  // What is more than a file of the log may have is refused as well.
  RawClient reader = RawClient::local(dir.file("s"));
  reader.hello();
  reader.open("a", proto::Access::read);
  CHECK(reader.read(1u << 20, 1u << 20) == data);
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
  CHECK(std::filesystem::file_size(dir.file("a.img")) == 2097152);
}

TEST_CASE("an image that is larger than the limit takes changes below it, and refuses others by name") {
  TempDir dir;
  std::ofstream{dir.file("a.img")}.close();
  std::filesystem::resize_file(dir.file("a.img"), 64 * image_page);
  Process process{
      {"prlimit", "--fsize=2097152", pageserverd_path(), "--unix", dir.file("s"), "--store", "a=" + dir.file("a.img")}};
  process.wait_for_err(" INFO start ");
  RawClient client = RawClient::local(dir.file("s"));
  client.hello();
  client.open("a");
  client.write(0, bytes_of("below"));
  const Frame refused = client.call(proto::WriteRequest{40 * image_page, bytes_of("above")});
  REQUIRE(refused.status() == proto::Status::limit_exceeded);
  INFO(refused.text());
  CHECK(refused.text().find("ulimit -f=2097152") != std::string::npos);
  client.flush();
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}
