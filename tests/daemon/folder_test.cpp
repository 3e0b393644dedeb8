// What people do to the folders of images while the daemon serves them, and what they may have planted there.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/files.hpp"
#include "tests/support/neighbours.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/small_disk.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

namespace fs = std::filesystem;

/// A log of small files: a few writes need a new one.
std::vector<std::string> with_small_log(const TempDir& dir, std::vector<std::string> flags) {
  std::ofstream(dir.path() / "c.json") << R"({"limits": {"log_bytes": 8388608}})";
  flags.insert(flags.end(), {"--config", "{dir}/c.json"});
  return flags;
}

/// "d" in `dir`, with an image that has nothing in it.
fs::path folder_with_image(const TempDir& dir) {
  fs::path folder = dir.path() / "d";
  fs::create_directory(folder);
  std::ofstream(folder / "a.img").close();
  return folder;
}

/// A daemon serves that image as one "store", or with the whole "directory".
std::vector<std::string> flags_of(const std::string& how) {
  if (how == "store") return {"--store", "a={dir}/d/a.img"};
  return {"--directory", "{dir}/d"};
}

constexpr std::size_t piece = 1 << 19;

void write_pieces(RawClient& client, unsigned first, unsigned count) {
  for (unsigned i = first; i < first + count; ++i) client.write(i * piece, pattern(piece, i));
}

void flush_pieces(RawClient& client) { REQUIRE(client.call(proto::FlushRequest{}).status() == proto::Status::ok); }

/// The next start would look for the image in the other folder.
void check_flush_fails(RawClient& client) {
  const Frame answer = client.call(proto::FlushRequest{});
  CHECK(answer.status() == proto::Status::provider_error);
  INFO(answer.text());
  CHECK(answer.text().find("was replaced by another one") != std::string::npos);
}

}  // namespace

TEST_CASE("a folder that is moved while its store is served keeps what is flushed after that") {
  TempDir dir;
  const std::string how = GENERATE("store", "directory");
  const bool another_in_its_place = GENERATE(false, true);
  INFO(how << ", another folder in its place: " << another_in_its_place);
  const fs::path d = folder_with_image(dir);
  Daemon daemon(with_small_log(dir, flags_of(how)), &dir);
  daemon.expect_complaint("was moved or renamed");
  daemon.expect_complaint("was replaced by another one");
  {
    RawClient client = session_on(daemon, "a");
    client.grow(256);
    write_pieces(client, 0, 1);
    flush_pieces(client);
    fs::rename(d, dir.path() / "d.old");
    if (another_in_its_place) {
      fs::create_directory(d);
      check_flush_fails(client);
      fs::remove_all(d);
      flush_pieces(client);
    }
    write_pieces(client, 1, 9);
    flush_pieces(client);
    if (fs::exists(d)) {
      CHECK(names_in(d).empty());
      fs::remove_all(d);
    }
    daemon.kill_hard();
  }
  fs::rename(dir.path() / "d.old", d);
  daemon.start_again();
  RawClient reader = session_on(daemon, "a", proto::Access::read);
  for (unsigned i = 0; i < 10; ++i) {
    INFO("piece " << i);
    REQUIRE(reader.read(i * piece, piece) == pattern(piece, i));
  }
}

TEST_CASE("a folder that is moved while its store is served is left clean when the daemon stops") {
  TempDir dir;
  const std::string how = GENERATE("store", "directory");
  INFO(how);
  const fs::path d = folder_with_image(dir);
  Daemon daemon(with_small_log(dir, flags_of(how)), &dir);
  daemon.expect_complaint("was moved or renamed");
  daemon.expect_complaint("was replaced by another one");
  {
    RawClient client = session_on(daemon, "a");
    client.grow(256);
    write_pieces(client, 0, 9);
    fs::rename(d, dir.path() / "d.old");
    fs::create_directory(d);
    check_flush_fails(client);
    REQUIRE(client.call(proto::CloseRequest{}).status() == proto::Status::ok);
  }
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
  CHECK(names_in(d).empty());
  CHECK(names_in(dir.path() / "d.old") == std::vector<std::string>{"a.img"});
  std::ifstream image(dir.path() / "d.old" / "a.img", std::ios::binary);
  std::vector<char> bytes(piece);
  for (unsigned i = 0; i < 9; ++i) {
    image.read(bytes.data(), piece);
    const auto expected = pattern(piece, i);
    INFO("piece " << i);
    CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin(),
                     [](char a, std::byte b) { return static_cast<std::byte>(a) == b; }));
  }
}

TEST_CASE(
    "a folder that is mounted over, or replaced without a flush, is said to be, and flushes fail until it is back") {
  const std::string how = GENERATE("store", "directory");
  const bool by_mount = GENERATE(false, true);
  INFO(how << (by_mount ? ", mounted over" : ", replaced"));
  const SmallDisk disk{8u << 20};
  if (!disk.works()) return;
  TempDir dir;
  const fs::path d = folder_with_image(dir);
  Daemon daemon(how == "store" ? std::vector<std::string>{"--store", "a={dir}/d/a.img"}
                               : std::vector<std::string>{"--directory", "{dir}/d", "--allow-create"},
                &dir);
  daemon.expect_complaint("was moved or re");
  daemon.expect_complaint("was replaced by another");
  daemon.expect_complaint("sync failed");
  daemon.expect_complaint("are where they were again");
  RawClient client = session_on(daemon, "a");
  client.grow(16);
  write_pieces(client, 0, 1);
  flush_pieces(client);
  if (by_mount) {
    REQUIRE(::mount("none", d.c_str(), "tmpfs", 0, "size=1m") == 0);
  } else {
    fs::rename(d, dir.path() / "d.old");
    fs::create_directory(d);
  }
  daemon.wait_for_log("where the next start would look for the image");
  check_flush_fails(client);
  if (how == "directory") {
    RawClient maker = RawClient::tcp(daemon.port());
    maker.hello();
    const Frame refused = maker.call(proto::CreateRequest{"b", 1});
    CHECK(refused.status() == proto::Status::provider_error);
    CHECK(refused.text().find("was replaced by another folder since the start") != std::string::npos);
  }
  if (by_mount) {
    REQUIRE(::umount2(d.c_str(), MNT_DETACH) == 0);
  } else {
    fs::remove(d);
    fs::rename(dir.path() / "d.old", d);
  }
  write_pieces(client, 0, 1);
  flush_pieces(client);
  daemon.kill_hard();
  daemon.start_again();
  CHECK(session_on(daemon, "a", proto::Access::read).read(0, piece) == pattern(piece, 0));
}

TEST_CASE("a directory that was moved is listed, and stores in it are made and removed, where it is now") {
  TempDir dir;
  const fs::path d = folder_with_image(dir);
  Daemon daemon({"--directory", "{dir}/d", "--allow-create", "--allow-remove"}, &dir);
  daemon.expect_complaint("was replaced by another folder since the start");
  daemon.expect_complaint("was moved or removed since the start");
  fs::rename(d, dir.path() / "d.old");
  fs::create_directory(d);
  std::ofstream(d / "other.img").close();
  RawClient client = RawClient::tcp(daemon.port());
  client.hello();
  REQUIRE(client.call(proto::CreateRequest{"b", 1}).status() == proto::Status::provider_error);
  fs::rename(d, dir.path() / "other");
  REQUIRE(client.call(proto::CreateRequest{"b", 1}).status() == proto::Status::ok);
  fs::rename(dir.path() / "other", d);
  const Frame frame = client.call(proto::ListRequest{});
  std::vector<std::string> names;
  for (const auto& entry : frame.as<proto::ListAnswer>().entries) names.emplace_back(entry.store);
  CHECK(names == std::vector<std::string>{"a", "b"});
  proto::OpenRequest open;
  open.store = "other";
  const Frame other = client.call(open);
  CHECK(other.status() == proto::Status::not_found);
  CHECK(other.text().find("was replaced by another folder since the start") != std::string::npos);
  daemon.wait_for_log("was replaced by another folder since the start");
  REQUIRE(client.call(proto::RemoveRequest{"a"}).status() == proto::Status::ok);
  CHECK(names_in(dir.path() / "d.old") == std::vector<std::string>{"b.img"});
  CHECK(names_in(d) == std::vector<std::string>{"other.img"});
}

TEST_CASE("links planted at the names of a store's files are not followed") {
  TempDir dir;
  const fs::path d = folder_with_image(dir);
  const fs::path target = dir.path() / "target";
  std::ofstream(target) << "precious";
  const bool hard = GENERATE(false, true);
  INFO((hard ? "hard" : "symbolic") << " links");
  Daemon daemon(with_small_log(dir, {"--store", "a={dir}/d/a.img"}), &dir);
  RawClient client = session_on(daemon, "a");
  // The files that the store is going to make: of its log, of a probe for the size, of a transaction that is large.
  std::vector<std::string> names;
  for (int i = 1; i <= 9; ++i) names.push_back("a.img.log.000000000" + std::to_string(i));
  for (int i = 0; i <= 9; ++i) names.push_back("a.img.spill.000000000" + std::to_string(i));
  const auto is_link = [&](const std::string& name) {
    return fs::is_symlink(d / name) || (fs::exists(d / name) && fs::equivalent(d / name, target));
  };
  for (const auto& name : names) {
    if (hard) {
      fs::create_hard_link(target, d / name);
    } else {
      fs::create_symlink(target, d / name);
    }
  }
  if (!hard) {
    // No regular file, so nothing of ours: what needs the name is refused, and goes on once it is free.
    const Frame refused = client.call(proto::GrowRequest{256});
    CHECK(refused.status() == proto::Status::provider_error);
    CHECK(refused.text().find("a.img.log.0000000001\": a symbolic link has this name") != std::string::npos);
    for (const auto& name : names) CHECK(is_link(name));
    for (const auto& name : names) fs::remove(d / name);
  }
  client.grow(256);
  write_pieces(client, 0, 9);
  REQUIRE(client.call(proto::GrowRequest{64ull << 10}).status() == proto::Status::ok);
  for (unsigned i = 0; i < 9; ++i) REQUIRE(client.read(i * piece, piece) == pattern(piece, i));
  std::ifstream in(target);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "precious");
  daemon.kill_hard();
  // Nobody plants links between a kill and a start.
  for (const auto& name : names)
    if (is_link(name)) fs::remove(d / name);
  daemon.start_again();
  RawClient reader = session_on(daemon, "a", proto::Access::read);
  for (unsigned i = 0; i < 9; ++i) REQUIRE(reader.read(i * piece, piece) == pattern(piece, i));
}

TEST_CASE("what is beside an image, or another store's, is never taken by a store that is opened or removed") {
  TempDir dir;
  const fs::path d = dir.path() / "d";
  fs::create_directory(d);
  std::ofstream(d / "demo.img").close();
  // Stores that an older release may have made, among others.
  const KeptFiles kept(d, neighbours_of("demo.img"));
  Daemon daemon({"--directory", "{dir}/d", "--allow-create", "--allow-remove"}, &dir);
  {
    RawClient client = session_on(daemon, "demo");
    client.grow(16);
    write_pieces(client, 0, 1);
    CHECK(kept.changed().empty());
    daemon.kill_hard();
  }
  daemon.start_again();
  {
    RawClient reader = session_on(daemon, "demo", proto::Access::read);
    REQUIRE(reader.read(0, piece) == pattern(piece, 0));
    REQUIRE(reader.call(proto::CloseRequest{}).status() == proto::Status::ok);
  }
  CHECK(kept.changed().empty());
  RawClient client = RawClient::tcp(daemon.port());
  client.hello();
  const Frame refused = client.call(proto::CreateRequest{"demo.img.spare.monday", 1});
  CHECK(refused.status() == proto::Status::invalid_argument);
  REQUIRE(client.call(proto::RemoveRequest{"demo"}).status() == proto::Status::ok);
  CHECK(kept.changed().empty());
  CHECK(names_in(d).size() == kept.names().size());
}

TEST_CASE("reading the holes of an image on a tmpfs takes no memory") {
  const fs::path d = "/dev/shm/pageserver-test-" + std::to_string(::getpid());
  struct statfs kind {};
  if (::statfs("/dev/shm", &kind) != 0 || kind.f_type != 0x01021994) return skip("/dev/shm is no tmpfs");
  fs::create_directory(d);
  std::ofstream(d / "a.img").close();
  fs::resize_file(d / "a.img", 64 << 20);
  const auto blocks = [&] {
    struct stat found {};
    REQUIRE(::stat((d / "a.img").c_str(), &found) == 0);
    return found.st_blocks;
  };
  const auto before = blocks();
  {
    const Daemon daemon(GENERATE_COPY(
        values<std::vector<std::string>>({{"--store", "a=" + (d / "a.img").string()}, {"--directory", d.string()}})));
    RawClient reader = session_on(daemon, "a", proto::Access::read);
    for (const std::uint32_t length : {8u, 4096u, 65536u})
      for (std::uint64_t at = 0; at < 64; ++at)
        REQUIRE(reader.read(at << 20, length) == std::vector<std::byte>(length));
    CHECK(blocks() == before);
  }
  fs::remove_all(d);
}
