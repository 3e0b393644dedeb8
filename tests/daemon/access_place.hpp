// A daemon with rules and tokens, and clients that show them.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

namespace pageserver::test {

/// A folder with a configuration, tokens and stores for a daemon.
struct Place {
  TempDir dir;
  nlohmann::json config = {{"directory", {{"path", ""}, {"create", true}, {"remove", true}}},
                           {"rules", nlohmann::json::array()}};
  std::map<std::string, std::string> tokens;

  Place() {
    std::filesystem::create_directory(dir.path() / "stores");
    config["directory"]["path"] = dir.file("stores");
    config["tokens_file"] = dir.file("tokens");
    std::ofstream(dir.file("tokens")).flush();
    ::chmod(dir.file("tokens").c_str(), 0600);
  }
  /// As people make one: the daemon's line in one file, the token in another.
  const std::string& token(const std::string& name) {
    const std::string file = dir.file(name + ".token");
    const RunResult made =
        run({pagectl_path(), "token", "create", name, "--add-to", dir.file("tokens"), "--save", file});
    INFO(made.err);
    REQUIRE(made.status == 0);
    CHECK(made.out.empty());
    std::ifstream(file) >> tokens[name];
    return tokens[name];
  }
  void store(const std::string& name, std::size_t pages = 1) const {
    std::ofstream(dir.file("stores/" + name + ".img"));
    std::filesystem::resize_file(dir.file("stores/" + name + ".img"), pages * 65536);
  }
  void rule(const std::string& who, const std::string& stores, const std::vector<std::string>& may) {
    config["rules"].push_back({{"who", who}, {"stores", stores}, {"may", may}});
  }
  std::vector<std::string> flags() {
    std::ofstream(dir.file("config.json")) << config;
    return {"--config", dir.file("config.json")};
  }
};

inline proto::HelloRequest hello_of(std::string_view credentials) {
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  hello.features = proto::features_all;
  hello.client_name = "test";
  hello.credentials = credentials;
  return hello;
}

/// Greeted with a token, or without one where it is empty.
inline RawClient greeted(const Daemon& daemon, const std::string& token, bool local = false) {
  RawClient client = local ? RawClient::local(daemon.socket_path()) : RawClient::tcp(daemon.port());
  const std::string credentials = token.empty() ? "" : "token " + token;
  client.call(hello_of(credentials)).as<proto::HelloAnswer>();
  return client;
}

}  // namespace pageserver::test
