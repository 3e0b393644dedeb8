// What is not as it should be.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "client/pagectl/layout/bytes.hpp"

namespace pageserver::layout {

enum class Severity {
  warning,  ///< wasteful, unusual or dangerous for somebody, but nothing that is there contradicts itself
  error     ///< two things in the image contradict each other
};

struct Finding {
  Severity severity = Severity::error;
  /// A word for programs, such as `row-not-in-index`: docs/inspect.md lists them all.
  const char* kind = "";
  std::uint64_t page = 0;
  std::uint32_t offset = 0;  ///< within the page
  std::string text;
};

/// Counts what it passes on, so that nobody has to keep it.
class Findings {
public:
  using Sink = std::function<void(const Finding&)>;
  explicit Findings(Sink sink) : sink_(std::move(sink)) {}

  void error(const char* kind, std::uint64_t page, std::size_t offset, std::string text) {
    ++errors_;
    sink_({Severity::error, kind, page, within_page(offset), std::move(text)});
  }
  void warning(const char* kind, std::uint64_t page, std::size_t offset, std::string text) {
    ++warnings_;
    sink_({Severity::warning, kind, page, within_page(offset), std::move(text)});
  }
  std::uint64_t errors() const { return errors_; }
  std::uint64_t warnings() const { return warnings_; }

private:
  /// What is missing behind a page's end is told at its last byte.
  static std::uint32_t within_page(std::size_t offset) noexcept {
    return static_cast<std::uint32_t>(std::min<std::size_t>(offset, page_bytes - 1));
  }

  Sink sink_;
  std::uint64_t errors_ = 0;
  std::uint64_t warnings_ = 0;
};

}  // namespace pageserver::layout
