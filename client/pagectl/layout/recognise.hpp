// What an image is.
#pragma once

#include <optional>

#include "client/pagectl/layout/dbms_database.hpp"
#include "client/pagectl/layout/source.hpp"

namespace pageserver::layout {

enum class Kind {
  empty,      ///< no pages, or no byte but zeros on the first ones
  database,   ///< wasm-dbms
  manager,    ///< memories of ic-stable-structures, shared out by its memory manager
  structure,  ///< one structure of ic-stable-structures
  unknown
};

struct Recognised {
  Kind kind = Kind::unknown;
  std::optional<dbms::Database> database;
  std::string why;  ///< of an unknown image: what it begins with
};
inline bool is_stable(Kind kind) { return kind == Kind::manager || kind == Kind::structure; }
Recognised recognise(Source& source);

}  // namespace pageserver::layout
