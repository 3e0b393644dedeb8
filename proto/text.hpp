// Texts on the wire: which are accepted, and how a text from elsewhere is made fit to be sent.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pageserver::proto {

/// The longest beginning of `text` that has at most `bytes_max` bytes and cuts no character. `text` is valid UTF-8.
std::string_view cut_at_character(std::string_view text, std::size_t bytes_max) noexcept;

/// A text as it may be sent. System messages and file names need not be UTF-8; bytes that are not become '?', and a
/// text over the limit is cut. Keeps a copy only where something had to change.
class SendableText {
public:
  SendableText(std::string_view text, std::size_t bytes_max);
  SendableText(const SendableText&) = delete;
  SendableText& operator=(const SendableText&) = delete;
  std::string_view view() const noexcept { return view_; }
  std::size_t size() const noexcept { return view_.size(); }

private:
  std::string repaired_;
  std::string_view view_;
};

}  // namespace pageserver::proto
