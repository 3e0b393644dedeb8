#include "tests/support/catch.hpp"

#include <random>
#include <string>

#include "base/text.hpp"

using namespace pageserver::base;

TEST_CASE("plain text stays as it is") {
  for (const std::string text : {"", "demo", "J\u00fcrgen & co", "a\\b \"c\"", "\u65e5\u672c\u8a9e \U0001F600",
                                 "\u00a0\u200b\u2027\u202f\u2065"}) {
    INFO(text);
    CHECK_FALSE(has_unsafe(text));
    CHECK(visible(text) == text);
  }
}

TEST_CASE("what could rule a terminal or forge a line is shown") {
  const auto shown = [](std::string_view text) {
    CHECK(has_unsafe(text));
    const auto made = visible(text);
    CHECK_FALSE(has_unsafe(made));
    CHECK(visible(made) == made);
    return made;
  };
  CHECK(shown("\x1b[31m") == "\\x1b[31m");
  CHECK(shown("a\nb\r\t") == "a\\x0ab\\x0d\\x09");
  CHECK(shown(std::string_view{"\0", 1}) == "\\x00");
  CHECK(shown("\x7f") == "\\x7f");
  CHECK(shown("\u0080") == "\\u{0080}");
  CHECK(shown("\u009b") == "\\u{009b}");
  CHECK(shown("\u061c") == "\\u{061c}");
  CHECK(shown("\u200e\u200f") == "\\u{200e}\\u{200f}");
  CHECK(shown("\u2028\u2029") == "\\u{2028}\\u{2029}");
  CHECK(shown("\u202a\u202e") == "\\u{202a}\\u{202e}");
  CHECK(shown("\u2066\u2069") == "\\u{2066}\\u{2069}");
}

TEST_CASE("what is not UTF-8 is shown byte by byte") {
  CHECK(visible("a\x80z") == "a\\x80z");
  CHECK(visible("\x9b") == "\\x9b");
  CHECK(visible("\xc0\x9b") == "\\xc0\\x9b");           // overlong
  CHECK(visible("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(visible("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
  CHECK(visible("\xe2\x80") == "\\xe2\\x80");  // cut off
}

TEST_CASE("no bytes at all get through unseen") {
  std::mt19937 random{1};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (auto count = random() % 12; count > 0; --count) text += static_cast<char>(random());
    const auto made = visible(text);
    if (has_unsafe(made) || visible(made) != made) FAIL(visible(text));
  }
}
