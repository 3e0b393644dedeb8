// Pipes that stand still for longer than the daemon waits for a session that stalls.
#include "tests/support/catch.hpp"

#include "tests/pagectl/served.hpp"

using namespace pageserver::test;

namespace {

struct Impatient {
  TempDir dir;
  std::optional<Daemon> daemon;

  explicit Impatient(std::uint64_t pages) {
    write_file(dir.file("demo.img"), random_bytes(pages, 1));
    write_file(dir.file("config.json"), R"({"limits": {"stall_timeout": "500ms"}})");
    daemon.emplace(std::vector<std::string>{"--config", "{dir}/config.json", "--store", "demo={dir}/demo.img"}, &dir);
  }
  std::vector<std::string> uris() const { return {daemon->tcp_uri("demo"), daemon->unix_uri("demo")}; }
};

std::string quoted(const std::string& text) { return "'" + text + "'"; }

}  // namespace

TEST_CASE("a reader that stops taking what pagectl reads loses nothing of it") {
  Impatient served{24 * 16};
  for (const auto& uri : served.uris()) {
    const auto read = quoted(pagectl_program()) + " read " + quoted(uri) + " 0 24MiB";
    for (const std::string taker : {"(sleep 2; cat)", "(head -c 70000; sleep 2; cat)"}) {
      INFO(uri << " | " << taker);
      const auto result =
          run({"bash", "-c",
               "set -o pipefail; " + read + " | " + taker + " | cmp - " + quoted(served.dir.file("demo.img"))});
      CHECK(result.err == "");
      CHECK(result.status == 0);
    }
  }
}

TEST_CASE("a writer of pagectl's input that stops in the middle loses nothing of it") {
  Impatient served{16 * 16};
  const auto input = served.dir.file("input");
  write_file(input, random_bytes(16 * 16, 2));
  for (const auto& uri : served.uris()) {
    INFO(uri);
    const auto result = run({"bash", "-c",
                             "set -o pipefail; (head -c 1500000 " + quoted(input) + "; sleep 2; tail -c +1500001 " +
                                 quoted(input) + ") | " + quoted(pagectl_program()) + " write " + quoted(uri) + " 0"});
    CHECK(result.err == "");
    CHECK(result.status == 0);
    const auto back = pagectl({"read", uri, "0", "16MiB"});
    CHECK((back.out == read_file(input)));
  }
}
