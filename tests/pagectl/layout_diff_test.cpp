// diff --layout: tables and rows that differ, wherever they lie.
#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

struct Pair {
  TempDir dir;
  std::string a = dir.file("a.img");
  std::string b = dir.file("b.img");

  Pair() {
    unpack("small_crud.img", a);
    unpack("small_crud.img", b);
  }
  /// Rows of books, on page 16.
  std::vector<nlohmann::json> rows() const {
    std::vector<nlohmann::json> found;
    const auto document = pagectl_json({"inspect", a, "--page", "16"});
    for (const auto& field : document["fields"])
      if (field["name"] == "row") found.push_back(field);
    return found;
  }
  std::uint64_t at(const nlohmann::json& row) const { return 16 * page_bytes + row["offset"].get<std::uint64_t>(); }
};

nlohmann::json diff(const Pair& pair, int status) {
  const auto result = pagectl({"diff", "--layout", "--json", pair.a, pair.b});
  INFO(result.err);
  CHECK(result.status == status);
  return nlohmann::json::parse(result.out);
}

}  // namespace

TEST_CASE("diff --layout of the same rows says so, though they lie elsewhere") {
  const Pair pair;
  auto document = diff(pair, 0);
  CHECK(document["same"] == true);
  CHECK(document["rows"].empty());
  REQUIRE(document["tables"].size() == 2);
  CHECK(document["tables"][1]["rows_a"] == 140);

  const auto rows = pair.rows();
  std::size_t other = 1;
  while (rows.at(other)["length"] != rows.at(0)["length"] || rows.at(other)["value"] == rows.at(0)["value"]) ++other;
  const std::string image = read_file(pair.a);
  const std::uint64_t length = rows.at(0)["length"];
  patch_file(pair.b, pair.at(rows.at(0)), image.substr(pair.at(rows.at(other)), length));
  patch_file(pair.b, pair.at(rows.at(other)), image.substr(pair.at(rows.at(0)), length));
  CHECK(pagectl({"diff", "-q", pair.a, pair.b}).status == 1);
  CHECK(diff(pair, 0)["same"] == true);
}

TEST_CASE("diff --layout names a changed row by its key, and the columns that changed") {
  const Pair pair;
  const auto row = pair.rows().at(4);
  const std::string value = row["value"];
  const std::string key = value.substr(3, value.find(',') - 3);
  patch_file(pair.b, pair.at(row) + 2 + 8 + 2, "%");  // the first letter of its title
  const auto document = diff(pair, 1);
  REQUIRE(document["rows"].size() == 1);
  CHECK(document["rows"][0]["table"] == "books");
  CHECK(document["rows"][0]["key"] == "(" + key + ")");
  REQUIRE(document["rows"][0]["columns"].size() == 1);
  CHECK(document["rows"][0]["columns"][0]["name"] == "title");
  CHECK(document["tables"][0]["state"] == "same");
  CHECK(document["tables"][1]["state"] == "rows_differ");
  CHECK(document["tables"][1]["changed"] == 1);
  const auto text = pagectl({"diff", "--layout", pair.a, pair.b});
  CHECK_THAT(text.out, Contains("! (" + key + "): title ") && Contains("table books: 1 changed, 0 only in") &&
                           Contains("table authors: the same 58 rows"));
}

TEST_CASE("diff --layout finds the rows that only one has") {
  const Pair pair;
  const auto rows = pair.rows();
  patch_file(pair.b, pair.at(rows.at(2)), std::string(rows.at(2)["length"].get<std::size_t>(), '\0'));
  patch_file(pair.a, pair.at(rows.at(9)), std::string(rows.at(9)["length"].get<std::size_t>(), '\0'));
  const auto document = diff(pair, 1);
  REQUIRE(document["rows"].size() == 2);
  CHECK(document["tables"][1]["only_in_a"] == 1);
  CHECK(document["tables"][1]["only_in_b"] == 1);
  int only_a = 0, only_b = 0;
  for (const auto& row : document["rows"]) {
    if (row["b"].is_null()) only_a += row["a"] == rows.at(2)["value"] ? 1 : 0;
    if (row["a"].is_null()) only_b += row["b"] == rows.at(9)["value"] ? 1 : 0;
  }
  CHECK(only_a == 1);
  CHECK(only_b == 1);
}

TEST_CASE("diff --layout over a whole workload accounts for each row") {
  const Pair pair;
  REQUIRE(pagectl({"replay", "-q", engine_fixture("reopen.wdtr.zst"), pair.b}).status == 0);
  const auto document = diff(pair, 1);
  std::size_t told = 0;
  for (const auto& table : document["tables"]) {
    CHECK(table["rows_a"].get<int>() - table["only_in_a"].get<int>() ==
          table["rows_b"].get<int>() - table["only_in_b"].get<int>());
    CHECK(table["unreadable"] == 0);
    told += table["changed"].get<std::size_t>() + table["only_in_a"].get<std::size_t>() +
            table["only_in_b"].get<std::size_t>();
  }
  CHECK(told > 0);
  CHECK(document["rows"].size() == told);
}

TEST_CASE("diff --layout of what is no database is trouble, not a difference") {
  const Pair pair;
  write_file(pair.b, random_bytes(3, 1));
  const auto result = pagectl({"diff", "--layout", pair.a, pair.b});
  CHECK(result.status == 2);
  CHECK_THAT(result.err, Contains("it is unknown") && Contains("without --layout pages are compared"));
}
