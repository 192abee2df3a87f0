//! Prometheus, its alerts and the dashboard.
//!
//! Invariant: promtool is the judge, and every metric that a dashboard or an alert names is one that the server has.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pawl_tests::command::Finished;
use pawl_tests::content::noise;
use pawl_tests::program::program;
use pawl_tests::store::plant;

use super::{serve, store};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(name)
}

/// Runs promtool in `deploy/`, with this on its standard input.
fn promtool(args: &[&str], input: &str) -> Finished {
    let mut command = Command::new(program("promtool"));
    command.args(args).current_dir(deploy(""));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn prometheus_accepts_the_metrics() {
    let (_server, status, web1) = serve();
    store(&web1, "snapshots", &noise("snapshot", 200));
    status.wait_for(&[("pawl_requests_total{action=\"create snapshots\",status=\"200\"}", 1)]);
    let page = status.page("/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let checked = promtool(&["check", "metrics"], &page.text()).expect_code(0);
    assert_eq!((checked.stdout.as_str(), checked.stderr.as_str()), ("", ""));
}

#[test]
fn the_alerts_are_raised_when_they_should_be() {
    let _ = promtool(&["check", "rules", "alerts.yml"], "").expect_code(0);
    let _ = promtool(&["test", "rules", "alerts_test.yml"], "").expect_code(0);
}

/// Every word that begins with `pawl_` in a file of `deploy/`.
fn metrics_named_in(name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(deploy(name)).unwrap();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pawl_")).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_there_are() {
    let (server, status, web1) = serve();
    let _ = server.add_host("limited", &["--repository", "web1", "--quota", "1MiB", "--quota-files", "9"]);
    store(&web1, "snapshots", &noise("snapshot", 200));
    status.wait_for(&[("pawl_repository_files{repository=\"web1\"}", 4)]); // with config and two keys
    let text = status.page("/metrics").text();
    let there: BTreeSet<_> = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    for name in ["grafana-dashboard.json", "alerts.yml"] {
        let named = metrics_named_in(name);
        assert!(named.len() > 5 && named.is_subset(&there), "{name}: {:?}", named.difference(&there));
    }
}

#[test]
fn prometheus_accepts_what_the_dashboard_asks() {
    let text = std::fs::read_to_string(deploy("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .map(|asked| asked.replace("$instance", ".*").replace("$__rate_interval", "5m"))
        .enumerate()
        .map(|(number, asked)| serde_json::json!({"record": format!("panel:{number}"), "expr": asked}))
        .collect();
    assert!(rules.len() > 10);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rules.yml");
    let rules = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    plant(&path, rules.to_string().as_bytes()); // JSON is YAML
    let _ = promtool(&["check", "rules", path.to_str().unwrap()], "").expect_code(0);
}
