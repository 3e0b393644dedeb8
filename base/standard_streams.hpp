// Descriptors 0, 1 and 2 of a program that was started without some of them.
#pragma once

namespace pageserver::base {

/// Puts /dev/null where standard input, output or error is closed, so that no file or socket opened later gets that
/// number and is read or written as a stream. It is opened the wrong way round: reading such an input and writing such
/// an output still fail (EBADF), as they do with the descriptor closed. Call it before anything is opened.
void occupy_standard_streams() noexcept;

}  // namespace pageserver::base
