// From an error of an image to an errno: the one place. docs/files.md has the same as a table.
#pragma once

#include <exception>
#include <system_error>

namespace pageserver::pagectl {

/// A call that a file of whole pages can't do, with the errno that says so.
class FileRefusal : public std::system_error {
public:
  explicit FileRefusal(int number) : std::system_error(number, std::generic_category()) {}
};

/// What a program is told of `error`, a positive errno: always one that the kernel hands on.
int errno_of(const std::exception_ptr& error) noexcept;

}  // namespace pageserver::pagectl
