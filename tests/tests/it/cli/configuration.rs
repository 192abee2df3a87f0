//! Errors in the config file.

use pawl_tests::command::{Finished, pawl_in_vain};

use super::write;

/// Starts a server with this config, which must fail, and returns how. `{dir}` is a directory of its own.
fn start(toml: &str) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.toml");
    write(&path, &toml.replace("{dir}", dir.path().to_str().unwrap()));
    let config = path.to_str().unwrap();
    pawl_in_vain(["serve", "--config", config, "--listen", "127.0.0.1:0"]).expect_code(1)
}

/// The same, and the error must name the file.
fn fails(toml: &str) -> Finished {
    let finished = start(toml);
    assert!(finished.stderr.contains("broken.toml"), "the file is not named: {toml:?}: {finished:#?}");
    finished
}

fn fails_and_names(key: &str, toml: &str) {
    let finished = fails(toml);
    assert!(finished.stderr.contains(key), "{key} is not named: {toml:?}: {finished:#?}");
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    fails_and_names("lissten", "data = \"{dir}/data\"\nlissten = \"127.0.0.1:0\"");
    fails_and_names("append_only", "data = \"{dir}/data\"\nappend_only = false");
    fails_and_names("conections", "data = \"{dir}/data\"\n[limits]\nconections = 7");
    fails_and_names("pack", "data = \"{dir}/data\"\n[caps]\npack = \"1 GiB\"");
    fails_and_names("cert", "data = \"{dir}/data\"\n[tls]\ncert = \"x.pem\"");
    fails_and_names("users", "data = \"{dir}/data\"\n[users]\nweb1 = \"secret\"");
}

#[test]
fn a_value_that_cannot_be_read_is_an_error_that_names_its_key() {
    fails_and_names("locks", "data = \"{dir}/data\"\n[caps]\nlocks = \"64 parsecs\"");
    fails_and_names("connections", "data = \"{dir}/data\"\n[limits]\nconnections = \"many\"");
    fails_and_names("connections", "data = \"{dir}/data\"\n[limits]\nconnections = -1");
    fails_and_names("format", "data = \"{dir}/data\"\n[log]\nformat = \"xml\"");
    fails_and_names("level", "data = \"{dir}/data\"\n[log]\nlevel = \"whisper\"");
    fails_and_names("listen", "data = \"{dir}/data\"\nlisten = \"nowhere\"");
    fails_and_names("plain_http", "data = \"{dir}/data\"\nplain_http = \"maybe\"");
}

#[test]
fn a_value_that_makes_no_sense_is_an_error_that_names_its_key() {
    fails_and_names("connections", "data = \"{dir}/data\"\n[limits]\nconnections = 0");
    fails_and_names("header_seconds", "data = \"{dir}/data\"\n[limits]\nheader_seconds = 0");
    fails_and_names("keys", "data = \"{dir}/data\"\n[caps]\nkeys = \"1 GiB\"");
}

#[test]
fn missing_data_is_an_error_that_names_the_key() {
    fails_and_names("data", "listen = \"127.0.0.1:0\"");
}

#[test]
fn a_certificate_without_its_key_is_an_error_that_names_both() {
    for key in ["certificate", "key"] {
        let finished = fails(&format!("data = \"{{dir}}/data\"\n[tls]\n{key} = \"x.pem\""));
        for word in ["tls", "certificate", "key"] {
            assert!(finished.stderr.contains(word), "{finished:#?}");
        }
    }
}

#[test]
fn a_certificate_without_tls_is_an_error_that_names_the_key() {
    let toml = "data = \"{dir}/data\"\n[tls]\nenabled = false\ncertificate = \"x.pem\"\nkey = \"x.key\"";
    fails_and_names("enabled", toml);
}

#[test]
fn tls_and_plain_http_together_are_an_error_that_names_both() {
    let finished = fails("data = \"{dir}/data\"\nplain_http = true\n[tls]\nenabled = true");
    for word in ["plain_http", "tls"] {
        assert!(finished.stderr.contains(word), "{finished:#?}");
    }
}

#[test]
fn a_broken_file_is_an_error_that_names_the_line() {
    let finished = fails("data = \"{dir}/data\"\n\nlisten = 127.0.0.1:0\n");
    assert!(finished.stderr.contains("line 3"), "{finished:#?}");
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    for args in [
        ["serve", "--config", "/no/such/pawl.toml", "--listen=127.0.0.1:0"],
        ["host", "list", "--config", "/no/such/pawl.toml"],
    ] {
        let finished = pawl_in_vain(args).expect_code(1);
        assert!(finished.stderr.contains("/no/such/pawl.toml"), "{finished:#?}");
    }
}

#[test]
fn a_file_that_the_configuration_names_and_that_is_missing_is_named() {
    for (name, toml) in [
        ("no-such-htpasswd", "[credentials]\nhtpasswd = \"{dir}/no-such-htpasswd\""),
        ("no-such.pem", "[tls]\ncertificate = \"{dir}/no-such.pem\"\nkey = \"{dir}/no-such.key\""),
    ] {
        let finished = start(&format!("data = \"{{dir}}/data\"\n{toml}"));
        assert!(finished.stderr.contains(name), "{finished:#?}");
    }
}
