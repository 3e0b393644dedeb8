#include "client/wire/wakeup.hpp"

#include <sys/eventfd.h>
#include <cerrno>
#include <cstdint>

#include <pageserver/error.hpp>

#include "client/wire/error_text.hpp"

namespace pageserver::client {

Wakeup::Wakeup() : fd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  if (fd_.get() < 0)
    throw MemoryError{Errc::provider_error,
                      "open: eventfd failed: " + system_text(errno) + "; see the limit of open files (ulimit -n)"};
}

void Wakeup::wake() noexcept {
  const std::uint64_t one = 1;
  (void)!::write(fd_.get(), &one, sizeof one);
}

void Wakeup::reset() noexcept {
  std::uint64_t count = 0;
  (void)!::read(fd_.get(), &count, sizeof count);
}

}  // namespace pageserver::client
