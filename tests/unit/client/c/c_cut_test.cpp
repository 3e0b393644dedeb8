// The C interface over a connection that is cut at each of its bytes: a clear error, and never a wrong byte.
#include "tests/support/catch.hpp"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <pageserver/pageserver.h>

#include "tests/support/c_handles.hpp"
#include "tests/support/cut_proxy.hpp"
#include "tests/support/daemon.hpp"

using namespace pageserver::test;

namespace {

constexpr std::uint64_t page = PS_PAGE_BYTES;

/// What a byte of the store is; never 0.
char byte_at(std::uint64_t offset) { return static_cast<char>(offset % 127 + 1); }

std::string bytes_at(std::uint64_t offset, std::size_t length) {
  std::string bytes;
  for (std::size_t i = 0; i < length; ++i) bytes += byte_at(offset + i);
  return bytes;
}

/// The first code that is not PS_OK, and its text.
struct Ended {
  int code = PS_OK;
  std::string text;
  bool wrong_byte = false;
};

Ended blocking_work(const std::string& uri) {
  Ended end;
  ps_error error = no_error();
  ps_session* raw = nullptr;
  const auto ok = [&](int code) {
    if (end.code == PS_OK && code != PS_OK) end = {code, error.text, end.wrong_byte};
    return end.code == PS_OK;
  };
  if (!ok(ps_session_open(uri.c_str(), nullptr, &raw, &error))) return end;
  const CSession session{raw};
  const auto reads = [&](std::uint64_t offset, const std::string& expected) {
    std::string seen(expected.size(), '\0');
    if (!ok(ps_session_read(session.get(), offset, seen.data(), seen.size(), &error))) return false;
    end.wrong_byte = end.wrong_byte || seen != expected;
    return true;
  };
  const ps_stat* stat = nullptr;
  const ps_ranges* ranges = nullptr;
  std::uint64_t before = 0;
  const bool all = reads(100, bytes_at(100, 8)) && reads(page - 150, bytes_at(page - 150, 300)) &&
                   ok(ps_session_write(session.get(), 100, "private", 7, &error)) &&
                   ok(ps_session_grow(session.get(), 1, &before, &error)) &&
                   reads(98, bytes_at(98, 2) + "private" + bytes_at(107, 1)) &&
                   ok(ps_session_zero(session.get(), 102, 3, &error)) &&
                   ok(ps_session_data_ranges(session.get(), 0, page, &ranges, &error)) &&
                   ok(ps_session_stat(session.get(), &stat, &error)) && ok(ps_session_discard(session.get(), &error)) &&
                   reads(100, bytes_at(100, 8));
  ps_stat_free(stat);
  ps_ranges_free(ranges);
  if (all) {
    end.wrong_byte = end.wrong_byte || before != 3;
    return end;
  }
  // It stays at its end, in the same words.
  char byte = 0;
  for (const int again : {ps_session_read(session.get(), 0, &byte, 1, &error), ps_session_flush(session.get(), &error)})
    if (again != end.code || error.text != end.text) end.text += ", and then another error: " + std::string{error.text};
  return end;
}

Ended pipelined_work(const std::string& uri) {
  Ended end;
  ps_error error = no_error();
  ps_async* raw = nullptr;
  end.code = ps_async_open(uri.c_str(), nullptr, &raw, &error);
  end.text = error.text;
  if (end.code != PS_OK) return end;
  const CAsync session{raw};
  struct Read {
    std::string expected, seen;
    int runs = 0;
    int code = PS_OK;
  };
  std::vector<Read> reads;
  for (std::uint64_t i = 0; i < 8; ++i) {
    const auto expected = i == 4 ? "written" + bytes_at(4'007, 13) : bytes_at(i * 1'000, 20);
    reads.push_back({expected, std::string(20, '\0')});
  }
  const auto done = [](void* user_data, const ps_error* failed) {
    auto& read = *static_cast<Read*>(user_data);
    ++read.runs;
    read.code = failed == nullptr ? PS_OK : failed->code;
  };
  for (std::uint64_t i = 0; i < reads.size(); ++i) {
    if (i == 4) CHECK(ps_async_write(session.get(), 4'000, "written", 7, nullptr, nullptr, &error) == PS_OK);
    CHECK(ps_async_read(session.get(), i * 1'000, reads[i].seen.data(), 20, done, &reads[i], &error) == PS_OK);
  }
  end.code = ps_async_run(session.get(), 30'000, &error);
  end.text = error.text;
  for (const auto& read : reads) {
    if (read.runs != 1 || (read.code != PS_OK && read.code != end.code)) end.text += ", an operation ended otherwise";
    end.wrong_byte = end.wrong_byte || (read.code == PS_OK && read.seen != read.expected);
  }
  return end;
}

void check_cuts(const std::function<Ended(const std::string&)>& work, const std::string& query) {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  {
    const auto writer = c_session(daemon.unix_uri("demo"));
    const auto image = bytes_at(0, 3 * page);
    REQUIRE(ps_session_grow(writer.get(), 3, nullptr, nullptr) == PS_OK);
    REQUIRE(ps_session_write(writer.get(), 0, image.data(), image.size(), nullptr) == PS_OK);
  }
  CutProxy proxy{daemon.file("p.sock"), daemon.socket_path()};
  // On a fork: whatever is cut, the store stays as it is. The last request is not close, which nobody hears of.
  const auto uri = "pageserver+unix:///demo?socket=" + proxy.path() + "&access=fork&poll_us=0" + query;
  proxy.cut_after({});
  const auto whole = work(uri);
  INFO(whole.text);
  REQUIRE(whole.code == PS_OK);
  REQUIRE_FALSE(whole.wrong_byte);
  const auto total = proxy.passed();
  CHECK(total.to_daemon > 300);
  CHECK(total.to_client > 300);
  constexpr auto all = std::numeric_limits<std::uint64_t>::max();
  std::vector<CutProxy::Bytes> cuts;
  for (std::uint64_t at = 1; at < total.to_daemon; ++at) cuts.push_back({at, all});
  // Pages of a cache come whole: there are too many bytes in them to look at each.
  const std::uint64_t step = total.to_client > 10'000 ? 431 : 1;
  for (std::uint64_t at = 1; at < total.to_client; at += step) cuts.push_back({all, at});
  std::size_t lost = 0;
  for (const auto& cut : cuts) {
    proxy.cut_after(cut);
    const auto end = work(uri);
    INFO("cut at " << cut.to_daemon << " " << cut.to_client << ": " << ps_code_name(end.code) << ": " << end.text);
    REQUIRE_FALSE(end.wrong_byte);
    // Whether the answer to close is cut shows to nobody.
    if (end.code == PS_OK) continue;
    ++lost;
    REQUIRE(end.code == PS_CONNECTION_LOST);
    REQUIRE(end.text.find("the connection") != std::string::npos);
    REQUIRE(end.text.find(", a") == std::string::npos);
  }
  // Of close there are a frame's few bytes in each direction.
  CHECK(lost + 100 > cuts.size());
}

}  // namespace

TEST_CASE("C: a connection cut at each byte ends in connection_lost, and never in a wrong byte") {
  check_cuts(blocking_work, "");
}
TEST_CASE("C: a cached session cut at many places never answers a wrong byte") {
  check_cuts(blocking_work, "&cache_bytes=1MiB");
}
TEST_CASE("C, async: a connection cut at each byte ends every operation, and never in a wrong byte") {
  check_cuts(pipelined_work, "");
}
