// A recorded trace (WDTR version 1), plain or zstd-compressed, as a stream of records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pageserver::pagectl {

struct TraceHeader {
  std::uint64_t initial_size_bytes = 0;
  std::uint64_t initial_hash = 0;
  std::uint64_t records = 0;
  std::uint64_t final_size_bytes = 0;
  std::uint64_t final_hash = 0;
};

enum class TraceOp : std::uint8_t { grow = 1, read = 2, write = 3, zero = 4, flush = 5, out_of_bounds = 6 };

struct TraceRecord {
  std::uint64_t number = 0;  ///< the first is 1
  TraceOp op = TraceOp::flush;
  std::uint64_t new_pages = 0;
  std::uint64_t returned = 0;  ///< by grow: the size before, in bytes
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint64_t hash = 0;     ///< of the bytes read
  bool failed_write = false;  ///< of out_of_bounds: it was a write
};

/// Throws MemoryError: not_found and the like on opening; damaged, naming file and record, for what is no trace.
class TraceReader {
public:
  explicit TraceReader(const std::string& path);
  TraceReader(const TraceReader&) = delete;
  TraceReader& operator=(const TraceReader&) = delete;
  ~TraceReader();

  const TraceHeader& header() const { return header_; }
  /// False after the last record, when nothing stands behind it. The bytes of a write are to be taken with data()
  /// before the next call.
  bool next(TraceRecord& record);
  /// Fills `into` with the bytes of the write just returned: `record.length` of them.
  void data(std::span<std::byte> into);

private:
  class Stream;
  void read(std::span<std::byte> into);
  std::uint64_t number(std::size_t bytes);
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_;
  std::unique_ptr<Stream> stream_;
  TraceHeader header_;
  std::uint64_t at_ = 0;  // records begun
};

}  // namespace pageserver::pagectl
