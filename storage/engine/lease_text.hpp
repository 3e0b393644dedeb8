// The errors' texts for a writer lease that somebody else has, or that was taken away.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <pageserver/error.hpp>
#include <pageserver/session.hpp>

namespace pageserver::storage {

/// Milliseconds since 1970-01-01 UTC as `2026-11-23T03:49:25Z`.
std::string utc_text(std::int64_t unix_ms);

/// Such as `"importer" at 127.0.0.1:40312 since 2026-11-23T03:49:25Z`.
std::string holder_text(const HolderStat& holder);

/// The error busy, which names the holder, how many sessions wait, and what to do.
MemoryError lease_busy_error(std::string_view store, const HolderStat& holder, std::uint64_t waiting);

/// The error busy while nobody holds the lease: `last` held it, and its last publish is still under way.
MemoryError lease_leaving_error(std::string_view store, const HolderStat& last, std::uint64_t waiting);

/// The error lease_lost, for every request of a session whose lease was taken away.
MemoryError lease_lost_error(std::string_view store, std::uint64_t epoch, std::string_view reason);

}  // namespace pageserver::storage
