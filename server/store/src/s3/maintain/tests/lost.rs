//! Replies of the store that are lost, each in its turn.
//!
//! Invariant: whichever it is, what was asked for is done, and said to be.

use pawl_tests::content::noise;
use pawl_tests::faults::{Fault, Which};

use super::*;

type Ground = Both<S3Store, S3Maintenance, Server>;

/// What maintenance does to one file, from the lock to the purge.
async fn work(f: &Ground, handle: Handle) -> Result<(), StoreError> {
    let (web1, admin) = ("web1".parse().unwrap(), "admin".parse().unwrap());
    let lock = f.maintenance.lock("one").await?;
    let undone = f.maintenance.begin_batch(&web1, &admin, Reason::Deleted).await?;
    assert_eq!(f.maintenance.hide(&deletion(handle), &undone.id).await?, Hid::Now);
    let back = f.maintenance.bring_back(&undone.id, &handle).await;
    assert!(matches!(back, Ok(Created::Stored | Created::AlreadyThere)), "{back:?}");
    let purged = f.maintenance.begin_batch(&web1, &admin, Reason::Deleted).await?;
    assert_eq!(f.maintenance.hide(&deletion(handle), &purged.id).await?, Hid::Now);
    f.maintenance.purge_file(&f.maintenance.batch(&purged.id).await?, &handle).await?;
    lock.give_back().await;
    Ok(())
}

/// Replies to what only reads are asked for again, and change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn whichever_reply_is_lost_the_work_is_done() {
    let f = with_maintenance(behind_a_line().await);
    f.hosts.initialised().await;
    let line = f.hosts.place.line();
    for (method, at_least) in [("PUT", 8), ("DELETE", 4)] {
        let mut lost = 0;
        loop {
            let handle = f.stored(FileType::Snapshots, &noise(&format!("{method} {lost}"), 1000)).await;
            let (seen, faults) = (line.seen().len(), line.faults());
            line.add(Which::nth(method, "", lost), Fault::LoseAnswer);
            let worked = work(&f, handle).await;
            line.heal();
            let meant = line.seen().into_iter().skip(seen).filter(|line| line.starts_with(method)).nth(lost);
            assert!(worked.is_ok(), "{meant:?}: {worked:?}");
            assert_eq!(f.facts(handle).await, None, "{meant:?}");
            if line.faults() == faults {
                break; // there are no more
            }
            lost += 1;
        }
        assert!(lost >= at_least, "only {lost} of {method}");
    }
    // What was given back is free, whatever was heard of it.
    f.maintenance.lock("other").await.unwrap().give_back().await;
}
