#include "tests/support/catch.hpp"

#include "server/runtime/log.hpp"

using namespace pageserver::server;

TEST_CASE("a text line has plain values as they are and quotes the others") {
  CHECK(format_event(LogFormat::text, LogLevel::info, "session open",
                     {{"store", "demo"}, {"pages", 19}, {"name", "my tool"}, {"empty", ""}}) ==
        "INFO session open store=demo pages=19 name=\"my tool\" empty=\"\"");
}

TEST_CASE("no value can forge a line or a field") {
  CHECK(format_event(LogFormat::text, LogLevel::warn, "x", {{"name", "a\nERROR b=\"1\"\x1b[31m"}}) ==
        "WARN x name=\"a\\nERROR b=\\\"1\\\"\\u001b[31m\"");
  CHECK(format_event(LogFormat::text, LogLevel::info, "x", {{"name", "a=b"}}) == "INFO x name=\"a=b\"");
}

TEST_CASE("a JSON line escapes as JSON does, and numbers stay numbers") {
  CHECK(format_event(LogFormat::json, LogLevel::error, "x",
                     {{"n", -3}, {"text", "q\"b\\ \n\t\x7f"}, {"utf8", "\xc3\xa9"}, {"latin", "\xe9"}}) ==
        "\"level\":\"error\",\"event\":\"x\",\"n\":-3,\"text\":\"q\\\"b\\\\ \\n\\u0009\\u007f\",\"utf8\":\"\xc3\xa9\","
        "\"latin\":\"\\ufffd\"");
}

TEST_CASE("levels below the configured one are not enabled") {
  const Log log(LogFormat::text, LogLevel::warn);
  CHECK_FALSE(log.enabled(LogLevel::debug));
  CHECK_FALSE(log.enabled(LogLevel::info));
  CHECK(log.enabled(LogLevel::warn));
  CHECK(log.enabled(LogLevel::error));
}
