#include "client/pagectl/layout/dbms_value.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "base/bytes.hpp"

namespace pageserver::layout::dbms {
namespace {

constexpr std::uint8_t custom_code = 0xF0;
constexpr std::uint8_t null_tag = 10;
constexpr std::uint8_t custom_tag = 17;
constexpr std::uint8_t no_tag = 255;

struct KnownType {
  std::uint8_t code;
  const char* name;
  std::uint8_t bytes;  ///< 0: a length of 16 bits precedes each
  std::uint8_t tag;
};
constexpr std::array<KnownType, 18> known_types{{
    {0x01, "Int8", 1, 5},
    {0x02, "Int16", 2, 6},
    {0x03, "Int32", 4, 7},
    {0x04, "Int64", 8, 8},
    {0x10, "Uint8", 1, 12},
    {0x11, "Uint16", 2, 13},
    {0x12, "Uint32", 4, 14},
    {0x13, "Uint64", 8, 15},
    {0x20, "Float32", 4, no_tag},
    {0x21, "Float64", 8, no_tag},
    {0x22, "Decimal", 16, 4},
    {0x30, "Boolean", 1, 1},
    {0x40, "Date", 4, 2},
    {0x41, "Datetime", 13, 3},
    {0x50, "Blob", 0, 0},
    {0x51, "Text", 0, 11},
    {0x52, "Uuid", 16, 16},
    {0x60, "Json", 0, 9},
}};

const KnownType* known(std::uint8_t code) {
  const auto* found =
      std::find_if(known_types.begin(), known_types.end(), [&](const KnownType& one) { return one.code == code; });
  return found == known_types.end() ? nullptr : found;
}

bool is_signed(std::uint8_t code) { return code >= 0x01 && code <= 0x04; }
bool is_unsigned(std::uint8_t code) { return code >= 0x10 && code <= 0x13; }

std::uint64_t unsigned_value(Bytes value) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < value.size() && i < 8; ++i) number |= std::to_integer<std::uint64_t>(value[i]) << (8 * i);
  return number;
}
std::int64_t signed_value(Bytes value) {
  const std::uint64_t number = unsigned_value(value);
  const unsigned unused = 64 - 8 * static_cast<unsigned>(std::min<std::size_t>(value.size(), 8));
  return unused == 64 ? 0 : static_cast<std::int64_t>(number << unused) >> unused;
}

std::string hex(Bytes value, std::size_t most) { return base::hex_text(value.first(std::min(most, value.size()))); }

constexpr std::size_t shown_bytes_max = 48;

/// Cut between two characters.
std::string quoted(Bytes value) {
  const Bytes text = value;
  std::size_t length = std::min(shown_bytes_max, text.size());
  while (length > 0 && length < text.size() && (std::to_integer<unsigned>(text[length]) & 0xC0u) == 0x80u) --length;
  return "\"" + text_of(text.first(length)) + "\"" +
         (length < text.size() ? "... (" + std::to_string(text.size()) + " bytes)" : "");
}

std::string two_digits(unsigned number) { return (number < 10 ? "0" : "") + std::to_string(number); }

std::string date_text(Bytes value) {
  return std::to_string(number_at<std::uint16_t>(value, 0)) + "-" + two_digits(number_at<std::uint8_t>(value, 2)) +
         "-" + two_digits(number_at<std::uint8_t>(value, 3));
}

/// rust_decimal's 16 bytes: scale in bits 16-23, sign in bit 31 of the first word, then 96 bits.
std::string decimal_text(Bytes value) {
  const auto flags = number_at<std::uint32_t>(value, 0);
  std::array<std::uint32_t, 3> words{number_at<std::uint32_t>(value, 4), number_at<std::uint32_t>(value, 8),
                                     number_at<std::uint32_t>(value, 12)};
  std::string digits;
  while (words[0] != 0 || words[1] != 0 || words[2] != 0) {
    std::uint64_t rest = 0;
    for (std::size_t i = 3; i-- > 0;) {
      const std::uint64_t part = rest << 32 | words[i];
      words[i] = static_cast<std::uint32_t>(part / 10);
      rest = part % 10;
    }
    digits.insert(digits.begin(), static_cast<char>('0' + rest));
  }
  const std::size_t scale = flags >> 16 & 0xFFu;
  if (digits.size() <= scale) digits.insert(0, scale + 1 - digits.size(), '0');
  if (scale > 0) digits.insert(digits.size() - scale, ".");
  return ((flags >> 31) != 0 ? "-" : "") + digits;
}

/// Within the length that precedes it.
Bytes without_length(Bytes value) { return value.subspan(2); }

std::partial_ordering bytewise(Bytes a, Bytes b) {
  const bool less = std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  if (less) return std::partial_ordering::less;
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin()) ? std::partial_ordering::equivalent
                                                                           : std::partial_ordering::greater;
}

std::partial_ordering compare_fields(Bytes a, Bytes b,
                                     std::initializer_list<std::pair<std::size_t, std::size_t>> fields) {
  for (const auto& [at, length] : fields) {
    const auto order = unsigned_value(a.subspan(at, length)) <=> unsigned_value(b.subspan(at, length));
    if (order != 0) return order;
  }
  return std::partial_ordering::equivalent;
}

/// Both are whole values of this type.
std::partial_ordering compare_values(const Type& type, Bytes a, Bytes b) {
  if (is_unsigned(type.code)) return unsigned_value(a) <=> unsigned_value(b);
  if (is_signed(type.code)) return signed_value(a) <=> signed_value(b);
  switch (type.code) {
    case 0x30: return (a[0] != std::byte{0}) <=> (b[0] != std::byte{0});
    case 0x40: return compare_fields(a, b, {{0, 2}, {2, 1}, {3, 1}});
    case 0x41: {
      const auto order = compare_fields(a, b, {{0, 2}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 4}});
      return order != 0 ? order : signed_value(a.subspan(11, 2)) <=> signed_value(b.subspan(11, 2));
    }
    case 0x50:
    case 0x51: return bytewise(without_length(a), without_length(b));
    case 0x52: return bytewise(a, b);
    default:
      return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin()) ? std::partial_ordering::equivalent
                                                                               : std::partial_ordering::unordered;
  }
}

void append_number(std::uint64_t number, unsigned count, std::string& out) {
  for (unsigned i = 0; i < count; ++i) out += static_cast<char>(number >> (8 * i) & 0xFFu);
}

/// Calls `value` with each value of a key, tag first, until it says no. False when the key is no list of values.
template <class Value>
bool each_value(Bytes key, const Value& value) {
  ByteReader in(key);
  const std::uint32_t count = in.u32();
  for (std::uint32_t i = 0; i < count; ++i) {
    const Bytes one = in.bytes(in.u32());
    if (in.is_short()) return false;
    const auto length = tagged_value_bytes(one);
    if (!length || *length != one.size()) return false;
    if (!value(one)) return true;
  }
  return !in.is_short() && in.left() == 0;
}

}  // namespace

bool is_known(std::uint8_t code) { return code == custom_code || known(code) != nullptr; }

std::string type_text(const Type& type) {
  if (type.code == custom_code) return type.custom;
  const KnownType* found = known(type.code);
  return found != nullptr ? found->name : "type " + std::to_string(type.code);
}

std::optional<std::uint32_t> fixed_bytes(const Type& type) {
  if (type.code == custom_code) return type.fixed_bytes;
  const KnownType* found = known(type.code);
  if (found == nullptr || found->bytes == 0) return std::nullopt;
  return found->bytes;
}

std::optional<std::size_t> value_bytes(const Type& type, Bytes bytes) {
  std::size_t length = 0;
  if (const auto fixed = fixed_bytes(type)) {
    length = *fixed;
  } else {
    if (bytes.size() < 2) return std::nullopt;
    length = 2u + number_at<std::uint16_t>(bytes, 0);
  }
  return length <= bytes.size() ? std::optional(length) : std::nullopt;
}

std::string value_fault(const Type& type, Bytes value) {
  if ((type.code == 0x51 || type.code == 0x60) && !is_utf8(without_length(value))) return "is no UTF-8";
  return {};
}

std::string value_text(const Type& type, Bytes value) {
  if (is_unsigned(type.code)) return std::to_string(unsigned_value(value));
  if (is_signed(type.code)) return std::to_string(signed_value(value));
  switch (type.code) {
    case 0x22: return decimal_text(value);
    case 0x30: return value[0] != std::byte{0} ? "true" : "false";
    case 0x40: return date_text(value);
    case 0x41: {
      std::string micro = std::to_string(number_at<std::uint32_t>(value, 7));
      if (micro.size() < 6) micro.insert(0, 6 - micro.size(), '0');
      return date_text(value) + " " + two_digits(number_at<std::uint8_t>(value, 4)) + ":" +
             two_digits(number_at<std::uint8_t>(value, 5)) + ":" + two_digits(number_at<std::uint8_t>(value, 6)) + "." +
             micro + " UTC" + (signed_value(value.subspan(11, 2)) < 0 ? "" : "+") +
             std::to_string(signed_value(value.subspan(11, 2))) + "min";
    }
    case 0x51:
    case 0x60: return quoted(without_length(value));
    case 0x50: {
      const Bytes blob = without_length(value);
      return std::to_string(blob.size()) + " bytes " + hex(blob, 16) + (blob.size() > 16 ? "..." : "");
    }
    case 0x52:
      return hex(value.first(4), 4) + "-" + hex(value.subspan(4, 2), 2) + "-" + hex(value.subspan(6, 2), 2) + "-" +
             hex(value.subspan(8, 2), 2) + "-" + hex(value.subspan(10), 6);
    default: return hex(value, 16) + (value.size() > 16 ? "..." : "");
  }
}

void append_to_key(const Type& type, Bytes value, std::string& key) {
  if (type.code == custom_code) {
    append_number(1 + 2 + type.custom.size() + 2 + value.size(), 4, key);
    key += static_cast<char>(custom_tag);
    append_number(type.custom.size(), 2, key);
    key += type.custom;
    append_number(value.size(), 2, key);
  } else {
    const KnownType* found = known(type.code);
    append_number(1 + value.size(), 4, key);
    key += static_cast<char>(found != nullptr ? found->tag : no_tag);
  }
  key.append(text_of(value));
}

void append_null_to_key(std::string& key) {
  append_number(1, 4, key);
  key += static_cast<char>(null_tag);
}

Type type_of_tag(std::uint8_t tag) {
  Type type;
  const auto* found = std::find_if(known_types.begin(), known_types.end(),
                                   [&](const KnownType& one) { return one.tag == tag && tag != no_tag; });
  if (found != known_types.end()) type.code = found->code;
  return type;
}

std::optional<std::size_t> tagged_value_bytes(Bytes bytes) {
  if (bytes.empty()) return std::nullopt;
  const auto tag = std::to_integer<std::uint8_t>(bytes[0]);
  if (tag == null_tag) return 1;
  if (tag == custom_tag) {
    ByteReader in(bytes, 1);
    in.bytes(in.u16());
    in.bytes(in.u16());
    return in.is_short() ? std::nullopt : std::optional(in.at());
  }
  const Type type = type_of_tag(tag);
  if (type.code == 0) return std::nullopt;
  const auto length = value_bytes(type, bytes.subspan(1));
  return length ? std::optional(1 + *length) : std::nullopt;
}

std::string tagged_value_text(Bytes value) {
  const auto tag = std::to_integer<std::uint8_t>(value[0]);
  if (tag == null_tag) return "null";
  if (tag == custom_tag) {
    ByteReader in(value, 1);
    const std::string name = text_of(in.bytes(in.u16()));
    const Bytes body = in.bytes(in.u16());
    return name + " " + hex(body, 16) + (body.size() > 16 ? "..." : "");
  }
  return value_text(type_of_tag(tag), value.subspan(1));
}

bool is_key(Bytes key) {
  return each_value(key, [](Bytes) { return true; });
}

bool has_null(Bytes key) {
  bool found = false;
  each_value(key, [&](Bytes value) {
    found = found || std::to_integer<std::uint8_t>(value[0]) == null_tag;
    return !found;
  });
  return found;
}

std::string key_text(Bytes key) {
  std::string out;
  const bool whole = each_value(key, [&](Bytes value) {
    out += (out.empty() ? "" : ", ") + tagged_value_text(value);
    return true;
  });
  return whole ? "(" + out + ")" : "no key: " + hex(key, 16) + (key.size() > 16 ? "..." : "");
}

std::partial_ordering compare_keys(Bytes a, Bytes b) {
  if (a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin())) return std::partial_ordering::equivalent;
  std::vector<Bytes> left;
  const auto keep = [&](Bytes value) {
    left.push_back(value);
    return true;
  };
  if (!each_value(a, keep)) return std::partial_ordering::unordered;
  std::size_t at = 0;
  auto order = std::partial_ordering::equivalent;
  const bool whole = each_value(b, [&](Bytes right) {
    if (at == left.size()) {
      order = std::partial_ordering::less;
      return false;
    }
    const Bytes one = left[at++];
    if (one[0] != right[0]) {
      order = one[0] <=> right[0];
      return false;
    }
    const auto tag = std::to_integer<std::uint8_t>(one[0]);
    if (tag == null_tag) return true;
    order = tag == custom_tag ? std::partial_ordering::unordered
                              : compare_values(type_of_tag(tag), one.subspan(1), right.subspan(1));
    return order == std::partial_ordering::equivalent;
  });
  if (!whole) return std::partial_ordering::unordered;
  return order == std::partial_ordering::equivalent && at < left.size() ? std::partial_ordering::greater : order;
}

}  // namespace pageserver::layout::dbms
