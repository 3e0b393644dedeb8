// The record of a recovery, which answers of stat and list have in common.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "proto/frame_writer.hpp"
#include "proto/messages.hpp"
#include "proto/payload_reader.hpp"
#include "proto/text.hpp"

namespace pageserver::proto {

inline constexpr std::size_t recovery_record_bytes = 64;

/// A recovery's record, whose texts come later in the payload.
struct RecoveryRecord {
  Recovery recovery;
  std::size_t warning_bytes = 0;
  std::size_t kept_files_bytes = 0;
};

RecoveryRecord read_recovery(PayloadReader& in);
Recovery read_recovery_texts(PayloadReader& in, RecoveryRecord&& record);

/// A recovery with its texts as they are sent, or without any.
class OutgoingRecovery {
public:
  OutgoingRecovery(const Recovery& from, bool with_texts);

  std::size_t text_bytes() const noexcept { return warning_.size() + kept_files_.size(); }
  void write_record(FrameWriter& frame) const;
  void write_texts(FrameWriter& frame) const;

private:
  const Recovery& from_;
  std::string joined_;
  SendableText warning_;
  SendableText kept_files_;
};

}  // namespace pageserver::proto
