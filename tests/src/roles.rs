//! A bucket with a credential for each role, and the policies that `pawl policy s3` prints in force.
//!
//! Invariant: what a role may do is what was printed; the owner may do everything, and looks at what became of it.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should stop")]

use crate::bucket::{Access, Bucket, Kind};
use crate::command::pawl;
use crate::s3::S3;

/// The bucket, as its owner sees it, and who else has a credential.
#[derive(Debug)]
pub struct Roles {
    /// With a credential that may do everything.
    pub owner: Bucket,
    /// For the frontend.
    pub writer: Access,
    /// For a direct restic.
    pub reader: Access,
    /// For `pawl maintain`.
    pub maintenance: Access,
}

impl Roles {
    /// A new bucket on this server, which checks credentials.
    #[must_use]
    pub fn new(s3: &S3, prefix: &str, kind: Kind) -> Self {
        let roles = ["writer", "reader", "maintenance"];
        let (owner, [writer, reader, maintenance]) = match s3 {
            S3::Moto(moto) => {
                let owner = moto.checked_bucket("backup", kind);
                let policy = |role| printed(&owner, prefix, &["--account", "123456789012", "--role", role]);
                let users = roles.map(|role| moto.user(role, &[&policy(role)]));
                (owner, users)
            }
            S3::Rgw(rgw) => {
                let break_glass = rgw.user("break-glass");
                let owner = rgw.bucket_of(&break_glass, "backup", kind);
                let users = roles.map(|role| rgw.user(role));
                let mut options = vec!["--for=ceph".to_owned(), "--document=bucket-policy".to_owned()];
                options.push(format!("--principal=break-glass={}", break_glass.arn));
                for (role, user) in roles.iter().zip(&users) {
                    options.push(format!("--principal={role}={}", user.arn));
                }
                let options: Vec<_> = options.iter().map(String::as_str).collect();
                owner.set_policy(&printed(&owner, prefix, &options)).unwrap();
                (owner, users.map(|user| user.access))
            }
        };
        Self { owner, writer, reader, maintenance }
    }

    /// All with the owner's credential, as on a store of which the tests know no other.
    #[must_use]
    pub fn all_of_one(owner: Bucket) -> Self {
        let [writer, reader, maintenance] = [(); 3].map(|()| owner.access().clone());
        Self { owner, writer, reader, maintenance }
    }
}

/// What `pawl policy s3` prints for this bucket.
fn printed(bucket: &Bucket, prefix: &str, options: &[&str]) -> String {
    let args = [&["policy", "s3", "--bucket", bucket.name(), "--prefix", prefix], options].concat();
    pawl(args).expect_code(0).stdout
}
