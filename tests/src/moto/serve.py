"""Runs moto's server. Arguments are those of moto_server.

moto 5.2.5 calls the answers to some questions by another name than S3 does. boto does not look at it; the Rust SDK does,
and takes the answer for none. Here they get the name that S3 gives them.
"""

import sys

from moto.s3.responses import S3Response
from moto.server import main

NAMES = {
    "GetBucketVersioningResponse": "VersioningConfiguration",
    "GetBucketAclResponse": "AccessControlPolicy",
    "GetObjectAclResponse": "AccessControlPolicy",
    "GetObjectTaggingResponse": "Tagging",
    "GetBucketLifecycleConfigurationResponse": "LifecycleConfiguration",
}

serialized = S3Response.serialized


def renamed(self, result):
    status, headers, body = serialized(self, result)
    for wrong, right in NAMES.items():
        if isinstance(body, str):
            body = body.replace(f"<{wrong}", f"<{right}").replace(f"</{wrong}>", f"</{right}>")
        elif isinstance(body, bytes):
            body = body.replace(f"<{wrong}".encode(), f"<{right}".encode())
            body = body.replace(f"</{wrong}>".encode(), f"</{right}>".encode())
    return status, headers, body


S3Response.serialized = renamed
sys.exit(main())
