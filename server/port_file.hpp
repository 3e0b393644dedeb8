// The file that says where the daemon listens, for whoever started it with port 0.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace pageserver::server {

/// Not thread-safe. The file is locked for as long as the daemon lives, so that another one does not take it for what a
/// killed daemon left. All that throws throws std::runtime_error, whose text names the file and the remedy.
class PortFile {
public:
  /// `path` empty: there is none, and nothing is done.
  explicit PortFile(std::string path) : path_(std::move(path)) {}
  PortFile(const PortFile&) = delete;
  PortFile& operator=(const PortFile&) = delete;
  /// As remove().
  ~PortFile();

  /// Removes what a killed daemon left, which would be read by whoever waits for this one, and makes the file beside it
  /// that write() puts in its place. Throws when a running daemon has it, and when it is no list of addresses: then
  /// somebody needs it.
  void take_place();
  /// One line for each address. It appears with all of them.
  void write(const std::vector<std::string>& addresses);
  /// When it is still the one that was made.
  void remove() noexcept;

private:
  void clear(const std::string& path) const;
  [[noreturn]] void fail(int error) const;

  const std::string path_;
  std::string made_;  ///< the name of `file_`
  UniqueFd file_;
};

}  // namespace pageserver::server
