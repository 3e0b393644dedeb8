// The completion scripts in the shells themselves, with a daemon that is asked for its stores.
#include "tests/support/catch.hpp"

#include <algorithm>

#include "tests/pagectl/served.hpp"
#include "tests/pagectl/tool.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver::test;

namespace {

const std::string scripts = PAGESERVER_COMPLETION_DIR;

bool has_shell(const std::string& shell) { return run({"bash", "-c", "command -v " + shell}).status == 0; }

/// What is offered, a line each, sorted. The tool is the one under test.
std::vector<std::string> lines_of(const RunResult& result) {
  INFO(result.err);
  CHECK(result.err.empty());
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < result.out.size();) {
    const auto end = std::min(result.out.find('\n', at), result.out.size());
    if (end > at) lines.push_back(result.out.substr(at, end - at));
    at = end + 1;
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

std::string path_first() {
  return "PATH=" + std::filesystem::path(pagectl_program()).parent_path().string() + ":$PATH; ";
}

/// As readline calls it. `breaks`: COMP_WORDBREAKS.
std::vector<std::string> bash_offers(const std::string& line, const std::string& breaks = " \"'><=;|&(:") {
  return lines_of(run({"bash", "--norc", "-c",
                       path_first() + "cd /; . '" + scripts + "/pagectl.bash'; COMP_WORDBREAKS=$2; COMP_LINE=$1; " +
                           "COMP_POINT=${#1}; _pagectl; printf '%s\\n' \"${COMPREPLY[@]}\"",
                       "bash", line, breaks}));
}

/// The functions that zsh would have loaded by name stand in: what is handed to them is what is offered.
std::vector<std::string> zsh_offers(const std::string& call, const std::string& typed) {
  return lines_of(
      run({"zsh", "-f", "-c",
           path_first() + "compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- \"$@\"; }; " +
               "_files() { print files; }; compdef() { :; }; . '" + scripts + "/_pagectl'; PREFIX=$1; " + call,
           "zsh", typed}));
}

std::vector<std::string> zsh_image_offers(const std::string& typed) { return zsh_offers("_pagectl_image", typed); }

std::vector<std::string> fish_offers(const std::string& line) {
  auto lines = lines_of(run({"env", "HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent", "XDG_DATA_HOME=/tmp", "fish",
                             "--no-config", "-c",
                             "set PATH " + std::filesystem::path(pagectl_program()).parent_path().string() +
                                 " $PATH; source " + scripts + "/pagectl.fish; complete --do-complete $argv[1]",
                             line}));
  for (auto& each : lines) each = each.substr(0, each.find('\t'));
  return lines;
}

bool offers(const std::vector<std::string>& offered, const std::string& word) {
  return std::find(offered.begin(), offered.end(), word) != offered.end();
}

struct Stores : Served {
  Stores() {
    for (const char* name : {"alpha", "alps", "beta"}) write_file(dir.file("stores/" + std::string(name) + ".img"), "");
  }
  std::string server() const { return daemon->server_uri(); }
};

}  // namespace

TEST_CASE("bash completes commands, flags and the stores of a URI that is being typed") {
  CHECK(bash_offers("pagectl co") == std::vector<std::string>{"copy"});
  CHECK(offers(bash_offers("pagectl "), "hash"));
  CHECK(offers(bash_offers("pagectl help h"), "hash"));
  CHECK(bash_offers("pagectl copy --f") == std::vector<std::string>{"--force"});
  CHECK(bash_offers("pagectl copy --che") == std::vector<std::string>{"--check"});
  CHECK(bash_offers("pagectl list --fo").empty());
  // A number is not completed, and neither is what stands behind a flag that takes a value.
  CHECK(bash_offers("pagectl read x.img ").empty());
  CHECK(bash_offers("pagectl create --pages ").empty());
  CHECK(bash_offers("pagectl kick 127.0.0.1 ").empty());
  const Stores stores;
  const auto server = stores.server();
  // Where no character breaks words, the whole of it; else what stands behind the last.
  CHECK(bash_offers("pagectl copy " + server + "/al", " ") ==
        std::vector<std::string>{server + "/alpha", server + "/alps"});
  const auto behind = server.substr(server.rfind(':') + 1);
  CHECK(bash_offers("pagectl copy " + server + "/al") == std::vector<std::string>{behind + "/alpha", behind + "/alps"});
  CHECK(bash_offers("pagectl copy a.img " + server + "/b") == std::vector<std::string>{behind + "/beta"});
  CHECK(bash_offers("pagectl --json hash -q " + server + "/d") == std::vector<std::string>{behind + "/demo"});
  // Of a ping a store as well, and no file.
  CHECK(bash_offers("pagectl ping " + server + "/al", " ") ==
        std::vector<std::string>{server + "/alpha", server + "/alps"});
  CHECK(bash_offers("pagectl ping /et").empty());
  CHECK(bash_offers("pagectl list " + server + "/al").empty());
  // What stands behind a flag, where that is known.
  CHECK(bash_offers("pagectl hash --progress ") == std::vector<std::string>{"auto", "json", "none"});
  CHECK(bash_offers("pagectl hash --progress j") == std::vector<std::string>{"json"});
  CHECK(bash_offers("pagectl plot ") == std::vector<std::string>{"bench", "trace"});
  CHECK(bash_offers("pagectl plot tr") == std::vector<std::string>{"trace"});
  for (const std::string command : {"ping ", "ping --wait 5s ", "sessions "})
    CHECK(bash_offers("pagectl " + command + server + " --store al") == std::vector<std::string>{"alpha", "alps"});
  CHECK(bash_offers("pagectl ping pageserver+unix:///?socket=" + stores.daemon->socket_path() + " --store be") ==
        std::vector<std::string>{"beta"});
  CHECK(bash_offers("pagectl ping --store al").empty());
  // A third operand is none.
  CHECK(bash_offers("pagectl copy a b " + server + "/al").empty());
  CHECK(bash_offers("pagectl copy pageserver://127.0.0.1:1/al").empty());
  CHECK(bash_offers("pagectl info page", " ") ==
        std::vector<std::string>{"pageserver+unix:///", "pageserver://", "pageservers://"});
  const TempDir dir;
  write_file(dir.file("some.img"), "");
  CHECK(bash_offers("pagectl check " + dir.file("so"), " ") == std::vector<std::string>{dir.file("some.img")});
}

TEST_CASE("zsh completes the stores of a URI that is being typed") {
  if (!has_shell("zsh")) return skip("zsh is not installed");
  const Stores stores;
  CHECK(zsh_image_offers(stores.server() + "/al") ==
        std::vector<std::string>{stores.server() + "/alpha", stores.server() + "/alps", stores.server() + "/beta",
                                 stores.server() + "/demo"});
  CHECK(offers(zsh_image_offers("page"), "pageserver://"));
  CHECK(offers(zsh_image_offers("page"), "pageservers://"));
  CHECK(offers(zsh_image_offers("./"), "files"));
  CHECK(zsh_offers("_pagectl_served", stores.server() + "/al") == zsh_image_offers(stores.server() + "/al"));
  CHECK_FALSE(offers(zsh_offers("_pagectl_served", "./"), "files"));
  const std::string names =
      "words=(ping --wait 5s " + stores.server() + " --store ''); _pagectl_names '--store|--wait'";
  CHECK(zsh_offers(names, "") == std::vector<std::string>{"alpha", "alps", "beta", "demo"});
}

TEST_CASE("fish completes commands, flags and the stores of a URI that is being typed") {
  if (!has_shell("fish")) return skip("fish is not installed");
  CHECK(offers(fish_offers("pagectl co"), "copy"));
  CHECK(offers(fish_offers("pagectl copy --fo"), "--force"));
  const Stores stores;
  for (const std::string command : {"copy ", "ping "})
    CHECK(fish_offers("pagectl " + command + stores.server() + "/al") ==
          std::vector<std::string>{stores.server() + "/alpha", stores.server() + "/alps"});
  CHECK(fish_offers("pagectl hash --progress ") == std::vector<std::string>{"auto", "json", "none"});
  CHECK(fish_offers("pagectl plot tr") == std::vector<std::string>{"trace"});
  CHECK(fish_offers("pagectl ping --wait 5s " + stores.server() + " --store al") ==
        std::vector<std::string>{"alpha", "alps"});
}
