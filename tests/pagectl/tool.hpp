// Running pagectl, and the files that it works on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/files.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {

inline constexpr std::uint64_t page_bytes = 65536;

/// The path of the program itself.
std::string pagectl_program();
RunResult pagectl(std::vector<std::string> arguments, std::string stdin_data = {},
                  std::chrono::seconds limit = std::chrono::seconds(60));
/// With --json added. Requires exit status 0 and one JSON document, and nothing else, on standard output.
nlohmann::json pagectl_json(std::vector<std::string> arguments, std::string stdin_data = {},
                            std::chrono::seconds limit = std::chrono::seconds(60));

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& content);
/// `pages` pages of bytes that look random and depend on `seed` only.
std::string random_bytes(std::uint64_t pages, std::uint64_t seed);
/// A file of `size` bytes that takes no room.
void make_sparse(const std::string& path, std::uint64_t size);
/// Overwrites bytes of a file.
void patch_file(const std::string& path, std::uint64_t offset, const std::string& bytes);
/// What a file takes on its disk, in bytes.
std::uint64_t allocated_bytes(const std::string& path);

std::string sha256_of(const std::string& path);
/// A recorded trace or image of the real engine, in the source tree.
std::string engine_fixture(const std::string& name);
/// Unpacks `NAME.zst` of the fixtures.
void unpack(const std::string& name, const std::string& to);

struct TraceCase {
  const char* name;
  std::uint64_t records;
  const char* hash;
  const char* sha256;
  bool starts_from_image;
};
inline constexpr TraceCase small_crud{"small_crud", 15731, "18fdd5757463d0f0",
                                      "44df2719cac52a12209819c7e1a781f08ebe80c05cd76d7daecf854ef2d0ab0a", false};
inline constexpr TraceCase oltp{"oltp", 329277, "6eb08a3e1cd9a8e1",
                                "4b1b710fd51ecaeaafc7e07b28704d5ff804b73f8505f9006635b3a735db6f40", false};
inline constexpr TraceCase blob{"blob", 16388, "02efe2aa37b9dc11",
                                "e13385f564d0d0ebbbc4edc7dde8073e5bc7bed31d374ca40b5332c0d6ca1a9a", false};
inline constexpr TraceCase reopen{"reopen", 3550, "774b82ae0a6f7c97",
                                  "a36dbfc336cad82dd32b856c6fa1b14adac4b3e275581eb80fe945ad5d1b770e", true};

}  // namespace pageserver::test
