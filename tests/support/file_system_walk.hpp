// Every call of the seam to the file system, made once, and a file system that counts what arrives: for those that
// forward to another one.
#pragma once

#include <fcntl.h>

#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "storage/file/file_system.hpp"
#include "storage/file/home.hpp"

namespace pageserver::test {

/// Does nothing but count. A call that the seam gets does not compile here until it is counted, and the walk below
/// fails until it makes it.
class CountingFiles final : public storage::FileSystem {
public:
  static constexpr std::size_t kinds = 34;
  std::map<std::string, int> arrived;

  storage::IoResult open(const std::string&, int, std::uint32_t) override { return count("open"); }
  storage::IoResult open_beneath(int, const std::string&, int, std::uint32_t) override { return count("open_beneath"); }
  int close(int) noexcept override {
    static_cast<void>(count("close"));
    return 0;
  }
  storage::IoResult read_at(int, std::uint64_t, std::span<std::byte>) override { return count("read_at"); }
  storage::IoResult read_until(int, std::uint64_t, std::span<std::byte>, Moment) override {
    return count("read_until");
  }
  storage::IoResult write_at(int, std::uint64_t, std::span<const std::byte>) override { return count("write_at"); }
  storage::IoResult write_parts_at(int, std::uint64_t, std::span<const std::span<const std::byte>>) override {
    return count("write_parts_at");
  }
  storage::IoResult truncate(int, std::uint64_t) override { return count("truncate"); }
  storage::IoResult reserve(int, std::uint64_t, std::uint64_t) override { return count("reserve"); }
  storage::IoResult punch_hole(int, std::uint64_t, std::uint64_t) override { return count("punch_hole"); }
  storage::IoResult seek_data(int, std::uint64_t) override { return count("seek_data"); }
  storage::IoResult seek_hole(int, std::uint64_t) override { return count("seek_hole"); }
  void start_writeback(int, std::uint64_t, std::uint64_t) noexcept override {
    static_cast<void>(count("start_writeback"));
  }
  void drop_from_memory(int, std::uint64_t, std::uint64_t) noexcept override {
    static_cast<void>(count("drop_from_memory"));
  }
  storage::IoResult sync_data(int) override { return count("sync_data"); }
  storage::IoResult sync(int) override { return count("sync"); }
  storage::IoResult size(int) override { return count("size"); }
  storage::IoResult status(int, storage::FileStatus&) override { return count("status"); }
  storage::IoResult status_of(const std::string&, storage::FileStatus&) override { return count("status_of"); }
  storage::IoResult real_path(const std::string&, std::string&) override { return count("real_path"); }
  storage::IoResult file_system_type(int) override { return count("file_system_type"); }
  storage::IoResult lock(int, storage::LockKind) override { return count("lock"); }
  void unlock(int) noexcept override { static_cast<void>(count("unlock")); }
  storage::IoResult home_of(int, storage::FileHome&) override { return count("home_of"); }
  storage::IoResult map(int, std::uint64_t, const std::byte*&) override { return count("map"); }
  void unmap(const std::byte*, std::uint64_t) noexcept override { static_cast<void>(count("unmap")); }
  storage::IoResult status_beneath(int, const std::string&, storage::FileStatus&) override {
    return count("status_beneath");
  }
  std::int64_t now_ns() noexcept override { return count("now_ns").value; }
  std::int64_t file_clock_ns() noexcept override { return count("file_clock_ns").value; }
  storage::Boot boot() noexcept override { return {static_cast<std::uint64_t>(count("boot").value), 0}; }
  storage::IoResult rename_new_beneath(int, const std::string&, const std::string&) override {
    return count("rename_new_beneath");
  }
  storage::IoResult rename_beneath(int, const std::string&, const std::string&) override {
    return count("rename_beneath");
  }
  storage::IoResult remove_beneath(int, const std::string&) override { return count("remove_beneath"); }
  storage::IoResult list(int, const std::string&, std::vector<std::string>&) override { return count("list"); }

private:
  storage::IoResult count(const char* call) {
    ++arrived[call];
    return {7, 0};
  }
};

/// Makes every call once, on files in `folder`.
inline void call_everything(storage::FileSystem& files, const std::string& folder) {
  const std::string path = folder + "/slow.img";
  std::array<std::byte, 8> bytes{};
  const std::array<std::span<const std::byte>, 2> parts{bytes, bytes};
  storage::FileStatus status;
  std::string resolved;
  const std::byte* address = nullptr;
  std::vector<std::string> names;
  storage::FileHome home;
  const std::vector<storage::IoResult> results{files.open(path, O_RDWR, 0),
                                               files.open_beneath(3, "slow.img", O_RDWR, 0),
                                               files.read_at(7, 0, bytes),
                                               files.read_until(7, 0, bytes, {}),
                                               files.write_at(7, 0, bytes),
                                               files.write_parts_at(7, 0, parts),
                                               files.truncate(7, 0),
                                               files.reserve(7, 0, 1),
                                               files.punch_hole(7, 0, 1),
                                               files.seek_data(7, 0),
                                               files.seek_hole(7, 0),
                                               files.sync_data(7),
                                               files.sync(7),
                                               files.size(7),
                                               files.status(7, status),
                                               files.status_of(path, status),
                                               files.real_path(path, resolved),
                                               files.file_system_type(7),
                                               files.lock(7, storage::LockKind::shared),
                                               files.home_of(7, home),
                                               files.map(7, 8, address),
                                               files.status_beneath(3, "slow.img", status),
                                               files.rename_beneath(3, "slow.img", "slow.to"),
                                               files.rename_new_beneath(3, "slow.img", "slow.to"),
                                               files.remove_beneath(3, "slow.img"),
                                               files.list(3, "slow", names)};
  for (std::size_t i = 0; i < results.size(); ++i) {
    INFO("result " << i << ": error " << results[i].error);
    CHECK((results[i].value == 7 || !results[i].ok()));
  }
  files.start_writeback(7, 0, 8);
  files.drop_from_memory(7, 0, 8);
  files.unmap(bytes.data(), 8);
  files.unlock(7);
  static_cast<void>(files.now_ns());
  static_cast<void>(files.file_clock_ns());
  static_cast<void>(files.boot());
  files.close(7);
}

/// What arrives when every call is made once: each once, but for those that `instead` sends to another one (or to "",
/// nowhere).
inline void check_everything_arrives(storage::FileSystem& forwarding, const CountingFiles& below,
                                     const std::string& folder = "/folder",
                                     const std::map<std::string, std::string>& instead = {}) {
  CountingFiles all;
  call_everything(all, folder);
  REQUIRE(all.arrived.size() == CountingFiles::kinds);
  std::map<std::string, int> expected;
  for (const auto& [call, times] : all.arrived) {
    REQUIRE(times == 1);
    const auto other = instead.find(call);
    const std::string& arrives = other == instead.end() ? call : other->second;
    if (!arrives.empty()) ++expected[arrives];
  }
  call_everything(forwarding, folder);
  CHECK(below.arrived == expected);
}

}  // namespace pageserver::test
