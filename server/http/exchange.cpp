#include "server/http/exchange.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <utility>

namespace pageserver::server::http {

namespace {

std::string_view reason_of(unsigned code) {
  switch (code) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 421: return "Misdirected Request";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Answer";
  }
}

// Of what a peer sends behind its request, so much is read before its connection is closed, so that what was answered
// is not lost by a reset.
constexpr std::size_t drained_bytes_max = 64u << 10;

}  // namespace

struct Exchange::Io {
  Io(asio::io_context& context, int socket) : timer(context), descriptor(context, socket) {}
  asio::steady_timer timer;
  asio::posix::stream_descriptor descriptor;  // last: once it has the socket nothing else can fail
};

Exchange::Exchange(Worker& worker, UniqueFd socket, Patience patience)
    : worker_(worker), patience_(patience), io_(std::make_unique<Io>(worker.context(), socket.get())) {
  [[maybe_unused]] const int now_of_io = socket.release();
}

Exchange::~Exchange() = default;

void Exchange::start(Calls calls) {
  calls_ = std::move(calls);
  set_deadline(patience_.request);
  wait_for_input();
}

void Exchange::drop() { finish(false); }

void Exchange::set_deadline(std::chrono::milliseconds from_now) {
  io_->timer.expires_after(from_now);
  io_->timer.async_wait([self = shared_from_this()](const std::error_code& error) {
    // One that had expired already when it was set anew says nothing.
    if (!error && std::chrono::steady_clock::now() >= self->io_->timer.expiry())
      self->finish(self->state_ == State::end);
  });
}

void Exchange::wait_for_input() {
  io_->descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                             [self = shared_from_this()](const std::error_code& error) {
                               if (self->state_ == State::over) return;
                               if (error) return self->finish(false);
                               self->input_came();
                             });
}

void Exchange::input_came() {
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t got = ::recv(io_->descriptor.native_handle(), part.data(), part.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return wait_for_input();
    if (got <= 0) return finish(state_ == State::end);
    if (state_ == State::end) {
      sent_ += static_cast<std::size_t>(got);
      if (sent_ > drained_bytes_max) return finish(true);
      continue;
    }
    input_.append(part.data(), static_cast<std::size_t>(got));
    const Parsed parsed = parse_request(input_);
    if (parsed.state != Parsed::State::incomplete) return take_input();
  }
}

void Exchange::take_input() {
  const Parsed parsed = parse_request(input_);
  state_ = State::handling;
  // Whoever answers is waited for; its own deadline is the handler's affair, and this one comes behind it.
  set_deadline(patience_.answer);
  if (parsed.state == Parsed::State::refused) {
    Response response{parsed.code, "text/plain; charset=utf-8", std::string(parsed.why) + "\n", {}};
    if (parsed.code == 405) response.fields = "Allow: GET, HEAD\r\n";
    return respond(std::move(response));
  }
  head_only_ = parsed.request.method == Method::head;
  calls_.handle(parsed.request, [weak = weak_from_this(), worker = &worker_](Response response) {
    if (worker->is_here()) {
      if (const auto self = weak.lock()) self->respond(std::move(response));
      return;
    }
    worker->post([weak, response = std::move(response)]() mutable {
      if (const auto self = weak.lock()) self->respond(std::move(response));
    });
  });
}

void Exchange::respond(Response response) {
  if (state_ != State::handling) return;
  state_ = State::answer;
  calls_.answered(response.code);
  output_ = "HTTP/1.1 " + std::to_string(response.code) + " ";
  output_ += reason_of(response.code);
  output_ += "\r\nContent-Type: ";
  output_ += response.content_type;
  output_ += "\r\nContent-Length: " + std::to_string(response.body.size());
  output_ += "\r\nConnection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";
  output_ += response.fields;
  output_ += "\r\n";
  if (!head_only_) output_ += response.body;
  set_deadline(patience_.answer);
  send();
}

void Exchange::send() {
  while (sent_ < output_.size()) {
    const ssize_t put = ::send(io_->descriptor.native_handle(), output_.data() + sent_, output_.size() - sent_,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0) {
      sent_ += static_cast<std::size_t>(put);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return finish(false);
    io_->descriptor.async_wait(asio::posix::descriptor_base::wait_write,
                               [self = shared_from_this()](const std::error_code& error) {
                                 if (self->state_ == State::over) return;
                                 if (error) return self->finish(false);
                                 self->send();
                               });
    return;
  }
  await_end();
}

void Exchange::await_end() {
  state_ = State::end;
  output_.clear();
  output_.shrink_to_fit();
  sent_ = 0;
  ::shutdown(io_->descriptor.native_handle(), SHUT_WR);
  set_deadline(patience_.end);
  wait_for_input();
}

void Exchange::finish(bool in_order) {
  if (state_ == State::over) return;
  state_ = State::over;
  const std::shared_ptr<Exchange> self = shared_from_this();
  io_->timer.cancel();
  std::error_code ignored;
  io_->descriptor.close(ignored);
  calls_.ended(*this, in_order);
  calls_ = {};
}

}  // namespace pageserver::server::http
