//! The page in a real browser: charts are drawn and fit, nothing is fetched, nothing runs.
//!
//! Invariant: what a browser does with the page is compared with what it does with the same page without its policy, so
//! that a browser that never fetches or runs anything proves nothing.

use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pawl_tests::program::Run;
use pawl_tests::store::plant;
use pawl_tests::wait;
use serde_json::{Map, Value, json};

use super::Ground;
use super::hostile;

/// Opens a page of this text, in a window so wide, and returns the document as it is then.
fn opened(page: &str, width: u32) -> String {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("page.html");
    plant(&file, page.as_bytes());
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
    ]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", home.path().join("profile").display()));
    command.arg(format!("--window-size={width},2000")).args([
        "--hide-scrollbars",
        "--virtual-time-budget=3000",
        "--dump-dom",
    ]);
    command.arg(format!("file://{}", file.display())).env("HOME", home.path());
    Run::start(command).end().expect_code(0).stdout
}

/// Counts what is asked for. Chromium connects for a frame before it looks at the policy, and then asks for nothing.
fn listener() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counter) = (stream.unwrap(), Arc::clone(&counter));
            thread::spawn(move || {
                if stream.read(&mut [0]).is_ok_and(|read| read > 0) {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (url, asked)
}

/// The page without its policy.
fn unprotected(page: &str) -> String {
    let (before, rest) = page.split_once("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
    let (_, after) = rest.split_once('>').unwrap();
    format!("{before}{after}")
}

/// A year at a repository, as runs write it down.
fn year() -> Value {
    let (mut days, mut received) = (Map::new(), Map::new());
    let today = Command::new("date").args(["-u", "+%s"]).output().unwrap();
    let now: u64 = String::from_utf8(today.stdout).unwrap().trim().parse().unwrap();
    for ago in (0..365_u64).rev() {
        let date = Command::new("date")
            .args(["-u", "-d", &format!("@{}", now - ago * 86400), "+%F"])
            .output()
            .unwrap();
        let date = String::from_utf8(date.stdout).unwrap().trim().to_owned();
        let bytes = 200_000_000_000 + (365 - ago) * 300_000_000;
        days.insert(
            date.clone(),
            json!({"files": 12_000, "bytes": bytes, "snapshots": 60, "parts_verified": 256}),
        );
        received.insert(date, json!(300_000_000 + ago % 7 * 150_000_000));
    }
    json!({"days": days, "received": received})
}

#[test]
#[ignore = "needs Chromium, which scripts/setup --full installs"]
fn the_charts_of_a_year_are_drawn_and_fit_on_a_screen_and_on_a_phone() {
    let ground = Ground::new();
    ground.remember(&year());
    let measure = "<script>
        const charts = [...document.querySelectorAll('figure svg')];
        const inside = (svg, of) => {
            const [s, o] = [svg.getBoundingClientRect(), of.getBoundingClientRect()];
            return o.left >= s.left - 1 && o.right <= s.right + 1 && o.top >= s.top - 1 && o.bottom <= s.bottom + 1;
        };
        const apart = texts => texts.every((text, at) => at === 0
            || text.getBoundingClientRect().left > texts[at - 1].getBoundingClientRect().right + 2);
        document.body.dataset.measured = JSON.stringify({
            charts: charts.map(svg => ({
                width: svg.getBoundingClientRect().width,
                letters: svg.querySelector('text').getBoundingClientRect().height,
                drawn: [...svg.querySelectorAll('.bar, .line')].filter(of => of.getBoundingClientRect().height > 1).length,
                fits: [...svg.querySelectorAll('text, .bar, .line')].every(of => inside(svg, of)),
                apart: apart([...svg.querySelectorAll('.below')]),
            })),
            overflows: document.documentElement.scrollWidth > innerWidth,
        });
        </script></body>";
    let page = unprotected(&ground.page()).replace("</body>", measure);
    for width in [1280, 500] {
        let document = opened(&page, width);
        let measured = document.split("data-measured=\"").nth(1).unwrap().split('"').next().unwrap();
        let measured: Value = serde_json::from_str(&measured.replace("&quot;", "\"")).unwrap();
        let charts = measured["charts"].as_array().unwrap();
        let drawn: Vec<_> = charts.iter().map(|chart| chart["drawn"].as_u64().unwrap()).collect();
        assert!(matches!(drawn[..], [1, 52 | 53, 1]), "a line, weeks, and all parts of one age: {measured}");
        for chart in charts {
            assert!(
                chart["width"].as_f64().unwrap() > 280.0 && chart["letters"].as_f64().unwrap() > 9.0,
                "{measured}"
            );
            assert!(chart["fits"] == true && chart["apart"] == true, "at {width}: {measured}");
        }
        assert_eq!(measured["overflows"], false, "at {width}");
    }
}

#[test]
#[ignore = "needs Chromium, which scripts/setup --full installs"]
fn a_browser_fetches_and_runs_nothing_not_even_what_got_past_the_escaping() {
    let ground = Ground::new();
    let (url, asked) = listener();
    hostile::remember(&ground, &format!("<img src=\"{url}\"><link rel=stylesheet href=\"{url}\">"));
    let page = ground.page();
    let document = opened(&page, 1280);
    assert!(document.contains("<title>Backups, ") && document.contains("&lt;script&gt;"), "{document}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);

    // As if it had not been escaped.
    let smuggled = format!(
        "<script>document.title='ran'</script><img src=\"{url}\" onerror=\"document.title='ran'\"><iframe src=\"{url}\"></iframe>\
         <link rel=\"stylesheet\" href=\"{url}\"><p style=\"background:url({url})\" onclick=\"x\">x</p></body>"
    );
    let document = opened(&page.replace("</body>", &smuggled), 1280);
    assert!(document.contains("<title>Backups, "), "{document}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let document = opened(&unprotected(&page).replace("</body>", &smuggled), 1280);
    assert!(document.contains("<title>ran</title>"), "{document}");
    wait::until("what was asked for is counted", || (asked.load(Ordering::SeqCst) > 0).then_some(()));
}
