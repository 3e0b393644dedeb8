#include "tests/unit/client/fake_daemon.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/bounds.hpp"

namespace pageserver::test {
namespace {

constexpr int patience_ms = 30'000;

void wait_for(int fd, short events) {
  pollfd polled{fd, events, 0};
  if (::poll(&polled, 1, patience_ms) == 0) throw std::runtime_error("the client does nothing");
}

}  // namespace

std::optional<Request> FakePeer::next() {
  std::byte chunk[65536];
  for (;;) {
    const auto scan = proto::scan_frame(input_, 0xffffffff);
    if (scan.kind == proto::Scan::Kind::broken) throw std::runtime_error(scan.fault.message);
    if (scan.kind == proto::Scan::Kind::frame) {
      Request request{scan.header, {scan.payload.begin(), scan.payload.end()}};
      input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(scan.frame_bytes));
      return request;
    }
    if (!fd_.is_open()) return std::nullopt;  // after reset()
    wait_for(fd_.get(), POLLIN);
    const ssize_t got = ::recv(fd_.get(), chunk, sizeof chunk, 0);
    if (got <= 0) return std::nullopt;
    input_.insert(input_.end(), chunk, chunk + got);
  }
}

Request FakePeer::expect(proto::Operation operation) {
  auto request = next();
  if (!request) throw std::runtime_error("the client closed, expected " + proto::to_string(operation));
  if (request->header.operation != operation)
    throw std::runtime_error("expected " + proto::to_string(operation) + ", got " +
                             proto::to_string(request->header.operation));
  return *std::move(request);
}

void FakePeer::send(std::span<const std::byte> bytes) {
  proto::Bytes twisted;
  if (const auto change = std::exchange(twist, nullptr)) {
    twisted.assign(bytes.begin(), bytes.end());
    change(twisted);
    bytes = twisted;
  }
  while (!bytes.empty()) {
    wait_for(fd_.get(), POLLOUT);
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) continue;
    if (sent < 0) throw std::runtime_error("the client closed");
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

void FakePeer::error(const Request& request, proto::Status status, std::string_view text) {
  const auto operation = request.header.operation;
  change_failed = change_failed || operation == proto::Operation::write || operation == proto::Operation::zero ||
                  operation == proto::Operation::grow;
  proto::Bytes bytes;
  proto::encode_error(bytes, request.header.request_id, request.header.operation, status, text);
  send(bytes);
}

void FakePeer::notice(proto::Operation operation, proto::Status status, std::string_view text) {
  proto::Bytes bytes;
  proto::encode_notice(bytes, operation, status, text);
  send(bytes);
}

void FakePeer::greet(const Limits& limits, std::uint64_t pages, std::uint64_t incarnation) {
  (void)expect(proto::Operation::hello);
  send(hello_answer(limits));
  const auto open = expect(proto::Operation::open);
  proto::OpenAnswer answer;
  answer.session_id = 1;
  answer.pages = pages;
  answer.version = {incarnation, 1};
  answer.size_bytes_max = 1ull << 40;
  this->answer(open, answer);
}

void FakePeer::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd_.reset();
}

void FakePeer::wait_for_end() {
  while (next()) {
  }
}

std::uint64_t FakeImage::total() const {
  std::uint64_t sum = 0;
  for (const auto& count : counts_) sum += count;
  return sum;
}

void FakeImage::serve(FakePeer& peer) {
  while (const auto request = peer.next()) {
    if (request->header.operation == proto::Operation::hello) {
      peer.send(hello_answer(limits));
      continue;
    }
    ++counts_.at(static_cast<std::size_t>(request->header.operation));
    if (before && before(peer, *request)) continue;
    carry_out(peer, *request);
    if (request->header.operation == proto::Operation::close) return;
  }
}

bool FakeImage::in_bounds(FakePeer& peer, const Request& request, std::uint64_t offset, std::uint64_t length) {
  try {
    base::check_bounds(proto::to_string(request.header.operation), offset, length, bytes.size());
    return true;
  } catch (const MemoryError& error) {
    peer.error(request, proto::Status::out_of_bounds, error.what());
    return false;
  }
}

void FakeImage::carry_out(FakePeer& peer, const Request& request) {
  const std::uint64_t pages = bytes.size() / page_size;
  const proto::Version version{9, version_};
  switch (request.header.operation) {
    case proto::Operation::open: {
      opened = request.as<proto::OpenRequest>();
      opened_name = opened.session_name;
      opened_store = opened.store;
      access = opened.access;
      return peer.answer(request, proto::OpenAnswer{1, 1, version, pages, 1ull << 40, {}});
    }
    case proto::Operation::ping: return peer.answer(request, proto::PingAnswer{request.payload});
    case proto::Operation::list: {
      proto::ListEntry entry;
      entry.store = "demo";
      entry.pages = pages;
      entry.open = true;
      return peer.answer(request, proto::ListAnswer{false, {entry}});
    }
    case proto::Operation::size: return peer.answer(request, proto::SizeAnswer{pages, version});
    case proto::Operation::grow: {
      ++version_;
      bytes.resize(bytes.size() + request.as<proto::GrowRequest>().new_pages * page_size);
      return peer.answer(request, proto::GrowAnswer{pages});
    }
    case proto::Operation::read: {
      const auto read = request.as<proto::ReadRequest>();
      if (!in_bounds(peer, request, read.offset, read.length)) return;
      return peer.answer(request, proto::ReadAnswer{std::span{bytes}.subspan(read.offset, read.length)});
    }
    case proto::Operation::write: {
      const auto write = request.as<proto::WriteRequest>();
      if (write.data.size() > limits.request_bytes_max)
        return peer.error(request, proto::Status::limit_exceeded, "too long");
      if (!in_bounds(peer, request, write.offset, write.data.size())) return;
      ++version_;
      std::copy(write.data.begin(), write.data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(write.offset));
      return peer.answer(request, proto::WriteAnswer{});
    }
    case proto::Operation::zero: {
      const auto zero = request.as<proto::ZeroRequest>();
      if (!in_bounds(peer, request, zero.offset, zero.length)) return;
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(zero.offset), zero.length, std::byte{0});
      return peer.answer(request, proto::ZeroAnswer{});
    }
    case proto::Operation::data_ranges: {
      // One page at a time, so that the client has to ask again.
      const auto ranges = request.as<proto::DataRangesRequest>();
      if (!in_bounds(peer, request, ranges.offset, ranges.length)) return;
      const auto length = std::min<std::uint64_t>(ranges.length, page_size);
      return peer.answer(request, proto::DataRangesAnswer{ranges.offset + length, {{ranges.offset, length}}});
    }
    case proto::Operation::flush: {
      peer.change_failed = false;
      ++published_;
      return peer.answer(request, proto::FlushAnswer{version});
    }
    case proto::Operation::commit: {
      if (peer.change_failed) return peer.error(request, proto::Status::invalid_argument, "commit: a change failed");
      ++published_;
      return peer.answer(request, proto::CommitAnswer{version});
    }
    case proto::Operation::discard: {
      peer.change_failed = false;
      return peer.answer(request, proto::DiscardAnswer{pages, version});
    }
    case proto::Operation::refresh: {
      proto::RefreshAnswer answer;
      answer.pages = pages;
      answer.version = version;
      answer.changed = {{10, 20}};
      return peer.answer(request, answer);
    }
    case proto::Operation::stat: {
      proto::StatAnswer answer;
      answer.store = "demo";
      answer.pages = pages;
      answer.version = version;
      answer.writer = proto::Holder{"w", "127.0.0.1:1", 5, 6, 7, proto::Access::write, {}, proto::Publish::on_flush, 0};
      answer.log_bytes = 77;
      answer.image_warning = "odd";
      if ((limits.features & proto::feature_recovery) != 0) {
        answer.recovery.emplace();
        answer.recovery->records = 17;
        answer.recovery->kept_count = 3;
        answer.recovery->kept_files = {"a.kept", "b.kept"};
        answer.recovery->warning = "torn";
      }
      return peer.answer(request, answer);
    }
    case proto::Operation::close: return peer.answer(request, proto::CloseAnswer{});
    default: return peer.error(request, proto::Status::unsupported, "not here");
  }
}

FakeDaemon::FakeDaemon(std::function<void(FakePeer&)> script) {
  listener_ = UniqueFd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_.get(), generic, length) != 0 || ::listen(listener_.get(), 16) != 0 ||
      ::getsockname(listener_.get(), generic, &length) != 0)
    throw std::runtime_error("no listener on loopback");
  port_ = ntohs(address.sin_port);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  stop_read_ = UniqueFd{ends[0]};
  stop_write_ = UniqueFd{ends[1]};
  thread_ = std::thread{[this, script = std::move(script)] { run(script); }};
}

FakeDaemon::FakeDaemon(FakeImage& image) : FakeDaemon{[&image](FakePeer& peer) { image.serve(peer); }} {}

FakeDaemon::~FakeDaemon() {
  stop_write_.reset();
  thread_.join();
}

void FakeDaemon::run(const std::function<void(FakePeer&)>& script) {
  for (;;) {
    pollfd polled[2] = {{listener_.get(), POLLIN, 0}, {stop_read_.get(), POLLIN, 0}};
    (void)::poll(polled, 2, -1);
    if (polled[1].revents != 0) return;
    UniqueFd accepted{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    if (accepted.get() < 0) continue;
    const int on = 1;
    ::setsockopt(accepted.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    FakePeer peer{std::move(accepted)};
    std::exception_ptr failed;
    try {
      script(peer);
    } catch (...) {
      failed = std::current_exception();
    }
    const std::lock_guard lock{mutex_};
    ++served_;
    if (failed && !failed_) failed_ = failed;
    changed_.notify_all();
  }
}

RemoteOptions FakeDaemon::options(Access access) const {
  RemoteOptions options;
  options.host = "127.0.0.1";
  options.port = port_;
  options.store = "demo";
  options.access = access;
  options.request_timeout = std::chrono::seconds{30};
  return options;
}

std::string FakeDaemon::uri(std::string_view query) const {
  return "pageserver://127.0.0.1:" + std::to_string(port_) + "/demo" + (query.empty() ? "" : "?" + std::string{query});
}

void FakeDaemon::join() {
  std::unique_lock lock{mutex_};
  if (!changed_.wait_for(lock, std::chrono::milliseconds{patience_ms}, [&] { return served_ > 0; }))
    throw std::runtime_error("the script did not end");
  if (failed_) std::rethrow_exception(failed_);
}

}  // namespace pageserver::test
