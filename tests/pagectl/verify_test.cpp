// verify: each kind of contradiction is found where it is, and nothing in what the engine left whole.
#include "tests/support/catch.hpp"

#include <functional>
#include <set>

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

std::string number(std::uint64_t value, unsigned bytes) {
  std::string out;
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFFu);
  return out;
}

std::uint64_t at(std::uint64_t page, std::uint64_t offset) { return page * page_bytes + offset; }

/// small_crud's image, and where things are in it: books has records on page 16, its id index on page 13, that of
/// titles on page 14, its page list on page 9, its free segments on page 18.
struct Fixture {
  TempDir dir;
  std::string image = dir.file("small.img");

  Fixture() { unpack("small_crud.img", image); }

  /// The fields of a page that have this name.
  std::vector<nlohmann::json> fields(std::uint64_t page, const std::string& name) const {
    std::vector<nlohmann::json> found;
    const auto document = pagectl_json({"inspect", image, "--page", std::to_string(page)});
    for (const auto& field : document["fields"])
      if (field["name"] == name) found.push_back(field);
    return found;
  }
  std::uint64_t offset(std::uint64_t page, const std::string& name, std::size_t index) const {
    return fields(page, name).at(index)["offset"].get<std::uint64_t>();
  }
  std::string bytes(std::uint64_t page, std::uint64_t begin, std::uint64_t length) const {
    return read_file(image).substr(at(page, begin), length);
  }
};

struct Found {
  int status = 0;
  nlohmann::json findings;

  bool has(const std::string& kind, std::uint64_t page, std::uint64_t offset) const {
    for (const auto& one : findings)
      if (one["kind"] == kind && one["page"] == page && one["offset"] == offset) return true;
    return false;
  }
};

Found verify(const std::string& image) {
  const auto result = pagectl({"verify", "--json", image});
  INFO(result.out);
  INFO(result.err);
  const auto document = nlohmann::json::parse(result.out);
  CHECK(document["ok"] == (document["errors"] == 0));
  CHECK(document["errors"].get<std::size_t>() + document["warnings"].get<std::size_t>() == document["findings"].size());
  CHECK(result.status == (document["errors"] == 0 ? 0 : 1));
  return {result.status, document["findings"]};
}

void finds(const Fixture& fixture, const std::string& kind, std::uint64_t page, std::uint64_t offset) {
  const Found found = verify(fixture.image);
  INFO(kind << " at page " << page << " offset " << offset << " in " << found.findings.dump(1));
  CHECK(found.status == 1);
  CHECK(found.has(kind, page, offset));
}

}  // namespace

TEST_CASE("what the engine left whole agrees with itself") {
  const Fixture fixture;
  const auto result = pagectl({"verify", fixture.image});
  CHECK(result.status == 0);
  CHECK_THAT(result.out, Contains("it agrees with itself"));
  CHECK(verify(fixture.image).findings.empty());
  for (const TraceCase& trace : {blob, reopen}) {
    const std::string image = fixture.dir.file(trace.name);
    if (trace.starts_from_image)
      unpack("small_crud.img", image);
    else
      REQUIRE(pagectl({"create", image}).status == 0);
    REQUIRE(pagectl({"replay", "-q", engine_fixture(std::string(trace.name) + ".wdtr.zst"), image}).status == 0);
    CHECK(verify(image).findings.empty());
  }
}

TEST_CASE("a row that was taken out, and is still in the indexes, is found") {
  const Fixture fixture;
  const auto row = fixture.fields(16, "row").at(7);
  const std::uint64_t offset = row["offset"];
  patch_file(fixture.image, at(16, offset), std::string(row["length"].get<std::size_t>(), '\0'));
  const Found found = verify(fixture.image);
  CHECK(found.has("space-in-no-list", 16, offset));
  std::set<std::uint64_t> pages;
  for (const auto& one : found.findings)
    if (one["kind"] == "entry-without-row") pages.insert(one["page"].get<std::uint64_t>());
  CHECK(pages == std::set<std::uint64_t>{13, 14});
  CHECK(found.findings.size() == 3);
  CHECK_THAT(pagectl({"verify", fixture.image}).out,
             Contains("page 16 offset " + std::to_string(offset) + ": ") && Contains("3 errors, 0 warnings"));
  // Cheap enough for inspect to see.
  CHECK(pagectl_json({"inspect", fixture.image})["errors"] == 2);
}

TEST_CASE("a row that was written, and is in no list and no index, is found") {
  const Fixture fixture;
  const std::uint64_t end = fixture.offset(16, "end", 0);
  const auto row = fixture.fields(16, "row").at(0);
  patch_file(fixture.image, at(16, end), fixture.bytes(16, row["offset"], row["length"]));
  const Found found = verify(fixture.image);
  CHECK(found.has("row-past-end", 16, end));
  CHECK(found.findings.size() == 1);

  // With the page list, and still in no index.
  patch_file(fixture.image, at(9, 8), number(page_bytes - end - row["length"].get<std::uint64_t>(), 8));
  const Found listed = verify(fixture.image);
  CHECK(listed.has("row-not-in-index", 16, end));
  CHECK(listed.findings.size() == 2);
}

TEST_CASE("a key that is not its row's is found, with both") {
  const Fixture fixture;
  const auto entry = fixture.fields(14, "entry").at(20);
  const std::uint64_t offset = entry["offset"];
  const std::uint64_t last = offset + entry["length"].get<std::uint64_t>() - 7;
  patch_file(fixture.image, at(14, last), "~");
  finds(fixture, "index-key", 14, offset);
}

TEST_CASE("a row whose column was changed behind the index's back is found") {
  const Fixture fixture;
  const std::uint64_t offset = fixture.offset(16, "row", 3);
  patch_file(fixture.image, at(16, offset + 2), number(777777, 8));
  const Found found = verify(fixture.image);
  CHECK(found.status == 1);
  REQUIRE(found.findings.size() == 1);
  CHECK(found.findings[0]["kind"] == "index-key");
  CHECK(found.findings[0]["page"] == 13);
  CHECK_THAT(found.findings[0]["text"].get<std::string>(),
             Contains("(777777)") && Contains("page 16 offset " + std::to_string(offset)));
}

TEST_CASE("an entry that leads elsewhere, or twice to one row, is found") {
  const Fixture fixture;
  const auto entry = fixture.fields(13, "entry").at(5);
  const std::uint64_t pointer = at(13, entry["offset"].get<std::uint64_t>() + entry["length"].get<std::uint64_t>() - 6);
  patch_file(fixture.image, pointer, number(15, 4));
  finds(fixture, "entry-without-row", 13, entry["offset"]);
  const auto other = fixture.fields(13, "entry").at(4);
  patch_file(fixture.image, pointer,
             fixture.bytes(13, other["offset"].get<std::uint64_t>() + other["length"].get<std::uint64_t>() - 6, 6));
  finds(fixture, "entry-without-row", 13, entry["offset"]);
}

TEST_CASE("keys out of order, and one that is twice in a unique index, are found") {
  const Fixture fixture;
  const auto first = fixture.fields(13, "entry").at(0);
  const auto second = fixture.fields(13, "entry").at(1);
  const std::uint64_t length = first["length"];
  REQUIRE(second["length"] == length);
  const std::string a = fixture.bytes(13, first["offset"], length);
  const std::string b = fixture.bytes(13, second["offset"], length);
  patch_file(fixture.image, at(13, first["offset"]), b + a);
  finds(fixture, "index-order", 13, second["offset"]);
  patch_file(fixture.image, at(13, first["offset"]), b + b);
  finds(fixture, "index-unique", 13, second["offset"]);
}

TEST_CASE("lengths past the end, and columns that a row has no room for, are found") {
  const Fixture fixture;
  const auto rows = fixture.fields(16, "row");
  const std::uint64_t last = rows.back()["offset"];
  patch_file(fixture.image, at(16, last), number(65000, 2));
  finds(fixture, "row-length", 16, last);
  unpack("small_crud.img", fixture.image);
  patch_file(fixture.image, at(16, last), number(9, 2));
  finds(fixture, "row", 16, last + 2 + 8);
}

TEST_CASE("free segments that are no free room are found") {
  const Fixture fixture;
  const auto segments = fixture.fields(18, "free segment");
  const std::uint64_t offset = segments.at(0)["offset"];
  const std::uint64_t row = fixture.offset(16, "row", 9);
  const auto patch = [&](std::uint64_t page, std::uint64_t begin, std::uint64_t size) {
    patch_file(fixture.image, at(18, offset), number(page, 4) + number(begin, 2) + number(size, 2));
  };
  patch(16, row, 32);
  finds(fixture, "row-in-free-space", 16, row);
  patch(3, 0, 32);
  finds(fixture, "free-segment", 18, offset);
  patch(16, 60000, 32);
  finds(fixture, "free-segment", 18, offset);
  patch(16, 7, 32);
  finds(fixture, "free-segment", 18, offset);
  patch_file(fixture.image, at(18, offset), fixture.bytes(18, segments.at(1)["offset"], 8));
  finds(fixture, "free-segment", 18, segments.at(1)["offset"]);
  patch_file(fixture.image, at(18, 0), number(9000, 2));
  finds(fixture, "free-segments", 18, 0);
}

TEST_CASE("what page 0 says and what is there must agree") {
  const Fixture fixture;
  const std::uint64_t books = fixture.offset(0, "table", 1);
  patch_file(fixture.image, 0, "?");
  finds(fixture, "schema-hash", 0, 0);
  unpack("small_crud.img", fixture.image);
  patch_file(fixture.image, books, "?");
  finds(fixture, "fingerprint", 0, books);
  unpack("small_crud.img", fixture.image);
  patch_file(fixture.image, books + 12, number(1000, 4));
  finds(fixture, "page-out-of-range", 0, books + 12);
  patch_file(fixture.image, books + 12, number(3, 4));
  finds(fixture, "page-owned-twice", 0, books + 12);
  unpack("small_crud.img", fixture.image);
  patch_file(fixture.image, at(8, 0), number(9, 1));
  finds(fixture, "schema", 8, 0);
}

TEST_CASE("lists that count more than a page holds, and trees that lead nowhere, are found") {
  const Fixture fixture;
  const auto patched = [&](std::uint64_t page, std::uint64_t offset, const std::string& bytes, const std::string& kind,
                           std::uint64_t found_page, std::uint64_t found_offset) {
    unpack("small_crud.img", fixture.image);
    patch_file(fixture.image, at(page, offset), bytes);
    finds(fixture, kind, found_page, found_offset);
  };
  const auto last = fixture.fields(13, "entry").back();
  const std::uint64_t behind = last["offset"].get<std::uint64_t>() + last["length"].get<std::uint64_t>();
  // Zeros read as entries without a key, of 8 bytes each.
  const std::uint64_t cut_off = behind + (page_bytes - behind) / 8 * 8;
  patched(9, 0, number(5462, 4), "page-list", 9, 0);
  patched(9, 8, number(70000, 8), "page-list", 9, 4);
  patched(9, 8, number(55713, 8), "page-list", 9, 4);
  patched(10, 0, number(20000, 2), "free-list", 10, 0);
  patched(11, 0, number(6000, 8), "index-list", 11, 0);
  patched(11, 17, "xx", "index-list", 11, 8);
  patched(12, 1, number(250, 1), "counters", 12, 1);
  patched(12, 2, "xx", "counters", 12, 0);
  patched(13, 0, number(7, 1), "index-tree", 13, 0);
  patched(13, 5, number(60000, 2), "index-node", 13, cut_off);
  patched(13, 7, number(14, 4), "index-links", 13, 7);
  patched(13, 11, number(14, 4), "index-links", 13, 11);
  patched(1, 0, number(20000, 4), "unclaimed-list", 1, 0);
  patched(1, 0, number(1, 4) + number(16, 4), "page-owned-twice", 9, 4);
}

TEST_CASE("verify over a list in which a page names itself, or all name one, has an end") {
  const Fixture fixture;
  // An inner node whose children are itself, as the root of an index.
  std::string node = number(0, 1) + number(0xFFFFFFFF, 4) + number(3, 2) + number(13, 4);
  for (int i = 0; i < 3; ++i) node += number(0, 2) + number(13, 4);
  patch_file(fixture.image, at(13, 0), node);
  CHECK(verify(fixture.image).status == 1);
  CHECK(pagectl({"inspect", fixture.image}).status == 0);
}

TEST_CASE("headers of ic-stable-structures that contradict what they lead to are found") {
  const TempDir dir;
  const std::string image = dir.file("stable.img");
  const auto patched = [&](const std::string& fixture, std::uint64_t offset, const std::string& bytes,
                           const std::string& kind, std::uint64_t found_at) {
    unpack(fixture, image);
    patch_file(image, offset, bytes);
    const Found found = verify(image);
    INFO(kind << " at " << found_at << " in " << found.findings.dump(1));
    CHECK(found.status == 1);
    CHECK(found.has(kind, found_at / page_bytes, found_at % page_bytes));
  };
  const std::string map = "stable_map.img";
  patched(map, 20, number(41, 8), "stable-map", 20);  // entries
  patched(map, 12, number(5, 8), "stable-map", 12);   // root
  patched(map, 68, number(8, 8), "stable-map", 68);   // chunks, one more than there are
  patched(map, 68, number(6, 8), "stable-map", 389);  // one fewer: the node that is looked at last
  patched(map, 68, number(1u << 30, 8), "stable-map", 68);
  patched(map, 76, number(7, 8), "stable-map", 76);  // first free chunk
  patched(map, 374, "X", "stable-map", 374);         // the root's magic
  patched(map, 374 - 16 + 4, number(0, 1), "stable-map", 374 - 16 + 4);
  // A child that is its own parent: found where nodes are more than chunks.
  patched(map, 374 + 15, number(374, 8), "stable-map", 429);
  const std::string memories = "stable_structures.img";
  patched(memories, 4, number(10, 2), "stable-manager", 4);
  patched(memories, 40, number(2, 8), "stable-manager", 40);
  patched(memories, 2080 + 20, number(3, 1), "stable-manager", 2080 + 20);
  // Buckets of one page in the order in which they were first needed: which has the vector says its magic.
  unpack(memories, image);
  const std::string content = read_file(image);
  const auto page_of = [&](const std::string& magic) {
    for (std::uint64_t page = 1; page < 10; ++page)
      if (content.compare(at(page, 0), 3, magic) == 0) return page;
    throw std::runtime_error("no " + magic);
  };
  patched(memories, at(page_of("SVC"), 4), number(5000, 8), "stable-length", at(page_of("SVC"), 4));
  patched(memories, at(page_of("SVC"), 64), number(41, 1), "stable-entry", at(page_of("SVC"), 64));
  patched(memories, at(page_of("SCL"), 4), number(70000, 4), "stable-length", at(page_of("SCL"), 4));
  patched(memories, at(page_of("GLI"), 48), number(1, 8), "stable-entry", at(page_of("GLI"), 48));
  patched(memories, at(page_of("SMH"), 3), number(9, 1), "stable-version", at(page_of("SMH"), 3));
}

TEST_CASE("of what a killed commit leaves, each image is found but those that a shorter commit leaves") {
  const TempDir dir;
  const std::string image = dir.file("killed.img");
  const std::string changes_file = dir.file("changes");
  unpack("killed_commit.img", image);
  unpack("killed_commit.changes", changes_file);
  const std::string changes = read_file(changes_file);
  const auto field = [&](std::size_t begin, std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i)
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(changes.at(begin + i))) << (8 * i);
    return value;
  };
  CHECK(pagectl({"verify", "-q", image}).status == 0);
  int found = 0, whole = 0;
  std::set<std::string> kinds;
  for (std::size_t begin = 0; begin < changes.size();) {
    const std::size_t length = field(begin + 8, 4);
    patch_file(image, field(begin, 8), changes.substr(begin + 12, length));
    begin += 12 + length;
    const Found report = verify(image);
    ++(report.status == 0 ? whole : found);
    for (const auto& one : report.findings) kinds.insert(one["kind"].get<std::string>());
  }
  // tests/engine kills the engine itself, and holds each image against all that whole commits leave.
  CHECK(found == 65);
  CHECK(whole == 51);
  CHECK(kinds == std::set<std::string>{"row-not-in-index", "row-past-end"});
}
