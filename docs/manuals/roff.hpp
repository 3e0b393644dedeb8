// A manual page in the making: text to man(7), one sentence a line, as man and mandoc read it without a complaint.
#pragma once

#include <string>
#include <string_view>

namespace pageserver::manuals {

class Page {
public:
  /// `section` such as "1"; `what` is the line behind the name.
  Page(const std::string& name, const std::string& section, const std::string& what);

  void heading(std::string_view text);
  /// Text that flows. An empty line begins another paragraph; so does a line of its own that begins with a blank.
  void text(std::string_view text);
  /// Lines as they are.
  void lines(std::string_view text);
  /// A term in bold and what it means.
  void item(std::string_view term, std::string_view meaning);
  /// A command line: `bold` as typed, and what stands for something behind it.
  void synopsis(std::string_view bold, std::string_view rest);
  /// "name(1), other(5)"
  void see_also(std::string_view pages);

  const std::string& source() const { return source_; }

private:
  void paragraph();
  void sentences(std::string_view text);

  std::string source_;
};

}  // namespace pageserver::manuals
