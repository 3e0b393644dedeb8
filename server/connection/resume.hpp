// What goes from a connection to the one whose session it resumes. For resume.cpp alone.
#pragma once

#include <memory>
#include <string>

#include "server/connection/connection.hpp"

namespace pageserver::server {

/// What the old connection says to the one that asks; one that has gone says that the session is over.
class ResumeReply {
public:
  ResumeReply(std::shared_ptr<Connection> asking, std::uint64_t number) noexcept
      : asking_(std::move(asking)), number_(number) {}
  ResumeReply(const ResumeReply&) = delete;
  ResumeReply& operator=(const ResumeReply&) = delete;
  ~ResumeReply();

  void agree(const std::shared_ptr<Connection>& old) noexcept;
  void refuse(proto::Status status, std::string text) noexcept;

private:
  const std::shared_ptr<Connection> asking_;
  const std::uint64_t number_;
  bool answered_ = false;
};

/// A socket, and what was agreed on over it.
struct HandedOver {
  Connection::ResumeRequest request;
  Connection::Greeting greeting;
  std::string address;
  std::uint64_t connection_id = 0;
  bool is_tcp = false;
  Gate gate;
  std::shared_ptr<tls::PeerChain> peer_chain;
  ByteStream stream;
  UniqueFd socket;
};

}  // namespace pageserver::server
