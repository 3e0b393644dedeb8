#include "client/pagectl/context.hpp"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "client/pagectl/progress.hpp"

namespace pageserver::pagectl {
namespace {

constexpr std::size_t buffer_bytes = 64u << 10;

void write_all(std::span<const std::byte> data) {
  while (!data.empty()) {
    const auto written = ::write(STDOUT_FILENO, data.data(), data.size());
    if (written >= 0) {
      data = data.subspan(static_cast<std::size_t>(written));
    } else if (errno == EPIPE) {
      throw BrokenPipe();
    } else if (errno != EINTR) {
      throw MemoryError(errno == ENOSPC ? Errc::no_space : Errc::provider_error,
                        "write to standard output: " + std::generic_category().message(errno));
    }
  }
}

}  // namespace

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

void Output::json(const nlohmann::ordered_json& document) {
  // A name that is not UTF-8 must not make the report fail.
  line(document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void Output::flush() {
  // Emptied first: what could not be written once is not tried again while the error passes.
  std::vector<std::byte> pending;
  pending.swap(buffer_);
  write_all(pending);
}

void complain(std::string_view text) {
  end_progress_line();
  std::string all = "pagectl: ";
  all += text;
  all += '\n';
  static_cast<void>(!::write(STDERR_FILENO, all.data(), all.size()));
}

}  // namespace pageserver::pagectl
