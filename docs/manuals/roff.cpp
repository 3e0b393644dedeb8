#include "docs/manuals/roff.hpp"

#include <algorithm>
#include <cctype>

#include <pageserver/version.hpp>

namespace pageserver::manuals {
namespace {

/// When the pages were last looked through as a whole: the same bytes come out on every day.
constexpr std::string_view edited = "2026-11-28";
constexpr std::size_t line_bytes_max = 78;

/// For man(7): backslashes and hyphens as they are typed; backquotes, the help's quotes, go.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c != '`')
      out += c;
  }
  if (!out.empty() && (out.front() == '.' || out.front() == '\'')) out.insert(0, "\\&");
  return out;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

bool ends_sentence(std::string_view word) {
  return word.ends_with('.') && !word.ends_with("..") && word != "e.g." && word != "i.e.";
}

}  // namespace

Page::Page(const std::string& name, const std::string& section, const std::string& what) {
  source_ = ".\\\" Made by docs/manuals/write_manuals from the program's own tables: change those.\n";
  source_ += ".TH " + upper(escaped(name)) + " " + section + " \"" + std::string{edited} +
             "\" \"pageserver " PAGESERVER_VERSION "\" \"pageserver\"\n";
  source_ += ".SH NAME\n";
  sentences(name + " - " + what);
}

void Page::heading(std::string_view text) {
  source_ += ".SH ";
  source_ += text.find(' ') == std::string_view::npos ? std::string{text} : '"' + std::string{text} + '"';
  source_ += '\n';
}

void Page::paragraph() {
  // A heading begins one by itself.
  const auto last = source_.rfind('\n', source_.size() - 2) + 1;
  if (source_.compare(last, 3, ".SH") != 0) source_ += ".PP\n";
}

void Page::sentences(std::string_view text) {
  std::string line;
  const auto end_line = [&] {
    if (!line.empty()) source_ += line + "\n";
    line.clear();
  };
  while (!text.empty()) {
    const auto begin = text.find_first_not_of(" \n");
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const auto word = text.substr(0, text.find_first_of(" \n"));
    text.remove_prefix(word.size());
    const std::string typed = escaped(word);
    if (!line.empty() && line.size() + 1 + typed.size() > line_bytes_max) end_line();
    line += line.empty() ? typed : " " + typed;
    if (ends_sentence(word)) end_line();
  }
  end_line();
}

void Page::text(std::string_view text) {
  text = trimmed(text);
  while (!text.empty()) {
    const auto gap = text.find("\n\n");
    paragraph();
    sentences(text.substr(0, gap));
    if (gap == std::string_view::npos) return;
    text = trimmed(text.substr(gap));
  }
}

void Page::lines(std::string_view text) {
  while (!text.empty() && text.front() == '\n') text.remove_prefix(1);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  paragraph();
  source_ += ".nf\n";
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    source_ += escaped(line) + "\n";
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  source_ += ".fi\n";
}

void Page::item(std::string_view term, std::string_view meaning) {
  source_ += ".TP\n\\fB" + escaped(term) + "\\fR\n";
  sentences(meaning);
}

void Page::synopsis(std::string_view bold, std::string_view rest) {
  source_ += "\\fB" + escaped(bold) + "\\fR " + escaped(rest) + "\n";
}

void Page::see_also(std::string_view pages) {
  heading("SEE ALSO");
  std::string line;
  while (!pages.empty()) {
    const auto page = pages.substr(0, pages.find(", "));
    pages.remove_prefix(std::min(page.size() + 2, pages.size()));
    const auto bracket = page.find('(');
    source_ += ".BR " + escaped(page.substr(0, bracket)) + " " + std::string{page.substr(bracket)} +
               (pages.empty() ? "" : " ,") + "\n";
  }
}

}  // namespace pageserver::manuals
