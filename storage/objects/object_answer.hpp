// Calls of an object file system end with an errno, whatever happens in them.
#pragma once

#include <cerrno>
#include <new>
#include <system_error>

#include "storage/objects/object_file.hpp"

namespace pageserver::storage {

/// Nothing that is thrown may leave a call of FileSystem, least of all a module's.
template <class Call>
IoResult answered(Call&& call) noexcept {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return error_result(ENOMEM);
  } catch (const std::system_error& error) {
    return error_result(error.code().value() > 0 ? error.code().value() : EIO);
  } catch (...) {
    return error_result(EIO);
  }
}

}  // namespace pageserver::storage
