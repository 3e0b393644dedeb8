#include "tests/unit/proto/vectors.hpp"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace pageserver::proto::test {
namespace {

unsigned hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  throw std::runtime_error(std::string("test vectors: not a hex digit: ") + c);
}

void append_hex(Bytes& out, const std::string& text) {
  std::string digits;
  for (const char c : text.substr(0, text.find('#'))) {
    if (c != ' ') digits += c;
  }
  if (digits.size() % 2 != 0) throw std::runtime_error("test vectors: half a byte in: " + text);
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    out.push_back(static_cast<std::byte>(hex_digit(digits[i]) * 16 + hex_digit(digits[i + 1])));
  }
}

}  // namespace

std::vector<Vector> read_vectors(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot open " + path);
  std::vector<Vector> vectors;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto blank = line.find(' ');
    const std::string word = line.substr(0, blank);
    const std::string rest = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (word == "vector") {
      vectors.push_back({});
      vectors.back().name = rest;
      continue;
    }
    if (vectors.empty()) throw std::runtime_error("test vectors: line before the first vector: " + line);
    Vector& vector = vectors.back();
    std::istringstream words(rest);
    if (word == "hex") {
      append_hex(vector.bytes, rest);
    } else if (word == "is") {
      words >> vector.kind >> vector.operation;
    } else if (word == "value") {
      vector.values.push_back(rest);
    } else if (word == "when" && rest == "before_hello") {
      vector.before_hello = true;
    } else if (word == "refused") {
      words >> vector.refused >> vector.status;
    } else {
      throw std::runtime_error("test vectors: unknown line: " + line);
    }
  }
  return vectors;
}

std::vector<Vector> read_vectors() { return read_vectors(PAGESERVER_PROTO_DIR "/test_vectors.txt"); }

}  // namespace pageserver::proto::test
