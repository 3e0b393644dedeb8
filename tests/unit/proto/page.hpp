// Reads the tables and the worked example of proto/PROTOCOL.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.hpp"

namespace pageserver::proto::test {

using Row = std::vector<std::string>;  ///< cells, without blanks around them and without backquotes

/// A heading of the page with what stands below it up to the next one.
struct PageSection {
  std::string title;
  std::vector<std::vector<Row>> tables;  ///< without their head rows
  std::string text;                      ///< everything else
};

/// Bytes of the worked example, with what the page says about them.
struct ExampleFrame {
  bool from_client = false;
  std::string title;
  Bytes bytes;
};

class Page {
public:
  explicit Page(const std::string& path);
  /// Throws std::runtime_error when there is none.
  const PageSection& section(std::string_view title) const;
  const std::vector<PageSection>& sections() const { return sections_; }
  std::vector<ExampleFrame> example() const;

private:
  std::vector<PageSection> sections_;
};

}  // namespace pageserver::proto::test
