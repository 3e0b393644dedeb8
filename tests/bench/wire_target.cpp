#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/bench/target.hpp"

namespace pageserver::bench {
namespace {

constexpr std::size_t buffer_bytes = 512 * 1024;
// Below this a copy costs less than one more part of the send.
constexpr std::size_t by_reference_min = 8 * 1024;

class WireTarget final : public Target {
public:
  WireTarget(const Address& address, Transport transport, std::unique_ptr<Protocol> protocol)
      : socket_(address, transport), protocol_(std::move(protocol)), buffer_(buffer_bytes) {
    if (transport == Transport::tls && !protocol_->starts_tls()) socket_.start_tls(address.tls_ca);
    protocol_->greet(socket_);
  }
  ~WireTarget() override {
    try {
      protocol_->part(socket_);
    } catch (const std::exception&) {
      // The server sees the end of the connection.
    }
  }

  void start_read(std::uint64_t offset, std::span<std::byte> into) override {
    protocol_->encode_read(out_, offset, static_cast<std::uint32_t>(into.size()));
    if (!looked_at_) first_ = into;
  }

  void start_write(std::uint64_t offset, std::span<const std::byte> data) override {
    protocol_->encode_write(out_, offset, static_cast<std::uint32_t>(data.size()));
    if (data.size() < by_reference_min) {
      out_.insert(out_.end(), data.begin(), data.end());
    } else {
      references_.push_back({out_.size(), data});
    }
    const auto after = std::as_bytes(std::span(protocol_->after_data()));
    out_.insert(out_.end(), after.begin(), after.end());
  }

  std::size_t wait() override {
    send();
    for (;;) {
      if (buffer_.size() - end_ < buffer_bytes / 4) compact();
      end_ += socket_.receive_some(std::span(buffer_).subspan(end_));
      const std::size_t ended = take_answers();
      if (ended > 0) return ended;
    }
  }

private:
  struct Reference {
    std::size_t after = 0;  // so many bytes of out_ come before it
    std::span<const std::byte> data;
  };

  void send() {
    if (references_.empty()) {
      socket_.send_all(std::span<const std::byte>(out_));
    } else {
      parts_.clear();
      std::size_t at = 0;
      for (const Reference& reference : references_) {
        if (reference.after > at) parts_.push_back({out_.data() + at, reference.after - at});
        parts_.push_back({const_cast<std::byte*>(reference.data.data()), reference.data.size()});
        at = reference.after;
      }
      if (out_.size() > at) parts_.push_back({out_.data() + at, out_.size() - at});
      socket_.send_all(std::span<iovec>(parts_));
      references_.clear();
    }
    out_.clear();
  }

  std::size_t take_answers() {
    std::size_t ended = 0;
    while (begin_ < end_) {
      const Protocol::Answer answer =
          protocol_->first_answer(std::span<const std::byte>(buffer_).subspan(begin_, end_ - begin_));
      if (answer.bytes == 0) break;
      if (!looked_at_ && !answer.data.empty()) {
        std::copy_n(answer.data.begin(), std::min(answer.data.size(), first_.size()), first_.begin());
        looked_at_ = true;
      }
      begin_ += answer.bytes;
      ++ended;
    }
    if (begin_ == end_) begin_ = end_ = 0;
    return ended;
  }

  void compact() {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }

  Socket socket_;
  std::unique_ptr<Protocol> protocol_;
  Protocol::Bytes out_;
  std::vector<Reference> references_;
  std::vector<iovec> parts_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool looked_at_ = false;
  std::span<std::byte> first_;
};

}  // namespace

std::unique_ptr<Target> connect_wire(const Address& address, Transport transport, std::unique_ptr<Protocol> protocol) {
  return std::make_unique<WireTarget>(address, transport, std::move(protocol));
}

}  // namespace pageserver::bench
