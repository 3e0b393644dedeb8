#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "tests/support/catch.hpp"

namespace pageserver::base {

TEST_CASE("bytes are all zero unless one is not, wherever it stands") {
  for (const std::size_t size : {0u, 1u, 2u, 255u, 4096u}) {
    std::vector<std::byte> bytes(size);
    CHECK(all_zero(bytes));
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      if (at >= size) continue;
      bytes[at] = std::byte{1};
      CHECK_FALSE(all_zero(bytes));
      bytes[at] = std::byte{0};
    }
  }
}

TEST_CASE("a byte is two hex digits") {
  std::string text;
  for (const auto byte : {std::byte{0x00}, std::byte{0x0a}, std::byte{0xf7}, std::byte{0xff}}) append_hex(text, byte);
  CHECK(text == "000af7ff");
}

TEST_CASE("a quoted text is visible, whichever kind of string it is") {
  CHECK(quoted("a\x1b[2J") == "\"a\\x1b[2J\"");
  CHECK(quoted(std::string{"demo"}) == "\"demo\"");
  CHECK(quoted(std::string_view{""}) == "\"\"");
}

}  // namespace pageserver::base
