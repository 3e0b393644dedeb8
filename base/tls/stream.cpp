#include "base/tls/stream.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>
#include <utility>

#include "base/openssl.hpp"
#include "base/tls/faults.hpp"

namespace pageserver::tls {

using base::openssl;

namespace {

// A record carries at most 16 KiB. To send or receive one costs the kernel more than its encryption does: those of a
// large write leave together, and those that came together are received together. That the kernel gathers them
// (MSG_MORE) gives half of what this does.
constexpr std::size_t record_bytes_max = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr std::size_t records_together_max = 9;  // two pages and the headers of their frames
constexpr std::size_t gathered_bytes_max = records_together_max * SSL3_RT_MAX_PACKET_SIZE;
constexpr std::size_t receive_bytes = records_together_max * SSL3_RT_MAX_PACKET_SIZE;

}  // namespace

/// Records that are to leave together.
struct Stream::Gathered {
  std::size_t count = 0;
  std::array<char, gathered_bytes_max> bytes;
};

/// What OpenSSL sends and receives goes through here: its own way is write(2), which raises SIGPIPE, and waits on a
/// socket that blocks.
struct Stream::Wire {
  int socket = -1;
  bool at_end = false;
  bool gave_less = false;  ///< the last receive got less than there was room for
  int error = 0;
  int first_bytes = -1;  ///< two, as a number
  std::uint64_t receives = 0;
  std::uint64_t sends = 0;
  Gathered* gathered = nullptr;  ///< where records go that leave together, while that is so
  std::vector<char> unsent;      ///< of records that left together, what the socket has not taken

  /// Of `bytes` what the socket takes; nothing where it takes none now, or has failed: see `error`.
  std::size_t send(std::span<const char> bytes) noexcept {
    ssize_t count = 0;
    do {
      ++sends;
      count = ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK) error = errno;
    return static_cast<std::size_t>(std::max<ssize_t>(count, 0));
  }

  /// Whether all of it has left.
  bool send_unsent() noexcept {
    if (unsent.empty()) return true;
    unsent.erase(unsent.begin(), unsent.begin() + static_cast<std::ptrdiff_t>(send(unsent)));
    if (!unsent.empty()) return false;
    std::vector<char>{}.swap(unsent);
    return true;
  }

  /// A record begins with its kind, and then 3.
  bool peer_speaks_tls() const noexcept {
    const int kind = first_bytes >> 8;
    return first_bytes < 0 || (kind >= 0x14 && kind <= 0x18 && (first_bytes & 0xff) == 3);
  }

  static int read(BIO* bio, char* into, int size) noexcept {
    auto& wire = *static_cast<Wire*>(openssl().BIO_get_data(bio));
    openssl().BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    if (size <= 0) return 0;
    ssize_t count = 0;
    do {
      ++wire.receives;
      count = ::recv(wire.socket, into, static_cast<std::size_t>(size), MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    wire.gave_less = count < size;
    if (count > 0) {
      if (wire.first_bytes < 0 && count > 1)
        wire.first_bytes = static_cast<unsigned char>(into[0]) << 8 | static_cast<unsigned char>(into[1]);
      return static_cast<int>(count);
    }
    if (count == 0) {
      wire.at_end = true;
      return 0;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
      openssl().BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
    else
      wire.error = errno;
    return -1;
  }

  static int write(BIO* bio, const char* from, int size) noexcept {
    auto& wire = *static_cast<Wire*>(openssl().BIO_get_data(bio));
    openssl().BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    if (size <= 0) return 0;
    // An alert would be no answer to it, and stand before the one that it understands.
    if (!wire.peer_speaks_tls()) return size;
    const std::span bytes{from, static_cast<std::size_t>(size)};
    if (wire.gathered != nullptr) {
      const std::size_t taken = std::min(bytes.size(), gathered_bytes_max - wire.gathered->count);
      std::copy_n(from, taken, wire.gathered->bytes.data() + wire.gathered->count);
      wire.gathered->count += taken;
      if (taken > 0) return static_cast<int>(taken);
    } else if (wire.send_unsent()) {
      if (const std::size_t taken = wire.send(bytes); taken > 0) return static_cast<int>(taken);
    }
    if (wire.error == 0) openssl().BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
    return -1;
  }

  static long control(BIO* bio, int command, long, void*) noexcept {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return static_cast<Wire*>(openssl().BIO_get_data(bio))->at_end ? 1 : 0;
    return 0;
  }

  static int create(BIO* bio) noexcept {
    openssl().BIO_set_init(bio, 1);
    return 1;
  }

  /// Made once, and never freed: streams may outlive static objects.
  static const BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* const fresh =
          openssl().BIO_meth_new(openssl().BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pageserver");
      if (fresh == nullptr) throw std::bad_alloc();
      openssl().BIO_meth_set_read(fresh, read);
      openssl().BIO_meth_set_write(fresh, write);
      openssl().BIO_meth_set_ctrl(fresh, control);
      openssl().BIO_meth_set_create(fresh, create);
      return fresh;
    }();
    return made;
  }
};

namespace {

bool is_address(const std::string& name) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, name.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

/// False for want of memory, or for a name that none can be.
bool expect(SSL* connection, const std::string& name) {
  if (is_address(name))
    return openssl().X509_VERIFY_PARAM_set1_ip_asc(openssl().SSL_get0_param(connection), name.c_str()) == 1;
  openssl().SSL_set_hostflags(connection, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  // The macro of that name casts as C does.
  const auto set_indication = [&] {
    std::string copy = name;
    return openssl().SSL_ctrl(connection, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, copy.data()) == 1;
  };
  return openssl().SSL_set1_host(connection, name.c_str()) == 1 && set_indication();
}

}  // namespace

Stream::Stream(const std::shared_ptr<const Context>& context, int socket, std::string expected_name)
    : wire_(std::make_unique<Wire>()), context_(context), expected_name_(std::move(expected_name)) {
  wire_->socket = socket;
  // fe80::1%eth0: the zone is this machine's, and in no certificate.
  if (expected_name_.find(':') != std::string::npos)
    expected_name_.resize(std::min(expected_name_.find('%'), expected_name_.size()));
  connection_ = openssl().SSL_new(context_->get());
  BIO* const bio = connection_ == nullptr ? nullptr : openssl().BIO_new(Wire::method());
  if (bio == nullptr || (!context_->is_server() && !expect(connection_, expected_name_))) {
    openssl().BIO_free(bio);
    openssl().SSL_free(connection_);
    openssl().ERR_clear_error();
    throw std::bad_alloc();
  }
  openssl().BIO_set_data(bio, wire_.get());
  openssl().SSL_set_bio(connection_, bio, bio);
  if (context_->is_server()) {
    openssl().SSL_set_options(connection_, SSL_OP_CLEANSE_PLAINTEXT);
    openssl().SSL_set_accept_state(connection_);
  } else {
    openssl().SSL_set_connect_state(connection_);
  }
}

void Stream::read_no_secrets() noexcept { openssl().SSL_clear_options(connection_, SSL_OP_CLEANSE_PLAINTEXT); }

Stream::~Stream() { openssl().SSL_free(connection_); }

Stream::Result Stream::judge(int result, bool is_write) noexcept {
  if (result > 0) return Result::done;
  switch (openssl().SSL_get_error(connection_, result)) {
    case SSL_ERROR_WANT_READ: return Result::wants_read;
    case SSL_ERROR_WANT_WRITE: return Result::wants_write;
    case SSL_ERROR_ZERO_RETURN:
      // In the middle of a handshake it is no end, but a refusal without a reason.
      if (openssl().SSL_is_init_finished(connection_) == 1) return Result::end;
      break;
    case SSL_ERROR_SYSCALL:
      if (wire_->at_end && wire_->error == 0 && openssl().SSL_is_init_finished(connection_) == 1) return Result::end;
      break;
    default: break;
  }
  // What the peer has said before it closed may still be read.
  (is_write && wire_->error != 0 ? write_failed_ : failed_) = true;
  try {
    if (openssl().ERR_peek_error() != 0 && wire_->error == 0)
      fault_ = fault_of(connection_, context_->is_server(), expected_name_, !peer_speaks_tls());
    else if (wire_->error != 0)
      fault_ = std::strerror(wire_->error);
    else
      fault_ = "the other side closed the connection in the middle of the handshake";
  } catch (const std::exception&) {
    // No memory for the words.
  }
  openssl().ERR_clear_error();
  return Result::failed;
}

void Stream::begin_call() noexcept {
  openssl().ERR_clear_error();
  wire_->error = 0;
}

Stream::Result Stream::handshake() noexcept {
  if (failed_) return Result::failed;
  begin_call();
  const Result result = judge(openssl().SSL_do_handshake(connection_), false);
  // Not of a daemon: for what thousands of peers left half said, that would be much memory.
  if (result == Result::done && !context_->is_server())
    openssl().SSL_set_default_read_buffer_len(connection_, receive_bytes);
  return result;
}

bool Stream::is_established() const noexcept { return openssl().SSL_is_init_finished(connection_) == 1 && !failed_; }

Stream::Result Stream::read(std::span<std::byte> into, std::size_t& count) noexcept {
  count = 0;
  read_wants_write_ = false;
  if (failed_) return Result::failed;
  begin_call();
  const Result result = judge(openssl().SSL_read_ex(connection_, into.data(), into.size(), &count), false);
  starved_ = result == Result::wants_read;
  read_wants_write_ = result == Result::wants_write;
  return result;
}

Stream::Result Stream::write(std::span<const std::byte> from, std::size_t& count) noexcept {
  count = 0;
  if (failed_ || write_failed_) return Result::failed;
  begin_call();
  if (!wire_->send_unsent()) return wire_->error == 0 ? Result::wants_write : fail_write();
  // What is encrypted and had not left counts as taken only now, so that the caller had a reason to come back.
  count = std::exchange(owed_bytes_, 0);
  if (count == from.size()) return Result::done;
  from = from.subspan(count);
  const std::unique_ptr<Gathered> gathered{from.size() > record_bytes_max ? new (std::nothrow) Gathered : nullptr};
  if (gathered != nullptr) return write_together(*gathered, from, count);
  std::size_t taken = 0;
  const Result result = judge(openssl().SSL_write_ex(connection_, from.data(), from.size(), &taken), true);
  count += taken;
  return count > 0 && result != Result::failed ? Result::done : result;
}

// A record that could not leave whole in an earlier call goes first: OpenSSL gives the rest of it again.
Stream::Result Stream::write_together(Gathered& gathered, std::span<const std::byte> from,
                                      std::size_t& count) noexcept {
  while (!from.empty()) {
    std::size_t taken = 0;
    auto result = Result::done;
    gathered.count = 0;
    wire_->gathered = &gathered;
    while (result == Result::done && taken < from.size() &&
           gathered_bytes_max - gathered.count >= SSL3_RT_MAX_PACKET_SIZE) {
      std::size_t more = 0;
      result = judge(openssl().SSL_write_ex(connection_, from.data() + taken, from.size() - taken, &more), true);
      taken += more;
    }
    wire_->gathered = nullptr;
    const std::span bytes{gathered.bytes.data(), gathered.count};
    const std::size_t sent = bytes.empty() ? 0 : wire_->send(bytes);
    if (wire_->error != 0) return fail_write();
    if (sent < bytes.size()) {
      try {
        wire_->unsent.assign(bytes.begin() + static_cast<std::ptrdiff_t>(sent), bytes.end());
      } catch (const std::bad_alloc&) {
        wire_->error = ENOMEM;
        return fail_write();
      }
      owed_bytes_ = taken;
      return count > 0 ? Result::done : Result::wants_write;
    }
    count += taken;
    from = from.subspan(taken);
    if (result != Result::done) return count > 0 && result != Result::failed ? Result::done : result;
  }
  return Result::done;
}

Stream::Result Stream::fail_write() noexcept {
  write_failed_ = true;
  try {
    fault_ = std::strerror(wire_->error);
  } catch (const std::exception&) {
    // No memory for the words.
  }
  return Result::failed;
}

bool Stream::has_unread() const noexcept {
  if (failed_ || starved_) return false;
  // The socket had less than there was room for, and all that came is read: another call would find nothing.
  return openssl().SSL_has_pending(connection_) == 1 || !wire_->gave_less;
}

void Stream::close() noexcept {
  if (write_failed_ || !is_established()) return;
  openssl().ERR_clear_error();
  (void)openssl().SSL_shutdown(connection_);
  openssl().ERR_clear_error();
}

bool Stream::peer_speaks_tls() const noexcept { return wire_->peer_speaks_tls(); }

int Stream::socket_error() const noexcept { return wire_->error; }

bool Stream::has_peer_certificate() const noexcept {
  return openssl().SSL_get0_peer_certificate(connection_) != nullptr &&
         openssl().SSL_get_verify_result(connection_) == X509_V_OK;
}

std::vector<std::string> Stream::peer_names(NameField field) const {
  if (!has_peer_certificate()) return {};
  return names_of(openssl().SSL_get0_peer_certificate(connection_), field);
}

std::shared_ptr<PeerChain> Stream::peer_chain() const { return PeerChain::of(connection_); }

std::size_t Stream::unsent_bytes() const noexcept { return wire_->unsent.size(); }

std::uint64_t Stream::receives() const noexcept { return wire_->receives; }
std::uint64_t Stream::sends() const noexcept { return wire_->sends; }

}  // namespace pageserver::tls
