// A file or the heap as an image: requests are done when they are started.
#include <algorithm>
#include <array>
#include <utility>

#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>

#include "client/pagectl/files.hpp"
#include "client/pagectl/image.hpp"

namespace pageserver::pagectl {
namespace {

class LocalImage final : public Image {
public:
  LocalImage(std::string name, std::unique_ptr<MemoryProvider> provider, std::optional<HoleFinder> holes)
      : name_(std::move(name)), provider_(std::move(provider)), holes_(std::move(holes)) {}

  const std::string& name() const override { return name_; }
  std::uint64_t pages() override { return provider_->pages(); }
  std::uint64_t grow(std::uint64_t new_pages) override { return provider_->grow(new_pages); }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override { provider_->read(offset, buffer); }
  void write(std::uint64_t offset, std::span<const std::byte> data) override { provider_->write(offset, data); }
  void flush() override { provider_->flush(); }

  void start_read(std::uint64_t offset, std::span<std::byte> buffer, Done done) override {
    run(done, [&] { provider_->read(offset, buffer); });
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data, Done done) override {
    run(done, [&] {
      provider_->write(offset, data);
      note_written(offset, data.size());
    });
  }
  void start_zero(std::uint64_t offset, std::uint64_t length, Done done) override {
    static constexpr std::array<std::byte, page_size> zeros{};
    run(done, [&] {
      for (std::uint64_t at = 0; at < length;) {
        const auto part = std::min<std::uint64_t>(length - at, zeros.size());
        provider_->write(offset + at, std::span(zeros).first(static_cast<std::size_t>(part)));
        at += part;
      }
    });
  }

  FoundData find_data(std::uint64_t offset, std::uint64_t length) override {
    if (!holes_) return {{{offset, length}}, offset + length};
    return holes_->find_data(offset, length);
  }

private:
  /// Many writes end with a sync: the disk need not wait for that. Holes between them cost nothing.
  void note_written(std::uint64_t offset, std::uint64_t length) {
    constexpr std::uint64_t writeback_bytes = 8u << 20;
    written_begin_ = written_bytes_ == 0 ? offset : std::min(written_begin_, offset);
    written_end_ = written_bytes_ == 0 ? offset + length : std::max(written_end_, offset + length);
    written_bytes_ += length;
    if (!holes_ || written_bytes_ < writeback_bytes) return;
    holes_->start_writeback(written_begin_, written_end_ - written_begin_);
    written_bytes_ = 0;
  }

  template <class Work>
  static void run(const Done& done, Work work) {
    std::exception_ptr error;
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    done(error);
  }

  std::string name_;
  std::unique_ptr<MemoryProvider> provider_;
  std::optional<HoleFinder> holes_;
  std::uint64_t written_bytes_ = 0;  // that nothing was started for; where they lie:
  std::uint64_t written_begin_ = 0;
  std::uint64_t written_end_ = 0;
};

}  // namespace

std::unique_ptr<Image> make_file_image(const std::string& name, const std::string& path, Access access) {
  auto holes = HoleFinder::open(path);
  auto provider = std::make_unique<FileProvider>(path, access);
  // Renamed in between, it would be another file's holes; without them everything is taken for data.
  if (holes && !holes->is_at(path)) holes.reset();
  return std::make_unique<LocalImage>(name, std::move(provider), std::move(holes));
}

std::unique_ptr<Image> make_heap_image(const std::string& name) {
  return std::make_unique<LocalImage>(name, std::make_unique<HeapProvider>(), std::nullopt);
}

}  // namespace pageserver::pagectl
