// A daemon on a disk with little room: it goes on for as long as a checkpoint helps, says what holds the room when none
// does, and goes on by itself when there is some again.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <filesystem>

#include "tests/daemon/helpers.hpp"
#include "tests/support/small_disk.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::uint64_t mib = 1ull << 20;

/// What `C write` of so many MiB does, on a session of its own.
void write_all(RawClient& client, std::uint64_t bytes, unsigned seed) {
  const auto data = pattern(mib, seed);
  for (std::uint64_t at = 0; at < bytes; at += mib) {
    // Rewritten at its beginning, so that no two MiB are alike.
    auto part = data;
    part[0] = static_cast<std::byte>(at / mib);
    client.write(at, part);
  }
}

void check_all(RawClient& client, std::uint64_t bytes, unsigned seed) {
  const auto data = pattern(mib, seed);
  for (std::uint64_t at = 0; at < bytes; at += mib) {
    auto part = data;
    part[0] = static_cast<std::byte>(at / mib);
    REQUIRE((client.read(at, mib) == part));
  }
}

std::size_t log_files(const SmallDisk& disk) {
  std::size_t count = 0;
  for (const auto& file : std::filesystem::directory_iterator(std::filesystem::path(disk.file("a.img")).parent_path()))
    if (file.path().filename().string().find(".img.") != std::string::npos) ++count;
  return count;
}

proto::OpenRequest transaction_on(std::string_view store) {
  proto::OpenRequest request;
  request.access = proto::Access::write;
  request.publish = proto::Publish::on_flush;
  request.store = store;
  request.session_name = "raw";
  return request;
}

}  // namespace

TEST_CASE("overwrites of a full image on a small disk go through, many times the disk's size") {
  SmallDisk disk{100 * mib};
  if (!disk.works()) return;
  disk.fill("a.img", 8 * mib);
  Daemon daemon{{"--store", "a=" + disk.file("a.img")}};
  RawClient writer = session_on(daemon, "a");
  constexpr unsigned rounds = 50;  // 400 MiB
  for (unsigned round = 0; round < rounds; ++round) write_all(writer, 8 * mib, round);
  writer.flush();
  check_all(writer, 8 * mib, rounds - 1);
  daemon.kill_hard();
  daemon.start_again();
  RawClient again = session_on(daemon, "a");
  check_all(again, 8 * mib, rounds - 1);
  again.close();
  CHECK(daemon.stop() == 0);
  CHECK(log_files(disk) == 0);
}

TEST_CASE("a disk with less room than one file of the log takes writes all the same") {
  // Down to what one request needs, and its log's file: then the whole log makes way for the next.
  const std::uint64_t free = GENERATE(20 * mib, 5 * mib, 3 * mib, mib + (64u << 10));
  INFO(free << " bytes free");
  SmallDisk disk{48 * mib};
  if (!disk.works()) return;
  disk.fill("a.img", 8 * mib);
  disk.fill_but("ballast", free);
  Daemon daemon{{"--store", "a=" + disk.file("a.img")}};
  RawClient writer = session_on(daemon, "a");
  writer.write(0, bytes_of("hi"));
  constexpr unsigned rounds = 8;
  for (unsigned round = 0; round < rounds; ++round) write_all(writer, 8 * mib, round);
  writer.flush();
  check_all(writer, 8 * mib, rounds - 1);
  daemon.kill_hard();
  daemon.start_again();
  RawClient again = session_on(daemon, "a");
  check_all(again, 8 * mib, rounds - 1);
  again.close();
  CHECK(daemon.stop() == 0);
}

TEST_CASE("transactions of half of the free room go through one after the other") {
  SmallDisk disk{48 * mib};
  if (!disk.works()) return;
  disk.fill("a.img", 8 * mib);
  disk.fill_but("ballast", 14 * mib);
  Daemon daemon{{"--store", "a=" + disk.file("a.img")}};
  RawClient writer = RawClient::tcp(daemon.port());
  writer.hello();
  writer.call(transaction_on("a")).as<proto::OpenAnswer>();
  constexpr unsigned rounds = 10;
  for (unsigned round = 0; round < rounds; ++round) {
    write_all(writer, 6 * mib, round);
    writer.flush();
  }
  check_all(writer, 6 * mib, rounds - 1);
  writer.close();
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a disk that others filled refuses at once with what holds the room, and goes on when there is some") {
  SmallDisk disk{48 * mib};
  if (!disk.works()) return;
  disk.fill("a.img", 8 * mib);
  Daemon daemon{{"--store", "a=" + disk.file("a.img")}};
  RawClient writer = session_on(daemon, "a");
  disk.fill_but("ballast", 0);
  const auto data = pattern(mib, 1);
  for (int times = 0; times < 3; ++times) {
    const Frame refused = writer.call(proto::WriteRequest{0, data});
    REQUIRE(refused.status() == proto::Status::no_space);
    INFO(refused.text());
    CHECK(refused.text().find("ENOSPC") != std::string::npos);
    CHECK(refused.text().find("limits.log_bytes=1073741824") != std::string::npos);
    CHECK(refused.text().find("what fills the disk is something else") != std::string::npos);
  }
  disk.remove("ballast");
  writer.write(0, data);
  writer.flush();
  // What the log has it keeps: it goes on in that.
  disk.fill_but("ballast", 0);
  for (unsigned round = 0; round < 8; ++round) write_all(writer, 8 * mib, round);
  check_all(writer, 8 * mib, 7);
  writer.close();
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a pin that keeps the log on a full disk is given up for the writer, and told why") {
  SmallDisk disk{64 * mib};
  if (!disk.works()) return;
  disk.fill("a.img", 8 * mib);
  Daemon daemon{{"--store", "a=" + disk.file("a.img")}};
  RawClient writer = session_on(daemon, "a");
  writer.write(0, bytes_of("pinned"));
  RawClient reader = RawClient::tcp(daemon.port());
  reader.hello();
  proto::OpenRequest request;
  request.access = proto::Access::read;
  request.view = proto::View::pinned;
  request.store = "a";
  reader.call(request).as<proto::OpenAnswer>();
  for (unsigned round = 0; round < 20; ++round) write_all(writer, 8 * mib, round);
  const Frame frame = reader.call(proto::ReadRequest{0, 6});
  REQUIRE(frame.status() == proto::Status::snapshot_too_old);
  INFO(frame.text());
  CHECK(frame.text().find("the disk is full") != std::string::npos);
  check_all(writer, 8 * mib, 19);
}

TEST_CASE("an image of absurd size takes what is in it: a write to its end, zeros over all of it, a stop in time") {
  SmallDisk disk{48 * mib};
  if (!disk.works()) return;
  constexpr std::uint64_t bytes = 1ull << 62;  // 4 EiB
  std::ofstream{disk.file("a.img")}.close();
  std::filesystem::resize_file(disk.file("a.img"), bytes);
  Daemon daemon{{"--store", "a=" + disk.file("a.img")}};
  RawClient writer = session_on(daemon, "a");
  const auto data = pattern(mib, 7);
  writer.write(0, data);
  writer.write(bytes / 2 + 5, data);
  writer.write(bytes - mib, data);
  writer.flush();
  const Frame refused = writer.call(proto::GrowRequest{1});
  CHECK(refused.status() == proto::Status::limit_exceeded);
  writer.call(proto::ZeroRequest{100, bytes - 200}).as<proto::ZeroAnswer>();
  writer.flush();
  CHECK((writer.read(bytes / 2, mib) == std::vector<std::byte>(mib)));
  CHECK((writer.read(0, 100) == std::vector<std::byte>(data.begin(), data.begin() + 100)));
  CHECK((writer.read(bytes - 100, 100) == std::vector<std::byte>(data.end() - 100, data.end())));
  writer.close();
  CHECK(daemon.stop() == 0);
  CHECK(log_files(disk) == 0);
  CHECK(std::filesystem::file_size(disk.file("a.img")) == bytes);
}
