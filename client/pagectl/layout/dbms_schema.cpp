#include "client/pagectl/layout/dbms_schema.hpp"

#include <algorithm>

namespace pageserver::layout::dbms {
namespace {

Fault schema_cut_off(std::size_t at) { return {at, "goes on past its end"}; }

/// A length and so many bytes of UTF-8.
bool take_name(ByteReader& in, std::string& name) {
  const Bytes bytes = in.bytes(in.u8());
  name = text_of(bytes);
  return !in.is_short() && is_utf8(bytes);
}

std::optional<Fault> take_type(ByteReader& in, Type& type) {
  const std::size_t at = in.at();
  type.code = in.u8();
  if (in.is_short()) return schema_cut_off(at);
  if (!is_known(type.code)) return Fault{at, "has a column of the unknown type " + std::to_string(type.code)};
  if (type.code != 0xF0) return std::nullopt;
  const std::uint8_t form = in.u8();
  if (form == 1) type.fixed_bytes = in.u32();
  if (form != 1 && form != 2) return Fault{at + 1, "has a column of a form other than 1 or 2"};
  if (type.fixed_bytes && *type.fixed_bytes > page_bytes) return Fault{at + 2, "has a column of more than a page"};
  if (!take_name(in, type.custom)) return Fault{at, "has a type without a name"};
  return std::nullopt;
}

std::optional<Fault> take_foreign_key(ByteReader& in, std::optional<ForeignKey>& key) {
  const std::size_t at = in.at();
  if (in.u8() == 0) return std::nullopt;
  ByteReader body(in.bytes(in.u16()));
  ForeignKey found;
  const bool named = take_name(body, found.table) && take_name(body, found.column);
  const std::uint8_t on_delete = body.u8();
  if (in.is_short() || !named || body.is_short()) return Fault{at, "has a foreign key that can't be read"};
  if (on_delete != 1 && on_delete != 2) return Fault{at, "has a foreign key that neither restricts nor cascades"};
  found.cascades = on_delete == 2;
  key = std::move(found);
  return std::nullopt;
}

std::optional<Fault> parse_column(Bytes bytes, Column& column) {
  ByteReader in(bytes);
  if (!take_name(in, column.name)) return Fault{0, "has a column whose name can't be read"};
  if (auto fault = take_type(in, column.type)) return fault;
  const std::uint8_t flags = in.u8();
  column.nullable = (flags & 1u) != 0;
  column.automatic = (flags & 2u) != 0;
  column.unique = (flags & 4u) != 0;
  column.key = (flags & 8u) != 0;
  if (auto fault = take_foreign_key(in, column.foreign_key)) return fault;
  column.has_default = in.u8() != 0;
  if (column.has_default) in.bytes(in.u16());
  if (in.is_short()) return schema_cut_off(in.at());
  if (in.left() != 0) return Fault{in.at(), "has bytes behind a column"};
  return std::nullopt;
}

std::optional<Fault> parse_index(Bytes bytes, IndexColumns& index) {
  ByteReader in(bytes);
  const std::uint8_t count = in.u8();
  for (std::uint8_t i = 0; i < count; ++i) {
    std::string name;
    if (!take_name(in, name)) return Fault{in.at(), "has an index with a column whose name can't be read"};
    index.names.push_back(std::move(name));
  }
  index.unique = in.u8() != 0;
  if (in.is_short()) return schema_cut_off(in.at());
  return std::nullopt;
}

std::optional<Fault> behind(std::optional<Fault> fault, std::size_t at) {
  if (fault) fault->at += at;
  return fault;
}

}  // namespace

std::optional<Fault> parse_schema(Bytes page, Schema& schema) {
  schema = {};
  ByteReader in(page);
  const std::uint8_t version = in.u8();
  if (version != 1) return Fault{0, "is of version " + std::to_string(version) + ", known is 1"};
  if (!take_name(in, schema.name)) return Fault{1, "has a name that can't be read"};
  const std::size_t key_at = in.at();
  if (!take_name(in, schema.key)) return Fault{key_at, "has the name of a key column that can't be read"};
  schema.alignment = in.u32();
  const std::uint16_t columns = in.u16();
  for (std::uint16_t i = 0; i < columns; ++i) {
    const Bytes bytes = in.bytes(in.u16());
    if (in.is_short()) return schema_cut_off(in.at());
    Column column;
    if (auto fault = behind(parse_column(bytes, column), in.at() - bytes.size())) return fault;
    schema.columns.push_back(std::move(column));
  }
  const std::uint16_t indexes = in.u16();
  for (std::uint16_t i = 0; i < indexes; ++i) {
    const Bytes bytes = in.bytes(in.u16());
    if (in.is_short()) return schema_cut_off(in.at());
    IndexColumns index;
    if (auto fault = behind(parse_index(bytes, index), in.at() - bytes.size())) return fault;
    schema.indexes.push_back(std::move(index));
  }
  if (in.is_short()) return schema_cut_off(in.at());
  schema.encoded_bytes = in.at();
  return std::nullopt;
}

std::uint32_t Schema::slot_bytes() const {
  std::uint64_t sum = 2;
  for (const Column& column : columns) {
    const auto fixed = fixed_bytes(column.type);
    if (!fixed || column.nullable) return alignment;
    sum += *fixed;
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(sum, 2 * page_bytes));
}

std::optional<std::vector<std::size_t>> Schema::places(const std::vector<std::string>& names) const {
  std::vector<std::size_t> found;
  for (const std::string& wanted : names) {
    const auto column =
        std::find_if(columns.begin(), columns.end(), [&](const Column& one) { return one.name == wanted; });
    if (column == columns.end()) return std::nullopt;
    found.push_back(static_cast<std::size_t>(column - columns.begin()));
  }
  return found;
}

std::optional<Fault> parse_row(const Schema& schema, Bytes body, std::vector<Field>& fields) {
  fields.clear();
  std::size_t at = 0;
  for (const Column& column : schema.columns) {
    Field field;
    const std::size_t begin = at;
    if (column.nullable) {
      if (at == body.size()) return Fault{begin, "ends before its column " + column.name};
      field.null = body[at++] == std::byte{0};
    }
    if (!field.null) {
      const auto length = value_bytes(column.type, body.subspan(at));
      if (!length) return Fault{begin, "ends in the middle of its column " + column.name};
      field.value = body.subspan(at, *length);
      if (const std::string why = value_fault(column.type, field.value); !why.empty())
        return Fault{begin, "has a column " + column.name + " that " + why};
      at += *length;
    }
    fields.push_back(field);
  }
  if (at != body.size()) {
    return Fault{at, "has " + std::to_string(body.size() - at) + " bytes more than its columns"};
  }
  return std::nullopt;
}

void make_key(const Schema& schema, const std::vector<Field>& fields, const std::vector<std::size_t>& places,
              std::string& key) {
  key.clear();
  for (unsigned i = 0; i < 4; ++i) key += static_cast<char>(places.size() >> (8 * i) & 0xFFu);
  for (const std::size_t place : places) {
    const Field& field = fields[place];
    if (field.null)
      append_null_to_key(key);
    else
      append_to_key(schema.columns[place].type, field.value, key);
  }
}

std::string row_text(const Schema& schema, const std::vector<Field>& fields) {
  std::string out;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    out += (i == 0 ? "" : ", ") + schema.columns[i].name + "=" +
           (fields[i].null ? "null" : value_text(schema.columns[i].type, fields[i].value));
  }
  return out;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace pageserver::layout::dbms
