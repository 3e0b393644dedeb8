#include "client/pagectl/layout/dbms_tree.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace pageserver::layout::dbms {
namespace {

constexpr std::uint64_t no_parent = no_page;

struct Child {
  std::uint32_t page = 0;
  std::size_t at = 0;
  Bytes high;  ///< the key that all keys below it come before
};

/// An inner node on the way down. Its bytes stay where they are: bounds of what is below point into them.
struct Level {
  std::uint64_t page = 0;
  std::vector<std::byte> bytes = std::vector<std::byte>(page_bytes);
  std::vector<Child> children;
  std::size_t next = 0;
  Bytes low;
  Bytes high;

  Bytes low_of(std::size_t child) const { return child == 0 ? low : children[child - 1].high; }
  Bytes high_of(std::size_t child) const { return child + 1 == children.size() ? high : children[child].high; }
};

class Walk {
public:
  Walk(Source& source, std::uint32_t levels, bool leaves, TreeVisitor& visitor)
      : source_(source), levels_(levels), leaves_(leaves), visitor_(visitor), left_(source.pages()) {}

  void run(std::uint32_t root) {
    if (levels_ == 1) {
      if (!leaves_) return;
      std::vector<std::byte> bytes(page_bytes);
      source_.read_page(root, bytes);
      visitor_.leaf(root, bytes, no_parent, {}, {});
      return;
    }
    if (!enter(root, no_parent, {}, {})) return;
    while (!path_.empty()) {
      Level& level = *path_.back();
      if (path_.size() + 1 == levels_) {
        visit_leaves(level);
        path_.pop_back();
      } else if (level.next == level.children.size()) {
        path_.pop_back();
      } else {
        const std::size_t child = level.next++;
        const Child& to = level.children[child];
        if (visitor_.child(level.page, to.at, to.page, false))
          enter(to.page, level.page, level.low_of(child), level.high_of(child));
      }
    }
  }

private:
  bool enter(std::uint32_t page, std::uint64_t parent, Bytes low, Bytes high) {
    if (left_ == 0) return false;
    --left_;
    auto level = std::make_unique<Level>();
    level->page = page;
    level->low = low;
    level->high = high;
    source_.read_page(page, level->bytes);
    Node node;
    auto fault = parse_node(level->bytes, node, [&](const NodeEntry& entry) {
      if (!node.leaf) level->children.push_back({entry.page, entry.at, entry.key});
    });
    if (fault) {
      visitor_.fault(page, *fault);
      return false;
    }
    if (node.leaf) {
      visitor_.fault(page, {0, "is a leaf where other ways down have further nodes"});
      return false;
    }
    level->children.push_back({node.rightmost, 7, {}});
    visitor_.inner(page, node, parent);
    path_.push_back(std::move(level));
    return true;
  }

  void visit_leaves(Level& level) {
    std::vector<std::size_t> wanted;
    for (std::size_t i = 0; i < level.children.size(); ++i) {
      const Child& child = level.children[i];
      if (visitor_.child(level.page, child.at, child.page, true)) wanted.push_back(i);
    }
    if (!leaves_) return;
    wanted.resize(
        std::min<std::size_t>(wanted.size(), static_cast<std::size_t>(std::min<std::uint64_t>(left_, 1u << 20))));
    left_ -= wanted.size();
    std::size_t fed = 0, seen = 0;
    source_.read_pages(
        [&]() -> std::optional<std::uint64_t> {
          if (fed == wanted.size()) return std::nullopt;
          return level.children[wanted[fed++]].page;
        },
        [&](std::uint64_t page, Bytes bytes) {
          const std::size_t child = wanted[seen++];
          visitor_.leaf(page, bytes, level.page, level.low_of(child), level.high_of(child));
        });
  }

  Source& source_;
  const std::uint32_t levels_;
  const bool leaves_;
  TreeVisitor& visitor_;
  std::uint64_t left_;  // nodes that may be read: a tree with a circle ends
  std::vector<std::unique_ptr<Level>> path_;
};

}  // namespace

std::uint32_t tree_levels(Source& source, std::uint32_t root) {
  std::vector<std::byte> bytes(page_bytes);
  std::uint32_t page = root;
  for (std::uint32_t levels = 1; levels <= tree_levels_max; ++levels) {
    if (page >= source.pages()) return 0;
    source.read_page(page, bytes);
    Node node;
    if (parse_node_header(bytes, node)) return 0;
    if (node.leaf) return levels;
    page = node.rightmost;
    if (node.entries > 0) {
      ByteReader in(bytes, 11);
      in.bytes(in.u16());
      page = in.u32();
      if (in.is_short()) return 0;
    }
  }
  return 0;
}

void walk_tree(Source& source, std::uint32_t root, std::uint32_t levels, bool leaves, TreeVisitor& visitor) {
  Walk(source, levels, leaves, visitor).run(root);
}

}  // namespace pageserver::layout::dbms
