//! Tells other servers of the same bucket that this one lives, and its admin that they do.
//!
//! Invariant: no failure here keeps anybody from anything.

use std::sync::Arc;
use std::time::Duration;

use pawl_config::s3::Instances;
use pawl_store::StoreError;
use pawl_store::s3::{Other, S3Store, SIGNS_EVERY_MINUTES, Server, Sign};
use tokio::task::JoinHandle;

/// How long the end waits for a store that does not answer.
const LAST_SIGN_WAIT_MAX: Duration = Duration::from_secs(2);

/// A server that leaves signs from now on.
pub(super) struct Signs {
    store: S3Store,
    server: Option<Arc<Server>>,
    others: JoinHandle<()>,
}

impl Signs {
    pub(super) fn begin(store: S3Store, instances: Instances) -> Self {
        let server = Server::start().inspect_err(|error| tracing::warn!(%error, "no sign of life is left"));
        let server = server.ok().map(Arc::new);
        let others = tokio::spawn({
            let (store, server) = (store.clone(), server.clone());
            async move {
                while let Some(server) = &server {
                    look(&store, server, instances).await;
                    tokio::time::sleep(Duration::from_mins(SIGNS_EVERY_MINUTES)).await;
                }
            }
        });
        Self { store, server, others }
    }

    pub(super) async fn end(self) {
        self.others.abort();
        if let Some(server) = self.server {
            let last = self.store.sign(&server, Sign::Stopped);
            let _ = tokio::time::timeout(LAST_SIGN_WAIT_MAX, last).await;
        }
    }
}

async fn look(store: &S3Store, server: &Server, instances: Instances) {
    let looked: Result<_, StoreError> = async {
        store.sign(server, Sign::Lives).await?;
        store.other_servers(Some(server)).await
    }
    .await;
    match looked {
        Ok(others) => others.iter().for_each(|other| say(other, instances)),
        Err(error) => tracing::warn!(%error, "which other servers use the bucket is not known"),
    }
}

fn say(other: &Other, instances: Instances) {
    let Other { host, seen_minutes, .. } = other;
    match (instances, other.instances) {
        (Instances::Many, Instances::Many) => {
            tracing::info!(host, seen_minutes, "s3: another server uses the bucket");
        }
        (Instances::One, _) => tracing::warn!(
            host,
            seen_minutes,
            "s3: another server uses the bucket, and s3.instances = \"one\" says that this is the only one: stop one of them"
        ),
        (Instances::Many, Instances::One) => tracing::warn!(
            host,
            seen_minutes,
            "s3: another server uses the bucket, and says that it is the only one (s3.instances = \"one\"): stop one of them"
        ),
    }
}
