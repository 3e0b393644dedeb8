// The words for a writer lease that someone else has, or that went.
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

/// busy, naming the holder, how many wait, and what to do.
MemoryError lease_busy_error(std::string_view store, const HolderStat& holder, std::uint64_t waiting);

/// busy although nobody holds the lease: `last` held it, and what it published last is still under way.
MemoryError lease_leaving_error(std::string_view store, const HolderStat& last, std::uint64_t waiting);

/// lease_lost, for every request of a session whose lease was taken away.
MemoryError lease_lost_error(std::string_view store, std::uint64_t epoch, std::string_view reason);

}  // namespace pageserver::storage
