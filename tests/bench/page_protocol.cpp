// Our own protocol through the load generator that the peers have: what the daemon does without our client library.
#include <array>
#include <stdexcept>

#include "proto/codec.hpp"
#include "proto/framing.hpp"
#include "tests/bench/target.hpp"

namespace pageserver::bench {
namespace {

constexpr std::uint32_t payload_bytes_max = 4u << 20;

class PageProtocol final : public Protocol {
public:
  explicit PageProtocol(bool write) : write_(write) {}

  void greet(Socket& socket) override {
    Bytes out;
    proto::HelloRequest hello;
    hello.payload_bytes_max = payload_bytes_max;
    hello.features = proto::features_all;
    hello.client_name = "pageserver_bench";
    proto::encode(out, id_++, hello);
    call(socket, out);
    proto::OpenRequest open;
    open.access = write_ ? proto::Access::write : proto::Access::read;
    open.wait_ms = 10'000;
    open.store = "bench";
    out.clear();
    proto::encode(out, id_++, open);
    call(socket, out);
  }

  void encode_read(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    proto::encode(out, id_++, proto::ReadRequest{offset, length});
  }
  void encode_write(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    // The header that encode() would write, without the data that follows it.
    proto::FrameHeader header;
    header.operation = proto::Operation::write;
    header.request_id = id_++;
    header.payload_bytes = static_cast<std::uint32_t>(sizeof offset) + length;
    std::array<std::byte, proto::frame_header_bytes> bytes{};
    proto::encode_header(bytes, header);
    out.insert(out.end(), bytes.begin(), bytes.end());
    const auto number = std::as_bytes(std::span(&offset, 1));
    out.insert(out.end(), number.begin(), number.end());
  }

  Answer first_answer(std::span<const std::byte> bytes) override {
    const proto::Scan scan = proto::scan_frame(bytes, payload_bytes_max);
    if (scan.kind == proto::Scan::Kind::broken) throw std::runtime_error("pageserverd: " + scan.fault.message);
    if (scan.kind == proto::Scan::Kind::incomplete) return {};
    if (scan.header.status != proto::Status::ok) {
      proto::ErrorText error;
      static_cast<void>(proto::decode(scan.payload, error));
      throw std::runtime_error("pageserverd answers " + proto::to_string(scan.header.status) + ": " +
                               std::string(error.message));
    }
    return {scan.frame_bytes, scan.payload};
  }

  // Answered, so that the lease is free when the next writer comes.
  void part(Socket& socket) override {
    Bytes out;
    proto::encode(out, id_++, proto::CloseRequest{});
    call(socket, out);
  }

private:
  void call(Socket& socket, const Bytes& request) {
    socket.send_all(std::span<const std::byte>(request));
    std::array<std::byte, proto::hello_payload_bytes_max> answer{};
    for (std::size_t have = 0;;) {
      have += socket.receive_some(std::span(answer).subspan(have));
      if (first_answer(std::span<const std::byte>(answer).first(have)).bytes != 0) return;
    }
  }

  bool write_;
  std::uint64_t id_ = 1;
};

}  // namespace

std::unique_ptr<Protocol> make_page_protocol(bool write) { return std::make_unique<PageProtocol>(write); }

}  // namespace pageserver::bench
