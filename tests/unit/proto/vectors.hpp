// Reads proto/test_vectors.txt.
#pragma once

#include <string>
#include <vector>

#include "proto/codec.hpp"

namespace pageserver::proto::test {

struct Vector {
  std::string name;
  Bytes bytes;
  std::string kind;                 ///< request, answer, error, notice; empty for a refused one
  std::string operation;            ///< as test_vectors.txt spells it
  std::vector<std::string> values;  ///< "FIELD VALUE"
  bool before_hello = false;
  std::string refused;  ///< answer, goodbye, client; empty for a good one
  std::string status;   ///< of the refusal
};

/// Throws std::runtime_error on a line that it does not understand.
std::vector<Vector> read_vectors(const std::string& path);

/// The file in the source tree.
std::vector<Vector> read_vectors();

}  // namespace pageserver::proto::test
