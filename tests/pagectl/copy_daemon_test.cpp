// copy with a daemon at one end or both.
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include "tests/support/catch.hpp"

#include "tests/pagectl/proxy.hpp"
#include "tests/pagectl/served.hpp"

using namespace pageserver::test;

namespace {

/// An image with stored zeros, holes, and data that begins and ends within pages.
void make_mixed(const std::string& path) {
  write_file(path, random_bytes(5, 11) + std::string(64 * page_bytes, '\0'));
  std::filesystem::resize_file(path, 300 * page_bytes);
  patch_file(path, 100 * page_bytes + 1234, std::string(70'000, 'm'));
  patch_file(path, 299 * page_bytes, random_bytes(1, 12));
}
constexpr std::uint64_t mixed_data_bytes = 8 * page_bytes + 8192;

}  // namespace

TEST_CASE("a store is copied to a file, over TCP and over a Unix socket") {
  const Served served(133);
  for (const auto& uri : served.uris("demo")) {
    const auto report = pagectl_json({"copy", "--check", "--force", uri, served.dir.file("out.img")});
    CHECK((read_file(served.dir.file("out.img")) == random_bytes(133, 1)));
    CHECK(report["bytes"] == 133 * page_bytes);
    CHECK(report["version"]["incarnation"].get<std::string>().size() == 16);
    CHECK(report["consistent"] == true);
    CHECK(report["checked"] == true);
  }
}

TEST_CASE("a file is copied to a store, which grows as needed") {
  Served served;
  write_file(served.dir.file("in.img"), random_bytes(133, 2));
  for (const std::string store : {"demo", "fresh"}) {
    if (store == "fresh") CHECK(pagectl({"create", served.daemon->tcp_uri(store)}).status == 0);
    for (const auto& uri : served.uris(store)) {
      CHECK(pagectl_json({"copy", "--check", "--force", served.dir.file("in.img"), uri})["pages"] == 133);
    }
  }
  CHECK(served.daemon->stop() == 0);
  CHECK((read_file(served.dir.file("demo.img")) == random_bytes(133, 2)));
  CHECK((read_file(served.dir.file("stores/fresh.img")) == random_bytes(133, 2)));
}

TEST_CASE("a store is copied to a store of another daemon") {
  const Served from(40);
  Served to;
  CHECK(pagectl({"copy", "--check", "--force", from.daemon->tcp_uri("demo"), to.daemon->unix_uri("demo")}).status == 0);
  CHECK(pagectl({"diff", from.daemon->unix_uri("demo"), to.daemon->tcp_uri("demo")}).status == 0);
  CHECK(to.daemon->stop() == 0);
  CHECK((read_file(to.dir.file("demo.img")) == random_bytes(40, 1)));
}

TEST_CASE("zeros are neither sent nor stored, up and down") {
  Served served;
  make_mixed(served.dir.file("in.img"));
  const auto store = served.daemon->tcp_uri("sparse");
  REQUIRE(pagectl({"create", store}).status == 0);
  CHECK(pagectl_json({"copy", "--check", served.dir.file("in.img"), store})["bytes_sent"] <= mixed_data_bytes);
  const auto down = pagectl_json({"copy", "--check", store, served.dir.file("out.img")});
  CHECK(down["bytes_sent"] <= mixed_data_bytes);
  CHECK(served.daemon->stop() == 0);
  for (const char* name : {"stores/sparse.img", "out.img"}) {
    INFO(name);
    CHECK((read_file(served.dir.file(name)) == read_file(served.dir.file("in.img"))));
    CHECK(allocated_bytes(served.dir.file(name)) <= mixed_data_bytes + 64 * 1024);
  }
}

TEST_CASE("what the destination held where the source has zeros becomes zero and gives its room back") {
  Served served(133);
  make_mixed(served.dir.file("in.img"));
  const auto before = allocated_bytes(served.dir.file("demo.img"));
  CHECK(pagectl({"copy", "--check", "--force", served.dir.file("in.img"), served.daemon->tcp_uri("demo")}).status == 0);
  CHECK(served.daemon->stop() == 0);
  CHECK((read_file(served.dir.file("demo.img")) == read_file(served.dir.file("in.img"))));
  CHECK(allocated_bytes(served.dir.file("demo.img")) < before / 2);
}

TEST_CASE("a terabyte with little in it travels in the time of the little") {
  Served served;
  make_sparse(served.dir.file("stores/big.img"), 1ull << 40);
  patch_file(served.dir.file("stores/big.img"), 1ull << 39, random_bytes(16, 3));
  const auto report = pagectl_json({"copy", "--check", served.daemon->tcp_uri("big"), served.dir.file("out.img")});
  CHECK(report["seconds"] < 20);
  CHECK(report["bytes"] == 1ull << 40);
  CHECK(std::filesystem::file_size(served.dir.file("out.img")) == 1ull << 40);
  CHECK(allocated_bytes(served.dir.file("out.img")) <= 2u << 20);
}

TEST_CASE("an image in more pieces than are described at once is copied whole, sparse and without the holes") {
  Served served;
  constexpr std::uint64_t pieces = 10'000;
  const auto path = served.dir.file("stores/pieces.img");
  make_sparse(path, pieces * 3 * 4096 / page_bytes * page_bytes + page_bytes);
  for (std::uint64_t i = 0; i < pieces; ++i)
    patch_file(path, i * 3 * 4096, std::string(4096, static_cast<char>(1 + i % 200)));
  const auto out = served.dir.file("out.img");
  const auto again = served.dir.file("again.img");
  CHECK(pagectl_json({"copy", "--check", served.daemon->tcp_uri("pieces"), out})["bytes_sent"] == pieces * 4096);
  CHECK(pagectl_json({"copy", "--check", out, again})["bytes_sent"] == pieces * 4096);
  CHECK(pagectl({"diff", served.daemon->unix_uri("pieces"), again}).status == 0);
  CHECK((read_file(again) == read_file(path)));
}

TEST_CASE("a store that is larger than the source is refused, with both sizes") {
  const Served served(10);
  write_file(served.dir.file("in.img"), random_bytes(9, 2));
  const auto result = pagectl({"copy", "--force", served.dir.file("in.img"), served.daemon->tcp_uri("demo")});
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("size=655360") && Contains("size=589824"));
  CHECK((read_file(served.dir.file("demo.img")) == random_bytes(10, 1)));
}

TEST_CASE("what a store holds is replaced with --force only, and zeros are nothing that it holds") {
  Served served;
  write_file(served.dir.file("in.img"), random_bytes(9, 2));
  for (const auto& uri : served.uris("demo")) {
    const auto refused = pagectl({"copy", served.dir.file("in.img"), uri});
    CHECK(refused.status == 1);
    CHECK_THAT(refused.err, Contains("--force") && Contains("4 pages") && Contains("offset=0"));
    const auto json = pagectl({"copy", "--json", served.dir.file("in.img"), uri});
    CHECK(nlohmann::json::parse(json.out)["error"]["code"] == "already_exists");
  }
  CHECK((read_file(served.dir.file("demo.img")) == random_bytes(4, 1)));
  const auto zeros = served.daemon->tcp_uri("zeros");
  REQUIRE(pagectl({"create", zeros, "--pages", "4"}).status == 0);
  CHECK(pagectl({"copy", served.dir.file("in.img"), zeros}).status == 0);
  CHECK(pagectl({"copy", served.dir.file("in.img"), zeros}).status == 1);
  // In this process, too.
  const auto embedded = "store:" + served.dir.file("own.img");
  REQUIRE(pagectl({"create", served.dir.file("own.img")}).status == 0);
  CHECK(pagectl({"copy", served.dir.file("in.img"), embedded}).status == 0);
  CHECK(pagectl({"copy", served.dir.file("in.img"), embedded}).status == 1);
  CHECK(pagectl({"copy", "--force", served.dir.file("in.img"), embedded}).status == 0);
}

TEST_CASE("a store that is missing is not made") {
  const Served served;
  write_file(served.dir.file("in.img"), random_bytes(1, 2));
  const auto result = pagectl({"copy", served.dir.file("in.img"), served.daemon->tcp_uri("missing")});
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("missing"));
  CHECK(names_in(served.dir.path() / "stores").empty());
}

TEST_CASE("a file that a daemon serves is not replaced") {
  const Served served;
  write_file(served.dir.file("in.img"), random_bytes(1, 2));
  const auto result = pagectl({"copy", "--force", served.dir.file("in.img"), served.dir.file("demo.img")});
  CHECK(result.status == 75);
  CHECK((read_file(served.dir.file("demo.img")) == random_bytes(4, 1)));
}

TEST_CASE("an interrupted copy leaves nothing and exits with 128 and the signal") {
  const Served served(256);
  for (const int number : {SIGINT, SIGTERM}) {
    std::filesystem::create_directory(served.dir.path() / "target");
    const int watch = ::inotify_init1(IN_CLOEXEC);
    REQUIRE(::inotify_add_watch(watch, served.dir.file("target").c_str(), IN_CREATE) >= 0);
    StallingProxy proxy(served.daemon->port(), 3'000'000);
    Process copy({pagectl_program(), "copy", "pageserver://127.0.0.1:" + std::to_string(proxy.port()) + "/demo",
                  served.dir.file("target/out.img")});
    proxy.wait_until_stalled();
    pollfd created{watch, POLLIN, 0};
    REQUIRE(::poll(&created, 1, 30'000) == 1);
    CHECK(names_in(served.dir.path() / "target").size() == 1);
    copy.signal(number);
    CHECK(copy.wait() == 128 + number);
    CHECK(names_in(served.dir.path() / "target").empty());
    CHECK(copy.out_so_far().empty());
    ::close(watch);
    std::filesystem::remove(served.dir.path() / "target");
  }
}

TEST_CASE("what a killed copy left goes with the next one to that target, and what others made stays") {
  const Served served(256);
  const auto target = served.dir.path() / "target";
  std::filesystem::create_directory(target);
  const std::string out = served.dir.file("target/out.img");
  const auto begin_copy = [&](StallingProxy& proxy) {
    auto copy = std::make_unique<Process>(std::vector<std::string>{
        pagectl_program(), "copy", "pageserver://127.0.0.1:" + std::to_string(proxy.port()) + "/demo", out});
    proxy.wait_until_stalled();
    return copy;
  };
  std::string left;
  {
    StallingProxy proxy(served.daemon->port(), 3'000'000);
    const auto copy = begin_copy(proxy);
    copy->signal(SIGKILL);
    CHECK(copy->wait() == 128 + SIGKILL);
    REQUIRE(names_in(target).size() == 1);
    left = names_in(target).front();
  }
  // Not ours, by a letter; another target's; and one that is being written.
  const std::vector<std::string> others{left + ".txt",
                                        "x" + left,
                                        "." + left,
                                        ".other.img.pagectl-99999999-1.tmp",
                                        ".out.img.pagectl-x-1.tmp",
                                        ".out.img.pagectl-99999999.tmp"};
  for (const auto& name : others) write_file((target / name).string(), "others'");
  StallingProxy proxy(served.daemon->port(), 3'000'000);
  const auto copying = begin_copy(proxy);
  CHECK_FALSE(std::filesystem::exists(target / left));
  const auto with_copy = names_in(target);
  CHECK(with_copy.size() == others.size() + 1);
  CHECK(pagectl({"copy", served.daemon->tcp_uri("demo"), out}).status == 0);
  auto expected = with_copy;
  expected.push_back("out.img");
  std::sort(expected.begin(), expected.end());
  CHECK(names_in(target) == expected);
  CHECK((read_file(out) == random_bytes(256, 1)));
}

TEST_CASE("a copy whose connection breaks leaves nothing") {
  const Served served(256);
  std::filesystem::create_directory(served.dir.path() / "target");
  StallingProxy proxy(served.daemon->port(), 3'000'000);
  Process copy({pagectl_program(), "copy", "pageserver://127.0.0.1:" + std::to_string(proxy.port()) + "/demo",
                served.dir.file("target/out.img")});
  proxy.wait_until_stalled();
  proxy.cut();
  CHECK(copy.wait() == 75);
  CHECK_THAT(copy.err_so_far(), Contains("demo"));
  CHECK(names_in(served.dir.path() / "target").empty());
}

TEST_CASE("a copy takes little memory however large the image is") {
  const Served served(1024);
  for (const auto& destination : {served.dir.file("out.img"), served.daemon->tcp_uri("fresh")}) {
    if (destination.starts_with("pageserver")) REQUIRE(pagectl({"create", destination}).status == 0);
    // In KiB; what a sanitizer adds is no matter of ours.
    const auto result = run({"bash", "-c",
                             "\"$0\" copy -q \"$1\" \"$2\" & pid=$!; max=0; "
                             "while read -r _ kb _ < <(grep VmHWM /proc/$pid/status 2>/dev/null); "
                             "do [ -n \"$kb\" ] && max=$kb; done; wait $pid && echo $max",
                             pagectl_program(), served.daemon->tcp_uri("demo"), destination});
    INFO(result.err);
    REQUIRE(result.status == 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(std::stoul(result.out) < 48 * 1024);
#endif
  }
}

TEST_CASE("an upload is one transaction: interrupted, it leaves no trace") {
  Served served(64);
  write_file(served.dir.file("in.img"), random_bytes(256, 2));
  for (const int number : {SIGINT, SIGKILL}) {
    StallingProxy proxy(served.daemon->port(), 6'000'000);
    Process copy({pagectl_program(), "copy", "--force", served.dir.file("in.img"),
                  "pageserver://127.0.0.1:" + std::to_string(proxy.port()) + "/demo"});
    proxy.wait_until_stalled();
    copy.signal(number);
    CHECK(copy.wait() == 128 + number);
  }
  write_file(served.dir.file("before.img"), random_bytes(64, 1));
  CHECK(pagectl({"diff", served.dir.file("before.img"), served.daemon->tcp_uri("demo")}).status == 0);
  const auto report =
      pagectl_json({"copy", "--force", served.dir.file("in.img"), served.daemon->tcp_uri("demo", "wait_ms=30000")});
  CHECK(report["atomic"] == true);
  CHECK(served.daemon->stop() == 0);
  CHECK((read_file(served.dir.file("demo.img")) == random_bytes(256, 2)));
}

TEST_CASE("an upload with publish=on_write says that it is not atomic") {
  const Served served;
  write_file(served.dir.file("in.img"), random_bytes(9, 2));
  CHECK(pagectl_json({"copy", "-f", served.dir.file("in.img"),
                      served.daemon->tcp_uri("demo", "publish=on_write")})["atomic"] == false);
}

TEST_CASE("a copy of a store that is being written is of one version") {
  const Served served(64);
  Process writer({pagectl_program(), "bench", served.daemon->tcp_uri("demo"), "--write", "100", "--size", "64KiB",
                  "--seconds", "60"});
  served.daemon->wait_for_log("pagectl bench");
  for (int i = 0; i < 3; ++i) {
    const auto copied =
        pagectl_json({"copy", "--check", "--force", served.daemon->unix_uri("demo"), served.dir.file("out.img")});
    CHECK(copied["consistent"] == true);
    CHECK(copied["version"]["number"] > 0);
  }
  // A live view of the same may be a mixture, and then says so.
  const auto live = pagectl_json({"hash", served.daemon->tcp_uri("demo", "view=live")});
  CHECK(live["consistent"] == false);
  writer.signal(SIGKILL);
  CHECK(writer.wait() == 128 + SIGKILL);
}
