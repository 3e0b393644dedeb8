#include "client/pagectl/layout/recognise.hpp"

#include <algorithm>
#include <vector>

#include "base/bytes.hpp"
#include "client/pagectl/layout/stable.hpp"

namespace pageserver::layout {
namespace {

std::string hex(Bytes bytes) {
  std::string out;
  for (const std::byte byte : bytes) {
    if (!out.empty()) out += ' ';
    base::append_hex(out, byte);
  }
  return out;
}

}  // namespace

Recognised recognise(Source& source) {
  Recognised found;
  if (auto database = dbms::Database::open(source)) {
    found.kind = Kind::database;
    found.database = std::move(database);
    return found;
  }
  std::vector<std::byte> bytes(page_bytes);
  bool zeros = true;
  // The pages that every layout keeps its beginning in.
  for (std::uint64_t page = std::min<std::uint64_t>(source.pages(), 3); page-- > 0;) {
    source.read_page(page, bytes);
    zeros = zeros && all_zero(bytes);
  }
  if (zeros) {
    found.kind = Kind::empty;
    return found;
  }
  if (stable::is_manager(bytes) || stable::is_known(bytes)) {
    found.kind = stable::is_manager(bytes) ? Kind::manager : Kind::structure;
    return found;
  }
  found.why = "begins with " + hex(Bytes(bytes).first(16)) +
              ", which is neither page 0 of a wasm-dbms database nor the magic of a known structure";
  return found;
}

}  // namespace pageserver::layout
