#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

struct Pair {
  TempDir dir;
  std::string a = dir.file("a.img");
  std::string b = dir.file("b.img");

  Pair() {
    write_file(a, random_bytes(20, 7));
    write_file(b, random_bytes(20, 7));
  }
};

}  // namespace

TEST_CASE("images that are the same have no difference and exit status 0") {
  const Pair pair;
  const auto result = pagectl({"diff", pair.a, pair.b});
  CHECK(result.status == 0);
  CHECK(result.out.empty());
  const auto document = pagectl_json({"diff", pair.a, pair.b});
  CHECK(document["same"] == true);
  CHECK(document["ranges"].empty());
}

TEST_CASE("diff names the ranges of pages and exits with 1") {
  const Pair pair;
  // One byte each: the first and the last of a page, and two neighbours across a block's border.
  patch_file(pair.b, 0, "?");
  patch_file(pair.b, 3 * page_bytes - 1, "??");
  patch_file(pair.b, 7 * page_bytes + 5, "?");
  patch_file(pair.b, 8 * page_bytes + 5, "?");
  patch_file(pair.b, 20 * page_bytes - 1, "?");
  const auto result = pagectl({"diff", pair.a, pair.b});
  CHECK(result.status == 1);
  CHECK(result.out == "page 0\npages 2-3\npages 7-8\npage 19\n");

  const auto json = pagectl({"diff", "--json", pair.a, pair.b});
  CHECK(json.status == 1);
  const auto document = nlohmann::json::parse(json.out);
  CHECK(document["same"] == false);
  CHECK(document["pages_differing"] == 6);
  CHECK(document["ranges"] == nlohmann::json::parse(R"([{"page":0,"pages":1},{"page":2,"pages":2},
                                                         {"page":7,"pages":2},{"page":19,"pages":1}])"));
  const auto quiet = pagectl({"diff", "-q", pair.a, pair.b});
  CHECK(quiet.status == 1);
  CHECK(quiet.out + quiet.err == "");
}

TEST_CASE("pages that only one image has differ") {
  const Pair pair;
  write_file(pair.b, random_bytes(20, 7) + std::string(2 * page_bytes, '\0'));
  const auto result = pagectl({"diff", pair.a, pair.b});
  CHECK(result.status == 1);
  CHECK_THAT(result.out, Catch::Matchers::StartsWith("pages 20-21\n") && Contains("20 pages") && Contains("22 pages"));
  CHECK(pagectl({"diff", pair.b, pair.a}).status == 1);
}

TEST_CASE("a hole and zeros are the same, and holes are not read") {
  const TempDir dir;
  make_sparse(dir.file("a.img"), 1ull << 40);
  make_sparse(dir.file("b.img"), 1ull << 40);
  patch_file(dir.file("a.img"), 1ull << 39, std::string(page_bytes, '\0'));
  CHECK(pagectl({"diff", dir.file("a.img"), dir.file("b.img")}).status == 0);
  patch_file(dir.file("b.img"), (1ull << 39) + 70'000, "x");
  CHECK(pagectl({"diff", dir.file("a.img"), dir.file("b.img")}).out == "page 8388609\n");
}

TEST_CASE("diff fails on what can't be read") {
  const Pair pair;
  CHECK(pagectl({"diff", pair.a, pair.a}).status == 0);
  // Not 1, which says that they differ.
  CHECK(pagectl({"diff", pair.a, pair.dir.file("missing.img")}).status == 2);
  CHECK(pagectl({"diff", pair.a}).status == 2);
  CHECK(pagectl({"diff", pair.a, "pageserver://127.0.0.1:1/demo"}).status == 75);
  patch_file(pair.b, 0, "?");
  const auto full = run({"bash", "-c", "\"$0\" diff \"$1\" \"$2\" > /dev/full", pagectl_program(), pair.a, pair.b});
  CHECK(full.status == 2);
}
