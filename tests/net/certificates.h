// tests/net/certificates.h - keys and certificates made on the spot.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "pooler/net/tls.h"
#include "tests/net/help.h"

namespace pgweir::net {

// A certificate with its key; signed by itself or by another one.
class Certificate {
 public:
  Certificate(const std::string& name, const std::string& alternative_names,
              const Certificate* issuer = nullptr)
      : key_(EVP_EC_gen("P-256")), x509_(X509_new()) {
    REQUIRE((key_ != nullptr && x509_ != nullptr));
    static long serial = 1;
    ASN1_INTEGER_set(X509_get_serialNumber(x509_), serial++);
    X509_set_version(x509_, 2);
    X509_gmtime_adj(X509_getm_notBefore(x509_), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509_), 86400);
    X509_set_pubkey(x509_, key_);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509_), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    const Certificate& signer = issuer != nullptr ? *issuer : *this;
    X509_set_issuer_name(x509_, X509_get_subject_name(signer.x509_));
    if (issuer == nullptr) extend(NID_basic_constraints, "critical,CA:TRUE");
    if (!alternative_names.empty()) extend(NID_subject_alt_name, alternative_names);
    REQUIRE(X509_sign(x509_, signer.key_, EVP_sha256()) > 0);
  }
  ~Certificate() {
    X509_free(x509_);
    EVP_PKEY_free(key_);
  }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  std::string save(const std::string& path) const {
    FILE* file = std::fopen(path.c_str(), "w");
    REQUIRE((file != nullptr && PEM_write_X509(file, x509_) == 1));
    std::fclose(file);
    return path;
  }
  std::string save_key(const std::string& path) const {
    FILE* file = std::fopen(path.c_str(), "w");
    REQUIRE(
        (file != nullptr && PEM_write_PrivateKey(file, key_, nullptr, nullptr, 0, nullptr, nullptr) == 1));
    std::fclose(file);
    return path;
  }

 private:
  void extend(int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    REQUIRE(extension != nullptr);
    X509_add_ext(x509_, extension, -1);
    X509_EXTENSION_free(extension);
  }
  EVP_PKEY* key_;
  X509* x509_;
};

// An authority, a server "db.example" (also 127.0.0.1) and a client, both signed by it, and a stranger.
struct Papers {
  TempDir dir;
  Certificate authority{"an authority", ""};
  Certificate server{"db.example", "DNS:db.example,IP:127.0.0.1", &authority};
  Certificate client{"a client", "", &authority};
  Certificate stranger{"a stranger", "DNS:db.example"};
  std::string ca = authority.save(dir.file("ca.pem"));
  std::string strangers_ca = stranger.save(dir.file("stranger.pem"));
  TlsFiles for_server{ca, server.save(dir.file("server.pem")), server.save_key(dir.file("server.key"))};
  TlsFiles for_client{ca, client.save(dir.file("client.pem")), client.save_key(dir.file("client.key"))};
};

}  // namespace pgweir::net
