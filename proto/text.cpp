#include "proto/text.hpp"

#include <algorithm>
#include <cstdint>

#include "base/text.hpp"
#include "proto/codec.hpp"

namespace pageserver::proto {
namespace {

bool is_continuation(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0u) == 0x80u; }

std::size_t character_bytes(std::string_view text) noexcept { return base::first_character(text).bytes; }

bool is_letter_or_digit(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = character_bytes(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool is_store_name(std::string_view name) {
  if (name.empty() || name.size() > store_name_bytes_max || !is_letter_or_digit(name.front())) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; });
}

std::string_view cut_at_character(std::string_view text, std::size_t bytes_max) noexcept {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && is_continuation(text[bytes_max])) --bytes_max;
  return text.substr(0, bytes_max);
}

SendableText::SendableText(std::string_view text, std::size_t bytes_max) : view_(text) {
  if (!is_utf8(text)) {
    while (!text.empty()) {
      const std::size_t length = character_bytes(text);
      repaired_ += length == 0 ? std::string_view("?") : text.substr(0, length);
      text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    view_ = repaired_;
  }
  view_ = cut_at_character(view_, bytes_max);
}

std::string to_string(Operation operation) {
  switch (operation) {
    case Operation::hello: return "hello";
    case Operation::ping: return "ping";
    case Operation::list: return "list";
    case Operation::create: return "create";
    case Operation::remove: return "remove";
    case Operation::open: return "open";
    case Operation::size: return "size";
    case Operation::grow: return "grow";
    case Operation::read: return "read";
    case Operation::write: return "write";
    case Operation::zero: return "zero";
    case Operation::data_ranges: return "data_ranges";
    case Operation::flush: return "flush";
    case Operation::discard: return "discard";
    case Operation::refresh: return "refresh";
    case Operation::stat: return "stat";
    case Operation::break_lease: return "break_lease";
    case Operation::close: return "close";
    case Operation::commit: return "commit";
    case Operation::sessions: return "sessions";
    case Operation::kick: return "kick";
    case Operation::whoami: return "whoami";
    case Operation::faults: return "faults";
    case Operation::ring: return "ring";
    case Operation::takeover: return "takeover";
    case Operation::lease_lost: return "lease_lost";
    case Operation::goodbye: return "goodbye";
    case Operation::waiting: return "waiting";
  }
  return "operation " + std::to_string(static_cast<unsigned>(operation));
}

std::string to_string(Status status) {
  switch (status) {
    case Status::ok: return "ok";
    case Status::out_of_bounds: return "out_of_bounds";
    case Status::provider_error: return "provider_error";
    case Status::busy: return "busy";
    case Status::lease_lost: return "lease_lost";
    case Status::read_only: return "read_only";
    case Status::snapshot_too_old: return "snapshot_too_old";
    case Status::no_space: return "no_space";
    case Status::limit_exceeded: return "limit_exceeded";
    case Status::not_found: return "not_found";
    case Status::already_exists: return "already_exists";
    case Status::protocol_error: return "protocol_error";
    case Status::stopping: return "stopping";
    case Status::timed_out: return "timed_out";
    case Status::unsupported: return "unsupported";
    case Status::invalid_argument: return "invalid_argument";
    case Status::permission_denied: return "permission_denied";
    case Status::damaged: return "damaged";
    case Status::kicked: return "kicked";
    case Status::token_unknown: return "token_unknown";
    case Status::token_expired: return "token_expired";
    case Status::token_foreign: return "token_foreign";
    case Status::identity_differs: return "identity_differs";
    case Status::request_differs: return "request_differs";
    case Status::outside_window: return "outside_window";
    case Status::served_elsewhere: return "served_elsewhere";
  }
  return "status " + std::to_string(static_cast<unsigned>(status));
}

bool is_known(Operation operation) {
  const auto number = static_cast<std::uint16_t>(operation);
  return (number >= static_cast<std::uint16_t>(Operation::hello) &&
          number <= static_cast<std::uint16_t>(Operation::takeover)) ||
         is_notice(operation);
}

bool is_notice(Operation operation) {
  const auto number = static_cast<std::uint16_t>(operation);
  return number >= static_cast<std::uint16_t>(Operation::lease_lost) &&
         number <= static_cast<std::uint16_t>(Operation::waiting);
}

}  // namespace pageserver::proto
