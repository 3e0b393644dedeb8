// read, write, grow: the calls of the interface, from a shell.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/bounds.hpp"
#include "base/bytes.hpp"
#include "base/text.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/hexdump.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/work/block_reader.hpp"
#include "client/pagectl/work/write_window.hpp"

namespace pageserver::pagectl {
namespace {

std::string hex_digits(std::span<const std::byte> bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const auto byte : bytes) base::append_hex(out, byte);
  return out;
}

/// Hands the bytes to `use` in order, whatever their number, in constant memory.
template <class Use>
void each_block(Context& context, Image& image, std::uint64_t offset, std::uint64_t length, Progress& progress,
                Use use) {
  struct Drive {
    Output& out;
    Drive(Output& output, Image& driven) : out(output) { out.drive(&driven); }
    Drive(const Drive&) = delete;
    Drive& operator=(const Drive&) = delete;
    ~Drive() { out.drive(nullptr); }
  };
  const Drive drive(context.out, image);
  bool fed = length == 0;
  BlockReader reader({&image}, [&]() -> std::optional<ByteRange> {
    if (std::exchange(fed, true)) return std::nullopt;
    return ByteRange{offset, length};
  });
  std::uint64_t done = 0;
  while (const auto block = reader.next()) {
    use(block->bytes[0]);
    done += block->length;
    progress.update(done);
  }
}

/// Fills the buffer unless the input ends.
std::size_t read_input(Image& image, std::span<std::byte> buffer) {
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    if (image.has_pending()) wait_beside(image, STDIN_FILENO, POLLIN);
    const auto got = ::read(STDIN_FILENO, buffer.data() + filled, buffer.size() - filled);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw MemoryError(Errc::provider_error, "read standard input: " + std::generic_category().message(errno));
    }
    filled += static_cast<std::size_t>(got);
  }
  return filled;
}

/// As curl(1): what a terminal would obey, or could not show, is not written to one.
void refuse_binary(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (std::string_view line = text; !line.empty();) {
    const auto end = std::min(line.find_first_of("\n\t"), line.size());
    if (base::has_unsafe(line.substr(0, end)))
      throw MemoryError(Errc::invalid_argument,
                        "read: the bytes are no text, and standard output is a terminal; --hex shows them, and a file "
                        "or a pipe takes them as they are");
    line.remove_prefix(std::min(end + 1, line.size()));
  }
}

}  // namespace

int run_read(Context& context, const ReadOptions& options) {
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.session_name = "pagectl read";
  mode.one_version = true;
  const auto image = open_image(options.uri, mode);
  base::check_bounds("read", options.offset, options.length, image->size_bytes());
  // A progress line and the output would share the terminal.
  Progress progress(::isatty(STDOUT_FILENO) == 0 ? context.progress_kind() : ProgressKind::nothing, "read",
                    options.length);
  if (context.json) {
    // By hand, so that any length takes constant memory.
    const nlohmann::ordered_json store = options.uri;
    context.out.text("{\n  \"store\": " + store.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                     ",\n  \"offset\": " + std::to_string(options.offset) +
                     ",\n  \"length\": " + std::to_string(options.length) + ",\n  \"data\": \"");
    each_block(context, *image, options.offset, options.length, progress,
               [&](std::span<const std::byte> bytes) { context.out.text(hex_digits(bytes)); });
    context.out.text("\"\n}\n");
  } else if (options.hex) {
    HexDump dump(options.offset);
    each_block(context, *image, options.offset, options.length, progress, [&](std::span<const std::byte> bytes) {
      std::string lines;
      dump.add(bytes, lines);
      context.out.text(lines);
    });
    std::string end;
    dump.finish(end);
    context.out.text(end);
  } else {
    const bool terminal = ::isatty(STDOUT_FILENO) != 0;
    each_block(context, *image, options.offset, options.length, progress, [&](std::span<const std::byte> bytes) {
      if (terminal) refuse_binary(bytes);
      context.out.bytes(bytes);
    });
  }
  return exit_done;
}

int run_write(Context& context, const WriteOptions& options) {
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.access = Access::write;
  mode.one_transaction = true;
  mode.session_name = "pagectl write";
  const auto image = open_image(options.uri, mode);
  const std::uint64_t size_bytes = image->size_bytes();
  if (options.offset > size_bytes)
    throw MemoryError(Errc::out_of_bounds, "write offset=" + std::to_string(options.offset) + " exceeds size=" +
                                               std::to_string(size_bytes) + "; grow the image first");
  Progress progress(context.progress_kind(), "write", 0);
  WriteWindow window(*image);
  std::uint64_t at = options.offset;
  for (;;) {
    auto buffer = window.buffer();
    const std::size_t count = read_input(*image, buffer);
    if (count == 0) break;
    try {
      base::check_bounds("write", at, count, size_bytes);
    } catch (const MemoryError& error) {
      window.drain();
      const bool dropped = image->publishes_on_flush() || at == options.offset;
      const std::string before = dropped
                                     ? "nothing was written"
                                     : "the " + std::to_string(at - options.offset) + " bytes before it were written";
      throw MemoryError(error.errc(), std::string(error.what()) + "; " + before + "; grow the image first");
    }
    window.write(at, buffer.first(count));
    at += count;
    progress.update(at - options.offset);
    if (count < buffer.size()) break;
  }
  window.drain();
  image->flush();
  image->close();
  const std::uint64_t written = at - options.offset;
  if (context.json) {
    context.out.json({{"store", options.uri}, {"offset", options.offset}, {"bytes", written}});
  }
  context.note("wrote " + std::to_string(written) + " bytes at offset " + std::to_string(options.offset));
  return exit_done;
}

int run_grow(Context& context, const GrowOptions& options) {
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.access = Access::write;
  mode.session_name = "pagectl grow";
  const auto image = open_image(options.uri, mode);
  const std::uint64_t previous = image->grow(options.pages);
  image->flush();
  image->close();
  const std::uint64_t pages = previous + options.pages;
  if (context.json) {
    context.out.json(
        {{"store", options.uri}, {"previous_pages", previous}, {"pages", pages}, {"size_bytes", pages * page_size}});
  }
  context.note("grew from " + pages_text(previous) + " to " + pages_text(pages));
  return exit_done;
}

}  // namespace pageserver::pagectl
