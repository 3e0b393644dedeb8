// RESP as a client speaks it: GETRANGE and SETRANGE on the value `image`.
#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/bench/target.hpp"

namespace pageserver::bench {
namespace {

constexpr std::string_view line_end = "\r\n";

void put(Protocol::Bytes& out, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

struct Digits {
  char text[24];
  std::size_t size;
  explicit Digits(std::uint64_t value) {
    size = static_cast<std::size_t>(std::to_chars(text, text + sizeof text, value).ptr - text);
  }
  std::string_view view() const { return {text, size}; }
};

void put_number(Protocol::Bytes& out, std::uint64_t value) {
  const Digits digits{value};
  put(out, "$");
  put(out, Digits{digits.size}.view());
  put(out, line_end);
  put(out, digits.view());
  put(out, line_end);
}

class RedisProtocol final : public Protocol {
public:
  void greet(Socket&) override {}

  void encode_read(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    put(out, "*4\r\n$8\r\nGETRANGE\r\n$5\r\nimage\r\n");
    put_number(out, offset);
    put_number(out, offset + length - 1);
  }

  void encode_write(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    put(out, "*4\r\n$8\r\nSETRANGE\r\n$5\r\nimage\r\n");
    put_number(out, offset);
    put(out, "$");
    put(out, Digits{length}.view());
    put(out, line_end);
  }
  std::string_view after_data() const override { return line_end; }

  Answer first_answer(std::span<const std::byte> bytes) override {
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    if (text[0] == ':') return {end + 1, {}};
    if (text[0] != '$') throw std::runtime_error("redis-server answers " + std::string(text.substr(0, end)));
    std::size_t data_bytes = 0;
    std::from_chars(text.data() + 1, text.data() + end, data_bytes);
    const std::size_t whole = end + 1 + data_bytes + line_end.size();
    if (bytes.size() < whole) return {};
    return {whole, bytes.subspan(end + 1, data_bytes)};
  }
};

}  // namespace

std::unique_ptr<Protocol> make_redis_protocol() { return std::make_unique<RedisProtocol>(); }

}  // namespace pageserver::bench
