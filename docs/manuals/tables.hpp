// What the manuals and the completion are made from: the commands of pagectl as its command line knows them.
#pragma once

#include <string>
#include <vector>

namespace pageserver::manuals {

struct Operand {
  std::string name;
  std::string help;
};

struct Flag {
  std::string long_name;   ///< with its hyphens; may be empty
  std::string short_name;  ///< likewise
  std::string value;       ///< what stands behind it; empty: nothing
  std::string help;
};

struct Command {
  std::string name;
  std::string what;
  std::string about;
  std::string forms;
  std::string status;
  std::string example;
  std::vector<Operand> operands;
  std::vector<Flag> flags;
};

struct Tool {
  std::string about;
  std::string forms;
  std::string keys;
  std::string status;
  std::string example;
  std::vector<Flag> flags;
  std::vector<Command> commands;
};

Tool tool();

/// The three scripts.
std::string bash_completion(const Tool& tool);
std::string zsh_completion(const Tool& tool);
std::string fish_completion(const Tool& tool);

}  // namespace pageserver::manuals
