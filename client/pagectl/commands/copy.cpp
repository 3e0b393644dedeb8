// copy: any image to a file or a store. Sparse, in constant memory, with reads and writes in flight together.
#include <algorithm>
#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/bytes.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/images/disk_image.hpp"
#include "client/pagectl/images/files.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/work/block_reader.hpp"
#include "client/pagectl/work/compare.hpp"

namespace pageserver::pagectl {
namespace {

/// Zeros are looked for in units of a file's block; a hole in a file is never smaller.
constexpr std::uint32_t zero_unit = 4096;

/// Where an image may hold something other than zeros, asked for in rising order.
class HeldRanges {
public:
  explicit HeldRanges(Image& image) : scan_({&image}, 0, image.size_bytes()) {}

  /// Calls `use` for each part of `range` that the image may hold. Ranges must rise from call to call.
  template <class Use>
  void each_within(const ByteRange& range, Use use) {
    const std::uint64_t end = range.offset + range.length;
    for (;;) {
      if (!current_) current_ = scan_.next();
      if (!current_ || current_->offset >= end) return;
      const std::uint64_t current_end = current_->offset + current_->length;
      const std::uint64_t from = std::max(range.offset, current_->offset);
      const std::uint64_t to = std::min(end, current_end);
      if (from < to) use(ByteRange{from, to - from});
      if (current_end > end) return;
      current_.reset();
    }
  }

private:
  DataScan scan_;
  std::optional<ByteRange> current_;
};

/// One transfer. The reader keeps half of its blocks in flight from the source; each block goes out as soon as it is
/// there and stays in use until the destination has it, so that both ends work all the time in constant memory. Zeros
/// of the source are written only where the destination may hold something else.
class Transfer {
public:
  Transfer(Image& source, Image& destination)
      : source_(source),
        destination_(destination),
        held_(destination),
        scan_({&source}, 0, source.size_bytes()),
        reader_(
            {&source}, [this] { return scan_.next(); }, std::min(256u << 10, destination.request_bytes_max())) {}

  /// Returns the number of bytes that were sent.
  std::uint64_t run(std::uint64_t size_bytes, Progress& progress) {
    std::uint64_t at = 0;
    while (const auto block = next()) {
      zero({at, block->offset - at});
      at = block->offset + block->length;
      send(block);
      progress.update(at);
    }
    zero({at, size_bytes - at});
    while (writes_->pending > 0) wait();
    throw_error();
    progress.update(size_bytes);
    return sent_;
  }

private:
  struct Writes {
    std::size_t pending = 0;
    std::exception_ptr error;
  };
  std::shared_ptr<Block> next() {
    // Half of the buffers for reads, half for writes: both ends work all the time.
    while (reader_.held() >= reader_.blocks_max() / 2) wait();
    throw_error();
    destination_.advance();
    return reader_.next();
  }

  void send(const std::shared_ptr<Block>& block) {
    const std::span<const std::byte> bytes = block->bytes[0];
    for (std::size_t at = 0; at < bytes.size();) {
      const bool zeros = base::all_zero(unit_at(bytes, at));
      std::size_t end = at;
      while (end < bytes.size() && base::all_zero(unit_at(bytes, end)) == zeros) end += unit_at(bytes, end).size();
      if (zeros) {
        zero({block->offset + at, end - at});
      } else {
        sent_ += end - at;
        ++writes_->pending;
        destination_.start_write(
            block->offset + at, bytes.subspan(at, end - at),
            [block, writes = writes_](const std::exception_ptr& error) { end_write(*writes, error); });
      }
      at = end;
    }
  }

  static std::span<const std::byte> unit_at(std::span<const std::byte> bytes, std::size_t at) {
    return bytes.subspan(at, std::min<std::size_t>(zero_unit, bytes.size() - at));
  }

  void zero(const ByteRange& range) {
    held_.each_within(range, [this](const ByteRange& part) {
      while (writes_->pending >= 256) wait();
      ++writes_->pending;
      destination_.start_zero(part.offset, part.length,
                              [writes = writes_](const std::exception_ptr& error) { end_write(*writes, error); });
    });
  }

  static void end_write(Writes& writes, const std::exception_ptr& error) {
    --writes.pending;
    if (error && !writes.error) writes.error = error;
  }

  void wait() {
    throw_error();
    wait_for_either(destination_, source_);
  }
  void throw_error() const {
    if (writes_->error) std::rethrow_exception(writes_->error);
  }

  Image& source_;
  Image& destination_;
  HeldRanges held_;
  DataScan scan_;
  BlockReader reader_;
  std::shared_ptr<Writes> writes_ = std::make_shared<Writes>();
  std::uint64_t sent_ = 0;
};

/// Where a copy goes, and how it becomes visible there.
struct Destination {
  std::unique_ptr<ReplacementFile> file;  // a file
  std::unique_ptr<ReplacementDisk> disk;  // an RBD image
  std::unique_ptr<Image> image;           // goes before these

  bool is_new() const { return file || disk; }
  bool is_atomic() const { return is_new() || image->publishes_on_flush(); }
  void commit() {
    image->flush();
    if (disk) {
      image.reset();
      return disk->replace_target();
    }
    // A file is renamed while its writer has it locked.
    if (file)
      file->replace_target();
    else
      image->close();
  }
};

Destination open_destination(const Context& context, const CopyOptions& options) {
  Destination out;
  if (is_disk(options.destination)) {
    if (is_disk(options.source))
      throw MemoryError(Errc::unsupported, "copy " + options.source + " to " + options.destination +
                                               ": both are RBD images; `rbd cp` copies those");
    out.disk = std::make_unique<ReplacementDisk>(options.destination, options.force);
    out.image = out.disk->take_image();
    return out;
  }
  const auto uri = client::parse_uri(options.destination, Access::write);
  if (uri.scheme == client::Scheme::heap) {
    throw MemoryError(Errc::invalid_argument, "copy to heap: nothing could ever read it; name a file or a store");
  }
  if (uri.scheme == client::Scheme::file) {
    const auto from = is_disk(options.source) ? client::Uri{} : client::parse_uri(options.source, Access::read);
    if (from.scheme == client::Scheme::file && exists(uri.path) && resolved(from.path) == resolved(uri.path))
      throw MemoryError(Errc::unsupported, "copy " + storage::quoted(uri.path) + " to itself: name another file");
    out.file = std::make_unique<ReplacementFile>("write", uri.path, options.force);
    out.image = make_file_image(options.destination, out.file->path(), Access::write);
    return out;
  }
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.access = Access::write;
  mode.one_transaction = true;
  mode.session_name = "pagectl copy";
  out.image = open_image(options.destination, mode);
  return out;
}

/// What a store holds goes only with --force, as a file that is there.
void refuse_to_replace(Image& store, const CopyOptions& options) {
  if (options.force || store.pages() == 0) return;
  const auto held = DataScan({&store}, 0, store.size_bytes()).next();
  if (!held) return;
  throw MemoryError(Errc::already_exists, "copy to " + store.name() + ": it has " + pages_text(store.pages()) +
                                              " and holds bytes from offset=" + std::to_string(held->offset) +
                                              ", which the copy would replace; --force replaces them");
}

void grow_to(Image& destination, std::uint64_t pages, const std::string& source_name) {
  const std::uint64_t there = destination.pages();
  if (there > pages) {
    throw MemoryError(Errc::unsupported,
                      "copy to " + destination.name() + ": its size=" + std::to_string(there * page_size) +
                          " exceeds size=" + std::to_string(pages * page_size) + " of the source " + source_name +
                          ", and an image never shrinks; remove and create the store, or copy to another");
  }
  if (there < pages) destination.grow(pages - there);
}

void check_copy(Context& context, Image& source, Image& destination) {
  Progress progress(context.progress_kind(), "check", source.size_bytes());
  std::optional<PageRun> first;
  const auto differing = compare_images(source, destination, progress, [&](const PageRun& range) {
    if (!first) first = range;
  });
  if (differing == 0) return;
  throw MemoryError(Errc::damaged, "copy --check: " + pages_text(differing) + " of " + destination.name() +
                                       " differ from " + source.name() + ", the first is page " +
                                       std::to_string(first->first) +
                                       (source.is_stable() ? "" : "; the source may have been changed meanwhile"));
}

}  // namespace

int run_copy(Context& context, const CopyOptions& options) {
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.one_version = true;
  mode.session_name = "pagectl copy";
  const auto source = open_image(options.source, mode);
  Destination destination = open_destination(context, options);
  if (!destination.is_new()) refuse_to_replace(*destination.image, options);
  const auto version = source->version();
  const std::uint64_t pages = source->pages();
  const std::uint64_t size_bytes = pages * page_size;
  const auto start = std::chrono::steady_clock::now();

  std::uint64_t sent = 0;
  {
    Progress progress(context.progress_kind(), "copy", size_bytes);
    // Pages that were there before may have to be made zero; grown pages are zero.
    Transfer transfer(*source, *destination.image);
    grow_to(*destination.image, pages, options.source);
    sent = transfer.run(size_bytes, progress);
  }
  if (options.check) check_copy(context, *source, *destination.image);
  {
    // All of an upload becomes visible, and durable, at once.
    const Waiting waiting(context.progress_kind(), destination.is_new() ? "making it durable" : "publishing");
    destination.commit();
  }
  const bool consistent = check_one_version(*source, version);

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context.json) {
    context.out.json({{"source", options.source},
                      {"destination", options.destination},
                      {"version", version_json(version)},
                      {"consistent", consistent},
                      {"atomic", destination.is_atomic()},
                      {"bytes", size_bytes},
                      {"pages", pages},
                      {"bytes_sent", sent},
                      {"checked", options.check},
                      {"seconds", seconds}});
  }
  context.note("copied " + pages_text(pages) + ", " + bytes_text(size_bytes) + " of which " + bytes_text(sent) +
               " are not zeros" + (version ? ", version " + version_text(*version) : std::string()) +
               (options.check ? "; both are the same" : ""));
  return exit_done;
}

}  // namespace pageserver::pagectl
