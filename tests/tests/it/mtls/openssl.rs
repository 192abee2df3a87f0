//! Certificates as anybody can make them, with openssl.
//!
//! Invariant: nothing here is made by Pawl; an authority is whatever the caller says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pawl_tests::content::id_of;
use pawl_tests::store::plant;

pub(super) fn openssl(args: &[&str], paths: &[(&str, &Path)]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(args);
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    let output = command.output().expect("openssl starts");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Somebody's own authority: its certificate and key.
pub(super) fn authority(dir: &Path, subject: &str) -> (PathBuf, PathBuf) {
    fs::create_dir(dir).unwrap();
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj"];
    let args = [["req", "-x509"].as_slice(), &curve, &[subject]].concat();
    openssl(&args, &[("-keyout", &key), ("-out", &certificate)]);
    (certificate, key)
}

/// A certificate for `web1` and its key in one file, signed by this authority.
pub(super) fn signed(dir: &Path, (authority, authority_key): (&Path, &Path), days: &str) -> PathBuf {
    let (key, request, certificate) = (dir.join("key"), dir.join("request"), dir.join("certificate"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=web1"];
    let args = [["req", "-new"].as_slice(), &curve].concat();
    openssl(&args, &[("-keyout", &key), ("-out", &request)]);
    let extensions = dir.join("extensions");
    plant(&extensions, b"keyUsage = digitalSignature\nextendedKeyUsage = clientAuth\n");
    let sign = ["x509", "-req", "-set_serial", "7", "-days", days];
    let with = [
        ("-in", &*request),
        ("-CA", authority),
        ("-CAkey", authority_key),
        ("-out", &certificate),
        ("-extfile", &extensions),
    ];
    openssl(&sign, &with);
    let both = dir.join("both.pem");
    plant(&both, &[fs::read(&certificate).unwrap(), fs::read(&key).unwrap()].concat());
    both
}

pub(super) fn fingerprint(file: &Path) -> String {
    id_of(&openssl(&["x509", "-outform", "DER"], &[("-in", file)]))
}
