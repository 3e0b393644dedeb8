// The pages of a database as a picture: each a letter or a square, or several in one where they are many.
#pragma once

#include "client/pagectl/commands/context.hpp"
#include "client/pagectl/layout/dbms_table.hpp"

namespace pageserver::pagectl {

/// For a terminal: lines of 64, a legend behind them.
void print_map(Context& context, const layout::dbms::Database& database);
/// An SVG document on standard output.
void write_svg_map(Context& context, const layout::dbms::Database& database);

}  // namespace pageserver::pagectl
