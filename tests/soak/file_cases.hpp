// What people do to the files of a store that nothing serves, and what has to come of it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tests/crash/random.hpp"
#include "tests/soak/stores.hpp"

namespace pageserver::test::soak {

/// What has to come of it at the next start.
enum class Expect : std::uint8_t {
  right,                ///< the state is that of before, with all that was answered
  refused,              ///< nothing is changed, and the text has the remedy; after it, the state is that of before
  refused_then_backup,  ///< likewise; after the remedy the state is that of the backup
  backup,               ///< the state is that of the backup
};

struct FileCase {
  const char* name;
  bool needs_log;  ///< a killed daemon left one; else there must be none
  bool needs_backup;
  Expect expect;
  const char* says;  ///< a part of the refusal
  void (*act)(SoakStore& store);
  void (*remedy)(SoakStore& store);
};

/// All of them.
std::span<const FileCase> file_cases();
/// Whether the log beside the image has anything to replay: one that has not may go with any image of its inode.
bool has_records(const SoakStore& store);
/// One that can be done with `store` now, or none.
const FileCase* draw_file_case(const SoakStore& store, Random& random);

}  // namespace pageserver::test::soak
