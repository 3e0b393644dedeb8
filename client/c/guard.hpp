// Between the exceptions of the library and the codes of the C interface.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include <pageserver/pageserver.h>
#include <pageserver/error.hpp>

namespace pageserver::c {

/// Writes code and text into the caller's struct, where there is one, as far as it reaches. Returns the code.
int report(ps_error* error, int code, std::string_view text) noexcept;

/// report() of the exception that is being handled.
int report_current(ps_error* error) noexcept;

/// Runs `call`; what it throws is reported.
template <class Call>
int guarded(ps_error* error, Call&& call) noexcept {
  try {
    call();
    return PS_OK;
  } catch (...) {
    return report_current(error);
  }
}

/// Throws invalid_argument that names `function` and `parameter`.
[[noreturn]] void refuse_null(std::string_view function, std::string_view parameter);

template <class T>
T& given(T* pointer, std::string_view function, std::string_view parameter) {
  if (pointer == nullptr) refuse_null(function, parameter);
  return *pointer;
}

/// Into the struct of a caller who may know less or more of it than this library.
template <class Sized>
void fill(Sized& into, Sized value, std::string_view function) {
  const std::size_t size = into.size;
  if (size < 2 * sizeof(std::size_t))
    throw MemoryError{Errc::invalid_argument, std::string{function} + ": size=" + std::to_string(size) +
                                                  " of a struct of " + std::to_string(sizeof(Sized)) +
                                                  " bytes; set it to the sizeof of the struct before the call"};
  value.size = size;
  std::memcpy(&into, &value, std::min(size, sizeof value));
}

/// From the struct of such a caller: what it does not know is zero.
template <class Sized>
Sized taken(const Sized* from, std::string_view function) {
  Sized value{};
  if (from == nullptr) return value;
  if (from->size < sizeof(std::size_t))
    throw MemoryError{Errc::invalid_argument, std::string{function} + ": size=" + std::to_string(from->size) +
                                                  " of the options; set it to " +
                                                  "sizeof(ps_options) = " + std::to_string(sizeof(Sized))};
  std::memcpy(&value, from, std::min(from->size, sizeof value));
  return value;
}

}  // namespace pageserver::c
