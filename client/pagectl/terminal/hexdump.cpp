#include "client/pagectl/terminal/hexdump.hpp"

#include <algorithm>
#include <cstdio>

#include "base/bytes.hpp"

namespace pageserver::pagectl {
namespace {

void put_offset(std::uint64_t offset, std::string& out) {
  char text[24];
  std::snprintf(text, sizeof text, "%08llx", static_cast<unsigned long long>(offset));
  out += text;
}

}  // namespace

void HexDump::add(std::span<const std::byte> bytes, std::string& out) {
  while (!bytes.empty()) {
    const std::size_t part = std::min(line_.size() - filled_, bytes.size());
    std::copy_n(bytes.begin(), part, line_.begin() + static_cast<std::ptrdiff_t>(filled_));
    filled_ += part;
    bytes = bytes.subspan(part);
    if (filled_ < line_.size()) return;
    filled_ = 0;
    if (has_previous_ && line_ == previous_) {
      if (!squeezing_) out += "*\n";
      squeezing_ = true;
    } else {
      squeezing_ = false;
      put_line(line_.size(), out);
      previous_ = line_;
      has_previous_ = true;
    }
    offset_ += line_.size();
  }
}

void HexDump::put_line(std::size_t count, std::string& out) {
  put_offset(offset_, out);
  for (std::size_t i = 0; i < line_.size(); ++i) {
    out += i % 8 == 0 ? "  " : " ";
    if (i < count) {
      base::append_hex(out, line_[i]);
    } else {
      out += "  ";
    }
  }
  out += "  |";
  for (std::size_t i = 0; i < count; ++i) {
    const auto c = std::to_integer<unsigned char>(line_[i]);
    out += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '.';
  }
  out += "|\n";
}

void HexDump::finish(std::string& out) {
  if (filled_ > 0) {
    put_line(filled_, out);
    offset_ += filled_;
    filled_ = 0;
  } else if (!has_previous_) {
    return;  // as hexdump: nothing of nothing
  }
  put_offset(offset_, out);
  out += "\n";
}

}  // namespace pageserver::pagectl
