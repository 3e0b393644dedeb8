#include "client/pagectl/work/trace_reader.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <zstd.h>

#include <pageserver/error.hpp>
#include <pageserver/memory_provider.hpp>

#include "storage/file/file_io.hpp"

namespace pageserver::pagectl {
namespace {

constexpr std::array<unsigned char, 4> zstd_magic{0x28, 0xb5, 0x2f, 0xfd};
constexpr std::string_view trace_magic = "WDTRACE1";

}  // namespace

/// The trace's bytes, decompressed where they are compressed. Holds one buffer of each kind.
class TraceReader::Stream {
public:
  explicit Stream(const std::string& path)
      : file_(storage::File::open(storage::posix_file_system(), path, O_RDONLY, 0, "open")),
        input_(256u << 10),
        output_(256u << 10) {
    fill();
    compressed_ =
        available_ >= zstd_magic.size() && std::memcmp(input_.data(), zstd_magic.data(), zstd_magic.size()) == 0;
    if (compressed_) context_.reset(ZSTD_createDStream());
  }

  /// Returns the number of bytes, which is less than asked for only at the end. `error` says what is wrong with the
  /// compression.
  std::size_t read(std::span<std::byte> into, std::string& error) {
    std::size_t done = 0;
    while (done < into.size() && error.empty()) {
      const std::size_t got = compressed_ ? take_output(into.subspan(done), error) : take_input(into.subspan(done));
      if (got == 0) break;
      done += got;
    }
    return done;
  }

private:
  struct FreeContext {
    void operator()(ZSTD_DStream* context) const { ZSTD_freeDStream(context); }
  };

  void fill() {
    used_ = 0;
    available_ = file_.read_up_to(file_offset_, input_);
    file_offset_ += available_;
  }

  std::size_t take_input(std::span<std::byte> into) {
    if (used_ == available_) fill();
    const std::size_t part = std::min(into.size(), available_ - used_);
    std::copy_n(input_.begin() + static_cast<std::ptrdiff_t>(used_), part, into.begin());
    used_ += part;
    return part;
  }

  std::size_t take_output(std::span<std::byte> into, std::string& error) {
    while (output_used_ == output_available_) {
      if (!decompress(error)) return 0;
    }
    const std::size_t part = std::min(into.size(), output_available_ - output_used_);
    std::copy_n(output_.begin() + static_cast<std::ptrdiff_t>(output_used_), part, into.begin());
    output_used_ += part;
    return part;
  }

  /// False at the end of the compressed stream, or with `error`.
  bool decompress(std::string& error) {
    if (used_ == available_) fill();
    // A file may hold several frames. It ends well where a frame does.
    if (used_ == available_ && frame_done_) return false;
    const bool no_more_input = used_ == available_;
    ZSTD_inBuffer in{input_.data(), available_, used_};
    ZSTD_outBuffer out{output_.data(), output_.size(), 0};
    const std::size_t result = ZSTD_decompressStream(context_.get(), &out, &in);
    if (ZSTD_isError(result) != 0) {
      error = std::string("zstd: ") + ZSTD_getErrorName(result);
      return false;
    }
    frame_done_ = result == 0;
    used_ = in.pos;
    output_used_ = 0;
    output_available_ = out.pos;
    if (no_more_input && out.pos == 0 && !frame_done_) {
      error = "zstd: the compressed stream is cut off";
      return false;
    }
    return true;
  }

  storage::File file_;
  std::uint64_t file_offset_ = 0;
  std::vector<std::byte> input_;
  std::size_t used_ = 0;
  std::size_t available_ = 0;
  bool compressed_ = false;
  std::unique_ptr<ZSTD_DStream, FreeContext> context_;
  bool frame_done_ = false;
  std::vector<std::byte> output_;
  std::size_t output_used_ = 0;
  std::size_t output_available_ = 0;
};

TraceReader::TraceReader(const std::string& path) : path_(path), stream_(std::make_unique<Stream>(path)) {
  std::array<std::byte, 8> magic{};
  read(magic);
  if (std::memcmp(magic.data(), trace_magic.data(), magic.size()) != 0) fail("it does not begin with WDTRACE1");
  header_.initial_size_bytes = number(8);
  header_.initial_hash = number(8);
  header_.records = number(8);
  header_.final_size_bytes = number(8);
  header_.final_hash = number(8);
  if (header_.initial_size_bytes % page_size != 0 || header_.final_size_bytes % page_size != 0) {
    fail("its header names an image of no whole number of pages");
  }
}

TraceReader::~TraceReader() = default;

void TraceReader::fail(const std::string& what) const {
  const std::string where =
      at_ == 0 ? "header" : "record " + std::to_string(at_) + " of " + std::to_string(header_.records);
  throw MemoryError(Errc::damaged, "trace " + storage::quoted(path_) + ": " + where + ": " + what);
}

void TraceReader::read(std::span<std::byte> into) {
  std::string error;
  const std::size_t got = stream_->read(into, error);
  if (!error.empty()) fail(error);
  if (got < into.size()) {
    fail("the trace is cut off: " + std::to_string(got) + " of " + std::to_string(into.size()) + " bytes are there");
  }
}

std::uint64_t TraceReader::number(std::size_t bytes) {
  std::array<std::byte, 8> raw{};
  read(std::span(raw).first(bytes));
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i > 0; --i) value = value << 8U | std::to_integer<std::uint64_t>(raw[i - 1]);
  return value;
}

bool TraceReader::next(TraceRecord& record) {
  if (at_ == header_.records) {
    std::array<std::byte, 1> more{};
    std::string error;
    const auto got = stream_->read(more, error);
    if (!error.empty()) fail(error);
    if (got > 0) fail("something stands behind the last record");
    return false;
  }
  ++at_;
  record = {};
  record.number = at_;
  const std::uint64_t op = number(1);
  if (op < 1 || op > 6) fail("unknown operation " + std::to_string(op));
  record.op = static_cast<TraceOp>(op);
  switch (record.op) {
    case TraceOp::grow:
      record.new_pages = number(8);
      record.returned = number(8);
      return true;
    case TraceOp::flush: return true;
    case TraceOp::out_of_bounds: {
      const std::uint64_t which = number(1);
      if (which != 2 && which != 3) fail("unknown failed operation " + std::to_string(which));
      record.failed_write = which == 3;
      break;
    }
    default: break;
  }
  record.offset = number(8);
  record.length = static_cast<std::uint32_t>(number(4));
  if (record.op == TraceOp::read) record.hash = number(8);
  return true;
}

void TraceReader::data(std::span<std::byte> into) { read(into); }

}  // namespace pageserver::pagectl
