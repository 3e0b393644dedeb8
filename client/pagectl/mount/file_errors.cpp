#include "client/pagectl/mount/file_errors.hpp"

#include <cerrno>
#include <new>

#include <pageserver/error.hpp>

namespace pageserver::pagectl {
namespace {

int errno_of_code(Errc code) noexcept {
  switch (code) {
    case Errc::read_only: return EROFS;
    case Errc::no_space: return ENOSPC;
    case Errc::limit_exceeded: return EFBIG;
    case Errc::busy: return EBUSY;
    case Errc::snapshot_too_old: return ESTALE;
    case Errc::unsupported: return EOPNOTSUPP;
    case Errc::out_of_bounds:
    case Errc::invalid_argument: return EINVAL;
    case Errc::permission_denied: return EACCES;
    case Errc::provider_error:
    case Errc::lease_lost:
    case Errc::not_found:
    case Errc::already_exists:
    case Errc::protocol_error:
    case Errc::connection_lost:
    case Errc::timed_out:
    case Errc::damaged: return EIO;
  }
  return EIO;  // a code of a later version
}

}  // namespace

int errno_of(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const FileRefusal& refusal) {
    return refusal.code().value();
  } catch (const MemoryError& failure) {
    return errno_of_code(failure.errc());
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  } catch (...) {
    return EIO;
  }
}

}  // namespace pageserver::pagectl
