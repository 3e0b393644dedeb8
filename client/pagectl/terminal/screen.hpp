// The whole terminal, for a command that draws on it again and again, and reads keys.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pageserver::pagectl {

/// What somebody pressed. `end`: nobody presses anything any more.
struct Key {
  enum class What : std::uint8_t { text, up, down, page_up, page_down, home, end_of_list, resized, end };
  What what = What::text;
  char text = '\0';
};

/// One at a time. Takes the terminal over: another page of it, no echo, no cursor. Whatever ends the process gives it
/// back as it was: the destructor, a signal, a crash; and so does Ctrl-Z until it goes on.
class Screen {
public:
  /// Whether standard input and output are one.
  static bool is_there() noexcept;

  /// Throws MemoryError where the terminal can't be had.
  Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen();

  struct Size {
    std::size_t columns = 80;
    std::size_t rows = 24;
  };
  static Size size() noexcept;

  /// One line of the screen: text without control characters.
  struct Line {
    std::string text;
    bool is_heading = false;
    bool is_warning = false;  ///< coloured where colours are wanted; the words say it anyway
  };
  /// From the top, at most as many as there are rows; what is too wide is cut.
  void draw(const std::vector<Line>& lines);
  /// Waits until `until`; nothing: time is over.
  std::optional<Key> next_key(std::chrono::steady_clock::time_point until);

private:
  std::optional<Key> take_key();

  std::string typed_;
};

/// The first `columns` characters.
std::string cut_to(std::string_view text, std::size_t columns);
/// Characters, which are columns for most of them.
std::size_t columns_of(std::string_view text) noexcept;

}  // namespace pageserver::pagectl
