// Certificates for tests, made by the openssl command.
//
// Thread rules: one thread.
#pragma once

#include <cstdlib>
#include <string>

#include "services/common/credentials.h"
#include "tests/temp_dir.h"

namespace catena {

inline bool RunQuietly(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

inline bool HaveOpenssl() { return RunQuietly("openssl version"); }

// An authority of its own in `dir`.
inline bool MakeAuthority(const TempDir& dir, const std::string& name) {
  const std::string base = dir.path() + "/" + name;
  return RunQuietly(
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
      "-subj /CN=" +
      name + " -keyout " + base + ".key -out " + base + ".pem");
}

// A certificate of the authority, for the hosts in `names`, "DNS:localhost,IP:127.0.0.1"; "": for
// none in particular.
inline bool MakeCertificate(const TempDir& dir, const std::string& authority,
                            const std::string& name, const std::string& names = "") {
  const std::string extensions =
      dir.Write(name + ".ext", names.empty() ? "" : "subjectAltName=" + names + "\n");
  const std::string base = dir.path() + "/" + name, ca = dir.path() + "/" + authority;
  return RunQuietly("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" +
                    name + " -keyout " + base + ".key -out " + base + ".csr") &&
         RunQuietly("openssl x509 -req -days 2 -CAcreateserial -in " + base + ".csr -CA " + ca +
                    ".pem -CAkey " + ca + ".key -out " + base + ".pem -extfile " + extensions);
}

inline TlsOptions TlsFilesOf(const TempDir& dir, const std::string& authority,
                             const std::string& name) {
  const std::string base = dir.path() + "/" + name;
  return {base + ".pem", base + ".key", dir.path() + "/" + authority + ".pem",
          std::chrono::seconds(1)};
}

}  // namespace catena
