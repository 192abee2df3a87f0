//! What only the report knows ends a run with 1 as well.

use pawl_tests::server::Server;

use super::{Ground, RULES, last_line};

#[test]
fn a_night_in_which_every_step_is_well_ends_with_1_while_a_host_sends_no_backups() {
    let ground = Ground::with_silent(Server::start(), &["web1"]);
    let silent = ground.run(&RULES).expect_code(1);
    let line = last_line(&silent);
    assert_eq!((&line["attention"], &line["notices"], &line["well"]), (&1.into(), &0.into(), &1.into()));
    assert!(silent.stdout.contains("1 item needs attention; see `pawl maintain report"), "{silent:#?}");
    let _ = ground.backup("web1", 0);
    let line = last_line(&ground.run(&RULES).expect_code(0));
    assert_eq!(line["attention"], 0, "{line}");
}
