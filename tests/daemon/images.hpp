// What tests of image files behind a daemon's back share: texts written and read through the daemon, and the programs
// as processes.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/files.hpp"

namespace pageserver::test {

inline constexpr std::uint64_t page = 65536;

inline std::string text_at(RawClient client, std::uint64_t offset, std::uint32_t length) {
  const auto bytes = client.read(offset, length);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Written and flushed through the daemon.
inline void put(const Daemon& daemon, std::string_view store, std::uint64_t offset, const std::string& text) {
  RawClient client = session_on(daemon, store);
  client.write(offset, bytes_of(text));
  REQUIRE(client.call(proto::FlushRequest{}).status() == proto::Status::ok);
  REQUIRE(client.call(proto::CloseRequest{}).status() == proto::Status::ok);
}

inline std::string text_of(const Daemon& daemon, std::string_view store, std::uint64_t offset, std::uint32_t length) {
  return text_at(session_on(daemon, store, proto::Access::read), offset, length);
}

inline void make_image(const std::filesystem::path& path, std::uint64_t pages) {
  std::ofstream(path).close();
  std::filesystem::resize_file(path, pages * page);
}

/// The daemon alone, to its end: for starts that are refused.
inline RunResult started(const std::vector<std::string>& flags) {
  std::vector<std::string> argv{pageserverd_path()};
  argv.insert(argv.end(), flags.begin(), flags.end());
  return run(argv);
}

inline RunResult tool(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv{pagectl_path()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run(argv);
}

inline RunResult shell(const std::string& script) { return run({"sh", "-ec", script}); }

/// Names in the folder that begin so.
inline std::vector<std::string> names_with(const std::filesystem::path& folder, const std::string& beginning) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(beginning)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace pageserver::test
