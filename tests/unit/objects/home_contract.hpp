// What every home of files promises to the engine, as checks that run over one after the other: the operating system's
// files, a pool's in the model, and a pool's of a real cluster.
#pragma once

#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "storage/file/file_io.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"
#include "tests/support/bytes.hpp"

namespace pageserver::test {

/// `folder` is an empty one.
inline void check_home_contract(storage::FileSystem& files, const std::string& folder) {
  using namespace storage;
  const Folder in = Folder::open(files, folder);
  const auto make = [&](const std::string& name) {
    return in.open_file(name, O_RDWR | O_CREAT | O_EXCL, 0640, "make");
  };
  const auto read = [](const File& file, std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> bytes(length);
    bytes.resize(file.read_up_to(offset, bytes));
    return bytes;
  };
  const auto names = [&](const std::string& prefix) {
    std::vector<std::string> found;
    REQUIRE(in.try_names(found, prefix).ok());
    std::sort(found.begin(), found.end());
    return found;
  };

  // Names: made once, found, listed by their beginning.
  CHECK(in.try_open_file("a.img", O_RDWR, 0).error == ENOENT);
  File a = make("a.img");
  CHECK(in.try_open_file("a.img", O_RDWR | O_CREAT | O_EXCL, 0640).error == EEXIST);
  CHECK(in.try_open_file("a.img", O_RDONLY | O_DIRECTORY, 0).error == ENOTDIR);
  CHECK(files.open_beneath(in.descriptor(), "../a.img", O_RDONLY, 0).error == EXDEV);
  FileStatus status = a.status();
  CHECK(S_ISREG(status.mode));
  CHECK((status.mode & 0777U) == 0640);
  CHECK(status.size_bytes == 0);
  CHECK(status.links == 1);
  const std::uint64_t inode = status.inode;
  File log = make("a.img.log.0000000001");
  CHECK(names("a.img.") == std::vector<std::string>{"a.img.log.0000000001"});
  CHECK(names("") == std::vector<std::string>{"a.img", "a.img.log.0000000001"});

  // Bytes: anywhere, over the borders of what the home keeps together, and zeros where nothing was written.
  constexpr std::uint64_t border = 4ull << 20;
  const auto some = pattern(200'000);
  for (const File* const file : {&a, &log}) {
    file->write(border - 70'000, some);
    CHECK((read(*file, border - 70'000, some.size()) == some));
    CHECK(file->status().size_bytes == border - 70'000 + some.size());
    CHECK((read(*file, 0, 100) == std::vector<std::byte>(100)));
    CHECK((read(*file, border - 70'000 + some.size() - 10, 100).size() == 10));
    CHECK(read(*file, border * 4, 10).empty());
    file->sync_data();
  }
  const std::vector<std::span<const std::byte>> parts{std::span{some}.first(10), std::span<const std::byte>{},
                                                      std::span{some}.subspan(10, 90'000)};
  a.write_parts(border - 5, parts);
  CHECK((read(a, border - 5, 90'010) == std::vector<std::byte>(some.begin(), some.begin() + 90'010)));
  const File reader = in.open_file("a.img", O_RDONLY, 0, "open");
  CHECK((read(reader, border - 5, 10) == std::vector<std::byte>(some.begin(), some.begin() + 10)));
  CHECK(files.write_at(reader.descriptor(), 0, some).error == EBADF);

  // Sizes and holes.
  a.truncate(64 * border);
  CHECK(a.status().size_bytes == 64 * border);
  CHECK((read(a, 50 * border, 1000) == std::vector<std::byte>(1000)));
  std::uint64_t until = 0;
  const auto data = a.data_ranges(0, 64 * border, 100, until);
  CHECK(until == 64 * border);
  std::uint64_t described = 0;
  for (const ByteRange& range : data) described += range.length;
  CHECK(described >= some.size() - 70'000);
  CHECK(described <= border);
  static_cast<void>(a.punch_hole(border - 70'000, 300'000));
  CHECK((read(a, border - 70'000, 300'000) == std::vector<std::byte>(300'000)));
  a.write(border, some);
  a.truncate(border + 100);
  a.truncate(border + 1000);
  auto cut = read(a, border, 1000);
  CHECK(std::equal(cut.begin(), cut.begin() + 100, some.begin()));
  CHECK(std::all_of(cut.begin() + 100, cut.end(), [](std::byte byte) { return byte == std::byte{0}; }));
  CHECK(log.reserve(0, 3 * border));
  CHECK(log.status().size_bytes == border - 70'000 + some.size());

  // Names are moved with their content; what is replaced or removed stays while it is open.
  CHECK(in.try_rename_new("a.img", "a.img.log.0000000001").error == EEXIST);
  CHECK(in.try_rename_new("nothing", "b.img").error == ENOENT);
  CHECK(in.try_rename_new("a.img", "b.img").ok());
  CHECK(in.has("b.img", status));
  CHECK(status.inode == inode);
  CHECK_FALSE(in.has("a.img", status));
  in.rename("b.img", "a.img.log.0000000001");
  CHECK(names("") == std::vector<std::string>{"a.img.log.0000000001"});
  CHECK((read(log, border - 70'000, 100) == std::vector<std::byte>(some.begin(), some.begin() + 100)));
  CHECK(in.remove("a.img.log.0000000001"));
  CHECK_FALSE(in.remove("a.img.log.0000000001"));
  CHECK(a.status().links == 0);
  a.write(7, std::span{some}.first(10));
  CHECK((read(a, 7, 10) == std::vector<std::byte>(some.begin(), some.begin() + 10)));
  CHECK(names("").empty());
  in.sync();

  // A lock is the descriptor's, and goes with it.
  File one = make("c.img");
  const File other = in.open_file("c.img", O_RDWR, 0, "open");
  CHECK(files.lock(one.descriptor(), LockKind::exclusive).ok());
  CHECK(files.lock(other.descriptor(), LockKind::exclusive).error == EWOULDBLOCK);
  one.close();
  CHECK(files.lock(other.descriptor(), LockKind::exclusive).ok());
  files.unlock(other.descriptor());
  const File third = in.open_file("c.img", O_RDWR, 0, "open");
  CHECK(files.lock(third.descriptor(), LockKind::shared).ok());
  CHECK(files.lock(other.descriptor(), LockKind::shared).ok());
  in.remove("c.img");
}

}  // namespace pageserver::test
