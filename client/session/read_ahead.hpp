// When reads run forward, and how many pages to ask for before they are needed. Pure.
#pragma once

#include <cstdint>
#include <optional>

namespace pageserver::client {

/// Reads run forward when each ends in the page after the one before; a session's first read does so in page 0. From
/// the second that went on, pages are asked for ahead: 2 at first, and more the longer the reads go on. The next are
/// asked for when half of these have been read.
class ReadAhead {
public:
  /// `pages_max`: the most to have under way; below 2 nothing is ever asked for ahead.
  explicit ReadAhead(std::uint64_t pages_max) : pages_max_{pages_max} {}

  struct Wish {
    std::uint64_t from = 0;
    std::uint64_t until = 0;   // the page after the last
    std::uint64_t window = 0;  // how many pages may be under way
  };
  /// A read ended in `page`. What to ask for, if anything, of an image of `pages`, when the daemon holds `daemon_pages`
  /// of answers for this session that nobody receives.
  std::optional<Wish> after_read(std::uint64_t page, std::uint64_t pages, std::uint64_t daemon_pages);
  /// The wish was carried out.
  void asked(const Wish& wish) { until_ = wish.until > wish.from ? wish.until : wish.from; }
  /// What was asked for ahead may be gone.
  void forget() { until_ = 0; }

private:
  std::uint64_t window(std::uint64_t daemon_pages) const;

  std::uint64_t pages_max_;
  std::uint64_t last_ = ~std::uint64_t{0};  // the page in which the last read ended
  std::uint64_t forward_ = 0;               // how many reads in a row went on to the next page
  std::uint64_t until_ = 0;                 // pages before this one were asked for
};

}  // namespace pageserver::client
