#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

/// Elements that open are closed, in order.
bool is_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = 0; (at = svg.find('<', at)) != std::string::npos;) {
    const auto end = svg.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = svg.substr(at + 1, end - at - 1);
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with("/")) {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    at = end;
  }
  return open.empty();
}

std::string picture(std::vector<std::string> arguments) {
  const auto result = pagectl(std::move(arguments));
  INFO(result.err);
  CHECK(result.status == 0);
  CHECK(result.out.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK(result.out.ends_with("</svg>\n"));
  CHECK(is_well_formed(result.out));
  CHECK(result.out.find("nan") == std::string::npos);
  CHECK(result.out.find("inf\"") == std::string::npos);
  return result.out;
}

}  // namespace

TEST_CASE("plot draws what a trace reads and writes, and how the image grows") {
  const std::string svg = picture({"plot", "trace", engine_fixture("small_crud.wdtr.zst")});
  CHECK_THAT(svg, Contains("15731 records"));
  CHECK_THAT(svg, Contains("Pages read") && Contains("Pages written") && Contains("size of the image"));
  CHECK(count_of(svg, "fill=\"#4477aa\"") > 100);
  CHECK(count_of(svg, "fill=\"#cc6644\"") > 100);
  CHECK(svg.size() < 1u << 20);
  CHECK_THAT(picture({"plot", "trace", engine_fixture("reopen.wdtr.zst")}), Contains("3550 records"));
}

TEST_CASE("plot draws a trace without records, and refuses half of one") {
  const TempDir dir;
  write_file(dir.file("none.wdtr"), "WDTRACE1" + std::string(40, '\0'));
  CHECK_THAT(picture({"plot", "trace", dir.file("none.wdtr")}), Contains("0 records"));
  // Sizes and lengths that a file only claims take no memory.
  std::string claims = "WDTRACE1" + std::string(40, '\0');
  claims[16 + 8] = 1;                                                // records
  claims[8 + 6] = claims[8 + 24 + 6] = '\x7f';                       // both sizes
  claims += '\x03' + std::string(8, '\0') + std::string(4, '\xff');  // a write of 4 GiB
  write_file(dir.file("half.wdtr"), claims);
  const auto result = pagectl({"plot", "trace", dir.file("half.wdtr")});
  CHECK(result.status == 1);
  CHECK(result.out.empty());
  CHECK_THAT(result.err, Contains("record 1 of 1") && Contains("cut off"));
}

TEST_CASE("plot draws latencies over time and the pages that a bench used") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(4, 1));
  const auto report =
      pagectl_json({"bench", dir.file("a.img"), "--size", "8,64KiB", "--count", "300", "--write", "50"});
  for (const auto& run : report["runs"]) {
    std::uint64_t over_time = 0, over_pages = 0;
    for (const auto& slot : run["timeline"]["slots"]) {
      over_time += slot["requests"].get<std::uint64_t>();
      CHECK(slot["median_us"] <= slot["max_us"]);
    }
    CHECK(over_time == 300);
    CHECK(run["pages"]["pages"] == 4);
    CHECK(run["pages"]["reads"].size() == 4);
    for (const char* kind : {"reads", "writes"})
      for (const auto& count : run["pages"][kind]) over_pages += count.get<std::uint64_t>();
    CHECK(over_pages == 300);
  }
  write_file(dir.file("bench.json"), report.dump());
  const std::string svg = picture({"plot", "bench", dir.file("bench.json")});
  CHECK_THAT(svg, Contains("8 bytes, depth 1, 50 % writes") && Contains("65536 bytes"));
  CHECK(count_of(svg, "<path ") == 6);
  CHECK(count_of(svg, "and on: ") == 16);
}

TEST_CASE("plot draws a replay, with its flushes") {
  const TempDir dir;
  const auto report = pagectl_json({"replay", engine_fixture("small_crud.wdtr.zst"), dir.file("again.img")});
  std::uint64_t over_time = 0;
  for (const auto& slot : report["timeline"]["slots"]) over_time += slot["requests"].get<std::uint64_t>();
  CHECK(over_time == small_crud.records - report["out_of_bounds"].get<std::uint64_t>());
  CHECK(report["timeline"]["slots"].size() <= 96);
  write_file(dir.file("replay.json"), report.dump());
  CHECK_THAT(picture({"plot", "bench", dir.file("replay.json")}),
             Contains("replay of ") && Contains("15731 operations"));
}

TEST_CASE("plot takes names for text, and refuses what is no report") {
  const TempDir dir;
  const auto report = [](const std::string& store, const std::string& max) {
    return R"({"store":")" + store +
           R"(","runs":[{"request_bytes":8,"depth":1,"write_percent":0,"requests_per_second":1,)"
           R"("timeline":{"slot_ms":1,"slots":[{"requests":1,"median_us":0,"p99_us":2,"max_us":)" +
           max + R"(}]},"pages":{"pages":1,"pages_per_tile":1,"reads":[1],"writes":[0]}}]})";
  };
  write_file(dir.file("a.json"), report("<script>alert(1)</script>&", "3"));
  const std::string svg = picture({"plot", "bench", dir.file("a.json")});
  CHECK(svg.find("<script") == std::string::npos);
  CHECK_THAT(svg, Contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;"));
  picture({"plot", "bench", (write_file(dir.file("large.json"), report("a", "1e300")), dir.file("large.json"))});

  for (const std::string& wrong :
       {std::string(), std::string("[]"), std::string("{}"), std::string("{\"runs\":[{}],\"store\":\"a\"}"),
        report("a", "-1"), report("a", "\"x\""), report("a", "null")}) {
    write_file(dir.file("wrong.json"), wrong);
    const auto result = pagectl({"plot", "bench", dir.file("wrong.json")});
    INFO(wrong << "\n" << result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains("pagectl bench URI --json") && !Contains("json.exception"));
  }
  // What may be mistaken for one: it is said what the file is.
  write_file(dir.file("a.img"), random_bytes(1, 1));
  for (const auto& [file, is] : {std::pair{dir.file("a.img"), "it is no JSON"},
                                 std::pair{engine_fixture("small_crud.wdtr.zst"), "it is a trace"}}) {
    const auto result = pagectl({"plot", "bench", file});
    CHECK(result.status == 2);
    CHECK_THAT(result.err,
               Contains(is) && Contains("expected the report of a bench or a replay") && !Contains("json.exception"));
  }
  CHECK(pagectl({"plot", "bench", dir.file("missing.json")}).status == 1);
  CHECK(pagectl({"plot", "pages", dir.file("a.json")}).status == 2);
  CHECK(pagectl({"plot", "bench", dir.file("a.json"), "--json"}).status == 2);
}
