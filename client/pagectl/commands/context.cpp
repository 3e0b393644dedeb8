#include "client/pagectl/commands/context.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string>
#include <system_error>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/text.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/wire/connection.hpp"

namespace pageserver::pagectl {
namespace {

constexpr std::size_t buffer_bytes = 64u << 10;

[[noreturn]] void fail_output(int error) {
  if (error == EPIPE) throw BrokenPipe();
  throw MemoryError(error == ENOSPC ? Errc::no_space : Errc::provider_error,
                    "write to standard output: " + std::generic_category().message(error));
}

/// Standard output as a description of our own that does not block: the one that we were given may be shared with
/// programs that would not expect it. -1 where that can't be had.
int open_unblocking() {
  struct stat status {};
  if (::fstat(STDOUT_FILENO, &status) != 0 || !(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) return -1;
  return ::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/// Writes some of it where it can without waiting; else 0. A file takes all of it, and a pipe that could not be opened
/// again what it has room for.
std::size_t write_some(std::span<const std::byte> data) {
  static const int unblocking = open_unblocking();
  if (unblocking < 0) {
    pollfd polled{STDOUT_FILENO, POLLOUT, 0};
    if (::poll(&polled, 1, 0) == 0) return 0;
    struct stat status {};
    const bool file = ::fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode);
    if (!file) data = data.first(std::min<std::size_t>(data.size(), PIPE_BUF));
  }
  const auto written = ::write(unblocking < 0 ? STDOUT_FILENO : unblocking, data.data(), data.size());
  if (written >= 0) return static_cast<std::size_t>(written);
  if (errno == EAGAIN || errno == EINTR) return 0;
  fail_output(errno);
}

/// A name that is not UTF-8 must not make the report fail, and what a terminal would obey is left to JSON's escapes.
std::string dumped(const nlohmann::ordered_json& document, int indent) {
  constexpr auto repair = nlohmann::ordered_json::error_handler_t::replace;
  const bool unsafe = base::has_unsafe(document.dump(-1, ' ', false, repair));
  return document.dump(indent, ' ', unsafe, repair);
}

}  // namespace

std::string json_text(const nlohmann::ordered_json& value) { return dumped(value, -1); }

void wait_beside(Image& image, int file, short events) {
  for (;;) {
    const auto request = image.has_pending() ? image.poll_request() : Image::Poll{};
    std::array<pollfd, 2> polled{pollfd{file, events, 0}, pollfd{request.descriptor, request.events, 0}};
    const auto left = client::timespec_until(request.deadline);
    const int ready = ::ppoll(polled.data(), 2, request.deadline == client::never ? nullptr : &left, nullptr);
    // Also when its deadline has passed: the image ends what took too long.
    if (image.has_pending() && (ready <= 0 || polled[1].revents != 0)) image.advance();
    if (ready > 0 && polled[0].revents != 0) return;
  }
}

void Output::write_all(std::span<const std::byte> data) {
  while (!data.empty()) {
    if (image_ != nullptr && image_->has_pending()) {
      const std::size_t written = write_some(data);
      if (written == 0) wait_beside(*image_, STDOUT_FILENO, POLLOUT);
      data = data.subspan(written);
      continue;
    }
    const auto written = ::write(STDOUT_FILENO, data.data(), data.size());
    if (written >= 0)
      data = data.subspan(static_cast<std::size_t>(written));
    else if (errno != EINTR)
      fail_output(errno);
  }
}

void Output::bytes(std::span<const std::byte> data) {
  used_ = true;
  if (buffer_.size() + data.size() > buffer_bytes) flush();
  if (data.size() >= buffer_bytes) return write_all(data);
  buffer_.insert(buffer_.end(), data.begin(), data.end());
}

void Output::text(std::string_view text) { bytes(std::as_bytes(std::span(text.data(), text.size()))); }

void Output::line(std::string_view line_text) {
  text(line_text);
  text("\n");
}

void Output::json(const nlohmann::ordered_json& document) { line(dumped(document, 2)); }

void Output::flush() {
  // Emptied first: what could not be written once is not tried again while the error passes.
  std::vector<std::byte> pending;
  pending.swap(buffer_);
  write_all(pending);
}

}  // namespace pageserver::pagectl
