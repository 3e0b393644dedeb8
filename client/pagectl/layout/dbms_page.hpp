// One page of a database with its fields named.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "client/pagectl/layout/dbms_database.hpp"

namespace pageserver::layout {

struct PageField {
  std::size_t at = 0;  ///< within the page
  std::size_t length = 0;
  std::string name;
  std::string text;
};
using FieldSink = std::function<void(const PageField&)>;

namespace dbms {

/// Whose a page is, from a walk over all that names pages.
Owner owner_of(const Database& database, std::uint64_t page);

/// Its fields in the order in which they stand there. What can't be read ends with a field `fault`.
void describe_page(const Database& database, std::uint64_t page, Owner owner, const FieldSink& sink);

}  // namespace dbms
}  // namespace pageserver::layout
