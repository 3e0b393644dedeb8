#include "client/pagectl/layout/owners.hpp"

#include <array>

namespace pageserver::layout {
namespace {

struct RoleWords {
  const char* text;
  const char* name;
};
constexpr std::array<RoleWords, roles> words{{{"orphan", "orphan"},
                                              {"directory", "directory"},
                                              {"access rights", "rights"},
                                              {"list of unclaimed pages", "unclaimed_list"},
                                              {"unclaimed page", "unclaimed"},
                                              {"schema", "schema"},
                                              {"page list", "page_list"},
                                              {"free list", "free_list"},
                                              {"free segments", "free_segments"},
                                              {"index list", "index_list"},
                                              {"counters", "counters"},
                                              {"record page", "records"},
                                              {"index node", "index_node"},
                                              {"index leaf", "index_leaf"}}};

}  // namespace

const char* role_text(Role role) { return words[static_cast<std::size_t>(role)].text; }
const char* role_name(Role role) { return words[static_cast<std::size_t>(role)].name; }

}  // namespace pageserver::layout
