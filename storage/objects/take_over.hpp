// What a new owner of an image in a pool does before it reads anything: see "The fence" in docs/homes.md.
#pragma once

#include <string>

#include "storage/file/file_system.hpp"
#include "storage/objects/object_file.hpp"

namespace pageserver::storage {

/// Who has a lock, for people: `HOST, process 4711, since 2026-11-28 04:01:02 UTC`; and a number that is nobody else's.
std::string new_cookie();
std::string shown_cookie(const std::string& cookie);

/// Gives `owner`, which has the image's lock, an epoch of its own, so that nothing of an earlier one can follow.
/// ECANCELED: others do so all the time. Waits for the pool.
IoResult take_over(ObjectFolder& folder, ObjectFile& file, const ObjectOwnerRef& owner);

}  // namespace pageserver::storage
