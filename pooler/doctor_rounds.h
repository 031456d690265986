// pooler/doctor_rounds.h - goes and looks at what a configuration names, one thing after the other, for
// pooler/doctor.h to judge. Every look has a deadline.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "pooler/doctor.h"
#include "pooler/snapshot.h"

namespace pgweir::doctor {

class Rounds {
 public:
  explicit Rounds(std::shared_ptr<const Snapshot> snapshot) : snapshot_(std::move(snapshot)) {}
  // Of everything.
  Findings go();

 private:
  void backend(const BackendView& backend);
  void logins(const BackendView& backend, const std::string& check);
  // What its hosts are, where that matters.
  void roles(const BackendView& backend, const std::string& check);
  std::optional<LoginFacts> login(const BackendView& backend, const std::string& check, const Login& login,
                                  bool side, const tiers::Tenant* tenant);
  void tenant_store();
  void redis();
  void own_certificates();
  void secret_files();
  void audit_file();
  void ports();
  void host();
  // False: nobody answers there, and there is no use in asking more.
  bool reach(const std::string& check, const net::Endpoint& endpoint);
  // One of the places of a backend. False: nobody answers there.
  bool host_of(const BackendView& backend, const net::Endpoint& endpoint, const std::string& check);
  void say(Finding finding) { findings_.push_back(std::move(finding)); }

  std::shared_ptr<const Snapshot> snapshot_;
  Findings findings_;
  std::string address_;  // that answered last
};

}  // namespace pgweir::doctor
