#pragma once

#include <chrono>

namespace pageserver::server {

/// The calling thread asks for a processor for so long at a time only, and gets it the sooner: before threads that have
/// more of it, where all have been served alike. Linux from 6.12 on, without a privilege; elsewhere nothing changes.
/// False: the system does not let it ask.
bool ask_for_short_turns(std::chrono::nanoseconds slice) noexcept;

}  // namespace pageserver::server
