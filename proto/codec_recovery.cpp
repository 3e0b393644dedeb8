#include "proto/codec_recovery.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace pageserver::proto {
namespace {

/// As many names as fit, with what no name has between them.
std::string joined(const std::vector<std::string_view>& names) {
  std::string text;
  for (const std::string_view name : names) {
    if (text.size() + name.size() + 1 > message_bytes_max) break;
    if (!text.empty()) text += '/';
    text += name;
  }
  return text;
}

}  // namespace

RecoveryRecord read_recovery(PayloadReader& in) {
  RecoveryRecord record;
  Recovery& recovery = record.recovery;
  recovery.unix_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
  for (std::uint64_t* const number : {&recovery.log_bytes, &recovery.log_files, &recovery.records, &recovery.pages,
                                      &recovery.dropped_files, &recovery.dropped_records})
    *number = in.number<std::uint64_t>();
  recovery.kept_count = in.number<std::uint32_t>();
  record.warning_bytes = in.number<std::uint16_t>();
  record.kept_files_bytes = in.number<std::uint16_t>();
  return record;
}

Recovery read_recovery_texts(PayloadReader& in, RecoveryRecord&& record) {
  Recovery recovery = std::move(record.recovery);
  recovery.warning = in.text(record.warning_bytes, message_bytes_max, "recovery's warning");
  std::string_view names = in.text(record.kept_files_bytes, message_bytes_max, "list of kept files");
  while (!names.empty()) {
    const std::size_t end = names.find('/');
    recovery.kept_files.push_back(names.substr(0, end));
    if (recovery.kept_files.back().empty() || end + 1 == names.size() ||
        recovery.kept_files.size() > recovery.kept_count) {
      in.refuse(Status::protocol_error, "lists an empty name among the kept files, or more of them than it counts");
      break;
    }
    names.remove_prefix(end == std::string_view::npos ? names.size() : end + 1);
  }
  return recovery;
}

OutgoingRecovery::OutgoingRecovery(const Recovery& from, bool with_texts)
    : from_(from),
      joined_(with_texts ? joined(from.kept_files) : ""),
      warning_(with_texts ? from.warning : "", message_bytes_max),
      kept_files_(joined_, message_bytes_max) {}

void OutgoingRecovery::write_record(FrameWriter& frame) const {
  constexpr std::uint64_t count_max = std::numeric_limits<std::uint32_t>::max();
  frame.number(static_cast<std::uint64_t>(from_.unix_ms))
      .number(from_.log_bytes)
      .number(from_.log_files)
      .number(from_.records)
      .number(from_.pages)
      .number(from_.dropped_files)
      .number(from_.dropped_records)
      .number(static_cast<std::uint32_t>(std::min(from_.kept_count, count_max)))
      .length(warning_.size())
      .length(kept_files_.size());
}

void OutgoingRecovery::write_texts(FrameWriter& frame) const { frame.text(warning_.view()).text(kept_files_.view()); }

}  // namespace pageserver::proto
