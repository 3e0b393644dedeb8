#include "client/c/guard.hpp"

#include <exception>
#include <new>

namespace pageserver::c {

int report(ps_error* error, int code, std::string_view text) noexcept {
  if (error == nullptr) return code;
  constexpr std::size_t text_at = offsetof(ps_error, text);
  if (error->size < text_at) return code;
  error->code = code;
  if (error->size == text_at) return code;
  std::size_t length = std::min(text.size(), error->size - text_at - 1);
  if (length < text.size()) {
    // Not in the middle of a character.
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0u) == 0x80u) --length;
  }
  // The caller's struct may be longer than the one declared here.
  char* const to = reinterpret_cast<char*>(error) + text_at;
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
  return code;
}

int report_current(ps_error* error) noexcept {
  try {
    throw;
  } catch (const MemoryError& e) {
    return report(error, static_cast<int>(e.errc()), e.what());
  } catch (const std::bad_alloc&) {
    return report(error, PS_NO_MEMORY, "this process has no memory left");
  } catch (const std::exception& e) {
    return report(error, PS_PROVIDER_ERROR, e.what());
  } catch (...) {
    return report(error, PS_PROVIDER_ERROR, "an error of an unknown kind");
  }
}

void refuse_null(std::string_view function, std::string_view parameter) {
  throw MemoryError{Errc::invalid_argument, std::string{function} + ": " + std::string{parameter} + " is NULL"};
}

}  // namespace pageserver::c
