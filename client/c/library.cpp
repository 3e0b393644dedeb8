// What the C interface says about itself.
#include <pageserver/pageserver.h>
#include <pageserver/error.hpp>
#include <pageserver/version.hpp>

namespace pageserver {

// Codes are passed on as they are: those of the C header are the same numbers.
static_assert(static_cast<int>(Errc::out_of_bounds) == PS_OUT_OF_BOUNDS);
static_assert(static_cast<int>(Errc::provider_error) == PS_PROVIDER_ERROR);
static_assert(static_cast<int>(Errc::busy) == PS_BUSY);
static_assert(static_cast<int>(Errc::lease_lost) == PS_LEASE_LOST);
static_assert(static_cast<int>(Errc::read_only) == PS_READ_ONLY);
static_assert(static_cast<int>(Errc::snapshot_too_old) == PS_SNAPSHOT_TOO_OLD);
static_assert(static_cast<int>(Errc::no_space) == PS_NO_SPACE);
static_assert(static_cast<int>(Errc::limit_exceeded) == PS_LIMIT_EXCEEDED);
static_assert(static_cast<int>(Errc::not_found) == PS_NOT_FOUND);
static_assert(static_cast<int>(Errc::already_exists) == PS_ALREADY_EXISTS);
static_assert(static_cast<int>(Errc::protocol_error) == PS_PROTOCOL_ERROR);
static_assert(static_cast<int>(Errc::connection_lost) == PS_CONNECTION_LOST);
static_assert(static_cast<int>(Errc::timed_out) == PS_TIMED_OUT);
static_assert(static_cast<int>(Errc::unsupported) == PS_UNSUPPORTED);
static_assert(static_cast<int>(Errc::invalid_argument) == PS_INVALID_ARGUMENT);
static_assert(static_cast<int>(Errc::permission_denied) == PS_PERMISSION_DENIED);
static_assert(static_cast<int>(Errc::damaged) == PS_DAMAGED);

}  // namespace pageserver

const char* ps_version(void) { return PAGESERVER_VERSION; }

const char* ps_code_name(int code) {
  if (code == PS_OK) return "ok";
  if (code == PS_NO_MEMORY) return "no_memory";
  // A literal, which ends in a zero byte.
  return pageserver::to_string(static_cast<pageserver::Errc>(code)).data();
}
