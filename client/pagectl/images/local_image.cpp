// A file or the heap as an image: requests are done when they are started.
#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>

#include "client/pagectl/images/files.hpp"
#include "client/pagectl/images/image.hpp"

namespace pageserver::pagectl {
namespace {

class LocalImage final : public Image {
public:
  LocalImage(std::string name, std::unique_ptr<MemoryProvider> provider, std::optional<FileHints> hints)
      : name_(std::move(name)), provider_(std::move(provider)), hints_(std::move(hints)) {}

  const std::string& name() const override { return name_; }
  std::uint64_t pages() override { return provider_->pages(); }
  std::uint64_t grow(std::uint64_t new_pages) override { return provider_->grow(new_pages); }
  void close() override { provider_->close(); }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override { provider_->read(offset, buffer); }
  void write(std::uint64_t offset, std::span<const std::byte> data) override { provider_->write(offset, data); }
  void flush() override {
    provider_->flush();
    if (behind_.bytes == 0) return;
    hints_->drop_from_memory(behind_.begin, behind_.end - behind_.begin);
    behind_ = {};
  }

  void start_read(std::uint64_t offset, std::span<std::byte> buffer, Done done) override {
    run_inline(done, [&] { provider_->read(offset, buffer); });
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data, Done done) override {
    run_inline(done, [&] {
      provider_->write(offset, data);
      note_written(offset, data.size());
    });
  }
  void start_zero(std::uint64_t offset, std::uint64_t length, Done done) override {
    static constexpr std::array<std::byte, page_size> zeros{};
    run_inline(done, [&] {
      for (std::uint64_t at = 0; at < length;) {
        const auto part = std::min<std::uint64_t>(length - at, zeros.size());
        provider_->write(offset + at, std::span(zeros).first(static_cast<std::size_t>(part)));
        at += part;
      }
    });
  }

  FoundData find_data(std::uint64_t offset, std::uint64_t length) override {
    if (!hints_) return {{{offset, length}}, offset + length};
    return hints_->find_data(offset, length);
  }

  std::optional<HomeStat> home() override {
    if (!hints_) return std::nullopt;
    return hints_->home();
  }

private:
  /// Writes that rise are a copy, which ends with a sync: the disk need not wait for that. Nor must a large one push
  /// everything else out of memory: pages that lie far behind are dropped once they are on disk. Holes in between cost
  /// nothing.
  void note_written(std::uint64_t offset, std::uint64_t length) {
    constexpr std::uint64_t stretch_bytes = 8u << 20;
    constexpr std::size_t kept_stretches = 8;
    if (offset < fresh_.end) {
      fresh_ = {};
      behind_ = {};
      on_the_way_.clear();
    }
    if (fresh_.bytes == 0) fresh_.begin = offset;
    fresh_.end = offset + length;
    fresh_.bytes += length;
    if (!hints_ || fresh_.bytes < stretch_bytes) return;
    hints_->start_writeback(fresh_.begin, fresh_.end - fresh_.begin);
    on_the_way_.push_back(fresh_);
    fresh_.bytes = 0;
    if (on_the_way_.size() <= kept_stretches) return;
    const Stretch old = on_the_way_.front();
    on_the_way_.pop_front();
    hints_->drop_from_memory(old.begin, old.end - old.begin);
    if (behind_.bytes == 0) behind_.begin = old.begin;
    behind_.end = old.end;
    behind_.bytes += old.bytes;
  }

  std::string name_;
  std::unique_ptr<MemoryProvider> provider_;
  std::optional<FileHints> hints_;
  struct Stretch {
    std::uint64_t begin = 0, end = 0;
    std::uint64_t bytes = 0;  // written, of what lies between
  };
  Stretch fresh_;                   // nothing was started for it
  std::deque<Stretch> on_the_way_;  // to the disk, oldest first
  Stretch behind_;                  // dropped, but for what was not on disk yet
};

}  // namespace

std::unique_ptr<Image> make_file_image(const std::string& name, const std::string& path, Access access) {
  auto hints = FileHints::open(path);
  auto provider = std::make_unique<FileProvider>(path, access);
  // Renamed in between, it would be another file's holes; without them everything is taken for data.
  if (hints && !hints->is_at(path)) hints.reset();
  return std::make_unique<LocalImage>(name, std::move(provider), std::move(hints));
}

std::unique_ptr<Image> make_heap_image(const std::string& name) {
  return std::make_unique<LocalImage>(name, std::make_unique<HeapProvider>(), std::nullopt);
}

}  // namespace pageserver::pagectl
