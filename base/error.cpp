#include <pageserver/error.hpp>

#include <cstring>
#include <string>

#include "base/secrets.hpp"

namespace pageserver {
namespace {

class MemoryCategory final : public std::error_category {
public:
  const char* name() const noexcept override { return "pageserver"; }
  std::string message(int value) const override { return std::string{to_string(static_cast<Errc>(value))}; }
  // Another copy of this category (a second copy of the library in the process) has another address but this name.
  bool equivalent(const std::error_code& code, int condition) const noexcept override {
    return code.value() == condition && std::strcmp(code.category().name(), name()) == 0;
  }
};

}  // namespace

const std::error_category& memory_category() noexcept {
  static const MemoryCategory category;
  return category;
}

std::error_code make_error_code(Errc code) noexcept { return {static_cast<int>(code), memory_category()}; }
std::error_condition make_error_condition(Errc code) noexcept { return {static_cast<int>(code), memory_category()}; }

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::out_of_bounds: return "out_of_bounds";
    case Errc::provider_error: return "provider_error";
    case Errc::busy: return "busy";
    case Errc::lease_lost: return "lease_lost";
    case Errc::read_only: return "read_only";
    case Errc::snapshot_too_old: return "snapshot_too_old";
    case Errc::no_space: return "no_space";
    case Errc::limit_exceeded: return "limit_exceeded";
    case Errc::not_found: return "not_found";
    case Errc::already_exists: return "already_exists";
    case Errc::protocol_error: return "protocol_error";
    case Errc::connection_lost: return "connection_lost";
    case Errc::timed_out: return "timed_out";
    case Errc::unsupported: return "unsupported";
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::permission_denied: return "permission_denied";
    case Errc::damaged: return "damaged";
  }
  return "unknown error";
}

// Texts quote what a program was given, such as a URI, and end in logs.
MemoryError::MemoryError(Errc code, std::string message)
    : std::system_error{make_error_code(code), message = base::without_secrets(message)}, message_{message} {}
MemoryError::~MemoryError() = default;

}  // namespace pageserver
