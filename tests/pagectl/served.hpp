// A real daemon with something to serve.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/pagectl/tool.hpp"
#include "tests/support/daemon.hpp"

namespace pageserver::test {

/// A daemon with a store `demo` of four random pages and a folder in which clients may create and remove.
struct Served {
  TempDir dir;
  std::optional<Daemon> daemon;

  explicit Served(std::uint64_t pages = 4) {
    write_file(dir.file("demo.img"), random_bytes(pages, 1));
    std::filesystem::create_directory(dir.path() / "stores");
    write_file(
        dir.file("config.json"),
        nlohmann::json{{"directory", {{"path", dir.file("stores")}, {"create", true}, {"remove", true}}}}.dump());
    daemon.emplace(std::vector<std::string>{"--config", "{dir}/config.json", "--store", "demo={dir}/demo.img"}, &dir);
  }

  std::vector<std::string> uris(const std::string& store, const std::string& query = {}) const {
    return {daemon->tcp_uri(store, query), daemon->unix_uri(store, query)};
  }
};

}  // namespace pageserver::test
