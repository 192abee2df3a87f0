//! All black-box tests, in one program: linked once, and one process for each test when cargo-nextest runs them.
//!
//! Invariant: each module is an area of Pawl, and no test relies on what another left behind.

mod adversary;
mod audit;
mod bench;
mod cli;
mod clients;
mod cloudformation;
mod compatibility;
mod confinement;
mod crash;
mod deployment;
mod disk_full;
mod doctor;
mod examine_cut;
mod forget;
mod grants;
mod hoarding;
mod http2;
mod junk;
mod leftovers;
mod load;
mod maintenance;
mod maintenance_s3;
mod mtls;
mod odd_json;
mod power;
mod protocol;
mod rates;
mod read_only;
mod readme;
mod repair;
mod report;
mod run;
mod s3;
mod s3_policies;
mod s3_thief;
mod scale;
mod status;
mod strays;
mod systemd;
mod tidy;
mod year;
