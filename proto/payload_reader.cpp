#include "proto/payload_reader.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace pageserver::proto {
namespace {

/// A store's name, or what came in its place, in quotes for a message; cut where it is longer than any name is.
std::string shown(std::string_view text) {
  const std::string_view begin = cut_at_character(text, store_name_bytes_max);
  return base::quoted(begin.size() == text.size() ? std::string(text) : std::string(begin) + "...");
}

}  // namespace

Fault wrong_size(std::string_view what, std::size_t found, std::string_view expectation, std::size_t expected) {
  std::string message(what);
  message += " payload is " + std::to_string(found) + " bytes, expected ";
  message += expectation;
  message += std::to_string(expected);
  return {Status::protocol_error, std::move(message)};
}

Decoded decode_nothing(std::string_view what, std::span<const std::byte> payload) {
  if (!payload.empty()) return wrong_size(what, payload.size(), "", 0);
  return {};
}

void PayloadReader::refuse(Status status, std::string message) {
  if (!fault_) fault_ = Fault{status, std::string(what_) + " " + std::move(message)};
}

bool PayloadReader::at_least(std::size_t bytes) {
  if (fault_) return false;
  if (payload_.size() < bytes) fault_ = wrong_size(what_, payload_.size(), "at least ", bytes);
  return !fault_;
}

bool PayloadReader::exactly(std::size_t bytes) {
  if (fault_) return false;
  if (payload_.size() != bytes) fault_ = wrong_size(what_, payload_.size(), "", bytes);
  return !fault_;
}

void PayloadReader::reserved(std::size_t bytes) {
  const std::size_t from = position_;
  const auto field = take(bytes);
  const auto bad = std::find_if(field.begin(), field.end(), [](std::byte b) { return b != std::byte{0}; });
  if (bad != field.end()) {
    const auto offset = from + static_cast<std::size_t>(bad - field.begin());
    refuse(Status::protocol_error, "byte " + std::to_string(offset) + " is reserved and must be 0");
  }
}

std::uint8_t PayloadReader::flags(std::uint8_t known) {
  const auto value = number<std::uint8_t>();
  check_flags(value, known);
  return value;
}

std::uint16_t PayloadReader::flags16(std::uint16_t known) {
  const auto value = number<std::uint16_t>();
  check_flags(value, known);
  return value;
}

void PayloadReader::check_flags(unsigned value, unsigned known) {
  if ((value & ~known) != 0)
    refuse(Status::protocol_error, "flags are " + std::to_string(value) + ", known bits are " + std::to_string(known));
}

void PayloadReader::bad_choice(std::string_view field, unsigned value, unsigned last) {
  refuse(Status::protocol_error,
         std::string(field) + " is " + std::to_string(value) + ", expected 0 to " + std::to_string(last));
}

std::string_view PayloadReader::text(std::size_t bytes, std::size_t bytes_max, std::string_view field) {
  const auto taken = take(bytes);
  // The bytes of a text are looked at as characters; char may alias anything.
  const std::string_view value(reinterpret_cast<const char*>(taken.data()), taken.size());
  if (bytes > bytes_max) {
    refuse(Status::limit_exceeded,
           std::string(field) + " is " + std::to_string(bytes) + " bytes, at most " + std::to_string(bytes_max));
  } else if (!is_utf8(value)) {
    refuse(Status::protocol_error, std::string(field) + " of " + std::to_string(bytes) + " bytes is not UTF-8");
  }
  return value;
}

std::string_view PayloadReader::name(std::size_t bytes, std::string_view field) {
  const auto value = text(bytes, name_bytes_max, field);
  if (base::has_unsafe(value)) {
    refuse(Status::invalid_argument, std::string(field) + " " + base::quoted(value) + " has a control character");
  }
  return value;
}

std::string_view PayloadReader::store_name(std::size_t bytes) {
  // Over-long is a bad name like any other here, so the limit of the text itself is what its length field can say.
  const auto value = text(bytes, UINT16_MAX, "store name");
  if (!is_store_name(value)) {
    refuse(Status::invalid_argument, "store name " + shown(value) + " is not 1 to " +
                                         std::to_string(store_name_bytes_max) +
                                         " of A-Z a-z 0-9 . _ - with a letter or digit first");
  }
  return value;
}

std::span<const std::byte> PayloadReader::echo() {
  const auto value = take(payload_.size());
  if (value.size() > ping_bytes_max) {
    refuse(Status::limit_exceeded,
           "payload is " + std::to_string(value.size()) + " bytes, at most " + std::to_string(ping_bytes_max));
  }
  return value;
}

void PayloadReader::ranges(std::size_t count, std::vector<Range>& out) {
  out.clear();
  out.reserve(count);
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto offset = number<std::uint64_t>();
    const auto length = number<std::uint64_t>();
    if (offset < end || length == 0 || length > UINT64_MAX - offset) {
      return refuse(Status::protocol_error, "range " + std::to_string(i) + " offset=" + std::to_string(offset) +
                                                " length=" + std::to_string(length) +
                                                " is empty, not rising or past 64 bits");
    }
    end = offset + length;
    out.push_back({offset, length});
  }
}

Decoded PayloadReader::result() {
  assert(fault_ || position_ == payload_.size());
  return std::move(fault_);
}

}  // namespace pageserver::proto
