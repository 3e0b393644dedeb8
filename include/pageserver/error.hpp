// The one exception type of this library, and the codes that programs tell its errors apart by.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <pageserver/export.hpp>

namespace pageserver {

/// What went wrong. The text of the exception says the rest: action, object, numbers, remedy.
/// Values never change and are never used again; new ones may be added, so treat an unknown one as provider_error.
enum class Errc : int {
  out_of_bounds = 1,       ///< offset and length leave the image
  provider_error = 2,      ///< the medium failed, or the file is not an image; the text has the system's own words
  busy = 3,                ///< someone else holds the file or the writer lease; the text says who
  lease_lost = 4,          ///< this session was the writer and is no longer; what is private is dropped
  read_only = 5,           ///< the session or the store may not be written
  snapshot_too_old = 6,    ///< the version that this session holds was given up to keep within a bound
  no_space = 7,            ///< the disk or a quota is full
  limit_exceeded = 8,      ///< a configured limit; the text names it
  not_found = 9,           ///< no such store or file
  already_exists = 10,     ///< a store or file of that name is there
  protocol_error = 11,     ///< the peer does not speak the protocol; sticky
  connection_lost = 12,    ///< sticky: requests not yet answered may or may not have been applied
  timed_out = 13,          ///< sticky when a request timed out; not when a connection could not be made
  unsupported = 14,        ///< the peer, the store or this build can't do that
  invalid_argument = 15,   ///< a usage error, such as a malformed URI
  permission_denied = 16,  ///< the system or the daemon's configuration forbids it
  damaged = 17,            ///< a log or an image is not what it should be; nothing was changed
};

/// The category of every MemoryError's code. Two copies of this library in one process (static and shared) may have
/// two category objects, so compare codes with Errc (`e.code() == Errc::busy`), which compares by name and value,
/// and not by category address.
PAGESERVER_EXPORT const std::error_category& memory_category() noexcept;

PAGESERVER_EXPORT std::error_code make_error_code(Errc code) noexcept;
PAGESERVER_EXPORT std::error_condition make_error_condition(Errc code) noexcept;

/// The name of a code as it is spelled above, such as "out_of_bounds".
PAGESERVER_EXPORT std::string_view to_string(Errc code) noexcept;

/// Thrown by every provider. `code() == Errc::...` tells errors apart; `what()` is the message alone, made for people.
/// Copies share the message: to copy, assign or keep one takes no memory and never throws.
class PAGESERVER_EXPORT MemoryError : public std::system_error {
public:
  MemoryError(Errc code, std::string message);
  MemoryError(const MemoryError&) = default;
  MemoryError& operator=(const MemoryError&) = default;
  ~MemoryError() override;

  const char* what() const noexcept override { return message_.what(); }
  Errc errc() const noexcept { return static_cast<Errc>(code().value()); }

private:
  std::runtime_error message_;  // a string that copies share
};

}  // namespace pageserver

// A condition, not a code: comparing an error_code with a condition asks the category, which can look past its own
// address. See memory_category().
template <>
struct std::is_error_condition_enum<pageserver::Errc> : std::true_type {};
