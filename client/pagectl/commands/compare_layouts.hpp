// diff --layout: which tables and rows of two databases differ.
#pragma once

#include "client/pagectl/commands/context.hpp"
#include "client/pagectl/images/image.hpp"

namespace pageserver::pagectl {

/// Returns an exit status. Throws unsupported where one of them is no database.
int compare_layouts(Context& context, Image& a, Image& b);

}  // namespace pageserver::pagectl
