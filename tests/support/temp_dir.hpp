// A directory of a test's own, gone when the test ends.
#pragma once

#include <filesystem>
#include <string>

namespace pageserver::test {

/// Made under $TMPDIR or /tmp with mode 0700; removed with everything in it by the destructor.
class TempDir {
public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::filesystem::path& path() const noexcept { return path_; }
  /// The path of an entry, as text.
  std::string file(const std::string& name) const { return (path_ / name).string(); }

private:
  std::filesystem::path path_;
};

}  // namespace pageserver::test
