// NBD as a client speaks it: fixed newstyle handshake, NBD_OPT_GO on the export `bench`, simple replies.
#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/bench/big_endian.hpp"
#include "tests/bench/target.hpp"

namespace pageserver::bench {
namespace {

constexpr std::uint64_t server_magic = 0x4e42444d41474943;  // "NBDMAGIC"
constexpr std::uint64_t option_magic = 0x49484156454f5054;  // "IHAVEOPT"
constexpr std::uint64_t option_reply_magic = 0x3e889045565a9;
constexpr std::uint32_t option_starttls = 5;
constexpr std::uint32_t option_go = 7;
constexpr std::uint32_t reply_ack = 1;
constexpr std::uint32_t request_magic = 0x25609513;
constexpr std::uint32_t reply_magic = 0x67446698;
constexpr std::uint16_t flag_fixed_newstyle = 1;
constexpr std::uint16_t flag_no_zeroes = 2;
constexpr std::uint16_t command_read = 0;
constexpr std::uint16_t command_write = 1;
constexpr std::uint16_t command_disconnect = 2;
constexpr std::size_t reply_bytes = 16;
constexpr std::string_view export_name = "bench";

class NbdProtocol final : public Protocol {
public:
  explicit NbdProtocol(std::string tls_ca) : tls_ca_(std::move(tls_ca)) {}

  bool starts_tls() const override { return !tls_ca_.empty(); }

  void greet(Socket& socket) override {
    std::array<std::byte, 18> hello{};
    socket.receive_all(hello);
    if (big<std::uint64_t>(hello.data()) != server_magic || big<std::uint64_t>(hello.data() + 8) != option_magic)
      throw std::runtime_error("no newstyle NBD server");
    const auto flags = big<std::uint16_t>(hello.data() + 16);
    if ((flags & flag_fixed_newstyle) == 0) throw std::runtime_error("the NBD server has no fixed newstyle handshake");
    Bytes out;
    put_big<std::uint32_t>(out, flag_fixed_newstyle | (flags & flag_no_zeroes));
    if (starts_tls()) {
      put_big<std::uint64_t>(out, option_magic);
      put_big<std::uint32_t>(out, option_starttls);
      put_big<std::uint32_t>(out, 0);
      socket.send_all(std::span<const std::byte>(out));
      out.clear();
      take_replies(socket, "NBD_OPT_STARTTLS");
      socket.start_tls(tls_ca_);
    }
    put_big<std::uint64_t>(out, option_magic);
    put_big<std::uint32_t>(out, option_go);
    put_big<std::uint32_t>(out, static_cast<std::uint32_t>(6 + export_name.size()));
    put_big<std::uint32_t>(out, static_cast<std::uint32_t>(export_name.size()));
    const auto name = std::as_bytes(std::span(export_name));
    out.insert(out.end(), name.begin(), name.end());
    put_big<std::uint16_t>(out, 0);  // no information requests
    socket.send_all(std::span<const std::byte>(out));
    take_replies(socket, "NBD_OPT_GO");
  }

  // The cookie says how much data comes with the reply: a server may answer in any order.
  void encode_read(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    request(out, command_read, length, offset, length);
  }
  void encode_write(Bytes& out, std::uint64_t offset, std::uint32_t length) override {
    request(out, command_write, 0, offset, length);
  }

  Answer first_answer(std::span<const std::byte> bytes) override {
    if (bytes.size() < reply_bytes) return {};
    if (big<std::uint32_t>(bytes.data()) != reply_magic) throw std::runtime_error("no simple reply of NBD");
    const auto error = big<std::uint32_t>(bytes.data() + 4);
    if (error != 0) throw std::runtime_error("the NBD server answers error " + std::to_string(error));
    const auto data_bytes = static_cast<std::size_t>(big<std::uint64_t>(bytes.data() + 8));
    if (bytes.size() - reply_bytes < data_bytes) return {};
    return {reply_bytes + data_bytes, bytes.subspan(reply_bytes, data_bytes)};
  }

  void part(Socket& socket) override {
    Bytes out;
    request(out, command_disconnect, 0, 0, 0);
    socket.send_all(std::span<const std::byte>(out));
  }

private:
  static void take_replies(Socket& socket, const std::string& option) {
    for (;;) {
      std::array<std::byte, 20> reply{};
      socket.receive_all(reply);
      const auto kind = big<std::uint32_t>(reply.data() + 12);
      Bytes data(big<std::uint32_t>(reply.data() + 16));
      socket.receive_all(data);
      if (big<std::uint64_t>(reply.data()) != option_reply_magic || (kind >> 31) != 0)
        throw std::runtime_error("the NBD server refuses " + option);
      if (kind == reply_ack) return;
    }
  }
  static void request(Bytes& out, std::uint16_t command, std::uint64_t cookie, std::uint64_t offset,
                      std::uint32_t length) {
    put_big<std::uint32_t>(out, request_magic);
    put_big<std::uint16_t>(out, 0);
    put_big<std::uint16_t>(out, command);
    put_big<std::uint64_t>(out, cookie);
    put_big<std::uint64_t>(out, offset);
    put_big<std::uint32_t>(out, length);
  }

  const std::string tls_ca_;
};

}  // namespace

std::unique_ptr<Protocol> make_nbd_protocol(std::string tls_ca) {
  return std::make_unique<NbdProtocol>(std::move(tls_ca));
}

}  // namespace pageserver::bench
