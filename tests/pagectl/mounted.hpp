// Real mounts by processes of the tool, and calls on files that tell their errno.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "tests/pagectl/served.hpp"
#include "tests/support/process.hpp"

namespace pageserver::test {

/// Says so, and why, where this machine can't mount.
bool can_mount();

bool is_mounted(const std::string& file);

/// A mount by a process in the foreground, which a test can stop and kill.
struct Mount {
  std::string file;
  std::unique_ptr<Process> process;

  Mount(const std::string& uri, std::string at, const std::vector<std::string>& options = {});
  ~Mount();
  /// Returns the exit status.
  int unmount() const;
};

UniqueFd opened(const std::string& file, int flags);
UniqueFd opened(const std::string& file);

/// 0, or the errno of what returned less than that.
int errno_after(long result);

/// The errno of writing all of it, or 0.
int write_at(const UniqueFd& file, std::uint64_t offset, const std::string& bytes);
std::string read_at(const UniqueFd& file, std::uint64_t offset, std::size_t length);
std::uint64_t size_of(const std::string& file);

/// What readers see of the store `demo`, or of another.
std::string stored(const Served& served, std::uint64_t offset, std::uint64_t length, const std::string& store = "demo");

}  // namespace pageserver::test
