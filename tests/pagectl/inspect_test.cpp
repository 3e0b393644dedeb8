// inspect: what it says of images that the engine made, and of those that it did not.
#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

struct Fixture {
  TempDir dir;
  std::string image = dir.file("small.img");

  Fixture() { unpack("small_crud.img", image); }
};

nlohmann::json replayed(const TempDir& dir, const TraceCase& trace) {
  const std::string image = dir.file(trace.name);
  if (trace.starts_from_image)
    unpack("small_crud.img", image);
  else
    REQUIRE(pagectl({"create", image}).status == 0);
  REQUIRE(pagectl({"replay", "-q", engine_fixture(std::string(trace.name) + ".wdtr.zst"), image}, {},
                  std::chrono::seconds(240))
              .status == 0);
  return pagectl_json({"inspect", image});
}

}  // namespace

TEST_CASE("inspect names tables, rows, space, indexes and counters of a database") {
  const Fixture fixture;
  const auto document = pagectl_json({"inspect", fixture.image});
  CHECK(document["layout"] == "wasm-dbms-0.10");
  CHECK(document["pages"] == 19);
  CHECK(document["errors"] == 0);
  CHECK(document["warnings"] == 0);
  CHECK(document["orphan_runs"] == 0);
  CHECK(document["pages_by_role"]["records"] == 2);
  CHECK(document["pages_by_role"]["index_leaf"] == 4);
  REQUIRE(document["tables"].size() == 2);
  const auto& books = document["tables"][1];
  CHECK(books["name"] == "books");
  CHECK(books["rows"] == 140);
  CHECK(books["free_segments"] == 6);
  CHECK(books["free_segment_bytes"] == 256);
  CHECK(books["record_pages"][0]["page"] == 16);
  CHECK(books["record_pages"][0]["free_end_bytes"] == 55712);
  CHECK(books["row_bytes"].get<int>() + 256 + 55712 == 65536);
  CHECK(books["counters"] == nlohmann::json::parse(R"([{"column":"id","last":"150"}])"));
  CHECK(books["columns"][4]["foreign_key"] ==
        nlohmann::json::parse(R"({"table":"authors","column":"id","on_delete":"restrict"})"));
  REQUIRE(books["indexes"].size() == 2);
  for (const auto& index : books["indexes"]) CHECK(index["entries"] == 140);
  CHECK(document["tables"][0]["rows"] == 58);

  const auto text = pagectl({"inspect", fixture.image});
  CHECK(text.status == 0);
  CHECK_THAT(text.out, Contains("table books: 140 rows in 1 page") && Contains("author_id Uint32 -> authors(id)") &&
                           Contains("counter  id 150") && Contains("2 record page"));
}

TEST_CASE("inspect understands what the engine's recorded workloads leave") {
  const TempDir dir;
  const auto blobs = replayed(dir, blob);
  CHECK(blobs["errors"] == 0);
  CHECK(blobs["tables"][0]["rows"] == 125);
  CHECK(blobs["tables"][0]["record_pages"].size() == 24);
  const auto again = replayed(dir, reopen);
  CHECK(again["errors"] == 0);
  CHECK(again["tables"].size() == 2);
}

TEST_CASE("inspect shows one page with its fields named") {
  const Fixture fixture;
  const auto page = [&](const std::string& number) {
    return pagectl_json({"inspect", fixture.image, "--page", number});
  };
  CHECK(page("0")["role"] == "directory");
  CHECK(page("0")["fields"].size() == 4);
  CHECK(page("1")["role"] == "unclaimed_list");
  CHECK(page("2")["fields"][1] == nlohmann::json::parse(R"({"offset":1,"length":8,"name":"name","value":"authors"})"));
  CHECK(page("3")["fields"][1]["value"] == "page 15, 59328 bytes free at its end");
  CHECK(page("12")["fields"][1]["value"] == "id=150");
  CHECK(page("18")["fields"].size() == 7);

  const auto records = page("16");
  CHECK(records["role"] == "records");
  CHECK(records["table"] == "books");
  std::uint64_t end = 0;
  int rows = 0;
  for (const auto& field : records["fields"]) {
    CHECK(field["offset"] == end);
    end += field["length"].get<std::uint64_t>();
    rows += field["name"] == "row" ? 1 : 0;
  }
  CHECK(end == page_bytes);
  CHECK(rows == 140);

  const auto leaf = page("14");
  CHECK(leaf["role"] == "index_leaf");
  CHECK(leaf["fields"].size() == 5 + 140);
  const auto beyond = pagectl({"inspect", fixture.image, "--page", "19"});
  CHECK(beyond.status == 1);
  CHECK_THAT(beyond.err, Contains("page 19") && Contains("19 pages") && Contains("the last one is 18"));
}

TEST_CASE("pages that belong to nothing are named, and whether they are zeros") {
  const Fixture fixture;
  REQUIRE(pagectl({"grow", fixture.image, "3"}).status == 0);
  patch_file(fixture.image, 20 * page_bytes, "left behind");
  const auto document = pagectl_json({"inspect", fixture.image});
  CHECK(document["pages_by_role"]["orphan"] == 3);
  CHECK(document["orphans"] == nlohmann::json::parse(R"([{"page":19,"pages":3,"zeros":false}])"));
  CHECK(document["errors"] == 0);
  CHECK_THAT(pagectl({"inspect", fixture.image}).out, Contains("pages 19-21 belong to nothing, not zeros"));
}

TEST_CASE("the map draws each page with what it is, and record pages with how full they are") {
  const Fixture fixture;
  const auto map = pagectl({"inspect", fixture.image, "--map"});
  CHECK(map.status == 0);
  CHECK_THAT(map.out, Contains("         0  DUSLFInnSLFICnn01ff\n") && Contains("n   index leaf") &&
                          Contains("0-9 record page, so many tenths full"));
  const auto svg = pagectl({"inspect", fixture.image, "--svg"});
  CHECK(svg.status == 0);
  CHECK(svg.out.starts_with("<svg "));
  CHECK(svg.out.ends_with("</svg>\n"));
  CHECK_THAT(svg.out, Contains("<title>page 16: record page of table `books`, 10-20 % full</title>"));
  std::size_t titles = 0;
  for (std::size_t at = 0; (at = svg.out.find("<title>", at)) != std::string::npos; ++at) ++titles;
  CHECK(titles == 19);
  CHECK(pagectl({"inspect", fixture.image, "--map", "--json"}).status == 2);

  // Several pages in each sign, where they are many.
  REQUIRE(pagectl({"grow", fixture.image, "9000"}).status == 0);
  CHECK_THAT(pagectl({"inspect", fixture.image, "--map"}).out, Contains("each sign is 3 pages"));
}

TEST_CASE("an image of no known layout is said to be unknown") {
  const TempDir dir;
  const std::string image = dir.file("random.img");
  write_file(image, random_bytes(5, 3));
  const auto document = pagectl_json({"inspect", image});
  CHECK(document["layout"] == "unknown");
  CHECK(!document["why"].empty());
  CHECK_THAT(pagectl({"inspect", image}).out, Contains("unknown, 5 pages"));
  CHECK(pagectl({"verify", image}).status == 1);

  const std::string zeros = dir.file("zeros.img");
  make_sparse(zeros, 4 * page_bytes);
  CHECK(pagectl_json({"inspect", zeros})["layout"] == "empty");
  CHECK(pagectl({"verify", zeros}).status == 0);
  const std::string nothing = dir.file("nothing.img");
  write_file(nothing, "");
  CHECK(pagectl_json({"inspect", nothing})["layout"] == "empty");
  CHECK(pagectl({"inspect", nothing, "--page", "0"}).status == 1);
}

TEST_CASE("an image of 0.9 is told from later ones, and one with access rights is warned of loudly") {
  const TempDir dir;
  const std::string image = dir.file("old.img");
  unpack("release_0_9.img", image);
  auto document = pagectl_json({"inspect", image});
  CHECK(document["layout"] == "wasm-dbms-0.9");
  CHECK(document["rights"] == 0);
  CHECK(document["errors"] == 0);
  CHECK(document["warnings"] == 0);
  CHECK(document["pages_by_role"]["rights"] == 1);
  CHECK(document["tables"].size() == 2);
  CHECK(pagectl({"verify", image}).status == 0);
  CHECK_THAT(pagectl({"inspect", image}).out, Contains("engines of 0.10 and later can open it, too"));

  unpack("release_0_9_rights.img", image);
  document = pagectl_json({"inspect", image});
  CHECK(document["layout"] == "wasm-dbms-0.9");
  CHECK(document["rights"] == 2);
  REQUIRE(document["findings"].size() == 1);
  CHECK(document["findings"][0]["kind"] == "rights-of-0.9");
  const auto verified = pagectl({"verify", image});
  CHECK(verified.status == 0);
  CHECK_THAT(verified.out, Contains("warning: page 1 offset 0: ") && Contains("DESTROYS THE DIRECTORY"));
  CHECK_THAT(pagectl({"inspect", image, "--page", "1"}).out, Contains("access rights") && Contains("identities: 2"));
}

TEST_CASE("values of each type are shown, and rows of one length are found where they lie") {
  const TempDir dir;
  const std::string image = dir.file("types.img");
  unpack("release_0_11_types.img", image);
  const auto document = pagectl_json({"inspect", image});
  CHECK(document["errors"] == 0);
  CHECK(document["tables"][0]["rows"] == 300);
  CHECK(document["tables"][0]["free_segments"] == 57);
  CHECK(document["tables"][1]["rows"] == 400);
  CHECK(pagectl({"verify", image}).status == 0);
  // Back to back: 4 + 2 + 1 bytes behind a length of 2.
  const auto points = pagectl_json({"inspect", image, "--page", "15"})["fields"];
  CHECK(points[0] == nlohmann::json::parse(R"({"offset":0,"length":9,"name":"row","value":"id=0, x=-50, set=true"})"));
  CHECK(points[1]["offset"] == 9);
  const auto people = pagectl_json({"inspect", image, "--page", "16"})["fields"];
  CHECK(
      people[0]["value"] ==
      "id=1, name=\"person 0\", nick=null, photo=0 bytes , born=1950-01-01, seen=2026-11-28 00:05:09.000000 UTC-60min, "
      "height=1.70, tag=00000000-0000-0000-0000-00000000feed, score=null, point=0");
}

TEST_CASE("structures of ic-stable-structures are told by their magics") {
  const TempDir dir;
  const std::string image = dir.file("memories.img");
  unpack("stable_structures.img", image);
  const auto document = pagectl_json({"inspect", image});
  CHECK(document["layout"] == "ic-stable-memories");
  CHECK(document["bucket_pages"] == 1);
  CHECK(document["buckets"] == 9);
  CHECK(document["errors"] == 0);
  REQUIRE(document["memories"].size() == 8);
  const char* expected[] = {"btreemap", "btreemap", "vec", "min_heap", "cell", "log_index", "log_data", "unknown"};
  for (std::size_t i = 0; i < 8; ++i) CHECK(document["memories"][i]["structure"] == expected[i]);
  CHECK(document["memories"][0]["entries"] == 27);
  CHECK(document["memories"][2]["entries"] == 40);
  CHECK(document["memories"][7]["id"] == 200);
  CHECK(pagectl({"verify", image}).status == 0);
  CHECK_THAT(pagectl({"inspect", image}).out, Contains("memory 5: Log, its index of version 1, 1 page, 40 entries"));

  unpack("stable_map.img", image);
  CHECK(pagectl_json({"inspect", image})["structure"]["entries"] == 40);
  CHECK(pagectl({"verify", image}).status == 0);
}

TEST_CASE("inspecting changes not one byte") {
  const Fixture fixture;
  const std::string before = sha256_of(fixture.image);
  pagectl({"inspect", fixture.image});
  pagectl({"verify", fixture.image});
  CHECK(sha256_of(fixture.image) == before);
}
