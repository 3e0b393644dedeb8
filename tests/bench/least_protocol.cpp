#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>

#include "tests/bench/least.hpp"
#include "tests/bench/target.hpp"

namespace pageserver::bench {
namespace {

class LeastProtocol final : public Protocol {
public:
  void greet(Socket&) override {}
  void encode_read(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    put(out, {offset, length, 0});
    data_bytes_.push_back(length);
  }
  void encode_write(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    put(out, {offset, length, 1});
    data_bytes_.push_back(0);
  }

  Answer first_answer(std::span<const std::byte> bytes) override {
    std::uint32_t error = 0;
    if (bytes.size() < sizeof error) return {};
    std::memcpy(&error, bytes.data(), sizeof error);
    if (error != 0)
      throw std::runtime_error(std::string("the least server: ") + std::strerror(static_cast<int>(error)));
    const std::size_t data_bytes = data_bytes_.front();
    if (bytes.size() < sizeof error + data_bytes) return {};
    data_bytes_.pop_front();
    return {sizeof error + data_bytes, bytes.subspan(sizeof error, data_bytes)};
  }

private:
  static void put(Bytes& out, const LeastRequest& request) {
    const std::size_t at = out.size();
    out.resize(at + sizeof request);
    std::memcpy(out.data() + at, &request, sizeof request);
  }

  std::deque<std::size_t> data_bytes_;  // of the answers to come
};

}  // namespace

std::unique_ptr<Protocol> make_least_protocol() { return std::make_unique<LeastProtocol>(); }

}  // namespace pageserver::bench
