// Values as rows and index keys have them.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "client/pagectl/layout/bytes.hpp"

namespace pageserver::layout::dbms {

/// What a schema says of a column. Keys have tags of another numbering.
struct Type {
  std::uint8_t code = 0;
  std::string custom;                        ///< the name of a type of the program's own
  std::optional<std::uint32_t> fixed_bytes;  ///< of such a type; nothing where a length precedes each value
};

bool is_known(std::uint8_t code);
std::string type_text(const Type& type);
/// What every value takes; nothing where that differs.
std::optional<std::uint32_t> fixed_bytes(const Type& type);
/// What the value at the front of `bytes` takes; nothing when it goes on past their end.
std::optional<std::size_t> value_bytes(const Type& type, Bytes bytes);
/// Why an engine could not read the value, which is `value` as a whole; empty when it can.
std::string value_fault(const Type& type, Bytes value);
/// As a person reads it; long texts are cut.
std::string value_text(const Type& type, Bytes value);
/// Appends a value as a key has it: its length, its tag and `value`.
void append_to_key(const Type& type, Bytes value, std::string& key);
void append_null_to_key(std::string& key);

/// The type that a tag of a key stands for; code 0 where there is none, as for a null.
Type type_of_tag(std::uint8_t tag);
/// What a tag and the value behind it take; nothing when it is none.
std::optional<std::size_t> tagged_value_bytes(Bytes bytes);
std::string tagged_value_text(Bytes value);

/// Whether it is a list of values as keys are.
bool is_key(Bytes key);
bool has_null(Bytes key);
std::string key_text(Bytes key);
/// How the engine orders two keys; unordered where that can't be told, as with JSON.
std::partial_ordering compare_keys(Bytes a, Bytes b);

}  // namespace pageserver::layout::dbms
