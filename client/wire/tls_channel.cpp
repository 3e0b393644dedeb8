#include "client/wire/tls_channel.hpp"

#include <poll.h>

#include <cerrno>
#include <stdexcept>

#include <pageserver/error.hpp>

#include "base/small_file.hpp"
#include "base/text.hpp"
#include "client/wire/error_text.hpp"

namespace pageserver::client {
namespace {

constexpr std::size_t file_bytes_max = 16u << 20;

[[noreturn]] void fail(const std::string& context, Errc code, const std::string& message) {
  throw MemoryError{code, error_text(context, "TLS", message)};
}

Errc errc_of_file(int error) {
  if (error == ENOENT || error == ENOTDIR) return Errc::not_found;
  return error == EACCES || error == EPERM ? Errc::permission_denied : Errc::provider_error;
}

std::string read_pem(const std::string& context, const std::string& key, const std::string& path, bool secret) {
  if (path.empty()) return {};
  const std::string name = key + " " + base::quoted(path);
  const base::SmallFile file{path};
  if (file.error() != 0) fail(context, errc_of_file(file.error()), name + ": " + system_text(file.error()));
  if (secret && file.is_open_to_others())
    fail(context, Errc::permission_denied, name + ": others can read or change it; chmod 600 " + path);
  std::string text;
  const int error = file.read(text, file_bytes_max);
  if (error == EFBIG)
    fail(context, Errc::invalid_argument, name + ": it has more than " + std::to_string(file_bytes_max) + " bytes");
  if (error != 0) fail(context, errc_of_file(error), name + ": " + system_text(error));
  if (text.empty()) fail(context, Errc::invalid_argument, name + ": it is empty");
  return text;
}

/// "certificate: why" of tls::Context, as the URI calls it.
std::string with_key(const Endpoint& endpoint, const std::string& why) {
  if (why.starts_with("certificate: "))
    return "tls_certificate " + base::quoted(endpoint.tls_certificate) + why.substr(11);
  if (why.starts_with("key: ")) return "tls_key " + base::quoted(endpoint.tls_key) + why.substr(3);
  if (why.starts_with("authorities: ") && !endpoint.tls_ca.empty())
    return "tls_ca " + base::quoted(endpoint.tls_ca) + why.substr(11);
  return why;
}

std::shared_ptr<const tls::Context> context_for(const Endpoint& endpoint, const std::string& context) {
  tls::Credentials credentials;
  credentials.authorities = read_pem(context, "tls_ca", endpoint.tls_ca, false);
  credentials.certificate = read_pem(context, "tls_certificate", endpoint.tls_certificate, false);
  credentials.key = read_pem(context, "tls_key", endpoint.tls_key, true);
  try {
    return tls::Context::of_client(credentials);
  } catch (const std::runtime_error& error) {
    fail(context, Errc::invalid_argument, with_key(endpoint, error.what()));
  }
}

}  // namespace

TlsChannel::TlsChannel(const Endpoint& endpoint, const std::string& context, int socket, Deadline deadline)
    : stream_{context_for(endpoint, context), socket, endpoint.tls_name.empty() ? endpoint.host : endpoint.tls_name} {
  for (;;) {
    const Lock lock{mutex_};
    const Result result = stream_.handshake();
    if (result == Result::done) return;
    if (result == Result::failed || result == Result::end) fail(context, Errc::connection_lost, stream_.fault());
    pollfd polled{socket, static_cast<short>(result == Result::wants_write ? POLLOUT : POLLIN), 0};
    const auto left = timespec_until(deadline);
    const int ready = ::ppoll(&polled, 1, deadline == never ? nullptr : &left, nullptr);
    if (ready == 0 && Clock::now() >= deadline)
      fail(context, Errc::timed_out,
           "the other side did not shake hands in time: is it a pageserverd with TLS that listens there? See "
           "connect_timeout in the URI");
  }
}

TlsChannel::Result TlsChannel::read(std::span<std::byte> into, std::size_t& count) noexcept {
  const Lock lock{mutex_};
  return stream_.read(into, count);
}

TlsChannel::Result TlsChannel::write(std::span<const std::byte> from, std::size_t& count) noexcept {
  const Lock lock{mutex_};
  return stream_.write(from, count);
}

bool TlsChannel::has_unread() const noexcept {
  const Lock lock{mutex_};
  return stream_.has_unread();
}

bool TlsChannel::read_wants_write() const noexcept {
  const Lock lock{mutex_};
  return stream_.read_wants_write();
}

void TlsChannel::close() noexcept {
  const Lock lock{mutex_};
  stream_.close();
}

std::string TlsChannel::fault() const {
  const Lock lock{mutex_};
  return stream_.fault();
}

}  // namespace pageserver::client
