// What the load generator drives: one connection to one server, whatever it speaks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tests/bench/socket.hpp"

namespace pageserver::bench {

/// Throws what went wrong; an answer that reports an error is one.
class Target {
public:
  Target() = default;
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  virtual ~Target() = default;

  /// Starts a request. `into` and `data` live, and `data` stays as it is, until wait() has counted the request.
  virtual void start_read(std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual void start_write(std::uint64_t offset, std::span<const std::byte> data) = 0;
  /// Sends what was started and returns how many requests ended: at least one.
  virtual std::size_t wait() = 0;
};

/// A protocol as WireTarget needs it: requests to bytes, and where an answer ends.
class Protocol {
public:
  using Bytes = std::vector<std::byte>;

  Protocol() = default;
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;
  virtual ~Protocol() = default;

  /// Everything before the first request.
  virtual void greet(Socket& socket) = 0;
  /// TLS begins in the middle of greet(), which does it; else before.
  virtual bool starts_tls() const { return false; }
  virtual void encode_read(Bytes& out, std::uint64_t offset, std::uint32_t length) = 0;
  /// What comes before a write's data.
  virtual void encode_write(Bytes& out, std::uint64_t offset, std::uint32_t length) = 0;
  /// What comes after it.
  virtual std::string_view after_data() const { return {}; }

  struct Answer {
    std::size_t bytes = 0;            ///< of the whole answer; 0 when it is not all there
    std::span<const std::byte> data;  ///< of a read
  };
  /// The first answer in `bytes`. Throws when it reports an error.
  virtual Answer first_answer(std::span<const std::byte> bytes) = 0;
  /// A word to the server at the end, where the protocol has one.
  virtual void part(Socket&) {}
};

/// The load generator's own client, the same for every protocol: one send for all that is queued, large data by
/// reference, one recv for all that has come. Data of answers stays in the receive buffer, except that the first read
/// after the connection was made is copied out, so that it can be looked at.
std::unique_ptr<Target> connect_wire(const Address& address, Transport transport, std::unique_ptr<Protocol> protocol);

/// `tls_ca` not empty: TLS is asked for.
std::unique_ptr<Protocol> make_nbd_protocol(std::string tls_ca = {});
std::unique_ptr<Protocol> make_redis_protocol();
std::unique_ptr<Protocol> make_least_protocol();
/// Our own protocol, opened on the store `bench`.
std::unique_ptr<Protocol> make_page_protocol(bool write);

}  // namespace pageserver::bench
