#include "tests/pagectl/tool.hpp"

#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include "tests/support/catch.hpp"

#include "tests/support/daemon.hpp"

namespace pageserver::test {

std::string pagectl_program() { return pagectl_path(); }

RunResult pagectl(std::vector<std::string> arguments, std::string stdin_data, std::chrono::seconds limit) {
  arguments.insert(arguments.begin(), pagectl_path());
  return run(std::move(arguments), std::move(stdin_data), limit);
}

nlohmann::json pagectl_json(std::vector<std::string> arguments, std::string stdin_data, std::chrono::seconds limit) {
  arguments.emplace_back("--json");
  const auto result = pagectl(std::move(arguments), std::move(stdin_data), limit);
  INFO("standard error: " << result.err);
  REQUIRE(result.status == 0);
  return nlohmann::json::parse(result.out);
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("can't read " + path);
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << content;
  if (!out.flush()) throw std::runtime_error("can't write " + path);
}

std::string random_bytes(std::uint64_t pages, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(pages * page_bytes, '\0');
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  return bytes;
}

void make_sparse(const std::string& path, std::uint64_t size) {
  write_file(path, "");
  std::filesystem::resize_file(path, size);
}

void patch_file(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file << bytes;
  if (!file.flush()) throw std::runtime_error("can't write " + path);
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw std::runtime_error("can't stat " + path);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

std::string sha256_of(const std::string& path) {
  const auto result = run({"sha256sum", path});
  if (result.status != 0) throw std::runtime_error("sha256sum: " + result.err);
  return result.out.substr(0, 64);
}

std::string engine_fixture(const std::string& name) { return PAGESERVER_ENGINE_FIXTURES "/" + name; }

void unpack(const std::string& name, const std::string& to) {
  const auto result = run({"zstd", "-dqf", engine_fixture(name + ".zst"), "-o", to});
  if (result.status != 0) throw std::runtime_error("zstd: " + result.err);
}

}  // namespace pageserver::test
