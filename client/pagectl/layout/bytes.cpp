#include "client/pagectl/layout/bytes.hpp"

#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/text.hpp"

namespace pageserver::layout {

bool is_utf8(Bytes bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!text.empty()) {
    const std::size_t length = base::first_character(text).bytes;
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::uint64_t hash_of(Bytes bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

struct Hash::State {
  XXH3_state_t value;
};

Hash::Hash() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->value); }
Hash::~Hash() = default;
void Hash::add(Bytes bytes) { XXH3_64bits_update(&state_->value, bytes.data(), bytes.size()); }
std::uint64_t Hash::digest() const { return XXH3_64bits_digest(&state_->value); }

}  // namespace pageserver::layout
