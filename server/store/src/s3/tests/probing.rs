//! Stores and credentials that look good and are not: the probe names what is missing.

use super::*;

/// Opens the store with a fault on the line, and says why that failed.
async fn refused(which: Which, fault: Fault) -> String {
    let server = moto();
    refused_on(&server, which, fault).await
}

async fn refused_on(server: &S3, which: Which, fault: Fault) -> String {
    let bucket = server.bucket("backup", Kind::Versioned);
    let line = Faults::in_front_of(server.address());
    let through = bucket.through(line.address());
    let [before, after] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    open(&through, before.path()).await.unwrap();
    line.add(which, fault);
    open(&through, after.path()).await.err().unwrap().to_string()
}

/// Garage and Cloudflare R2 name a version of each object, and keep none.
#[tokio::test(flavor = "multi_thread")]
async fn versions_are_believed_when_they_were_read_back() {
    let error = refused(Which::all("GET", "?versions"), Fault::Answer(501, "NotImplemented")).await;
    assert!(error.contains("names versions") && error.contains("unversioned"), "{error}");
    let error = refused(Which::all("GET", "versionId="), Fault::Answer(404, "NoSuchVersion")).await;
    assert!(error.contains("cannot read an old version") && error.contains("unversioned"), "{error}");
}

/// A user of `OpenStack` Swift whom the container's list lets store and read, and no more, gets this answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_that_may_not_be_read_is_no_sign_of_none() {
    let error = refused(Which::all("GET", "versionId="), Fault::Answer(403, "AccessDenied")).await;
    assert!(error.contains("allow s3:GetObjectVersion") && !error.contains("unversioned"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_falls_silent_was_not_tried() {
    for which in [
        Which::all("GET", "/.pawl-probe/").header("range:"),
        Which::all("GET", "list-type="),
        Which::all("DELETE", "/prefix/locks/locks/"),
    ] {
        let error = refused(which, Fault::Cut).await;
        assert!(error.starts_with("cannot try out bucket") && !error.contains("allow"), "{error}");
    }
}

/// s3s-fs answers so, and stores nothing.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_content_that_ends_in_an_error_is_not_stored() {
    let server = moto();
    let bucket = server.bucket("backup", Kind::Versioned);
    let line = Faults::in_front_of(server.address());
    let [refused, opened] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut settings = settings(&bucket.through(line.address()), refused.path());
    settings.accept.retain(|weakness| *weakness != Weakness::UncheckedContent);
    let error = S3Store::open(settings.clone(), keeper(refused.path(), false)).await.err().unwrap();
    assert!(error.to_string().contains("\"unchecked-content\""), "{error}");
    let wrong = format!("x-amz-checksum-sha256: {}", put::checksum(&[7; 32]));
    line.add(Which::all("PUT", "").header(&wrong), Fault::Answer(500, "InternalError"));
    S3Store::open(settings, keeper(opened.path(), false)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_need_and_the_credential_lacks_is_named() {
    let denied = || Fault::Answer(403, "AccessDenied");
    for (which, expected) in [
        (Which::all("HEAD", "/.pawl-probe/"), "s3:ListBucket on the whole bucket"),
        (Which::all("GET", "/.pawl-probe/").header("range:"), "s3:GetObject"),
        (Which::all("GET", "list-type="), "s3:ListBucket"),
        (Which::all("PUT", "/prefix/locks/locks/"), "s3:PutObject on */locks/*"),
        (Which::all("DELETE", "/prefix/locks/locks/"), "s3:DeleteObject on */locks/*"),
    ] {
        let error = refused(which, denied()).await;
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let error = refused(Which::all("PUT", "/below"), Fault::Answer(400, "InvalidRequest")).await;
    assert!(error.contains("beside objects whose names begin with"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Ceph RGW: scripts/test --full"]
async fn a_type_of_file_that_may_not_be_stored_is_named() {
    for place in ["data", "index", "keys", "snapshots", "config", "initialised", ".aside"] {
        let target = format!("/prefix/locks/{place}");
        let error = refused_on(&rgw(), Which::all("PUT", &target), Fault::Answer(403, "AccessDenied")).await;
        assert!(error.contains("s3:PutObject there") && error.contains(place), "{place}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_maintenance_needs_and_the_credential_lacks_is_named() {
    for (which, expected) in [
        (Which::all("PUT", "/.pawl/"), "s3:PutObject on .pawl/*"),
        (Which::all("DELETE", "/.pawl/"), "s3:DeleteObject on .pawl/*"),
        (Which::all("DELETE", "/snapshots/"), "s3:DeleteObject on all files"),
    ] {
        let server = moto();
        let bucket = server.bucket("backup", Kind::Versioned);
        let line = Faults::in_front_of(server.address());
        line.add(which, Fault::Answer(403, "AccessDenied"));
        let state = tempfile::tempdir().unwrap();
        let settings = settings(&bucket.through(line.address()), state.path());
        S3Store::open(settings.clone(), keeper(state.path(), false)).await.unwrap(); // hosts do not need it
        let error = S3Store::open_for_reading(settings, None).await.err().unwrap().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_only_hides_is_told_from_one_that_destroys() {
    let server = moto();
    let bucket = server.bucket("backup", Kind::Versioned);
    let line = Faults::in_front_of(server.address());
    line.add(Which::all("DELETE", "versionId="), Fault::Answer(403, "AccessDenied"));
    line.add(Which::all("PUT", "?versioning"), Fault::Answer(403, "AccessDenied"));
    let [refused, accepted] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut settings = settings(&bucket.through(line.address()), refused.path());
    settings.accept.retain(|weakness| *weakness != Weakness::HidingCredential);
    let opened = S3Store::open(settings.clone(), keeper(refused.path(), false)).await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("can hide files") && error.contains("\"hiding-credential\""), "{error}");
    settings.accept.push(Weakness::HidingCredential);
    S3Store::open(settings, keeper(accepted.path(), false)).await.unwrap();
}
