// The tree of an index: walked in the order of its keys, in bounded memory, whatever its pages hold.
#pragma once

#include <cstdint>

#include "client/pagectl/layout/dbms_format.hpp"
#include "client/pagectl/layout/source.hpp"

namespace pageserver::layout::dbms {

class TreeVisitor {
public:
  TreeVisitor() = default;
  TreeVisitor(const TreeVisitor&) = delete;
  TreeVisitor& operator=(const TreeVisitor&) = delete;
  virtual ~TreeVisitor() = default;

  /// What the entry at `at` of node `parent` leads to. False: do not go there. Asked before it is read.
  virtual bool child(std::uint64_t parent, std::size_t at, std::uint32_t page, bool leaf) = 0;
  virtual void inner(std::uint64_t page, const Node& node, std::uint64_t parent) = 0;
  /// Its keys should be at least `low` and at most `high`; empty: no bound. Must not call the source.
  virtual void leaf(std::uint64_t page, Bytes bytes, std::uint64_t parent, Bytes low, Bytes high) = 0;
  virtual void fault(std::uint64_t page, const Fault& fault) = 0;
};

/// How many levels of nodes there are on the way to the first leaf; 0 where that way has no end, or leads out of the
/// image.
std::uint32_t tree_levels(Source& source, std::uint32_t root);

/// `levels` as tree_levels() says, not 0; leaves elsewhere are faults. Nodes are read at most as often as the image has
/// pages. Without `leaves` they are only asked for.
void walk_tree(Source& source, std::uint32_t root, std::uint32_t levels, bool leaves, TreeVisitor& visitor);

}  // namespace pageserver::layout::dbms
